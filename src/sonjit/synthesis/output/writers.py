"""Folders of rendered images: COCO, the layout of InterHand2.6M, WebDataset shards, videos.

COCO has the fields that `open_dataset("folder", …)` reads and some more. In InterHand2.6M (https://mks0601.github.io/
InterHand2.6M, units in `datasets.hands.interhand`) a capture has cameras of its own: a still is a capture, as is a
sequence. A shard is a chunk. Of a sequence there is a video for each camera, its truth in JSON beside it.
"""

from __future__ import annotations

import json
import tarfile
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypedDict

import av
import numpy as np

from sonjit._version import __version__
from sonjit.arrays import FloatArray, Image
from sonjit.datasets import open_dataset
from sonjit.datasets.checks import chosen_places
from sonjit.datasets.formats.coco import mask_from_segmentation
from sonjit.datasets.formats.shards import INDEX, add_sample, instance_to_dict, plain, shard_name
from sonjit.datasets.hands.interhand import annotation_record, cameras_record, joints_record, skeleton_lines
from sonjit.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit.errors import InputError
from sonjit.files import atomic_file, atomic_text, write_text
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.media.annotated.writers import encode_image
from sonjit.skeletons import load_skeleton
from sonjit.synthesis.output.layouts import (
    LEAST_PIXELS,
    FolderLayout,
    HandTruth,
    ImageLayout,
    ImageTruth,
    RenderedImage,
    join,
)
from sonjit.synthesis.output.samples import DATASET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from av.video.stream import VideoStream

COCO: Final = "coco.json"
_OF_IMAGE: Final = ("subject", "sequence", "frame", "view", "tags")
_OF_HAND: Final = ("group", "causes", "palm_box", "keypoints_world_m", "shape", "pose", "instance")


