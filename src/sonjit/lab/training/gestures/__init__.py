"""Train the gesture classifier."""
