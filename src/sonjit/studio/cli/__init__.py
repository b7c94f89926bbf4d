"""`sonjit annotate` and its commands."""
