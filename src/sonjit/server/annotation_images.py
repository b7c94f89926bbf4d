"""Images of a project as JPEG: whole ones made smaller, or a part at full size; what was decoded last is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from sonjit.server.errors import RefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.annotation.project import Project

T = TypeVar("T")
_QUALITY = 88
_DECODED_BYTES = 400_000_000
_ENCODED_BYTES = 200_000_000


class ImageRegion(NamedTuple):
    """A part of an image, in its pixels."""

    x: int
    y: int
    width: int
    height: int


class Images:
    """A project's images.

    Args:
        project: whose.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._decoded: _Recent[NDArray[np.uint8]] = _Recent(_DECODED_BYTES, lambda rgb: rgb.nbytes)
        self._encoded: _Recent[bytes] = _Recent(_ENCODED_BYTES, len)

    def jpeg(self, view: str, frame: int, longest: int, part: ImageRegion | None) -> bytes:
        """One image, or a part of it, encoded.

        Args:
            view: of the project.
            frame: number of the frame set.
            longest: pixels of its longer side, at most; it is never made larger.
            part: of the image; None for the whole.

        Raises:
            InputError: there is no such image, or it cannot be read.
            RefusedError: the part lies outside.
        """
        key = view, frame, longest, part
        known = self._encoded.get(key)
        return known if known is not None else self._encoded.put(key, _encode(self.rgb(view, frame), longest, part))

    def rgb(self, view: str, frame: int) -> NDArray[np.uint8]:
        """One image, (H, W, 3); InputError where there is none."""
        known = self._decoded.get((view, frame))
        return known if known is not None else self._decoded.put((view, frame), self._project.view(view).read(frame))


class _Recent(Generic[T]):
    """What was used last, up to a number of bytes."""

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most = most
        self._size = size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()
        self._held = 0

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: T) -> T:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value
                self._held += self._size(value)
            while self._held > self._most and len(self._kept) > 1:
                self._held -= self._size(self._kept.popitem(last=False)[1])
        return value


def _encode(rgb: NDArray[np.uint8], longest: int, part: ImageRegion | None) -> bytes:
    import cv2

    if part is not None:
        rgb = rgb[max(part.y, 0) : part.y + part.height, max(part.x, 0) : part.x + part.width]
        if rgb.size == 0:
            raise RefusedError("bad_option", f"region {','.join(map(str, part))} lies outside the image")
    while max(rgb.shape) >= 2 * longest:  # halving is several times as fast as the last, uneven step
        rgb = np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
