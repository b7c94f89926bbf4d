"""InterHand2.6M: one and two hands before many calibrated cameras.

Source: Moon et al., ECCV 2020, https://mks0601.github.io/InterHand2.6M. Joints are millimetres in the world of a
capture, x_camera = R (x_world - centre); MANO's fits are metres in that world.

Annotation files are read as streams into arrays: about 60 bytes an image, a hundredth of what their objects would take.
A record that is wrong stays in the index with what is wrong in it, so that it is an error when it is asked for and can
be left out. The functions at the end make the records of such files, for images laid out like that set.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, Float32Array, FloatArray, IntArray
from sonjit.datasets.dataset import Dataset, DatasetEntry
from sonjit.datasets.joint_orders import INTERHAND, MM, box_from_xywh, camera_matrix, hand_before_camera
from sonjit.datasets.reading import field as field_of
from sonjit.datasets.reading import load_json, numbers, stream_json
from sonjit.datasets.sample import Instance, ManoParameters, Sample, Side
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera

HAND_TYPES: Final = ("right", "left", "interacting")
JOINTS: Final = 42
"""Right hand 0..20, left hand 21..41."""
_COLUMNS: Final = 8
"""Of an image: width, height, numbers of five texts, frame."""

_MANO = {"pose": 48, "shape": 10, "trans": 3}


class Names:
    """Texts by small numbers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Of a text, the next one for a new text."""
        known = self._numbers.setdefault(text, len(self.texts))
        if known == len(self.texts):
            self.texts.append(text)
        return known


class Image(NamedTuple):
    """One annotated image, as its file holds it."""

    annotation_id: int
    file_name: str
    width: int
    height: int
    capture: str
    subject: str
    sequence: str
    camera: str
    sequence_type: str
    frame: int
    box_xywh: FloatArray
    joint_valid: BoolArray
    hand_type: str
    hand_type_valid: bool


@dataclass
class ImageIndex:
    """All annotated images of one `..._data.json`, columns of equal length, in the order of its annotations."""

    path: Path
    names: Names = field(default_factory=Names)
    annotation_ids: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, _COLUMNS), np.int32))
    boxes: Float32Array = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    valid: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 6), np.uint8))
    types: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 2), np.int8))
    other_names: dict[int, str] = field(default_factory=dict[int, str])
    wrong: dict[int, str] = field(default_factory=dict[int, str])

    def image(self, place: int) -> Image:
        """One record.

        Raises:
            InputError: what is wrong in it, with file and field.
        """
        if place in self.wrong:
            raise InputError(self.wrong[place])
        width, height, capture, subject, sequence, camera, kind, frame = self.columns[place].tolist()
        texts = self.names.texts
        name = self.other_names.get(place) or _file_name(texts[capture], texts[sequence], texts[camera], frame)
        return Image(
            int(self.annotation_ids[place]), name, width, height, texts[capture], texts[subject], texts[sequence],
            texts[camera], texts[kind], frame, self.boxes[place].astype(np.float64),
            np.unpackbits(self.valid[place], count=JOINTS).astype(np.bool_),
            HAND_TYPES[self.types[place, 0]], bool(self.types[place, 1]),
        )  # fmt: skip


def index_images(path: Path) -> ImageIndex:
    """Read `..._data.json`.

    Raises:
        InputError: missing, cut off or not in the set's format.
    """
    index = ImageIndex(path)
    images, image_rows, image_names, image_wrong = array("i"), dict[int, int](), dict[int, str](), dict[int, str]()
    ids, image_ids, boxes, valid, types = array("q"), array("q"), array("d"), bytearray(), array("b")
    for (part, place), record in ((keys, value) for keys, value in stream_json(path, 2) if len(keys) == 2):
        named = f"{path}: {part}[{place}]"
        if part == "images":
            image_id = _whole(record, "id", named)
            row: tuple[int, ...] = (0,) * _COLUMNS
            try:
                row, other_name = _image(record, index.names, f"{named} (id {image_id})")
                if other_name:
                    image_names[image_id] = other_name
            except InputError as error:
                image_wrong[image_id] = str(error)
            image_rows[image_id] = len(images) // _COLUMNS
            images.extend(row)
        elif part == "annotations":
            ids.append(_whole(record, "id", named))
            image_ids.append(_whole(record, "image_id", named))
            try:
                box, bits, kind = _annotation(record, f"{named} (id {ids[-1]})")
            except InputError as error:
                box, bits, kind = (0.0,) * 4, bytes(6), (0, 0)
                index.wrong[len(ids) - 1] = str(error)
            boxes.extend(box)
            valid.extend(bits)
            types.extend(kind)
    if not ids:
        raise InputError(f"{path} holds no annotations: is it InterHand2.6M's?")
    rows = np.zeros(len(ids), np.int64)
    for place, image_id in enumerate(image_ids):
        rows[place] = image_rows.get(image_id, -1)
        if image_id in image_names:
            index.other_names[place] = image_names[image_id]
        if image_id in image_wrong:
            index.wrong[place] = image_wrong[image_id]
        elif rows[place] < 0:
            index.wrong[place] = f"{path}: annotations[{place}].image_id is {image_id}, which is not in images"
    images.extend((0,) * _COLUMNS)  # what row -1 is
    index.annotation_ids = np.array(ids, np.int64)
    index.columns = np.array(images, np.int32).reshape(-1, _COLUMNS)[rows]
    index.boxes = np.array(boxes, np.float32).reshape(-1, 4)
    index.valid = np.frombuffer(bytes(valid), np.uint8).reshape(-1, 6)
    index.types = np.array(types, np.int8).reshape(-1, 2)
    return index


@dataclass(frozen=True)
class FrameTable:
    """Rows of `values` by capture and frame: `keys` are sorted, `wrong` says what is wrong in a key's row."""

    keys: IntArray
    values: FloatArray
    wrong: dict[int, str]

    def row(self, capture: str, frame: int) -> FloatArray | None:
        """Of one frame; None where the file has none.

        Raises:
            InputError: what is wrong in it, with file and field.
        """
        key = frame_key(capture, frame)
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        if key in self.wrong:
            raise InputError(self.wrong[key])
        return self.values[place]


