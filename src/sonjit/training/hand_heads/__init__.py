"""The recipe for heads on the published hand networks: visibility and handedness."""
