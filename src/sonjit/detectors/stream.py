"""The one data path: a source of images and a detector -> frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonjit.results import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors.pipeline import Detector
    from sonjit.media import Source


def detect_frames(source: Source, detector: Detector[Any]) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """What a detector finds in each image of a source, with the image (H, W, 3) itself.

    Reading runs ahead in a thread of the source's own; leaving the loop early ends it.
    """
    for index, time, rgb in source:
        yield Frame.holding(index, time, detector.detect(rgb, time=time), source.frame_source(index)), rgb