def frame_key(capture: str, frame: int) -> int:
    """One number for a frame of a capture."""
    return int(capture) << 32 | frame


def index_joints(path: Path) -> FrameTable:
    """Read `..._joint_3d.json`: rows (42, 3), millimetres in the world."""

    def joints(one: Any, named: str) -> FloatArray:  # noqa: ANN401  # JSON
        return numbers(field_of(one, "world_coord", named), (JOINTS, 3), f"{named}.world_coord")

    return _frames(path, (JOINTS, 3), joints)


def index_mano(path: Path) -> FrameTable:
    """Read `..._MANO_NeuralAnnot.json`: rows (2, 61), right hand then left: pose, shape, place; NaN without a fit."""

    def fits(one: Any, named: str) -> FloatArray:  # noqa: ANN401  # JSON
        row = np.full((2, sum(_MANO.values())), np.nan)
        for place, side in enumerate(HAND_TYPES[:2]):
            if fit := one.get(side):
                parts = [
                    numbers(field_of(fit, part, f"{named}.{side}"), (size,), f"{named}.{side}.{part}")
                    for part, size in _MANO.items()
                ]
                row[place] = np.concatenate(parts)
        return row

    return _frames(path, (2, sum(_MANO.values())), fits)


def _frames(path: Path, shape: tuple[int, ...], read: Callable[[Any, str], FloatArray]) -> FrameTable:
    keys, values, wrong = array("q"), array("d"), dict[int, str]()
    for (capture, frame), record in ((key, value) for key, value in stream_json(path, 2) if len(key) == 2):
        key = frame_key(str(capture), int(frame))
        try:
            row = read(record, f"{path}: {capture}.{frame}")
        except InputError as error:
            wrong[key] = str(error)
            row = np.full(shape, np.nan)
        keys.append(key)
        values.extend(row.ravel())
    order = np.argsort(np.array(keys, np.int64), kind="stable")
    return FrameTable(np.array(keys, np.int64)[order], np.array(values).reshape(-1, *shape)[order], wrong)


