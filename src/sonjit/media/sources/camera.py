"""A live camera as a source."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError, JobError
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.image_files import quiet_opencv

if TYPE_CHECKING:
    from collections.abc import Generator


class CameraSource(Source):
    """Images of a camera, always the newest one: while the caller works, older ones are dropped.

    `index` counts all images taken, so that dropped ones show as gaps; `time` is the wall time in seconds since the
    camera was opened, taken when the image arrived. The stream has no end: leave the loop to stop.

    Args:
        number: which camera, from 0.

    Raises:
        InputError: no such camera, or another program holds it.
        JobError: the camera stopped giving images.
    """

    kind = "camera"
    depth = 1
    live = True

    def __init__(self, number: int) -> None:
        super().__init__(f"camera:{number}")
        import cv2

        with quiet_opencv():
            self._capture = cv2.VideoCapture(number)
            opened = self._capture.isOpened() and self._capture.read()[0]
        if not opened:
            self._capture.release()
            raise InputError(
                f"{self.name} does not open: plug it in, close the program that holds it, or try another number"
            )
        self._start_s = time.monotonic()
        self.width = round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)) or None
        self.height = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) or None
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None

    def close(self) -> None:
        """Stop reading and free the camera."""
        super().close()
        self._capture.release()

    def _frames(self) -> Generator[SourceFrame]:
        import cv2

        index = 0
        while True:
            with quiet_opencv():
                found, bgr = self._capture.read()
            if not found:
                raise JobError(f"{self.name} gives no more images: it was unplugged or taken by another program")
            now = time.monotonic() - self._start_s
            yield SourceFrame(index, now, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
            index += 1
