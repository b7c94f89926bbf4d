"""Training: losses, loops and recipes."""