def _image(record: Any, names: Names, named: str) -> tuple[tuple[int, ...], str | None]:  # noqa: ANN401  # JSON
    """A row of `ImageIndex.columns`, and the file's name where it is not the usual one.

    The official files tell the type of a sequence by its name alone; releases of Sonjit's annotator have a field.
    """
    texts = [str(field_of(record, name, named)) for name in ("capture", "subject", "seq_name", "camera")]
    width, height, frame = (_whole(record, name, named) for name in ("width", "height", "frame_idx"))
    name = str(field_of(record, "file_name", named))
    usual = _file_name(texts[0], texts[2], texts[3], frame)
    texts.append(str(record.get("seq_type") or ("ROM" if "ROM" in texts[2] else "PP")))
    return (width, height, *(names.number(text) for text in texts), frame), None if name == usual else name


def _whole(record: Any, name: str, named: str) -> int:  # noqa: ANN401  # JSON
    value = field_of(record, name, named)
    if not isinstance(value, int):
        raise InputError(f"{named}.{name} is not a whole number: {str(value)[:60]}")
    return value


def _annotation(record: Any, named: str) -> tuple[tuple[float, ...], bytes, tuple[int, int]]:  # noqa: ANN401  # JSON
    box = numbers(field_of(record, "bbox", named), (4,), f"{named}.bbox")
    flags = numbers(field_of(record, "joint_valid", named), (JOINTS, 1), f"{named}.joint_valid")
    kind = str(field_of(record, "hand_type", named))
    if kind not in HAND_TYPES:
        raise InputError(f"{named}.hand_type is {kind!r}; known: {', '.join(HAND_TYPES)}")
    is_valid = int(bool(field_of(record, "hand_type_valid", named)))
    return tuple(box), np.packbits(flags[:, 0] > 0).tobytes(), (HAND_TYPES.index(kind), is_valid)


def _file_name(capture: str, sequence: str, camera: str, frame: int) -> str:
    return f"Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg"


Annotations = Literal["all", "human", "machine"]

_SIDES: tuple[Side, Side] = ("Right", "Left")
_JOINTS = np.array(INTERHAND), np.array(INTERHAND) + 21
_OLD_FOLDERS = {"all": "all", "human": "human_annot", "machine": "machine_annot"}


