"""Looking at data sets: what is in them, and what looks wrong."""
