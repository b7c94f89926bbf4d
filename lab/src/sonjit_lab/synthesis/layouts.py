"""Render a run into a folder as COCO, InterHand2.6M or videos.

Samples are rendered in several processes and written in chunks of scenes, so that a stopped run resumes. The file of a
chunk appears when all images of the chunk are written. It contains the truth of each image as a JSON line in the form
of `sample_to_dict`. Images that are written again after a stop have the same names and bytes.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TextIO, TypeAlias

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from sonjit._util import BoolArray, FloatArray, Image, InputError, files, json_from, version
from sonjit._util.data_files import read_json, write_json
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.media.sources.images import encode_image
from sonjit.results.skeletons import load_skeleton
from sonjit.segmentation.coco import rle_from_mask
from sonjit_lab.datasets import coco, convert, interhand, sheets
from sonjit_lab.datasets.sample import CORNER_PIXEL, HAND_SKELETON, Instance, Sample
from sonjit_lab.synthesis.backgrounds import BackgroundFolder
from sonjit_lab.synthesis.factors import FACTORS, SEQUENCE_FACTORS, Factors
from sonjit_lab.synthesis.hand_meshes import HandFiles
from sonjit_lab.synthesis.hands import ARM, GLOVE
from sonjit_lab.synthesis.motions import NamedMotions, VideoMotion, load_motion
from sonjit_lab.synthesis.renderer import Buffers
from sonjit_lab.synthesis.scenes import DATASET, FIRST_OBJECT, RigKind, SceneSampler, check_rig

Record: TypeAlias = Mapping[str, Any]  # a line of truth: one image without its pixels
FolderFormat = Literal["coco", "interhand", "video"]
Extra = Literal["depth", "normals", "masks"]
TRUTH: Final = "truth"
MIN_PIXELS: Final = 16  # minimum visible pixels of a labelled hand
_MAX_COUNT: Final = 10**8
_IMAGES_PER_CHUNK: Final = 32
_DEPTH_UNIT_M: Final = 1e-4
COCO: Final = "coco.json"
INSTANCES: Final = "masks/instances.json"
_INSTANCE_CATEGORIES: Final = ("left_hand", "right_hand", "arm", "object")
_IMAGE_FIELDS: Final = ("subject", "sequence", "frame", "view", "tags")
_HAND_FIELDS: Final = ("group", "causes", "palm_box", "keypoints_world_m", "shape", "pose", "instance")
SPLIT: Final = "train"
_SIDES: Final = ("Right", "Left")
_ENCODER_OPTIONS: Final = {"preset": "veryfast", "crf": "18", "threads": "1", "x264-params": "mbtree=0:weightp=0"}
"""Encoder options: one thread, and no x264 feature that may encode the same images to other bytes."""
_TICKS_PER_SECOND: Final = 90_000
_VIDEO_HAND_FIELDS: Final = ("causes", "palm_box", "shape", "pose")
SHEET: Final = "sheet.jpg"


@dataclass(frozen=True)
class SynthSettings:
    """Settings of a run."""

    count: int  # number of stills or sequences
    seed: int = 0  # seed of all random choices
    factors: tuple[str, ...] = ()  # texts `name=value`, see `factors.Factors`
    rig: RigKind = "webcam"  # kind of camera rig
    views: int = 1  # number of cameras
    size: tuple[int, int] = (256, 256)  # width and height in pixels
    format: FolderFormat = "coco"  # format of the folder
    extras: tuple[Extra, ...] = ()  # additional images written for each image
    backgrounds: str | None = None  # folder of images to cut backgrounds from; None for procedural ones
    sequence: str | None = None  # sequences to choose from, see `motions.NamedMotions.chosen`; None for stills
    fps: float = 30.0  # frames per second of a sequence
    poses: str | None = None  # table of detected hands in a video, which define the motion
    hands: HandFiles | None = None  # files of the user's own hands; None for the catalog's rig

    def sampler(self) -> SceneSampler:
        """Return the sampler of the scenes."""
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
        return SceneSampler(factors, self.seed, self.rig, self.views, self.size, images, motions, self.hands)

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


class RenderedImage(NamedTuple):
    """Image with its labels."""

    number: int  # index of its still or sequence in the run
    row: int  # index in its chunk
    time_s: float  # time within its sequence, seconds
    sample: Sample  # sample whose `image` is the array (H, W, 3); the layout sets its id
    buffers: Buffers  # other buffers of the camera


@dataclass(frozen=True)
class FolderLayout(ABC):
    """Layout of a folder."""

    root: Path  # folder
    settings: SynthSettings  # settings of the run

    @property
    def per_chunk(self) -> int:
        """Return the number of stills per chunk; a sequence is a chunk of its own."""
        return 1 if self.settings.moves else max(1, _IMAGES_PER_CHUNK // self.settings.views)

    @property
    def chunks(self) -> int:
        """Return the number of chunks."""
        return -(-self.settings.count // self.per_chunk)

    def numbers(self, chunk: int) -> range:
        """Return the indices of the stills or sequences of a chunk."""
        return range(chunk * self.per_chunk, min((chunk + 1) * self.per_chunk, self.settings.count))

    def check(self) -> None:
        """Refuse settings that this layout cannot store."""
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
        lines: list[str] = []
        for image in images:
            name = self.name(image, chunk)
            files.write_bytes(self.root / name, encode_image(image.sample.rgb(), ".jpg"))
            lines.append(json_from(convert.sample_to_dict(image.sample) | {"id": name}, sort_keys=True) + "\n")
            for kind in self.settings.extras:
                png = encode_image(_extra_image(kind, image.buffers), ".png", (cv2.IMWRITE_PNG_COMPRESSION, 1))
                files.write_bytes(self.extra_path(kind, name), png)
        files.write_bytes(self.chunk_path(chunk), "".join(lines).encode())

    def extra_path(self, kind: Extra, name: str) -> Path:
        """Return the path of an additional image of the image with a name."""
        return self.root / kind / f"{name.partition('/')[2].rpartition('.')[0]}.png"

    def records(self, chunks: Iterable[int]) -> Iterator[Record]:
        """Yield the truth of each image in some chunks."""
        for number in chunks:
            yield from read_truth(self.chunk_path(number))

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Return samples spread over the chunks as evenly as complete chunks allow."""
        chosen = [chunks[index] for index in sheets.spread_indices(len(chunks), count, "spread")]
        records = [list(read_truth(self.chunk_path(number))) for number in chosen]
        pooled = [record for row in zip_longest(*records) for record in row if record][:count]
        return [convert.sample_from_dict(dict(record), self.root / record["id"]) for record in pooled]


