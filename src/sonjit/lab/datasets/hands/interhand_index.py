"""Index InterHand2.6M's annotations: arrays of images and frames instead of JSON objects."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, IntArray
from sonjit._util.errors import InputError, unknown_name
from sonjit.lab.datasets.json_stream import stream_json
from sonjit.lab.datasets.reading import field as field_of
from sonjit.lab.datasets.reading import numbers

HAND_TYPES: Final = ("right", "left", "interacting")
JOINTS: Final = 42
"""Right hand 0..20, left hand 21..41."""

_COLUMNS: Final = 8
"""Columns of an image: width, height, numbers of five texts, frame."""
_MANO = {"pose": 48, "shape": 10, "trans": 3}


class Names:
    """Texts by small numbers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text. A new text gets the next number."""
        known = self._numbers.setdefault(text, len(self.texts))
        if known == len(self.texts):
            self.texts.append(text)
        return known


class ImageRecord(NamedTuple):
    """One annotated image as stored in its file."""

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

    def image(self, index: int) -> ImageRecord:
        """Return one record.

        Raises:
            InputError: The record is wrong. The message names file and field.
        """
        if index in self.wrong:
            raise InputError(self.wrong[index])
        width, height, capture, subject, sequence, camera, kind, frame = self.columns[index].tolist()
        texts = self.names.texts
        name = self.other_names.get(index) or _file_name(texts[capture], texts[sequence], texts[camera], frame)
        return ImageRecord(
            annotation_id=int(self.annotation_ids[index]),
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
    """Read `..._data.json`.

    Raises:
        InputError: The file is missing, truncated or not in the set's format.
    """
    index = ImageIndex(path)
    images, image_rows, image_names, image_wrong = array("i"), dict[int, int](), dict[int, str](), dict[int, str]()
    ids, image_ids, boxes, valid, types = array("q"), array("q"), array("d"), bytearray(), array("b")
    for (part, position), record in ((keys, value) for keys, value in stream_json(path, 2) if len(keys) == 2):
        named = f"{path}: {part}[{position}]"
        if part == "images":
            image_id = _integer(record, "id", named)
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
            ids.append(_integer(record, "id", named))
            image_ids.append(_integer(record, "image_id", named))
            try:
                box, bits, kind = _annotation(record, f"{named} (id {ids[-1]})")
            except InputError as error:
                box, bits, kind = (0.0,) * 4, bytes(6), (0, 0)
                index.wrong[len(ids) - 1] = str(error)
            boxes.extend(box)
            valid.extend(bits)
            types.extend(kind)
    if not ids:
        raise InputError(f"{path} contains no annotations. Is it a file of InterHand2.6M?")
    rows = np.zeros(len(ids), np.int64)
    for position, image_id in enumerate(image_ids):
        rows[position] = image_rows.get(image_id, -1)
        if image_id in image_names:
            index.other_names[position] = image_names[image_id]
        if image_id in image_wrong:
            index.wrong[position] = image_wrong[image_id]
        elif rows[position] < 0:
            index.wrong[position] = f"{path}: annotations[{position}].image_id is {image_id}, which is not in images"
    images.extend((0,) * _COLUMNS)  # what row -1 is
    index.annotation_ids = np.array(ids, np.int64)
    index.columns = np.array(images, np.int32).reshape(-1, _COLUMNS)[rows]
    index.boxes = np.array(boxes, np.float32).reshape(-1, 4)
    index.valid = np.frombuffer(bytes(valid), np.uint8).reshape(-1, 6)
    index.types = np.array(types, np.int8).reshape(-1, 2)
    return index


@dataclass(frozen=True)
class FrameTable:
    """Rows of `values` by capture and frame: `keys` are sorted, `wrong` describes the problem of a key's row."""

    keys: IntArray
    values: FloatArray
    wrong: dict[int, str]

    def row(self, capture: str, frame: int) -> FloatArray | None:
        """Return the row of one frame, or None if the file has none.

        Raises:
            InputError: The row is wrong. The message names file and field.
        """
        key = frame_key(capture, frame)
        position = int(np.searchsorted(self.keys, key))
        if position == len(self.keys) or self.keys[position] != key:
            return None
        if key in self.wrong:
            raise InputError(self.wrong[key])
        return self.values[position]


def frame_key(capture: str, frame: int) -> int:
    """Return one number for a frame of a capture."""
    return int(capture) << 32 | frame


def index_joints(path: Path) -> FrameTable:
    """Read `..._joint_3d.json`: rows (42, 3), millimetres in the world."""

    def joints(item: Any, named: str) -> FloatArray:  # noqa: ANN401  # JSON
        return numbers(field_of(item, "world_coord", named), (JOINTS, 3), f"{named}.world_coord")

    return _frames(path, (JOINTS, 3), joints)


def index_mano(path: Path) -> FrameTable:
    """Read `..._MANO_NeuralAnnot.json`: rows (2, 61), right hand then left: pose, shape, translation; NaN without a
    fit.
    """

    def fits(item: Any, named: str) -> FloatArray:  # noqa: ANN401  # JSON
        row = np.full((2, sum(_MANO.values())), np.nan)
        for index, side in enumerate(HAND_TYPES[:2]):
            if fit := item.get(side):
                parts = [
                    numbers(field_of(fit, part, f"{named}.{side}"), (size,), f"{named}.{side}.{part}")
                    for part, size in _MANO.items()
                ]
                row[index] = np.concatenate(parts)
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
    """Return a row of `ImageIndex.columns`, and the file's name if it is not the usual one.

    The official files encode the type of a sequence in its name only; releases of Sonjit's annotator have a field.
    """
    texts = [str(field_of(record, name, named)) for name in ("capture", "subject", "seq_name", "camera")]
    width, height, frame = (_integer(record, name, named) for name in ("width", "height", "frame_idx"))
    name = str(field_of(record, "file_name", named))
    usual = _file_name(texts[0], texts[2], texts[3], frame)
    texts.append(str(record.get("seq_type") or ("ROM" if "ROM" in texts[2] else "PP")))
    return (width, height, *(names.number(text) for text in texts), frame), None if name == usual else name


def _integer(record: Any, name: str, named: str) -> int:  # noqa: ANN401  # JSON
    value = field_of(record, name, named)
    if not isinstance(value, int):
        raise InputError(f"{named}.{name} is not a whole number: {str(value)[:60]}")
    return value


def _annotation(record: Any, named: str) -> tuple[tuple[float, ...], bytes, tuple[int, int]]:  # noqa: ANN401  # JSON
    box = numbers(field_of(record, "bbox", named), (4,), f"{named}.bbox")
    flags = numbers(field_of(record, "joint_valid", named), (JOINTS, 1), f"{named}.joint_valid")
    kind = str(field_of(record, "hand_type", named))
    if kind not in HAND_TYPES:
        raise InputError(f"{named}: {unknown_name('hand_type', kind, HAND_TYPES)}")
    is_valid = int(bool(field_of(record, "hand_type_valid", named)))
    return tuple(box), np.packbits(flags[:, 0] > 0).tobytes(), (HAND_TYPES.index(kind), is_valid)


def _file_name(capture: str, sequence: str, camera: str, frame: int) -> str:
    return f"Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg"
