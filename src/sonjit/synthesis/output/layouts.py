"""The settings of a run, and how its samples lie in a folder: in chunks of scenes, so that a stopped run resumes.

A chunk's own file appears when all images of the chunk are there. What is written again after a stop is written with
the same bytes, under the same names.

Truth on disk: one JSON line for each image, in the form in which shards hold samples.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, NotRequired, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Image
from sonjit.datasets.checks import chosen_places
from sonjit.datasets.formats.shards import sample_from_dict, sample_to_dict
from sonjit.datasets.sample import Sample
from sonjit.errors import InputError
from sonjit.files import write_bytes
from sonjit.media.annotated.writers import encode_image
from sonjit.synthesis.hands.mesh import HandFiles
from sonjit.synthesis.render.drawable import Buffers
from sonjit.synthesis.scene.backgrounds import BackgroundFolder
from sonjit.synthesis.scene.factors import FACTORS, SEQUENCE_FACTORS, Factors
from sonjit.synthesis.scene.motions import MotionSource, NamedMotions, SeenMotion, load_motion
from sonjit.synthesis.scene.sampling import SceneSampler
from sonjit.synthesis.scene.scene import RigKind, check_rig

FolderFormat = Literal["coco", "interhand", "shards", "video"]

Extra = Literal["depth", "normals", "masks"]


@dataclass(frozen=True)
class SynthSettings:
    """What to render.

    Attributes:
        count: stills, or sequences.
        seed: of everything random.
        factors: `name=value` each, see `factors.Factors`.
        rig: of cameras.
        views: cameras.
        size: width and height in pixels.
        format: of the folder.
        extras: further images beside each.
        backgrounds: folder of images to cut backgrounds from; None for procedural ones.
        sequence: which, see `motions.NamedMotions.chosen`; None for stills.
        fps: frames a second of a sequence.
        poses: a table of hands seen in a video, whose motion is taken instead.
        hands: the user's own, instead of the catalog's.
    """

    count: int
    seed: int = 0
    factors: tuple[str, ...] = ()
    rig: RigKind = "webcam"
    views: int = 1
    size: tuple[int, int] = (256, 256)
    format: FolderFormat = "coco"
    extras: tuple[Extra, ...] = ()
    backgrounds: str | None = None
    sequence: str | None = None
    fps: float = 30.0
    poses: str | None = None
    hands: HandFiles | None = None

    def sampler(self) -> SceneSampler:
        """Samples the scenes.

        Raises:
            InputError: impossible settings.
        """
        for name, value, least in (("--count", self.count, 1), ("--seed", self.seed, 0)):
            if value < least:
                raise InputError(f"{name} {value}: give at least {least}")
        if not all(32 <= side <= 8192 for side in self.size):
            raise InputError(f"--size {self.size[0]}x{self.size[1]}: give 32 to 8192 pixels each way")
        check_rig(self.rig, self.views)
        images = None if self.backgrounds is None else BackgroundFolder(Path(self.backgrounds))
        motions = self._motions()
        factors = Factors(FACTORS if motions is None else SEQUENCE_FACTORS, self.factors)
        return SceneSampler(factors, self.seed, self.rig, self.views, self.size, images, motions, self.hands)

    @property
    def moves(self) -> bool:
        """Sequences are rendered, not stills."""
        return self.sequence is not None or self.poses is not None

    def _motions(self) -> MotionSource | None:
        if self.poses is not None:
            if self.sequence is not None:
                raise InputError(f"--poses {self.poses} with --sequence {self.sequence}: give one of them")
            load_motion(self.poses, self.hands)
            return SeenMotion(self.poses, self.hands)
        return None if self.sequence is None else NamedMotions.chosen(self.sequence, self.fps, self.hands)


TRUTH: Final = "truth"
LEAST_PIXELS: Final = 16
"""A hand of which less is visible is not labelled."""

_DEPTH_UNIT_M: Final = 1e-4


class CameraTruth(TypedDict):
    """A camera in a line of truth."""

    K: list[list[float]]
    R: list[list[float]]
    t: list[float]


class HandDetails(TypedDict):
    """What only rendered hands have, see `samples.render_samples`."""

    causes: list[str]
    palm_box: list[float]
    keypoints_world_m: list[list[float]]
    shape: dict[str, float]
    pose: dict[str, list[object]]
    instance: int
    group: dict[str, int]


class HandTruth(TypedDict):
    """A hand in a line of truth."""

    side: Literal["Left", "Right"]
    keypoints_px: list[list[float]]
    valid_px: list[bool]
    visible: list[bool]
    keypoints_m: list[list[float]]
    box: list[float]
    area_px2: NotRequired[float]
    mask: dict[str, object]
    category_id: int
    extra: HandDetails


class ImageTruth(TypedDict):
    """A line of truth: one image without its pixels."""

    id: str
    width: int
    height: int
    camera: CameraTruth
    instances: list[HandTruth]
    subject: str
    sequence: str
    frame: int
    view: str
    tags: dict[str, object]


class RenderedImage(NamedTuple):
    """One image with its labels.

    Attributes:
        number: of its still or sequence in the whole run.
        row: its place in its chunk.
        time_s: within its sequence.
        sample: its `image` is the image (H, W, 3); its id is left to the layout.
        buffers: what else the camera saw.
    """

    number: int
    row: int
    time_s: float
    sample: Sample
    buffers: Buffers


@dataclass(frozen=True)
class FolderLayout(ABC):
    """One form of a folder.

    Attributes:
        root: the folder.
        settings: of the run.
    """

    root: Path
    settings: SynthSettings

    images_per_chunk: ClassVar[int] = 32

    @property
    def per_chunk(self) -> int:
        """Stills in each chunk; a sequence is one of its own."""
        return 1 if self.settings.moves else max(1, self.images_per_chunk // self.settings.views)

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.settings.count // self.per_chunk)

    def numbers(self, chunk: int) -> range:
        """Stills or sequences of one chunk."""
        return range(chunk * self.per_chunk, min((chunk + 1) * self.per_chunk, self.settings.count))

    def check(self) -> None:
        """Refuse settings that this form cannot hold.

        Raises:
            InputError: names the setting.
        """
        return

    def chunk_path(self, chunk: int) -> Path:
        """The file that exists when the chunk is finished."""
        return self.root / TRUTH / f"{chunk:06d}.jsonl"

    @abstractmethod
    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Write one chunk."""

    @abstractmethod
    def finish(self, chunks: Sequence[int]) -> None:
        """Write what describes all finished chunks together."""

    @abstractmethod
    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Some samples spread over the finished chunks."""


class ImageLayout(FolderLayout):
    """Images as files, their truth in lines of JSON."""

    @abstractmethod
    def name(self, one: RenderedImage, chunk: int) -> str:
        """An image's name below the root."""

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Images first, then the chunk's truth."""
        lines: list[bytes] = []
        for one in images:
            name = self.name(one, chunk)
            write_bytes(self.root / name, encode_image(one.sample.rgb(), ".jpg"))
            lines.append(truth_line(one.sample, id=name))
            for kind in self.settings.extras:
                stem = name.partition("/")[2].rpartition(".")[0]
                write_bytes(self.root / kind / f"{stem}.png", png_bytes(_EXTRAS[kind](one.buffers)))
        write_bytes(self.chunk_path(chunk), b"".join(lines))

    def records(self, chunks: Iterable[int]) -> Iterator[ImageTruth]:
        """The truth of each image in some chunks, one at a time."""
        for number in chunks:
            yield from read_truth(self.chunk_path(number))

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """As evenly as whole chunks allow."""
        chosen = [chunks[place] for place in chosen_places(len(chunks), count, "spread")]
        records = [list(read_truth(self.chunk_path(number))) for number in chosen]
        pooled = [record for row in zip_longest(*records) for record in row if record][:count]
        return [sample_from_truth(record, self.root) for record in pooled]


