"""HandOccNet: mesh and joints of one hand, which may be largely occluded."""
