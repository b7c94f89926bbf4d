"""Decide whether a calibrated world may be mirrored by the planar ambiguity of a flat board.

A small flat board far away looks almost the same when it is tilted the other way. If enough images are solved so, all
cameras and points turn into their mirror image in depth, and reprojection errors hardly show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonjit.studio.calibration.calibrate import RigCalibration
from sonjit.studio.calibration.target_poses import angle_between, compose_transforms, observation_poses

_DECISIVE_RATIO = 1.3
"""Ratio of errors of the second to the first solution from which an image decides."""
_MIN_RMS_PX = 0.1
"""Least error of the first solution in that ratio."""
_MAX_ROTATION_RAD = np.radians(8)
"""Largest rotation between a solution of one image and the calibrated world."""


@dataclass(frozen=True)
class PlanarAmbiguity:
    """Count which of its two solutions each image of the board favours, compared to a calibrated world.

    Attributes:
        agree: Number of decisive images whose better solution is the world's.
        against: Number of decisive images whose better solution is the other one.
        undecided: Number of images that both solutions explain alike, or that have only one.
    """

    agree: int
    against: int
    undecided: int

    @property
    def is_mirrored(self) -> bool:
        """Whether most decisive images contradict the world."""
        return self.against > self.agree

    @property
    def is_open(self) -> bool:
        """Whether too few images are decisive."""
        return self.agree + self.against < max(3, 0.05 * (self.agree + self.against + self.undecided))

    def __str__(self) -> str:
        counts = f"of the board's images {self.agree} agree, {self.against} disagree, {self.undecided} are undecided"
        if self.is_mirrored:
            return f"the world is mirrored: {counts}; calibrate again with the board nearer and tilted more"
        if self.is_open:
            return f"whether the world is mirrored is open: {counts}; show the board nearer and tilted more"
        return f"the world is not mirrored: {counts}"


def is_mirroring_possible(calibration: RigCalibration) -> bool:
    """Check whether the world may be a mirror image: several cameras were calibrated by a flat board."""
    return len(calibration.rig) > 1 and any(observation.target.is_flat for observation in calibration.observations)


def planar_ambiguity(calibration: RigCalibration) -> PlanarAmbiguity:
    """Solve the tilt of the board in every image independently and compare it to the calibrated world."""
    agree = against = undecided = 0
    for observation in calibration.observations:
        view = calibration.rig[observation.view]
        poses = observation_poses(observation, view.camera)
        if len(poses) < 2 or poses[1].rms_px < _DECISIVE_RATIO * max(poses[0].rms_px, _MIN_RMS_PX):
            undecided += 1
            continue
        rotation, _ = compose_transforms((view.R, view.t), calibration.target_poses[observation.pose_key])
        angles = [angle_between(pose.R, rotation) for pose in poses]
        if min(angles) > _MAX_ROTATION_RAD:
            undecided += 1  # the image fits neither solution; the reprojection report names it
        elif angles[0] <= angles[1]:
            agree += 1
        else:
            against += 1
    return PlanarAmbiguity(agree, against, undecided)
