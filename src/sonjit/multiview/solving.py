"""From the marks of one instant to joints in space, and back into every view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.triangulation import triangulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig
    from sonjit.multiview.marks import MarkTable

_LINE_POINTS = 24


@dataclass(frozen=True, eq=False)
class Solution:
    """Joints of one instant.

    Attributes:
        points_m: (42, 3) in the world; NaN for joints with fewer than two marks.
        sigma_m: (42,) how well each is known: the root of its covariance's trace; NaN.
        residual_px: (C, 42) from each mark to the joint's projection; NaN without mark.
        projected_px: (C, 42, 2) in every view; NaN where unknown or not before the camera.
    """

    points_m: NDArray[np.float64]
    sigma_m: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    projected_px: NDArray[np.float64]


def solve(rig: CameraRig, table: MarkTable) -> Solution:
    """Joints from marks, by `triangulate` with the marks' weights; all marks count, what is off is shown."""
    found = triangulate(rig, table.points_px, table.valid, np.where(table.valid, table.weights, 1.0))
    sigma = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1))
    return Solution(found.points_m, sigma, found.residual_px, rig.project(found.points_m))


def epipolar_lines(rig: CameraRig, table: MarkTable, joint: int) -> dict[str, NDArray[np.float64]]:
    """Where a joint that one view alone has marked may be in the others: lines (N, 2) in pixels by view."""
    (marked,) = np.nonzero(table.valid[:, joint])
    if len(marked) != 1:
        return {}
    own = rig.cameras[int(marked[0])]
    lines = {
        other.name: own.epipolar_line(table.points_px[marked[0], joint], other, points=_LINE_POINTS)
        for other in rig
        if other is not own
    }
    return {name: line for name, line in lines.items() if len(line)}
