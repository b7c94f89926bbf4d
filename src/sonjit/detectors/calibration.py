"""Images that show a network what it will see, for quantization: cut from the bundled clip."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from sonjit.geometry.boxes import crop
from sonjit.media import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from sonjit.geometry.boxes import RotatedBox

_STEP = 6
"""Frames of the clip from one calibration image to the next."""


def clip_frames() -> Iterator[NDArray[np.uint8]]:
    """Every sixth frame (H, W, 3) of the bundled clip."""
    with (
        resources.as_file(resources.files("sonjit") / "assets" / "demo.mp4") as path,
        open_source(path) as clip,
    ):
        for index, _, rgb in clip:
            if index % _STEP == 0:
                yield rgb


def crops(size: int, find: Callable[[NDArray[np.uint8]], Sequence[RotatedBox]]) -> list[NDArray[np.uint8]]:
    """What a landmark network of that input size sees in the boxes found in each frame: (1, size, size, 3) each."""
    return [crop(rgb, box, size, size)[np.newaxis] for rgb in clip_frames() for box in find(rgb)]