class CocoLayout(ImageLayout):
    """`coco.json`, its images in `images`."""

    def name(self, one: RenderedImage, chunk: int) -> str:
        """In a folder for each chunk, so that none grows too large."""
        return f"images/{chunk:06d}/{one.row:06d}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """One pass over the truth for the annotations, one for the images: nothing is held in memory."""
        skeleton = load_skeleton("hand_mediapipe21")
        names, lines = list(skeleton.keypoints), [[a + 1, b + 1] for a, b in skeleton.connections]
        categories = [
            {"id": number, "name": f"{side}_hand", "supercategory": "hand", "keypoints": names, "skeleton": lines}
            for number, side in enumerate(("left", "right"), 1)
        ]
        info = {"description": "hands rendered by Sonjit", "version": __version__, "seed": self.settings.seed}
        with atomic_text(self.root / COCO) as file:
            file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},\n"annotations": [\n')
            join(file.write, (json.dumps(one) for one in self._annotations(chunks)))
            file.write('\n],\n"images": [\n')
            join(file.write, (json.dumps(_image(*one)) for one in enumerate(self.records(chunks), 1)))
            file.write("\n]}\n")

    def _annotations(self, chunks: Sequence[int]) -> Iterator[dict[str, object]]:
        count = 0
        for image, record in enumerate(self.records(chunks), 1):
            for one in record["instances"]:
                if one.get("area_px2", 0) >= LEAST_PIXELS:
                    count += 1
                    yield _annotation(count, image, one)


def _image(number: int, record: ImageTruth) -> dict[str, object]:
    camera: Mapping[str, object] = record["camera"]
    fields: Mapping[str, object] = record
    return {
        "id": number,
        "file_name": record["id"],
        "width": record["width"],
        "height": record["height"],
        "camera": {("t_m" if name == "t" else name): value for name, value in camera.items()},
        **{name: fields[name] for name in _OF_IMAGE if name in fields},
    }


def _annotation(number: int, image: int, one: HandTruth) -> dict[str, object]:
    details: Mapping[str, object] = one["extra"]
    x_min, y_min, x_max, y_max = one["box"]
    points: list[float] = []
    for (x, y), valid, seen in zip(one["keypoints_px"], one["valid_px"], one["visible"], strict=True):
        points += [x, y, 2 if seen else 1] if valid else [0, 0, 0]
    return {
        "id": number,
        "image_id": image,
        "category_id": one["category_id"],
        "iscrowd": 0,
        "hand_side": one["side"].lower(),
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": one.get("area_px2", 0),
        "segmentation": one["mask"],
        "num_keypoints": sum(one["valid_px"]),
        "keypoints": points,
        "keypoints3d": [[round(1000 * value, 3) for value in point] for point in one["keypoints_m"]],
        **{name: details[name] for name in _OF_HAND},
    }


SPLIT: Final = "train"
_SIDES: Final = ("Right", "Left")


class InterHandLayout(ImageLayout):
    """`images/train/Capture{c}/{sequence}/cam{camera}/image{frame}.jpg` and `annotations/train`."""

    def name(self, one: RenderedImage, chunk: int) -> str:
        """As the set names its images."""
        sample = one.sample
        folder = f"Capture{one.number}/{sample.sequence}/cam{sample.view}"
        return f"images/{SPLIT}/{folder}/image{sample.frame}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """All annotations; each file is a pass over the truth."""
        folder = self.root / "annotations"
        stem = folder / SPLIT / f"InterHand2.6M_{SPLIT}"
        write_text(folder / "skeleton.txt", skeleton_lines())
        with atomic_text(stem.with_name(f"{stem.name}_data.json")) as file:
            file.write('{"images": [\n')
            join(file.write, (json.dumps(_interhand_image(number, one)) for number, one in self._numbered(chunks)))
            file.write('\n],\n"annotations": [\n')
            join(
                file.write,
                (
                    json.dumps(_interhand_record(number, one))
                    for number, one in self._numbered(chunks)
                    if one["instances"]
                ),
            )
            file.write("\n]}\n")
        with atomic_text(stem.with_name(f"{stem.name}_camera.json")) as file:
            self._write_captures(file.write, chunks, _cameras)
        with atomic_text(stem.with_name(f"{stem.name}_joint_3d.json")) as file:
            self._write_captures(file.write, chunks, _joints)

    def _numbered(self, chunks: Sequence[int]) -> Iterator[tuple[int, ImageTruth]]:
        return enumerate(self.records(chunks), 1)

    def _write_captures(
        self, write: Callable[[str], object], chunks: Sequence[int], make: Callable[[Iterator[ImageTruth]], object]
    ) -> None:
        """`{capture: what is made of its records}`; a capture's records follow each other."""
        write("{\n")
        captures = groupby(self.records(chunks), _capture)
        join(write, (f"{json.dumps(capture)}: {json.dumps(make(ones))}" for capture, ones in captures))
        write("\n}\n")


def _capture(record: ImageTruth) -> str:
    return record["id"].split("/")[2].removeprefix("Capture")


def _interhand_image(number: int, record: ImageTruth) -> dict[str, object]:
    return {
        "id": number,
        "file_name": record["id"].removeprefix(f"images/{SPLIT}/"),
        "width": record["width"],
        "height": record["height"],
        "capture": int(_capture(record)),
        "subject": record["subject"],
        "seq_name": record["sequence"],
        "camera": record["view"],
        "frame_idx": record["frame"],
    }


def _interhand_record(number: int, record: ImageTruth) -> Mapping[str, object]:
    points = _of_sides(record, lambda one: one["keypoints_px"], 2)
    there = [[any(one["side"] == side for one in record["instances"])] * 21 for side in _SIDES]
    return annotation_record(number, points, np.array(there))


def _cameras(records: Iterator[ImageTruth]) -> Mapping[str, object]:
    cameras = {one["view"]: one["camera"] for one in records}
    return cameras_record(
        {view: (np.array(one["K"]), np.array(one["R"]), np.array(one["t"])) for view, one in cameras.items()}
    )


def _joints(records: Iterator[ImageTruth]) -> Mapping[str, object]:
    frames: dict[str, object] = {}
    for record in records:
        if str(record["frame"]) not in frames and record["instances"]:
            points = _of_sides(record, lambda one: one["extra"]["keypoints_world_m"], 3)
            frames[str(record["frame"])] = joints_record(points)
    return frames


