"""Settings of a run, and the layout of its samples in a folder.

Samples are written in chunks of scenes, so that a stopped run resumes. The file of a chunk appears when all images of
the chunk are written. It contains the truth of each image as a JSON line in the form that shards use for samples.
Images that are written again after a stop have the same names and bytes.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, NotRequired, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit._util.files import write_bytes
from sonjit._util.json_text import json_from
from sonjit.lab.datasets.registry import spread_indices
from sonjit.lab.datasets.sample import Sample
from sonjit.lab.datasets.shards import sample_from_dict, sample_to_dict
from sonjit.lab.synthesis.hands.mesh import HandFiles
from sonjit.lab.synthesis.render.drawable import Buffers
from sonjit.lab.synthesis.scene.backgrounds import BackgroundFolder
from sonjit.lab.synthesis.scene.factors import FACTORS, SEQUENCE_FACTORS, Factors
from sonjit.lab.synthesis.scene.motions import NamedMotions, VideoMotion, load_motion
from sonjit.lab.synthesis.scene.sampling import SceneSampler
from sonjit.lab.synthesis.scene.scene import RigKind, check_rig
from sonjit.media.encode import encode_image

FolderFormat = Literal["coco", "interhand", "shards", "video"]

Extra = Literal["depth", "normals", "masks"]


TRUTH: Final = "truth"
MIN_PIXELS: Final = 16
_MAX_COUNT: Final = 10**8
"""Minimum visible pixels of a labelled hand."""
_DEPTH_UNIT_M: Final = 1e-4


@dataclass(frozen=True)
class SynthSettings:
    """Settings of a run.

    Attributes:
        count: Number of stills or sequences.
        seed: Seed of all random choices.
        factors: Texts `name=value`, see `factors.Factors`.
        rig: Kind of camera rig.
        views: Number of cameras.
        size: Width and height in pixels.
        format: Format of the folder.
        extras: Additional images written for each image.
        backgrounds: Folder of images to cut backgrounds from; None for procedural ones.
        sequence: Sequences to choose from, see `motions.NamedMotions.chosen`; None for stills.
        fps: Frames per second of a sequence.
        poses: Table of detected hands in a video, which define the motion.
        hands: Files of the user's own hands; None for the catalog's rig.
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
        """Return the sampler of the scenes.

        Raises:
            InputError: The settings are impossible.
        """
        for name, value, least in (("--count", self.count, 1), ("--seed", self.seed, 0)):
            if value < least:
                raise InputError(f"{name} {value}: must be at least {least}")
        if self.count > _MAX_COUNT:
            raise InputError(f"--count {self.count}: must be at most {_MAX_COUNT}")
        if not all(32 <= side <= 8192 for side in self.size):
            raise InputError(f"--size {self.size[0]}x{self.size[1]}: must be 32 to 8192 pixels each")
        check_rig(self.rig, self.views)
        images = None if self.backgrounds is None else BackgroundFolder(Path(self.backgrounds))
        motions = self._motions()
        factors = Factors(FACTORS if motions is None else SEQUENCE_FACTORS, self.factors)
        return SceneSampler(
            factors=factors,
            seed=self.seed,
            rig=self.rig,
            views=self.views,
            size=self.size,
            images=images,
            motions=motions,
            files=self.hands,
        )

    @property
    def moves(self) -> bool:
        """Return whether sequences are rendered, not stills."""
        return self.sequence is not None or self.poses is not None

    def _motions(self) -> NamedMotions | VideoMotion | None:
        if self.poses is not None:
            if self.sequence is not None:
                raise InputError("--poses cannot be combined with --sequence")
            load_motion(self.poses, self.hands)
            return VideoMotion(self.poses, self.hands)
        return None if self.sequence is None else NamedMotions.chosen(self.sequence, self.fps, self.hands)


class CameraTruth(TypedDict):
    """Camera in a line of truth."""

    K: list[list[float]]
    R: list[list[float]]
    t: list[float]


class HandDetails(TypedDict):
    """Values that only rendered hands have, see `samples.render_samples`."""

    causes: list[str]
    palm_box: list[float]
    keypoints_world_m: list[list[float]]
    shape: dict[str, float]
    pose: dict[str, list[object]]
    instance: int
    group: dict[str, int]


class HandTruth(TypedDict):
    """Hand in a line of truth."""

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
    """Line of truth: one image without its pixels."""

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
    """Image with its labels.

    Attributes:
        number: Index of its still or sequence in the run.
        row: Index in its chunk.
        time_s: Time within its sequence, seconds.
        sample: Sample whose `image` is the array (H, W, 3); the layout sets its id.
        buffers: Other buffers of the camera.
    """

    number: int
    row: int
    time_s: float
    sample: Sample
    buffers: Buffers


