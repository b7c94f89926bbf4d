"""What is measured, on what machine and on which frames: decoded once before, in a file that is read frame by frame."""

from __future__ import annotations

import math
import os
import platform
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from itertools import chain, islice
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sonjit.detectors.kinds import KINDS
from sonjit.engines.processor import processor_flags, processor_name
from sonjit.errors import InputError
from sonjit.media import Source, open_source
from sonjit.weights import load_bundle

ONE_HAND_FRAMES = 75
"""Frames at the start of the bundled clip with exactly one hand in the image; a second one enters after them."""


@dataclass(frozen=True)
class Case:
    """One configuration to measure.

    Attributes:
        name: for the table.
        kind, model, max_instances, static_image, segmentation: as `create_detector` takes them.
        clip_frames: how many frames of the bundled clip are used, played there and back; None for all.
        copies: how often each image is in the frame, side by side.
        peer: whether MediaPipe can do the same: its wheel holds only the full body, and it finds one body at most.
        against: name of the case before, of which this one's cost is a multiple worth knowing.
        bundle: name of the task bundle where both sides run `mediapipe.tasks`; None for Sonjit's own interface beside
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
        """Names of the published files that it loads."""
        if self.kind == "face" and self.bundle is not None:
            return ()  # a face landmarker's are in no package
        return tuple(KINDS[self.kind].models[self.model].weights.values())

    @property
    def subject(self) -> str:
        """Whose images it needs: "hands", "face" or "body"."""
        return "body" if self.kind == "holistic" else self.kind


_HANDS, _MESHES, _BOXES = ("full", "lite"), ("mesh", "attention"), ("box", "box-full")
_FULL = "body: tracked, full"

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

_HAND_BUNDLE = "hand_landmarker.task"
TASK_CASES = (
    *(
        Case(f"hands: VIDEO, num_hands={n}", "hands", "full", n, False, ONE_HAND_FRAMES, bundle=_HAND_BUNDLE)
        for n in (1, 2)
    ),
    Case("face: VIDEO, blendshapes, matrices", "face", "attention", 1, False, bundle="face_landmarker.task"),
)
"""Those of `mediapipe.tasks`."""

_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")


class Machine(TypedDict):
    """Time, operating system, processor, cores, the instruction sets that matter for networks, load."""

    date: str
    system: str
    cpu: str
    cores: int | None
    flags: list[str]
    load_before: float | None
    load_after: NotRequired[float | None]


def describe_machine() -> Machine:
    """This machine, before anything is measured."""
    has = processor_flags()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in has],
        "load_before": load_average(),
    }


def load_average() -> float | None:
    """Processes that wanted to run over the last minute; None where the system does not report it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


DRIFT_FRAMES = 60
"""Distinct frames that a single image is made into."""
_DRIFT = 1 / 25
"""How far an image drifts either way, in its shorter side: about 1/240 of it per frame."""
_MOST_CLIP_BYTES = 1_000_000_000


def save_bundle(name: str, path: Path) -> None:
    """Write a task bundle as a file that MediaPipe takes too: one that is registered, or of the published networks.

    Raises:
        InputError: there is neither.
    """
    bundle = load_bundle(name)
    with zipfile.ZipFile(path, "w") as file:  # not compressed, as MediaPipe wants them
        for member in bundle.members:
            file.writestr(member, bundle.read(member))


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
