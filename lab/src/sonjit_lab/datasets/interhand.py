"""InterHand2.6M: one and two hands in front of many calibrated cameras, read and written in the set's layout.

Source: Moon et al., ECCV 2020, https://mks0601.github.io/InterHand2.6M. Joints are in millimetres in the world of a
capture, x_camera = R (x_world - centre), MANO's fits in metres. Annotation files are streamed into arrays, about 60
bytes per image. A wrong record stays in the index with its problem, and raises an error on access.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, Float32Array, FloatArray, InputError, IntArray, data_files, records, unknown_name
from sonjit._util.records import field as field_of
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_lab.datasets import dataset, reading, sample

HAND_TYPES: Final = ("right", "left", "interacting")
JOINTS: Final = 42  # right hand 0..20, left hand 21..41

_COLUMNS: Final = 8  # columns of an image: width, height, numbers of five texts, frame
_MANO = {"pose": 48, "shape": 10, "trans": 3}
Annotations = Literal["all", "human", "machine"]
_SIDES: tuple[sample.Side, sample.Side] = ("Right", "Left")
_OLD_FOLDERS = {"all": "all", "human": "human_annot", "machine": "machine_annot"}
_JOINTS = np.array(reading.INTERHAND), np.array(reading.INTERHAND) + 21
ORDER: Final = np.concatenate(_JOINTS)  # indices (42,) of MediaPipe's keypoints of the right, then the left hand
_BOX_SCALE: Final = 1.2  # factor by which the set's boxes are larger than their content
_HAND_TYPE_FLAGS: Final = {(True, False): "right", (False, True): "left", (True, True): "interacting"}


class ImageRecord(NamedTuple):
    """One annotated image as stored in its file."""

    annotation_id: int
    image_id: int
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
    texts: tuple[str, ...] = ()
    annotation_ids: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    image_ids: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, _COLUMNS), np.int32))
    boxes: Float32Array = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    valid: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 6), np.uint8))
    types: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 2), np.int8))
    other_names: dict[int, str] = field(default_factory=dict[int, str])
    wrong: dict[int, str] = field(default_factory=dict[int, str])

    def image(self, index: int) -> ImageRecord:
        """Return one record."""
        if index in self.wrong:
            raise InputError(self.wrong[index])
        width, height, capture, subject, sequence, camera, kind, frame = self.columns[index].tolist()
        texts = self.texts
        name = self.other_names.get(index) or _file_name(texts[capture], texts[sequence], texts[camera], frame)
        return ImageRecord(
            annotation_id=int(self.annotation_ids[index]),
            image_id=int(self.image_ids[index]),
            file_name=name,
            width=width,
            height=height,
            capture=texts[capture],
            subject=texts[subject],
            sequence=texts[sequence],
            camera=texts[camera],
            sequence_type=texts[kind],
            frame=frame,
            box_xywh=self.boxes[index].astype(np.float64),
            joint_valid=np.unpackbits(self.valid[index], count=JOINTS).astype(np.bool_),
            hand_type=HAND_TYPES[self.types[index, 0]],
            hand_type_valid=bool(self.types[index, 1]),
        )


def index_images(path: Path) -> ImageIndex:
    """Read `..._data.json`."""
    index = ImageIndex(path)
    images, image_rows, image_names, image_wrong = array("i"), dict[int, int](), dict[int, str](), dict[int, str]()
    ids, image_ids, boxes, valid, types = array("q"), array("q"), array("d"), bytearray(), array("b")
    texts = dict[str, int]()  # number of each text
    for (part, position), record in ((keys, value) for keys, value in reading.stream_json(path, 2) if len(keys) == 2):
        named = f"{path}: {part}[{position}]"
        if part == "images":
            image_id = _integer(record, "id", named)
            row: tuple[int, ...] = (0,) * _COLUMNS
            try:
                row, other_name = _image(record, texts, f"{named} (id {image_id})")
                if other_name:
                    image_names[image_id] = other_name
            except InputError as error:
                image_wrong[image_id] = str(error)
            if image_id in image_rows:
                image_wrong[image_id] = f"{named}: two images have the id {image_id}"
            image_rows[image_id] = len(images) // _COLUMNS
            images.extend(row)
        elif part == "annotations":
            ids.append(_integer(record, "id", named))
            image_ids.append(_integer(record, "image_id", named))
            try:
                box, bits, kind = _annotation(record, f"{named} (id {ids[-1]})")
            except InputError as error:
                box = (0.0,) * 4
                bits = bytes(6)
                kind = (0, 0)
                index.wrong[len(ids) - 1] = str(error)
            boxes.extend(box)
            valid.extend(bits)
            types.extend(kind)
    if not ids:
        raise InputError(f"{path} contains no annotations. Is it a file of InterHand2.6M?")
    rows = np.zeros(len(ids), np.int64)
    repeated = {number for number, count in Counter(ids).items() if count > 1}
    for position, image_id in enumerate(image_ids):
        rows[position] = image_rows.get(image_id, -1)
        if image_id in image_names:
            index.other_names[position] = image_names[image_id]
        if image_id in image_wrong:
            index.wrong[position] = image_wrong[image_id]
        elif rows[position] < 0:
            index.wrong[position] = f"{path}: annotations[{position}].image_id is {image_id}, which is not in images"
        if ids[position] in repeated:
            index.wrong[position] = f"{path}: annotations[{position}]: several annotations have the id {ids[position]}"
    images.extend((0,) * _COLUMNS)  # what row -1 is
    index.texts = tuple(texts)
    index.annotation_ids, index.image_ids = np.array(ids, np.int64), np.array(image_ids, np.int64)
    index.columns = np.array(images, np.int32).reshape(-1, _COLUMNS)[rows]
    index.boxes = np.array(boxes, np.float32).reshape(-1, 4)
    index.valid = np.frombuffer(bytes(valid), np.uint8).reshape(-1, 6)
    index.types = np.array(types, np.int8).reshape(-1, 2)
    return index


@dataclass(frozen=True)
class FrameTable:
    """Rows of `values` by capture and frame: `rows` are their numbers, `wrong` describes the problem of a row."""

    rows: dict[tuple[str, int], int]
    values: FloatArray
    wrong: dict[int, str]

    def row(self, capture: str, frame: int) -> FloatArray | None:
        """Return the row of one frame, or None if the file has none."""
        row = self.rows.get((capture, frame))
        if row in self.wrong:
            raise InputError(self.wrong[row])
        return None if row is None else self.values[row]


def index_joints(path: Path) -> FrameTable:
    """Read `..._joint_3d.json`: rows (42, 3), millimetres in the world."""

    def joints(item: Any, named: str) -> FloatArray:  # noqa: ANN401  # JSON
        return records.numbers_of(item, "world_coord", (JOINTS, 3), named)

    return _frames(path, (JOINTS, 3), joints)


def index_mano(path: Path) -> FrameTable:
    """Read `..._MANO_NeuralAnnot.json`: rows (2, 61) of pose, shape and translation; NaN without a fit."""

    def fits(item: Any, named: str) -> FloatArray:  # noqa: ANN401  # JSON
        if not isinstance(item, dict):
            raise InputError(f"{named} is no object")
        row = np.full((2, sum(_MANO.values())), np.nan)
        for index, side in enumerate(HAND_TYPES[:2]):
            if fit := item.get(side):
                parameters = [records.numbers_of(fit, part, (size,), f"{named}.{side}") for part, size in _MANO.items()]
                row[index] = np.concatenate(parameters)
        return row

    return _frames(path, (2, sum(_MANO.values())), fits)


def _frames(path: Path, shape: tuple[int, ...], read: Callable[[Any, str], FloatArray]) -> FrameTable:
    rows, values, wrong = dict[tuple[str, int], int](), array("d"), dict[int, str]()
    for number, ((capture, frame), record) in enumerate(reading.stream_json(path, 2)):
        named = f"{path}: {capture}.{frame}"
        if not str(frame).isdecimal():
            raise InputError(f"{named} is not the number of a frame")
        rows[str(capture), int(frame)] = number
        try:
            row = read(record, named)
        except InputError as error:
            wrong[number] = str(error)
            row = np.full(shape, np.nan)
        values.extend(row.ravel())
    return FrameTable(rows, np.array(values).reshape(-1, *shape), wrong)


def _image(record: Any, numbers_of: dict[str, int], named: str) -> tuple[tuple[int, ...], str | None]:  # noqa: ANN401  # JSON
    """Return a row of `ImageIndex.columns`, and the file's name if it is not the usual one.

    The official files encode the type of a sequence in its name only; releases of Sonjit's annotator have a field.
    """
    texts = [str(field_of(record, name, named)) for name in ("capture", "subject", "seq_name", "camera")]
    width, height, frame = (_integer(record, name, named) for name in ("width", "height", "frame_idx"))
    name = str(field_of(record, "file_name", named))
    usual = _file_name(texts[0], texts[2], texts[3], frame)
    texts.append(str(record.get("seq_type") or ("ROM" if "ROM" in texts[2] else "PP")))
    row = width, height, *(numbers_of.setdefault(text, len(numbers_of)) for text in texts), frame
    return row, None if name == usual else name


def _integer(record: Any, name: str, named: str) -> int:  # noqa: ANN401  # JSON
    value = field_of(record, name, named)
    if not isinstance(value, int):
        raise InputError(f"{named}.{name} is not a whole number: {str(value)[:60]}")
    return value


def _annotation(record: Any, named: str) -> tuple[tuple[float, ...], bytes, tuple[int, int]]:  # noqa: ANN401  # JSON
    box = records.numbers_of(record, "bbox", (4,), named)
    flags = records.numbers(np.ravel(field_of(record, "joint_valid", named)), (JOINTS,), f"{named}.joint_valid")
    kind = str(field_of(record, "hand_type", named))
    if kind not in HAND_TYPES:
        raise InputError(f"{named}: {unknown_name('hand_type', kind, HAND_TYPES)}")
    is_valid = int(bool(field_of(record, "hand_type_valid", named)))
    return tuple(box), np.packbits(flags > 0).tobytes(), (HAND_TYPES.index(kind), is_valid)


def _file_name(capture: str, sequence: str, camera: str, frame: int) -> str:
    return f"Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg"


class InterHand(dataset.Dataset):
    """One split, `train`, `val` or `test`, of one release; `root` may contain the folders of several releases.

    `annotations`: all, human or machine. Version 1.0 comes without lists of them: they are read from
    `annotations/{split}/aid_{human,machine}_annot_{split}.txt`; version 0.0 has a folder for each. `fps`: frame rate of
    the release, 5 or 30, if there are several. A sample's tags contain `hand_type` and `sequence_type`: PP, a motion
    from the neutral pose to a pose and back, or ROM, gestures through the range of motion.
    """

    def __init__(
        self, entry: dataset.DatasetEntry, root: Path, split: str, *, annotations: Annotations = "all", fps: int = 5
    ) -> None:
        super().__init__(entry, root, split)
        if annotations not in _OLD_FOLDERS:
            raise InputError(unknown_name("annotations", annotations, ("all", "human", "machine")))
        several = f"InterHand2.6M_{fps}fps_batch1/"
        self._base = several if not (root / "annotations").is_dir() and (root / several).is_dir() else ""
        folder = f"{self._base}annotations/{split}"
        old = f"{self._base}annotations/{_OLD_FOLDERS[annotations]}"
        is_old = not (root / folder).is_dir() and (root / old).is_dir()
        stem = f"{old if is_old else folder}/InterHand2.6M_{split}_"
        self._index = index_images(self.need(f"{stem}data.json"))
        self._cameras_path = self.need(f"{stem}camera.json")
        self._cameras: dict[str, Any] = data_files.read_json(self._cameras_path)
        self._source = str(self._index.path)
        self._calibrated: dict[tuple[str, str], CalibratedCamera] = {}  # read often: an image has one of a few hundred
        self._joints_path = self.need(f"{stem}joint_3d.json")
        self._joints = index_joints(self._joints_path)
        mano = root / f"{stem}MANO_NeuralAnnot.json"
        self._mano = index_mano(mano) if mano.is_file() else None
        self._selected = np.arange(len(self._index.annotation_ids), dtype=np.int32)
        if annotations != "all" and not is_old:
            self._selected = self._load_id_list(f"{folder}/aid_{annotations}_annot_{split}.txt")

    def __len__(self) -> int:
        return len(self._selected)

    def identity(self, index: int) -> dataset.Identity:
        image = self._index.image(int(self._selected[index]))
        name = f"images/{self.split}/{image.file_name}"
        file = self.root / self._base / name
        return dataset.Identity(name, self._subject(image), self._sequence(image), file, self.entry.name)

    def _subject(self, image: ImageRecord) -> str:
        return f"{self.split}/{image.subject}"  # each split has its own numbers

    def _sequence(self, image: ImageRecord) -> str:
        return f"{self.split}/Capture{image.capture}/{image.sequence}"

    def load(self, index: int) -> sample.Sample:
        image = self._index.image(int(self._selected[index]))
        key = image.capture, image.camera
        if key not in self._calibrated:
            self._calibrated[key] = self._camera(image)
        camera = self._calibrated[key]
        world = self._joints.row(image.capture, image.frame)
        if world is None:
            raise InputError(f"{self._joints_path} has no {image.capture}.{image.frame}")
        valid = image.joint_valid & np.isfinite(world).all(axis=1) & ~(world == 1).all(axis=1)
        joints = camera.from_world(world * reading.MM)  # (42, 3)
        name = f"images/{self.split}/{image.file_name}"
        present = {"right": [0], "left": [1], "interacting": [0, 1]}[image.hand_type]
        if not image.hand_type_valid:
            present = [index for index in (0, 1) if valid[21 * index : 21 * index + 21].any()]
        return self.sample_of(
            name,
            (self._hand(index, image, joints, valid, camera) for index in present),
            self._source,
            (image.width, image.height),
            image=self.root / self._base / name,
            box=reading.box_from_xywh(image.box_xywh) if image.hand_type == "interacting" else None,
            image_id=image.image_id,
            camera=camera,
            subject=self._subject(image),
            sequence=self._sequence(image),
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
        self, index: int, image: ImageRecord, joints: FloatArray, valid: BoolArray, camera: CalibratedCamera
    ) -> sample.Instance:
        joint_rows = _JOINTS[index]
        fit = None if self._mano is None else self._mano.row(image.capture, image.frame)
        mesh = None
        if fit is not None and np.isfinite(fit[index]).all():
            mesh = sample.ManoParameters(fit[index, :48], fit[index, 48:58], fit[index, 58:], "world", flat_mean=False)
        box = None if image.hand_type == "interacting" else reading.box_from_xywh(image.box_xywh)
        return reading.hand_before_camera(
            joints[joint_rows], camera, _SIDES[index], valid=valid[joint_rows], mesh=mesh, box=box
        )

    def _camera(self, image: ImageRecord) -> CalibratedCamera:
        named = f"{self._cameras_path}: {image.capture}"
        of_capture = field_of(self._cameras, image.capture, str(self._cameras_path))
        centre, turn, focal, middle = (
            records.numbers_of(field_of(of_capture, name, named), image.camera, shape, f"{named}.{name}")
            for name, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,)))
        )
        first_pixel = float(of_capture.get("pixel_centre", 0))
        return CalibratedCamera(reading.camera_matrix(focal, middle - first_pixel), turn, -turn @ centre * reading.MM)

    def _load_id_list(self, below_root: str) -> NDArray[np.int32]:
        path = self.root / below_root
        if not path.is_file():
            raise InputError(
                f"{self.entry.name}: {below_root} is missing in {self.root}; it lists annotations' ids, one a line: "
                f"ask the set's owners for it at {self.entry.where}"
            )
        try:
            ids = np.array(path.read_text("utf-8").split(), np.int64)
        except ValueError as error:
            raise InputError(f"{path} contains a value that is not an id: {error}") from None
        if len(unknown := np.setdiff1d(ids, self._index.annotation_ids)) or not len(ids):
            detail = (
                f"{len(unknown)} annotations, such as {unknown[0]}, which {self._source} lacks" if len(ids) else "none"
            )
            raise InputError(f"{path} lists {detail}; get both files again")
        return np.flatnonzero(np.isin(self._index.annotation_ids, ids)).astype(np.int32)


def cameras_record(
    cameras: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]],
) -> dict[str, object]:
    """Return a capture's entry of `camera.json` from K (3, 3) in pixels, R (3, 3) and t (3,) in metres of cameras.

    The pixels count from the corner of the first one, which the entry states as `pixel_centre`.
    """
    return {
        "campos": {name: (-1000 * R.T @ t).tolist() for name, (_, R, t) in cameras.items()},
        "camrot": {name: R.tolist() for name, (_, R, _) in cameras.items()},
        "focal": {name: [K[0, 0].item(), K[1, 1].item()] for name, (K, _, _) in cameras.items()},
        "princpt": {name: K[:2, 2].tolist() for name, (K, _, _) in cameras.items()},
        "pixel_centre": sample.CORNER_PIXEL,
    }


def joints_record(points_m: FloatArray) -> dict[str, object]:
    """Return a frame's entry of `joint_3d.json` from joints (2, 21, 3) in the world in metres, right hand first."""
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
    """Return an entry of `data.json` from keypoints (2, 21, 2), right hand first, and their mask."""
    points = points_px.reshape(42, 2)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    size = _BOX_SCALE * (high - low)
    return {
        "id": number,
        "image_id": number,
        "bbox": np.concatenate([(low + high - size) / 2, size]).round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": 1,
    }


def skeleton_lines() -> str:
    """Return `skeleton.txt`: lines `name id parent`, right hand first, as in the set's own file."""
    lines: list[str] = []
    for side, first in (("r", 0), ("l", 21)):
        for index, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            for joint in range(4):  # the tip first
                number = first + 4 * index + joint
                lines.append(f"{side}_{finger}{4 - joint} {number} {number + 1 if joint < 3 else first + 20}")
        lines.append(f"{side}_wrist {first + 20} -1")
    return "# name id parent\n" + "\n".join(lines) + "\n"


def _flags(valid: BoolArray) -> list[list[int]]:
    """Return flags (42, 1) in the set's order."""
    flags = np.zeros((42, 1), np.int64)
    flags[ORDER, 0] = valid.reshape(42)
    return flags.tolist()


def _hand_type(valid: BoolArray) -> str:
    return _HAND_TYPE_FLAGS[bool(valid[0].any()), bool(valid[1].any())]
