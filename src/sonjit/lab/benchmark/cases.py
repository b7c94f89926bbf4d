"""Cases to measure and their frames, decoded once into a file that workers read frame by frame."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit.detectors.kinds import KINDS
from sonjit.media import Source, open_source
from sonjit.weights import load_bundle


@dataclass(frozen=True)
class Case:
    """One configuration to measure.

    Attributes:
        name: Name in the table.
        kind, model, max_instances, static_image, segmentation: Options of `create_detector`.
        clip_frames: Number of frames of the bundled clip, played forwards and backwards; None for all.
        copies: Number of copies of each image in the frame, placed in a row.
        peer: True if MediaPipe can run the case: its wheel contains only the full body model and finds one body.
        against: Name of an earlier case whose cost is compared with this one's.
        bundle: Name of the task bundle if both sides run `mediapipe.tasks`; None compares Sonjit's own interface with
            `mediapipe.solutions`.
    """

    name: str
    kind: str
    model: str
    max_instances: int
    static_image: bool
    clip_frames: int | None = None
    segmentation: bool = False
    copies: int = 1
    peer: bool = True
    against: str | None = None
    bundle: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Return the names of the published files that the case loads."""
        if self.kind == "face" and self.bundle is not None:
            return ()  # a face landmarker's are in no package
        return tuple(KINDS[self.kind].models[self.model].weights.values())

    @property
    def subject(self) -> str:
        """Return the subject of the images: "hands", "face" or "body"."""
        return "body" if self.kind == "holistic" else self.kind


ONE_HAND_FRAMES = 75
"""Frames at the start of the bundled clip with exactly one hand. A second hand enters after them."""

_HANDS, _MESHES, _BOXES = ("full", "lite"), ("mesh", "attention"), ("box", "box-full")
_FULL = "body: tracked, full"
_HAND_BUNDLE = "hand_landmarker.task"
DRIFT_FRAMES = 60
"""Distinct frames made from a single image."""
_DRIFT = 1 / 25
"""Maximum drift of an image either way, as a share of its shorter side: about 1/240 of it per frame."""
_MAX_CLIP_BYTES = 1_000_000_000

CASES = (
    *(Case(f"hands: tracked, 1 of max 1, {m}", "hands", m, 1, False, ONE_HAND_FRAMES) for m in _HANDS),
    *(Case(f"hands: tracked, 1 of max 2, {m}", "hands", m, 2, False, ONE_HAND_FRAMES) for m in _HANDS),
    *(Case(f"hands: stills, max 2, {m}", "hands", m, 2, True) for m in _HANDS),
    *(Case(f"face: tracked, {m}", "face", m, 1, False) for m in _MESHES),
    *(Case(f"face: stills, {m}", "face", m, 1, True) for m in _MESHES),
    *(Case(f"face: {m}", "face", m, 1, False) for m in _BOXES),
    Case(_FULL, "body", "full", 1, False),
    Case("body: stills, full", "body", "full", 1, True),
    Case("body: tracked, full, masks", "body", "full", 1, False, segmentation=True),
    *(Case(f"body: tracked, {m}", "body", m, 1, False, peer=False) for m in ("lite", "heavy")),
    Case("body: tracked, 2 of max 2, full", "body", "full", 2, False, copies=2, peer=False, against=_FULL),
    Case("holistic: tracked, full", "holistic", "full", 1, False),
)

TASK_CASES = (
    *(
        Case(f"hands: VIDEO, num_hands={n}", "hands", "full", n, False, ONE_HAND_FRAMES, bundle=_HAND_BUNDLE)
        for n in (1, 2)
    ),
    Case("face: VIDEO, blendshapes, matrices", "face", "attention", 1, False, bundle="face_landmarker.task"),
)
"""Cases of `mediapipe.tasks`."""


def save_bundle(name: str, path: Path) -> None:
    """Write a task bundle as a file that MediaPipe reads: a registered one, or one made of the published networks.

    Raises:
        InputError: Neither exists.
    """
    bundle = load_bundle(name)
    with zipfile.ZipFile(path, "w") as file:  # not compressed, as MediaPipe wants them
        for member in bundle.members:
            file.writestr(member, bundle.read(member))


def save_clip(media: str | Path | None, path: Path, max_frames: int, *, copies: int = 1) -> None:
    """Decode the first frames of a video into one `.npy` (N, H, W, 3) without loading the clip into memory.

    Args:
        media: Video, or an image that is turned into a drifting clip. None uses the bundled clip.
        path: File to write.
        max_frames: Maximum number of frames.
        copies: Number of copies of each image in its frame, placed in a row.

    Raises:
        InputError: There is nothing to read.
    """
    with open_media(media) as source, path.open("wb") as file:
        shape: tuple[int, ...] = ()
        count = 0
        for image in _images(source):
            rgb = np.ascontiguousarray(np.concatenate([image] * copies, axis=1))
            if count == 0:
                shape = rgb.shape
                max_frames = min(max_frames, max(_MAX_CLIP_BYTES // rgb.nbytes, 1))
                _write_header(file, (max_frames, *shape))
            if rgb.shape == shape:
                file.write(rgb.data)
                count += 1
            if count == max_frames:
                break
        if count == 0:
            raise InputError(f"{media} contains no frames: choose a video")
        file.seek(0)
        _write_header(file, (count, *shape))


@contextmanager
def open_media(media: str | Path | None) -> Generator[Source]:
    """Open the media of a case; None opens the bundled clip."""
    with ExitStack() as stack:
        if media is None:
            media = stack.enter_context(as_file(files("sonjit") / "_util" / "assets" / "demo.mp4"))
        yield stack.enter_context(open_source(media))


def check_media(case: Case, media: Mapping[str, str | Path]) -> None:
    """Raise InputError if a case has no medium. Only hands have a bundled clip."""
    if case.subject != "hands" and case.subject not in media:
        who = {"face": "one face", "body": "one person"}[case.subject]
        raise InputError(f"{case.kind}: no clip is bundled; give --{case.subject}-media a video or image of {who}")


def drifting(rgb: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield frames from one image: crops by whole pixels along a figure of eight, so that nothing is resampled.

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
    """Yield the images of a source; a single image drifts."""
    images = (frame.rgb for frame in source)
    first = list(islice(images, 2))
    return drifting(first[0]) if len(first) == 1 else chain(first, images)


def _write_header(file: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401  # numpy wants a write method
    """Write the header of a uint8 array. NumPy pads it, so that a later, smaller count fits in its place."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