def _of_sides(record: ImageTruth, points_of: Callable[[HandTruth], list[list[float]]], size: int) -> FloatArray:
    """(2, 21, size) of the right and the left hand; NaN without."""
    points = np.full((2, 21, size), np.nan)
    for one in record["instances"]:
        points[_SIDES.index(one["side"])] = points_of(one)
    return points


class ShardLayout(FolderLayout):
    """`000000.tar`, `000001.tar` ... and `index.json`."""

    images_per_chunk: ClassVar[int] = 512

    def check(self) -> None:
        """A shard holds an image and its labels, nothing else."""
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]}: shards hold no further images; name another --format")
        if self.settings.moves:
            raise InputError("--format shards: shards are of equal length and sequences are not; name another --format")

    def chunk_path(self, chunk: int) -> Path:
        """The shard itself."""
        return self.root / shard_name(chunk)

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Sample by sample."""
        first = self.numbers(chunk).start * self.settings.views
        path = self.chunk_path(chunk)
        with atomic_file(path) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
            for one in images:
                seen = tuple(hand for hand in one.sample.instances if (hand.area_px2 or 0) >= LEAST_PIXELS)
                place = first + one.row
                sample = replace(
                    one.sample, id=f"{place:08d}", image=encode_image(one.sample.rgb(), ".jpg"), instances=seen
                )
                add_sample(tar, place, sample)

    def finish(self, chunks: Sequence[int]) -> None:
        """The index names as many as are there without a gap."""
        gap = next((number for number, there in enumerate(chunks) if number != there), len(chunks))
        index = {
            "dataset": DATASET,
            "split": "all",
            "licence": "your own",
            "samples": min(gap * self.per_chunk, self.settings.count) * self.settings.views,
            "per_shard": self.per_chunk * self.settings.views,
        }
        write_text(self.root / INDEX, json.dumps(index, indent=1) + "\n")

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """From the shards up to the first gap."""
        dataset = open_dataset("shards", self.root, check="none")
        return [dataset[place] for place in chosen_places(len(dataset), count, "spread")]


_OPTIONS: Final = {"preset": "veryfast", "crf": "18", "threads": "1", "x264-params": "mbtree=0:weightp=0"}
"""One thread, and nothing of x264 that encodes the same images to other bytes now and then."""
_TICKS: Final = 90_000

_OF_VIDEO_HAND: Final = ("causes", "palm_box", "shape", "pose")


class _Clip:
    """One camera's video and truth, while they are written."""

    def __init__(self, stack: ExitStack, path: Path, fps: float, first: Sample) -> None:
        draft = stack.enter_context(atomic_file(path))
        self._container = stack.enter_context(av.open(str(draft), "w", format="mp4"))
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=_OPTIONS)  # pyright: ignore[reportUnknownMemberType]
        self._stream.width, self._stream.height, self._stream.pix_fmt = first.width, first.height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._truth: TextIO = stack.enter_context(atomic_text(path.with_suffix(".json")))
        self._truth.write(json.dumps(_head(first, fps))[:-1] + ',\n"frames": [\n')
        self._count = 0

    def write(self, sample: Sample, time: float) -> None:
        """One frame."""
        frame = av.VideoFrame.from_ndarray(sample.rgb(), format="rgb24")
        frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        hands = [_hand(instance_to_dict(one)) for one in sample.instances]
        line = json.dumps({"index": self._count, "time": round(time, 6), "hands": hands}, separators=(",", ":"))
        self._truth.write(f",\n{line}" if self._count else line)
        self._count += 1

    def finish(self) -> None:
        """The last frames of the encoder, and the end of the JSON."""
        self._container.mux(self._stream.encode(None))
        self._truth.write("\n]}\n")


