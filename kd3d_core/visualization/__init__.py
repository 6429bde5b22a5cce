"""Pictures of clouds and boxes."""