class InterHand(Dataset):
    """One split of one release.

    Args:
        entry: the set's record.
        root: the folder that holds `images` and `annotations`, or the releases' own folders.
        split: train, val or test.
        annotations: by whom: all, human or machine. Version 1.0 comes without lists of which is which: they are read
            from `annotations/{split}/aid_{human,machine}_annot_{split}.txt`; version 0.0 has a folder for each.
        fps: of the release, where the root holds folders of several: 5 or 30.

    A sample's tags hold `hand_type`, and `sequence_type`: PP, a pose taken from the neutral one and left again, or ROM,
    gestures through the range of motion.

    Raises:
        InputError: a piece is missing or damaged.
    """

    def __init__(
        self, entry: DatasetEntry, root: Path, split: str, *, annotations: Annotations = "all", fps: int = 5
    ) -> None:
        super().__init__(entry, root, split)
        if annotations not in _OLD_FOLDERS:
            raise InputError(f"annotations {annotations!r}: all, human or machine")
        self._base = "" if (root / "annotations").is_dir() else f"InterHand2.6M_{fps}fps_batch1/"
        if self._base and not (root / self._base).is_dir():
            self._base = ""
        folder = f"{self._base}annotations/{split}"
        old = f"{self._base}annotations/{_OLD_FOLDERS[annotations]}"
        is_old = not (root / folder).is_dir() and (root / old).is_dir()
        stem = f"{old if is_old else folder}/InterHand2.6M_{split}_"
        self._index = index_images(self.need(f"{stem}data.json"))
        self._cameras_path = self.need(f"{stem}camera.json")
        self._cameras: dict[str, Any] = load_json(self._cameras_path)
        self._source = str(self._index.path)
        self._made: dict[tuple[str, str], CalibratedCamera] = {}  # read often: an image has one of a few hundred
        self._joints_path = self.need(f"{stem}joint_3d.json")
        self._joints = index_joints(self._joints_path)
        mano = root / f"{stem}MANO_NeuralAnnot.json"
        self._mano = index_mano(mano) if mano.is_file() else None
        self._kept = np.arange(len(self._index.annotation_ids), dtype=np.int32)
        if annotations != "all" and not is_old:
            self._kept = self._listed(f"{folder}/aid_{annotations}_annot_{split}.txt")

    def __len__(self) -> int:
        return len(self._kept)

    def load(self, index: int) -> Sample:
        """The sample of one annotation; a wrong record is an InputError with file and field."""
        image = self._index.image(int(self._kept[index]))
        key = image.capture, image.camera
        camera = self._made[key] if key in self._made else self._made.setdefault(key, self._camera(image))
        world = self._joints.row(image.capture, image.frame)
        if world is None:
            raise InputError(f"{self._joints_path} has no {image.capture}.{image.frame}")
        valid = image.joint_valid & np.isfinite(world).all(axis=1) & ~(world == 1).all(axis=1)
        joints = camera.from_world(world * MM)  # (42, 3)
        name = f"images/{self.split}/{image.file_name}"
        return self.sample_of(
            name,
            (self._hand(place, image, joints, valid, camera) for place in _present(image, valid)),
            self._source,
            (image.width, image.height),
            image=self.root / self._base / name,
            box=box_from_xywh(image.box_xywh) if image.hand_type == "interacting" else None,
            camera=camera,
            subject=f"{self.split}/{image.subject}",  # captures and people are counted anew in each split
            sequence=f"{self.split}/Capture{image.capture}/{image.sequence}",
            frame=image.frame,
            view=image.camera,
            tags={
                "annotation_id": image.annotation_id,
                "hand_type": image.hand_type,
                "hand_type_valid": image.hand_type_valid,
                "sequence_type": image.sequence_type,
            },
        )

    def _hand(
        self, place: int, image: Image, joints: FloatArray, valid: BoolArray, camera: CalibratedCamera
    ) -> Instance:
        own = _JOINTS[place]
        fit = None if self._mano is None else self._mano.row(image.capture, image.frame)
        mesh = None
        if fit is not None and np.isfinite(fit[place]).all():
            mesh = ManoParameters(fit[place, :48], fit[place, 48:58], fit[place, 58:], "world", flat_mean=False)
        box = None if image.hand_type == "interacting" else box_from_xywh(image.box_xywh)
        return hand_before_camera(joints[own], camera, _SIDES[place], valid=valid[own], mesh=mesh, box=box)

    def _camera(self, image: Image) -> CalibratedCamera:
        named = f"{self._cameras_path}: {image.capture}"
        of_capture = field_of(self._cameras, image.capture, str(self._cameras_path))
        centre, turn, focal, middle = (
            numbers(
                field_of(field_of(of_capture, name, named), image.camera, f"{named}.{name}"),
                shape,
                f"{named}.{name}.{image.camera}",
            )
            for name, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,)))
        )
        return CalibratedCamera(camera_matrix(focal, middle), turn, -turn @ centre * MM)

    def _listed(self, below_root: str) -> NDArray[np.int32]:
        path = self.root / below_root
        if not path.is_file():
            raise InputError(
                f"{self.entry.name}: {below_root} is missing in {self.root}; it lists annotations' ids, one a line: "
                f"ask the set's owners for it at {self.entry.where}"
            )
        try:
            wanted = np.array(path.read_text("utf-8").split(), np.int64)
        except ValueError as error:
            raise InputError(f"{path} holds something that is not an id: {error}") from None
        return np.flatnonzero(np.isin(self._index.annotation_ids, wanted)).astype(np.int32)


