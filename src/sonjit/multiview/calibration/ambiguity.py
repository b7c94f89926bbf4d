"""Whether a world may be mirrored: by the flat board's second solution, and by hands that stand as the other one.

A small flat board far away looks almost the same when it is tilted the other way. If enough images are read so, all
cameras and points turn into their mirror image in depth, and errors in pixels hardly tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.calibration.lenses import angle_between, joined, target_poses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.calibration.calibrate import Calibration

_CLEAR = 1.3
"""How many times worse the second solution must be for an image to tell."""
_FLOOR_PX = 0.1
_FAR_RAD = np.radians(8)
_TELLS = 0.05


@dataclass(frozen=True)
class TwoSolutions:
    """What the two solutions of single images say of a world.

    Attributes:
        agree: images that tell, and whose better solution is the world's.
        against: images that tell, and whose better solution is the other one.
        silent: images that both solutions explain alike, or that have one alone.
    """

    agree: int
    against: int
    silent: int

    @property
    def is_mirrored(self) -> bool:
        """Most images that tell speak against the world."""
        return self.against > self.agree

    @property
    def is_open(self) -> bool:
        """Too few images tell to know."""
        return self.agree + self.against < max(3, 0.05 * (self.agree + self.against + self.silent))

    def __str__(self) -> str:
        told = f"{self.agree} images of the board agree, {self.against} speak against it, {self.silent} do not tell"
        if self.is_mirrored:
            return f"the world is mirrored: {told}; calibrate again with the board nearer and tilted more"
        if self.is_open:
            return f"whether the world is mirrored is open: {told}; show the board nearer and tilted more"
        return f"the world is not mirrored: {told}"


def two_solutions(calibration: Calibration) -> TwoSolutions:
    """Ask every image alone which way the board was tilted, and compare with the calibrated world."""
    agree = against = silent = 0
    target = calibration.target
    for one in calibration.sightings:
        view = calibration.rig[one.view]
        found = target_poses(target.points_m[one.points], one.pixels, view.camera, flat=target.is_flat)
        if len(found) < 2 or found[1].rms_px < _CLEAR * max(found[0].rms_px, _FLOOR_PX):
            silent += 1
            continue
        turn, _ = joined((view.R, view.t), calibration.target_places[one.frame])
        apart = [angle_between(pose.R, turn) for pose in found]
        if min(apart) > _FAR_RAD:
            silent += 1  # this image is of neither: the reprojection report names it
        elif apart[0] <= apart[1]:
            agree += 1
        else:
            against += 1
    return TwoSolutions(agree, against, silent)


def hand_turn(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Above 0 for right hands, below 0 for left ones, as they stand in space; NaN where a keypoint is unknown.

    Fingers bend towards the palm alone, so wrist, knuckles and bent fingers span a body that its mirror image is not.

    Args:
        points_m: (..., 21, 3) in MediaPipe's order, any unit.

    Returns:
        (...) in parts of the hand's size cubed; near 0 for a flat hand, which does not tell.
    """
    wrist, index, little = points_m[..., 0, :], points_m[..., 5, :], points_m[..., 17, :]
    knuckles, tips = points_m[..., [5, 9, 13, 17], :], points_m[..., [8, 12, 16, 20], :]
    bent = (tips - knuckles).mean(-2)
    out = np.cross(index - wrist, little - wrist)
    size = np.linalg.norm(index - wrist, axis=-1)
    return (out * bent).sum(-1) / size**3


def mirrored_hands(hands: Sequence[tuple[str, NDArray[np.float64]]]) -> tuple[int, int]:
    """How many hands stand in space as they are called, and how many as the other one; flat ones count for neither.

    Args:
        hands: "Left" or "Right", the person's own, and (21, 3) in space.
    """
    right = np.array([1 if side == "Right" else -1 for side, _ in hands])
    turn = np.array([float(hand_turn(points)) for _, points in hands])
    tells = np.abs(np.nan_to_num(turn)) > _TELLS
    return int((tells & (turn * right > 0)).sum()), int((tells & (turn * right < 0)).sum())
