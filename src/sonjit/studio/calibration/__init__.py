"""From images of a board to a calibrated rig."""
