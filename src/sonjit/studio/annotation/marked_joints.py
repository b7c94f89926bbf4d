"""Triangulate the joints of one frame set from marks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit.studio.annotation.marks import JOINTS, WEIGHTS, Mark
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.triangulation import triangulate

_LINE_POINTS = 24
"""Number of points of an epipolar line."""


@dataclass(frozen=True, eq=False)
class MarkTable:
    """The marks of one frame set as arrays over cameras, in the rig's order, and joints.

    Attributes:
        points_px: (C, 42, 2) positions in pixels, NaN without a mark.
        weights: (C, 42) weights, 0 without a mark.
    """

    points_px: FloatArray
    weights: FloatArray

    @property
    def valid(self) -> BoolArray:
        """Which marks (C, 42) have a position."""
        return self.weights > 0


def mark_table(rig: CameraRig, marks: Iterable[Mark]) -> MarkTable:
    """Return the median of all marks of each view and joint. Views outside the rig are ignored.

    Args:
        rig: Rig of the cameras.
        marks: Marks of one frame set, by one or more annotators.
    """
    groups: dict[tuple[int, int], list[Mark]] = {}
    views = {name: number for number, name in enumerate(rig.names)}
    for mark in marks:
        if mark.has_position and mark.view in views:
            groups.setdefault((views[mark.view], mark.joint), []).append(mark)
    points = np.full((len(rig), JOINTS, 2), np.nan)
    weights = np.zeros((len(rig), JOINTS))
    for entry, group in groups.items():
        points[entry] = np.median([mark.position_px for mark in group], axis=0)
        weights[entry] = np.mean([WEIGHTS.get(mark.state, 0.0) for mark in group])
    return MarkTable(points, weights)


@dataclass(frozen=True, eq=False)
class SolvedJoints:
    """The triangulated joints of one frame set.

    Attributes:
        points_m: (42, 3) positions in the world, NaN for joints with fewer than two marks.
        sigma_m: (42,) root of the covariance's trace, NaN where unknown.
        residual_px: (C, 42) distance of each mark from the joint's projection, NaN without mark.
        projected_px: (C, 42, 2) projections into every view, NaN where unknown or behind the camera.
    """

    points_m: FloatArray
    sigma_m: FloatArray
    residual_px: FloatArray
    projected_px: FloatArray


def solve_joints(rig: CameraRig, table: MarkTable) -> SolvedJoints:
    """Triangulate joints from all marks with their weights. Residuals reveal wrong marks."""
    found = triangulate(rig, table.points_px, table.valid, np.where(table.valid, table.weights, 1.0))
    sigma = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1))
    return SolvedJoints(found.points_m, sigma, found.residual_px, rig.project(found.points_m))


def epipolar_lines(rig: CameraRig, table: MarkTable, joint: int) -> dict[str, FloatArray]:
    """Return epipolar lines (N, 2) in pixels by view, for a joint that is marked in only one view."""
    (marked,) = np.nonzero(table.valid[:, joint])
    if len(marked) != 1:
        return {}
    camera = rig.cameras[int(marked[0])]
    lines = {
        other.name: camera.epipolar_line(table.points_px[marked[0], joint], other, points=_LINE_POINTS)
        for other in rig
        if other is not camera
    }
    return {name: line for name, line in lines.items() if len(line)}
