"""Whether a calibrated world may be mirrored: the planar ambiguity of a flat board.

A small flat board far away looks almost the same when it is tilted the other way. If enough images are solved so, all
cameras and points turn into their mirror image in depth, and reprojection errors hardly show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.calibration.initial_estimate import angle_between, joined, target_poses

if TYPE_CHECKING:
    from sonjit.multiview.calibration.calibrate import RigCalibration

_CLEAR = 1.3
"""How many times worse the second solution must be for an image to decide."""
_FLOOR_PX = 0.1
_FAR_RAD = np.radians(8)


@dataclass(frozen=True)
class PlanarAmbiguity:
    """Which of its two solutions each image of the board favours, compared to a calibrated world.

    Attributes:
        agree: decisive images whose better solution is the world's.
        against: decisive images whose better solution is the other one.
        undecided: images that both solutions explain alike, or that have only one.
    """

    agree: int
    against: int
    undecided: int

    @property
    def is_mirrored(self) -> bool:
        """Most decisive images contradict the world."""
        return self.against > self.agree

    @property
    def is_open(self) -> bool:
        """Too few images are decisive."""
        return self.agree + self.against < max(3, 0.05 * (self.agree + self.against + self.undecided))

    def __str__(self) -> str:
        counts = f"{self.agree} images of the board agree, {self.against} disagree, {self.undecided} are undecided"
        if self.is_mirrored:
            return f"the world is mirrored: {counts}; calibrate again with the board nearer and tilted more"
        if self.is_open:
            return f"whether the world is mirrored is open: {counts}; show the board nearer and tilted more"
        return f"the world is not mirrored: {counts}"


def planar_ambiguity(calibration: RigCalibration) -> PlanarAmbiguity:
    """Solve every image alone for the tilt of the board, and compare it to the calibrated world."""
    agree = against = undecided = 0
    target = calibration.target
    for one in calibration.sightings:
        view = calibration.rig[one.view]
        found = target_poses(target.points_m[one.points], one.pixels, view.camera, flat=target.is_flat)
        if len(found) < 2 or found[1].rms_px < _CLEAR * max(found[0].rms_px, _FLOOR_PX):
            undecided += 1
            continue
        turn, _ = joined((view.R, view.t), calibration.target_places[one.frame])
        apart = [angle_between(pose.R, turn) for pose in found]
        if min(apart) > _FAR_RAD:
            undecided += 1  # this image fits neither: the reprojection report names it
        elif apart[0] <= apart[1]:
            agree += 1
        else:
            against += 1
    return PlanarAmbiguity(agree, against, undecided)
