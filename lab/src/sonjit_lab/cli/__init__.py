"""Commands of the laboratory, one file per group of verbs."""
