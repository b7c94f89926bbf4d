"""Depth pictures: the low byte in red, the high byte in green."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.image_files import load_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def depth_from_png(path: Path, metres_per_step: float, *, red_is_high: bool = False) -> NDArray[np.float32]:
    """(H, W) metres from a colour PNG.

    Args:
        path: the file.
        metres_per_step: of the sixteen bits that two channels make.
        red_is_high: the high byte is in red, the low byte in green, as in RHD.

    Raises:
        InputError: missing or damaged.
    """
    red, green = np.moveaxis(load_image(path, upright=False)[..., :2].astype(np.float32), -1, 0)
    steps = red * 256 + green if red_is_high else red + green * 256
    return steps * np.float32(metres_per_step)
