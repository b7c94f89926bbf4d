"""Pure functions on arrays: rotated boxes, crops and cameras."""
