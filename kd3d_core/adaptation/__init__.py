"""A model made to suit one sensor, from a minute of its recording and no label."""