def join(write: Callable[[str], object], texts: Iterable[str]) -> None:
    """Write the members of a JSON list or object, one a line."""
    for number, text in enumerate(texts):
        write(f",\n{text}" if number else text)


def png_bytes(image: Image | NDArray[np.uint16]) -> bytes:
    """An image (H, W) or (H, W, 3) as PNG."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _depth(buffers: Buffers) -> NDArray[np.uint16]:
    return np.round(buffers.depth / _DEPTH_UNIT_M).clip(0, 65535).astype(np.uint16)


def _normals(buffers: Buffers) -> Image:
    there = buffers.instances[..., None] > 0
    return np.where(there, np.round(buffers.normals * 127 + 128).clip(1, 255), 0).astype(np.uint8)


_EXTRAS: Final[dict[str, Callable[[Buffers], NDArray[Any]]]] = {
    "depth": _depth,
    "normals": _normals,
    "masks": attrgetter("instances"),
}


def truth_line(sample: Sample, **more: str) -> bytes:
    """A sample without its image as one line, with some of its fields set anew."""
    return json.dumps(sample_to_dict(sample) | more, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def read_truth(path: Path) -> Iterator[ImageTruth]:
    """The records of one file of truth.

    Raises:
        InputError: it is damaged.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run again") from None


def sample_from_truth(record: ImageTruth, root: Path) -> Sample:
    """The sample of a record whose image lies below a folder under the sample's id."""
    return sample_from_dict(dict(record), root / record["id"])