def _extra_image(kind: Extra, buffers: Buffers) -> NDArray[Any]:
    """Return an additional image of a kind."""
    match kind:
        case "depth":
            return np.round(buffers.depth / _DEPTH_UNIT_M).clip(0, 65535).astype(np.uint16)
        case "normals":
            normals = np.round(buffers.normals * 127 + 128).clip(1, 255)
            return np.where(buffers.instances[..., None] > 0, normals, 0).astype(np.uint8)
        case "masks":
            return buffers.instances


def read_truth(path: Path) -> Iterator[Record]:
    """Yield the records of one file of truth: each is a sample without its image."""
    try:
        with path.open("rb") as file:
            yield from map(json.loads, file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run again") from None


def _write_lists(path: Path, head: str, lists: Mapping[str, Iterable[object]]) -> None:
    """Write a JSON object of lists, a line per member, without loading them."""
    with files.atomic_text(path) as file:
        file.write("{" + head)
        for number, (name, items) in enumerate(lists.items()):
            file.write((",\n" if number else "") + f'"{name}": [\n')
            _join(file.write, (json_from(item, spaced=True) for item in items))
            file.write("\n]")
        file.write("}\n")


def _join(write: Callable[[str], object], texts: Iterable[str]) -> None:
    for number, text in enumerate(texts):
        write(f",\n{text}" if number else text)


class CocoLayout(ImageLayout):
    """`coco.json`, its images in `images`."""

    def name(self, image: RenderedImage, chunk: int) -> str:
        """Return a name in a folder for each chunk, so that no folder grows too large."""
        return f"images/{chunk:06d}/{image.row:06d}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """Write the annotations in one pass over the truth and the images in another, without loading all of it."""
        skeleton = load_skeleton("hand_mediapipe21")
        names, lines = list(skeleton.keypoints), [[a + 1, b + 1] for a, b in skeleton.connections]
        categories = [
            {"id": number, "name": f"{side}_hand", "supercategory": "hand", "keypoints": names, "skeleton": lines}
            for number, side in enumerate(("left", "right"), 1)
        ]
        info = {"description": coco.RENDERED, "version": version.__version__, "seed": self.settings.seed}
        info |= {"pixel_centre": CORNER_PIXEL}
        head = f'"info": {json_from(info, spaced=True)},\n"categories": {json_from(categories, spaced=True)},\n'
        images = (_image(*item) for item in enumerate(self.records(chunks), 1))
        _write_lists(self.root / COCO, head, {"annotations": self._annotations(chunks), "images": images})
        if "masks" in self.settings.extras:
            self._write_instances(chunks)

    def _write_instances(self, chunks: Sequence[int]) -> None:
        """Write the masks of hands, arms and objects as instances in COCO's format, for `sonjit train mask-rcnn`."""
        categories = [{"id": number, "name": name} for number, name in enumerate(_INSTANCE_CATEGORIES, 1)]
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for record in self.records(chunks):
            size = {name: record[name] for name in ("width", "height")}
            image_fields = {name: record[name] for name in _IMAGE_FIELDS if name in record}
            images.append(
                {"id": len(images) + 1, "file_name": record["id"].removeprefix("images/"), **size, **image_fields}
            )
            mask = cv2.imread(str(self.extra_path("masks", record["id"])), cv2.IMREAD_UNCHANGED)
            assert mask is not None
            instances: list[tuple[list[int], int]] = []
            for hand in record["instances"]:
                number = int(hand["extra"]["instance"])
                instances.append(([number, number + GLOVE], int(hand["category_id"])))
            others = [value for value in np.unique(mask).tolist() if value >= ARM]
            instances += [([value], 4 if value >= FIRST_OBJECT else 3) for value in others]
            for values, category in instances:
                shown = np.isin(mask, values)
                if (area := int(shown.sum())) >= MIN_PIXELS:
                    place = {"id": len(annotations) + 1, "image_id": len(images), "category_id": category, "iscrowd": 0}
                    box, segmentation = cv2.boundingRect(shown.astype(np.uint8)), rle_from_mask(shown)
                    annotations.append({**place, "area": area, "bbox": list(box), "segmentation": segmentation})
        write_json(self.root / INSTANCES, {"images": images, "annotations": annotations, "categories": categories})

    def _annotations(self, chunks: Sequence[int]) -> Iterator[dict[str, object]]:
        count = 0
        for image, record in enumerate(self.records(chunks), 1):
            for instance in record["instances"]:
                if instance.get("area_px2", 0) >= MIN_PIXELS:
                    count += 1
                    yield _annotation(count, image, instance)


def _image(number: int, record: Record) -> dict[str, object]:
    return {
        "id": number,
        "file_name": record["id"],
        "width": record["width"],
        "height": record["height"],
        "camera": {("t_m" if name == "t" else name): value for name, value in record["camera"].items()},
        **{name: record[name] for name in _IMAGE_FIELDS if name in record},
    }


def _annotation(number: int, image: int, hand: Record) -> dict[str, object]:
    x_min, y_min, x_max, y_max = hand["box"]
    points: list[float] = []
    for (x, y), valid, is_visible in zip(hand["keypoints_px"], hand["valid_px"], hand["visible"], strict=True):
        points += [x, y, 2 if is_visible else 1] if valid else [0, 0, 0]
    return {
        "id": number,
        "image_id": image,
        "category_id": hand["category_id"],
        "iscrowd": 0,
        "hand_side": hand["side"].lower(),
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": hand.get("area_px2", 0),
        "segmentation": hand["mask"],
        "num_keypoints": sum(hand["valid_px"]),
        "keypoints": points,
        "keypoints3d": [[round(1000 * value, 3) for value in point] for point in hand["keypoints_m"]],
        **{name: hand["extra"][name] for name in _HAND_FIELDS},
    }


class InterHandLayout(ImageLayout):
    """`images/train/Capture{c}/{sequence}/cam{camera}/image{frame}.jpg` and `annotations/train`.

    Each still or sequence is a capture, which has its own cameras. `datasets.interhand` describes the units.
    Source: https://mks0601.github.io/InterHand2.6M.
    """

    def name(self, image: RenderedImage, chunk: int) -> str:
        """Return the name of an image in the set."""
        sample = image.sample
        folder = f"Capture{image.number}/{sample.sequence}/cam{sample.view}"
        return f"images/{SPLIT}/{folder}/image{sample.frame}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """Write all annotations; each file is a pass over the truth."""
        folder = self.root / "annotations"
        files.write_text(folder / "skeleton.txt", interhand.skeleton_lines())
        images = (_interhand_image(number, item) for number, item in enumerate(self.records(chunks), 1))
        annotations = (
            interhand.annotation_record(number, *_interhand_points(item))
            for number, item in enumerate(self.records(chunks), 1)
            if item["instances"]
        )
        stem = f"InterHand2.6M_{SPLIT}"
        _write_lists(folder / SPLIT / f"{stem}_data.json", "", {"images": images, "annotations": annotations})
        for name, describe in (("camera", _interhand_cameras), ("joint_3d", _interhand_joints)):
            with files.atomic_text(folder / SPLIT / f"{stem}_{name}.json") as file:
                file.write("{\n")
                captures = groupby(self.records(chunks), _capture)  # the records of a capture are consecutive
                members = ((key, json_from(describe(group), spaced=True)) for key, group in captures)
                _join(file.write, (f"{json_from(key, spaced=True)}: {value}" for key, value in members))
                file.write("\n}\n")


def _capture(record: Record) -> str:
    return record["id"].split("/")[2].removeprefix("Capture")


def _interhand_image(number: int, record: Record) -> dict[str, object]:
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


def _interhand_points(record: Record) -> tuple[FloatArray, BoolArray]:
    """Return keypoints (2, 21, 2) in pixels of the right and the left hand, NaN without, and which are labelled."""
    points = np.full((2, 21, 2), np.nan)
    for instance in record["instances"]:
        points[_SIDES.index(instance["side"])] = instance["keypoints_px"]
    sides = [instance["side"] for instance in record["instances"]]
    return points, np.array([[side in sides] * 21 for side in _SIDES])


def _interhand_cameras(records: Iterator[Record]) -> Mapping[str, object]:
    cameras = {record["view"]: record["camera"] for record in records}
    return interhand.cameras_record(
        {view: (np.array(item["K"]), np.array(item["R"]), np.array(item["t"])) for view, item in cameras.items()}
    )


def _interhand_joints(records: Iterator[Record]) -> Mapping[str, object]:
    frames: dict[str, object] = {}
    for record in records:
        if str(record["frame"]) not in frames and record["instances"]:
            points = np.full((2, 21, 3), np.nan)
            for instance in record["instances"]:
                points[_SIDES.index(instance["side"])] = instance["extra"]["keypoints_world_m"]
            frames[str(record["frame"])] = interhand.joints_record(points)
    return frames


class _Clip:
    """Video and truth of one camera while they are written."""

    def __init__(self, stack: ExitStack, path: Path, fps: float, first: Sample) -> None:
        draft = stack.enter_context(files.atomic_file(path))
        self._container = stack.enter_context(av.open(str(draft), "w", format="mp4"))
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=_ENCODER_OPTIONS)  # pyright: ignore[reportUnknownMemberType]
        self._stream.width = first.width
        self._stream.height = first.height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS_PER_SECOND)
        self._truth: TextIO = stack.enter_context(files.atomic_text(path.with_suffix(".json")))
        self._truth.write(json_from(_head(first, fps), spaced=True)[:-1] + ',\n"frames": [\n')
        self._count = 0

    def write(self, sample: Sample, time: float) -> None:
        """Write one frame."""
        frame = av.VideoFrame.from_ndarray(sample.rgb(), format="rgb24")
        frame.pts, frame.time_base = round(time * _TICKS_PER_SECOND), Fraction(1, _TICKS_PER_SECOND)
        self._container.mux(self._stream.encode(frame))
        hands = [_hand(convert.instance_to_dict(instance)) for instance in sample.instances]
        line = json_from({"index": self._count, "time": round(time, 6), "hands": hands})
        self._truth.write(f",\n{line}" if self._count else line)
        self._count += 1

    def finish(self) -> None:
        """Write the last frames of the encoder and the end of the JSON."""
        self._container.mux(self._stream.encode(None))
        self._truth.write("\n]}\n")


class VideoLayout(FolderLayout):
    """`videos/{sequence}/cam{camera}.mp4` and `.json`."""

    def check(self) -> None:
        """Refuse settings without a motion or with additional images."""
        if not self.settings.moves:
            raise InputError("--format video requires a motion: --sequence any or --poses hands.json")
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]} cannot be combined with --format video")
        if any(side % 2 for side in self.settings.size):
            width, height = self.settings.size
            raise InputError(f"--size {width}x{height}: videos require even width and height")

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Write the videos of all cameras, then their list."""
        clips: dict[str, _Clip] = {}
        names: list[str] = []
        with ExitStack() as stack:
            for image in images:
                sample = image.sample
                assert sample.view is not None
                if sample.view not in clips:
                    names.append(f"videos/{sample.sequence}/cam{sample.view}.mp4")
                    clips[sample.view] = _Clip(stack, self.root / names[-1], self.settings.fps, sample)
                clips[sample.view].write(sample, image.time_s)
            for clip in clips.values():
                clip.finish()
        write_json(self.chunk_path(chunk), names)

    def finish(self, chunks: Sequence[int]) -> None:
        """Do nothing: each video has its own truth."""

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Return samples from the middles of the videos."""
        names = [name for chunk in chunks for name in read_json(self.chunk_path(chunk))]
        samples: list[Sample] = []
        for name in (names[place] for place in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)):
            truth: Record = read_json((self.root / name).with_suffix(".json"))
            middle = len(truth["frames"]) // 3
            with open_source(self.root / name) as source:
                rgb = next(frame.rgb for frame in source if frame.index == middle)
            samples.append(_sample(truth, middle, name, rgb))
        return samples


def _head(first: Sample, fps: float) -> dict[str, object]:
    """Return the fields that are the same for all frames."""
    camera = first.camera
    assert camera is not None
    eye = camera.intrinsics
    return {
        "width": first.width,
        "height": first.height,
        "fps": fps,
        **{name: getattr(eye, name) for name in ("fx", "fy", "cx", "cy")},
        "pixel_centre": CORNER_PIXEL,
        "R": convert.plain(camera.R),
        "t_m": convert.plain(camera.t),
        "sequence": first.sequence,
        "view": first.view,
        "factors": convert.plain(first.tags),
    }


def _hand(record: Record) -> dict[str, object]:
    return {
        "handedness": record["side"],
        "xy": record["keypoints_px"],
        "xyz_m": record["keypoints_m"],
        "box": record.get("box"),
        "mask": record["mask"],
        **{name: record["extra"][name] for name in _VIDEO_HAND_FIELDS},
    }


def _sample(truth: Record, frame: int, name: str, rgb: Image) -> Sample:
    """Return one frame of a video as a sample."""
    width, height = truth["width"], truth["height"]
    hands = tuple(
        Instance(
            kind="hand",
            side=hand["handedness"],
            skeleton=HAND_SKELETON,
            box=hand["box"],
            keypoints_px=np.array(hand["xy"], np.float64),
            visible=np.array(hand["causes"]) == "visible",
            keypoints_m=np.array(hand["xyz_m"], np.float64),
            read_mask=partial(coco.mask_from_segmentation, hand["mask"], height, width),
        )
        for hand in truth["frames"][frame]["hands"]
    )
    camera = CalibratedCamera(np.array([[truth["fx"], 0, truth["cx"]], [0, truth["fy"], truth["cy"]], [0, 0, 1]]))
    return Sample(
        dataset=DATASET, id=f"{name} {frame}", image=rgb, width=width, height=height, instances=hands, camera=camera
    )
