"""HandOccNet: mesh and joints of one hand, much of which may be hidden."""