def _present(image: Image, valid: BoolArray) -> list[int]:
    """Which hands are in the image: 0 the right one, 1 the left one."""
    if not image.hand_type_valid:
        return [place for place in (0, 1) if valid[21 * place : 21 * place + 21].any()]
    return {"right": [0], "left": [1], "interacting": [0, 1]}[image.hand_type]


ORDER: Final = np.concatenate([np.array(INTERHAND), np.array(INTERHAND) + 21])
"""(42,) where the set has MediaPipe's keypoints of the right, then of the left hand."""

_ROOM: Final = 1.2
"""The set's boxes are so much larger than what is in them."""

_TYPES: Final = {(True, False): "right", (False, True): "left", (True, True): "interacting"}


def cameras_record(
    cameras: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]],
) -> dict[str, dict[str, list[float] | list[list[float]]]]:
    """A capture's entry of `camera.json` from K, R and t (metres) of each camera."""
    return {
        "campos": {name: (-1000 * R.T @ t).tolist() for name, (_, R, t) in cameras.items()},
        "camrot": {name: R.tolist() for name, (_, R, _) in cameras.items()},
        "focal": {name: [K[0, 0].item(), K[1, 1].item()] for name, (K, _, _) in cameras.items()},
        "princpt": {name: K[:2, 2].tolist() for name, (K, _, _) in cameras.items()},
    }


def joints_record(points_m: FloatArray) -> dict[str, object]:
    """A frame's entry of `joint_3d.json`.

    Args:
        points_m: (2, 21, 3) of the right and the left hand in the world; NaN where unknown.
    """
    valid = np.asarray(np.isfinite(points_m).all(-1), np.bool_)
    world = np.ones((42, 3))  # as the set marks what is not known
    world[ORDER[valid.reshape(42)]] = 1000 * points_m[valid]
    return {
        "world_coord": world.round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": True,
    }


def annotation_record(number: int, points_px: FloatArray, valid: BoolArray) -> dict[str, object]:
    """The entry of image `number` under `annotations` of `data.json`.

    Args:
        number: of image and annotation.
        points_px: (2, 21, 2) of the right and the left hand; NaN where unknown.
        valid: (2, 21) joints that are known.
    """
    points = points_px.reshape(42, 2)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    size = _ROOM * (high - low)
    return {
        "id": number,
        "image_id": number,
        "bbox": np.concatenate([(low + high - size) / 2, size]).round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": 1,
    }


def skeleton_lines() -> str:
    """`skeleton.txt`: lines `name id parent`, right hand first, as the set's own file has them."""
    lines: list[str] = []
    for side, first in (("r", 0), ("l", 21)):
        for place, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            for joint in range(4):  # the tip first
                own = first + 4 * place + joint
                lines.append(f"{side}_{finger}{4 - joint} {own} {own + 1 if joint < 3 else first + 20}")
        lines.append(f"{side}_wrist {first + 20} -1")
    return "# name id parent\n" + "\n".join(lines) + "\n"


def _flags(valid: BoolArray) -> list[list[int]]:
    """(42, 1) in the set's order."""
    flags = np.zeros((42, 1), np.int64)
    flags[ORDER, 0] = valid.reshape(42)
    return flags.tolist()


def _hand_type(valid: BoolArray) -> str:
    return _TYPES[bool(valid[0].any()), bool(valid[1].any())]
