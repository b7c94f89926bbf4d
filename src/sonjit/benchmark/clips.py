"""Frames for the workers: decoded once before, in a file that is read one frame at a time."""

from __future__ import annotations

import math
from contextlib import ExitStack
from importlib.resources import as_file, files
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.errors import InputError
from sonjit.media import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.media import Source

DRIFT_FRAMES = 60
"""Distinct frames that a single image is made into."""
_DRIFT = 1 / 25
"""How far an image drifts either way, in its shorter side: about 1/240 of it per frame."""
_MOST_CLIP_BYTES = 1_000_000_000


def save_clip(media: str | Path | None, path: Path, most: int, *, copies: int = 1) -> None:
    """Decode the first frames of a video into one `.npy` (N, H, W, 3), never held whole.

    Args:
        media: a video, or an image, which is made to drift; None: the bundled clip.
        path: where to.
        most: frames.
        copies: how often each image is in its frame, side by side.

    Raises:
        InputError: nothing to read.
    """
    with ExitStack() as stack:
        if media is None:
            media = stack.enter_context(as_file(files("sonjit") / "assets" / "demo.mp4"))
        source = stack.enter_context(open_source(media))
        file = stack.enter_context(path.open("wb"))
        shape: tuple[int, ...] = ()
        count = 0
        for image in _images(source):
            rgb = np.ascontiguousarray(np.concatenate([image] * copies, axis=1))
            if count == 0:
                shape = rgb.shape
                most = min(most, max(_MOST_CLIP_BYTES // rgb.nbytes, 1))
                _write_header(file, (most, *shape))
            if rgb.shape == shape:
                file.write(rgb.data)
                count += 1
            if count == most:
                break
        if count == 0:
            raise InputError(f"{media} holds no frames: name a video")
        file.seek(0)
        _write_header(file, (count, *shape))


def drifting(rgb: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Frames from one image, each a cut-out by whole pixels that goes around an eight: nothing is resampled.

    >>> [frame.shape for frame in islice(drifting(np.zeros((50, 100, 3), np.uint8)), 2)]
    [(46, 96, 3), (46, 96, 3)]
    """
    height, width = rgb.shape[:2]
    reach = int(min(height, width) * _DRIFT)
    for i in range(DRIFT_FRAMES):
        angle = 2 * math.pi * i / DRIFT_FRAMES
        left, top = (reach + round(reach * math.sin(turns * angle)) for turns in (1, 2))
        yield rgb[top : top + height - 2 * reach, left : left + width - 2 * reach]


def _images(source: Source) -> Iterator[NDArray[np.uint8]]:
    """The images of a source; a single one drifts."""
    images = (frame.rgb for frame in source)
    first = list(islice(images, 2))
    return drifting(first[0]) if len(first) == 1 else chain(first, images)


def _write_header(file: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401  # numpy wants a write method
    """The header of a uint8 array; numpy pads it, so that a later, smaller count fits in its place."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
