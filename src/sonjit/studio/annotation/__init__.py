"""Annotation projects: views, synchronisation, marks, who agrees with whom."""
