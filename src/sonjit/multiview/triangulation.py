"""Points in space from where calibrated cameras see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig

Method = Literal["dlt", "ransac"]


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Points in space, and how well each is known.

    Attributes:
        points_m: (..., 3) metres in the world; NaN where not ok.
        covariance_m2: (..., 3, 3) of the points, for 1 px of noise or the residuals' own, whichever is more; NaN.
        residual_px: (C, ...) distance of each view's pixel from the point's projection, outliers too; NaN where the view has none.
        inlier: (C, ...) the views that the point was made from.
        ok: (...) at least two views that agree see it.
    """

    points_m: NDArray[np.float64]
    covariance_m2: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    inlier: NDArray[np.bool_]
    ok: NDArray[np.bool_]


def triangulate(
    rig: CameraRig,
    points_px: NDArray[np.floating],
    valid: NDArray[np.bool_] | None = None,
    confidence: NDArray[np.floating] | None = None,
    *,
    method: Method = "dlt",
    refine: bool = True,
    threshold_px: float = 10.0,
) -> Triangulation:
    """Points in space from pixels of a rig's cameras.

    Args:
        rig: C cameras.
        points_px: (C, ..., 2) where each camera sees each point, as its lens shows it.
        valid: (C, ...) which of them are known; by default those that are finite.
        confidence: (C, ...) weight of each, above 0; equal by default.
        method: all views as they are, or only those that agree within the threshold.
        refine: go on from the linear solution to the least squares of pixels.
        threshold_px: how far a view may be off, for `ransac`.

    Raises:
        InputError: the arrays do not fit to the rig or to each other, or the threshold is not above 0.
    """
    raise NotImplementedError
