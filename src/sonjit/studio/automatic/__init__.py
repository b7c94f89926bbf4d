"""The automatic annotator: labels by machine, learned from people."""
