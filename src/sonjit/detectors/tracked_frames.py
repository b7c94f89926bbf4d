"""A detector over an image, a folder, a video or a camera, as one loop."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sonjit.detectors.create import create_detector
from sonjit.detectors.pipeline import Detector
from sonjit.media import open_source
from sonjit.media.found import TrackedFrame
from sonjit.media.sources.base import Source
from sonjit.results import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from sonjit.detectors.options import OptionValue


def track(
    source: str | PathLike[str] | Source, detector: str | Detector[Any] = "hands", **options: OptionValue
) -> Iterator[TrackedFrame]:
    """What is found in each image of a source, frame by frame.

    Args:
        source: an image, a folder, a glob, a video, `camera:0`, or an open source.
        detector: `"hands"`, `"face"`, `"body"`, `"holistic"`, or a detector; one that is given is not closed.
        options: of `sonjit.create_detector` for a detector named here; images and folders are taken as stills.

    Yields:
        Frames: `hands`, `faces`, `bodies` or `people`, `motions` with `gestures`, `index`, `time` in seconds, and
        `image` (H, W, 3), which is there until the next one.

    Raises:
        InputError: nothing is there, nothing of it can be read, or an unknown option.

    Example:
        >>> for frame in sonjit.track("clip.mp4", "hands"):
        ...     if frame.index % 5 == 0:
        ...         print(f"{frame.time:.2f} s", [(hand.id, hand.side) for hand in frame.hands])
        0.00 s [(1, 'Left'), (2, 'Right')]
        0.17 s [(1, 'Left'), (2, 'Right')]
        0.33 s [(1, 'Left'), (2, 'Right')]
    """
    opened = source if isinstance(source, Source) else open_source(source)
    with nullcontext() if opened is source else opened:
        if isinstance(detector, Detector):
            made = nullcontext(detector)
        else:
            still = {"static_image": opened.kind in ("image", "folder")}
            made = create_detector(detector, **still | options)
        with made as finder:
            for index, time, rgb in opened:
                found = finder.detect(rgb, time=time)
                frame = Frame.holding(index, time, found, opened.frame_source(index))
                frame.motions = found.motions
                yield TrackedFrame.of(frame, rgb)
