"""How a lens bends rays, and back: pure functions on rays (..., 2) at depth 1.

Source: OpenCV's camera model with five coefficients k1, k2, p1, p2, k3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 30
_CLOSE = 1e-12
_LOST = 1e3


def bend_rays(rays: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rays (..., 2) as a lens of coefficients (5,) shows them; (..., 5) gives each ray a lens of its own."""
    k1, k2, p1, p2, k3 = np.moveaxis(coefficients, -1, 0)
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def bending(rays: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 2, 2) how far `bend_rays` moves the shown ray for a small move of the true one."""
    k1, k2, p1, p2, k3 = np.moveaxis(coefficients, -1, 0)
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
    across = x * y * slope + 2 * (p1 * x + p2 * y)
    return np.stack(
        [
            np.stack([radial + x * x * slope + 2 * p1 * y + 6 * p2 * x, across], -1),
            np.stack([across, radial + y * y * slope + 6 * p1 * y + 2 * p2 * x], -1),
        ],
        -2,
    )


def straighten_rays(bent: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rays (..., 2) that a lens shows at `bent` (..., 2), to 1e-9 by Newton's steps.

    Returns:
        NaN where no ray of the lens's own side of its fold (`fold_radius`) is shown there.
    """
    shown = np.asarray(bent, np.float64).reshape(-1, 2)
    rays, reach = shown.copy(), fold_radius(coefficients)
    moving = np.arange(len(rays))
    with np.errstate(all="ignore"):  # at the fold nothing can be divided by; the last lines find those rays
        for _ in range(_STEPS):
            gap = shown[moving] - bend_rays(rays[moving], coefficients)
            (a, b), (c, d) = np.moveaxis(bending(rays[moving], coefficients), (-2, -1), (0, 1))
            step = np.stack([d * gap[:, 0] - b * gap[:, 1], a * gap[:, 1] - c * gap[:, 0]], -1)
            step /= (a * d - b * c)[:, None]
            rays[moving] += step
            size = np.abs(step).max(-1)
            moving = moving[(size > _CLOSE) & (size < _LOST)]  # and none that is NaN
            if not len(moving):
                break
        found = np.abs(shown - bend_rays(rays, coefficients)).max(-1) < 1e-10
        found &= np.linalg.norm(rays, axis=-1) <= reach
    return np.where(found[:, None], rays, np.nan).reshape(np.shape(bent))


def fold_radius(coefficients: NDArray[np.float64]) -> float:
    """Radius at depth 1 beyond which the lens model turns back and shows rays where nearer ones are; infinite without.

    >>> round(fold_radius(np.array([-1 / 3, 0, 0, 0, 0])), 9)
    1.0
    """
    k1, k2, _, _, k3 = (float(value) for value in coefficients)
    roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1])  # of d(r radial)/dr over r squared
    turning = [root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
    return float(min(turning)) ** 0.5 if turning else float("inf")
