"""Train heads for visibility and handedness on the published hand networks."""
