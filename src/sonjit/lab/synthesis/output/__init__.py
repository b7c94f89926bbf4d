"""From scenes to labelled samples and files."""
