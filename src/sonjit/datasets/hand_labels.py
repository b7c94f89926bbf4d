"""Hands from what data sets hold: joints before a camera, in MediaPipe's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.sample import HAND_SKELETON, Instance, SampleCamera, Side

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sonjit.results import Box

MM = 1e-3
"""Metres in a millimetre."""


def camera_matrix(focal: ArrayLike, centre: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) from focal lengths (2,) and principal point (2,) in pixels."""
    matrix = np.eye(3)
    matrix[[0, 1], [0, 1]] = focal
    matrix[:2, 2] = centre
    return matrix


def hand_before_camera(
    joints_m: NDArray[np.float64],
    camera: SampleCamera,
    side: Side,
    *,
    valid: NDArray[np.bool_] | None = None,
    keypoints_px: NDArray[np.float64] | None = None,
    **more: Any,  # noqa: ANN401  # of Instance
) -> Instance:
    """A hand whose joints are known in the camera's frame.

    Args:
        joints_m: (21, 3) metres, MediaPipe's order.
        camera: that sees it.
        side: whose hand.
        valid: (21,) which joints are labelled, by default all; others become NaN.
        keypoints_px: (21, 2) where the set itself says that they are; else they are projected.
        **more: what else `Instance` takes.
    """
    if valid is None:
        known, placed = np.ones(len(joints_m), np.bool_), joints_m.copy()
        seen = camera.project(placed) if keypoints_px is None else keypoints_px.copy()
    else:
        known, placed = valid, np.where(valid[:, None], joints_m, np.nan)
        seen = camera.project(placed) if keypoints_px is None else np.where(valid[:, None], keypoints_px, np.nan)
    return Instance(
        kind="hand",
        side=side,
        skeleton=HAND_SKELETON,
        keypoints_px=seen,
        valid_px=known & complete(seen),
        keypoints_m=placed,
        valid_m=known,
        **more,
    )


def box_from_xywh(xywh: ArrayLike) -> Box:
    """x_min, y_min, x_max, y_max from x, y, width, height.

    >>> box_from_xywh([10, 20, 5, 6])
    (10.0, 20.0, 15.0, 26.0)
    """
    x, y, width, height = np.asarray(xywh, np.float64).tolist()
    return x, y, x + width, y + height


def complete(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K,) which of the points (K, D) are known in all their coordinates."""
    return np.asarray(np.isfinite(points).all(axis=-1), np.bool_)