class VideoLayout(FolderLayout):
    """`videos/{sequence}/cam{camera}.mp4` and `.json`."""

    def check(self) -> None:
        """A video needs a motion, and has images of one kind."""
        if not self.settings.moves:
            raise InputError("--format video: name a motion too, --sequence any or --poses hands.json")
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]}: a video holds no further images; name another --format")
        if any(side % 2 for side in self.settings.size):
            width, height = self.settings.size
            raise InputError(f"--size {width}x{height}: videos are of even width and height")

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """All cameras' videos at once, then the list of them."""
        clips: dict[str, _Clip] = {}
        names: list[str] = []
        with ExitStack() as stack:
            for one in images:
                sample = one.sample
                assert sample.view is not None
                if sample.view not in clips:
                    names.append(f"videos/{sample.sequence}/cam{sample.view}.mp4")
                    clips[sample.view] = _Clip(stack, self.root / names[-1], self.settings.fps, sample)
                clips[sample.view].write(sample, one.time_s)
            for clip in clips.values():
                clip.finish()
        write_text(self.chunk_path(chunk), json.dumps(names) + "\n")

    def finish(self, chunks: Sequence[int]) -> None:
        """Each video has its own truth."""

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """From the middles of the videos."""
        names = [name for chunk in chunks for name in json.loads(self.chunk_path(chunk).read_text("utf-8"))]
        samples: list[Sample] = []
        for name in (names[place] for place in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)):
            truth: _VideoTruth = json.loads((self.root / name).with_suffix(".json").read_text("utf-8"))
            wanted = len(truth["frames"]) // 3
            with open_source(self.root / name) as source:
                rgb = next(frame.rgb for frame in source if frame.index == wanted)
            samples.append(_sample(truth, wanted, name, rgb))
        return samples


class _VideoHand(TypedDict):
    handedness: Literal["Left", "Right"]
    xy: list[list[float]]
    xyz_m: list[list[float]]
    box: tuple[float, float, float, float] | None
    mask: Any
    causes: list[str]
    palm_box: list[float]
    shape: dict[str, float]
    pose: dict[str, list[object]]


class _VideoFrame(TypedDict):
    index: int
    time: float
    hands: list[_VideoHand]


class _VideoTruth(TypedDict):
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    frames: list[_VideoFrame]


def _head(first: Sample, fps: float) -> dict[str, object]:
    """What is the same for all frames."""
    camera = first.camera
    assert camera is not None
    eye = camera.intrinsics
    return {
        "width": first.width,
        "height": first.height,
        "fps": fps,
        **{name: getattr(eye, name) for name in ("fx", "fy", "cx", "cy")},
        "R": plain(camera.R),
        "t_m": plain(camera.t),
        "sequence": first.sequence,
        "view": first.view,
        "factors": plain(first.tags),
    }


def _hand(one: Mapping[str, Any]) -> dict[str, object]:
    return {
        "handedness": one["side"],
        "xy": one["keypoints_px"],
        "xyz_m": one["keypoints_m"],
        "box": one.get("box"),
        "mask": one["mask"],
        **{name: one["extra"][name] for name in _OF_VIDEO_HAND},
    }


def _sample(truth: _VideoTruth, frame: int, name: str, rgb: Image) -> Sample:
    """One frame of a video as a sample."""
    hands = truth["frames"][frame]["hands"]
    eye = np.array([[truth["fx"], 0, truth["cx"]], [0, truth["fy"], truth["cy"]], [0, 0, 1]])
    return Sample(
        dataset=DATASET,
        id=f"{name} {frame}",
        image=rgb,
        width=truth["width"],
        height=truth["height"],
        instances=tuple(
            Instance(
                kind="hand",
                side=one["handedness"],
                skeleton=HAND_SKELETON,
                keypoints_px=np.array(one["xy"], np.float64),
                visible=np.array(one["causes"]) == "visible",
                keypoints_m=np.array(one["xyz_m"], np.float64),
                box=one["box"],
                read_mask=partial(mask_from_segmentation, one["mask"], truth["height"], truth["width"]),
            )
            for one in hands
        ),
        camera=CalibratedCamera(eye),
    )