@dataclass(frozen=True)
class FolderLayout(ABC):
    """Layout of a folder.

    Attributes:
        root: Folder.
        settings: Settings of the run.
    """

    root: Path
    settings: SynthSettings

    images_per_chunk: ClassVar[int] = 32

    @property
    def per_chunk(self) -> int:
        """Return the number of stills per chunk; a sequence is a chunk of its own."""
        return 1 if self.settings.moves else max(1, self.images_per_chunk // self.settings.views)

    @property
    def chunks(self) -> int:
        """Return the number of chunks."""
        return -(-self.settings.count // self.per_chunk)

    def numbers(self, chunk: int) -> range:
        """Return the indices of the stills or sequences of a chunk."""
        return range(chunk * self.per_chunk, min((chunk + 1) * self.per_chunk, self.settings.count))

    def check(self) -> None:
        """Refuse settings that this layout cannot store.

        Raises:
            InputError: The message names the setting.
        """
        return

    def chunk_path(self, chunk: int) -> Path:
        """Return the file that exists when the chunk is finished."""
        return self.root / TRUTH / f"{chunk:06d}.jsonl"

    @abstractmethod
    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Write one chunk."""

    @abstractmethod
    def finish(self, chunks: Sequence[int]) -> None:
        """Write the files that describe all finished chunks together."""

    @abstractmethod
    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Return some samples spread over the finished chunks."""


class ImageLayout(FolderLayout):
    """Images as files, their truth in lines of JSON."""

    @abstractmethod
    def name(self, image: RenderedImage, chunk: int) -> str:
        """Return an image's name below the root."""

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Write the images, then the chunk's truth."""
        lines: list[bytes] = []
        for image in images:
            name = self.name(image, chunk)
            write_bytes(self.root / name, encode_image(image.sample.rgb(), ".jpg"))
            lines.append(truth_line(image.sample, id=name))
            for kind in self.settings.extras:
                write_bytes(
                    self.extra_path(kind, name),
                    encode_image(_extra_image(kind, image.buffers), ".png", (cv2.IMWRITE_PNG_COMPRESSION, 1)),
                )
        write_bytes(self.chunk_path(chunk), b"".join(lines))

    def extra_path(self, kind: Extra, name: str) -> Path:
        """Return the path of an additional image of the image with a name."""
        return self.root / kind / f"{name.partition('/')[2].rpartition('.')[0]}.png"

    def records(self, chunks: Iterable[int]) -> Iterator[ImageTruth]:
        """Yield the truth of each image in some chunks."""
        for number in chunks:
            yield from read_truth(self.chunk_path(number))

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Return samples spread over the chunks as evenly as complete chunks allow."""
        chosen = [chunks[index] for index in spread_indices(len(chunks), count, "spread")]
        records = [list(read_truth(self.chunk_path(number))) for number in chosen]
        pooled = [record for row in zip_longest(*records) for record in row if record][:count]
        return [sample_from_truth(record, self.root) for record in pooled]


def join(write: Callable[[str], object], texts: Iterable[str]) -> None:
    """Write the members of a JSON list or object, one per line."""
    for number, text in enumerate(texts):
        write(f",\n{text}" if number else text)


def _extra_image(kind: Extra, buffers: Buffers) -> NDArray[Any]:
    """Return an additional image of a kind."""
    match kind:
        case "depth":
            return np.round(buffers.depth / _DEPTH_UNIT_M).clip(0, 65535).astype(np.uint16)
        case "normals":
            return _normals(buffers)
        case "masks":
            return buffers.instances


def _normals(buffers: Buffers) -> Image:
    is_foreground = buffers.instances[..., None] > 0
    return np.where(is_foreground, np.round(buffers.normals * 127 + 128).clip(1, 255), 0).astype(np.uint8)


def truth_line(sample: Sample, **more: str) -> bytes:
    """Return a sample without its image as one line, with some of its fields replaced."""
    return json_from(sample_to_dict(sample) | more, sort_keys=True).encode() + b"\n"


def read_truth(path: Path) -> Iterator[ImageTruth]:
    """Yield the records of one file of truth.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run again") from None


def sample_from_truth(record: ImageTruth, root: Path) -> Sample:
    """Return the sample of a record, whose image is the file below `root` named by the sample's id."""
    return sample_from_dict(dict(record), root / record["id"])
