"""Measure how far a low precision moves the keypoints of a network, for the rule of `sonjit.engines.precision`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.errors import InputError
from sonjit.detectors.quantization import NETWORKS, record_crops
from sonjit.engines import EngineOptions, load_engine
from sonjit.engines.precision import MAX_SHIFT_P90, MAX_SHIFT_PX, MIN_AGREEMENT
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.engines import Engine, Precision

_CROP = 224
"""Side of the crop, in pixels, in which shifts are given."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of a network in a precision with the same network in f32.

    Attributes:
        precision: Number format in which the network ran, see `Engine.precision`.
        crops: Number of crops that show an instance in f32.
        shift_px: Mean distance of the keypoints, in pixels of a crop of 224.
        shift_p90: Distance that 90 % of the crops do not exceed, relative to the longer side of the instance.
        presence: Share of all crops whose presence is on the same side of the threshold.
        side: Share of the crops with the same handedness; 1 for networks without it.
    """

    precision: str
    crops: int
    shift_px: float
    shift_p90: float
    presence: float
    side: float

    @property
    def keeps_rule(self) -> bool:
        """Whether `precision="auto"` may run the network like this."""
        is_near = self.shift_px <= MAX_SHIFT_PX and self.shift_p90 <= MAX_SHIFT_P90
        return is_near and min(self.presence, self.side) >= MIN_AGREEMENT


def measure_agreement(
    name: str,
    precision: Precision = "auto",
    images: Path | None = None,
    crops: Sequence[NDArray[np.uint8]] | None = None,
) -> Agreement:
    """Compare a network in a precision with f32, on what it sees in images.

    Args:
        name: Name of a landmark network in `quantization.NETWORKS`.
        precision: Number format to compare.
        images: Folder of images, or a video; None for the bundled clip, which shows hands.
        crops: Inputs (1, H, W, 3) of the network, in place of images.

    Raises:
        InputError: The network is not there, or no image shows an instance.
    """
    if crops is None:
        even, odd = record_crops(name, images, search="fast")
        crops = [*even, *odd]
    landmarks, path = NETWORKS[name][2], find_weight(name)
    exact, low = (load_engine(path, EngineOptions(precision=item, threads=1)) for item in ("f32", precision))
    shifts, shares, presences, sides = list[float](), list[float](), list[bool](), list[bool]()
    for crop in crops:
        (points, scores), (moved, others) = (
            _run(engine, crop, landmarks.size, landmarks.step) for engine in (exact, low)
        )
        is_present = scores[0] > landmarks.least_presence
        presences.append(is_present == (others[0] > landmarks.least_presence))
        if not is_present:
            continue
        shift = float(np.linalg.norm(moved - points, axis=1).mean())
        shifts.append(shift * _CROP / crop.shape[2])
        shares.append(shift / float(np.ptp(points, axis=0).max()))
        sides.append(len(scores) == 1 or (scores[1] > 0.5) == (others[1] > 0.5))
    if not shifts:
        raise InputError(f"{name}: the images show nothing that the network is for")
    return Agreement(
        precision=low.precision,
        crops=len(shifts),
        shift_px=float(np.mean(shifts)),
        shift_p90=float(np.percentile(shares, 90)),
        presence=float(np.mean(presences)),
        side=float(np.mean(sides)),
    )


def _run(engine: Engine, crop: NDArray[np.uint8], size: int, step: int) -> tuple[NDArray[np.float32], list[float]]:
    """Return keypoints (K, 2) in pixels of the crop, and presence, for hands also the side."""
    engine.input[:] = crop
    outputs = engine.run()
    points = next(output for output in outputs if output.size == size)
    return points.reshape(-1, step)[:, :2].copy(), [float(output.ravel()[0]) for output in outputs if output.size == 1]
