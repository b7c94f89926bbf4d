"""InterHand2.6M's annotation files as arrays: about 60 bytes an image, a hundredth of what their objects would take.

Files are read as streams. A record that is wrong stays in the index with what is wrong in it, so that it is an error
when it is asked for and can be left out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sonjit.datasets.reading import field as field_of
from sonjit.datasets.reading import numbers, stream_json
from sonjit.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HAND_TYPES: Final = ("right", "left", "interacting")
JOINTS: Final = 42
"""Right hand 0..20, left hand 21..41."""
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
    frame: int
    box_xywh: NDArray[np.float64]
    joint_valid: NDArray[np.bool_]
    hand_type: str
    hand_type_valid: bool


@dataclass
class ImageIndex:
    """All annotated images of one `..._data.json`, columns of equal length, in the order of its annotations."""

    path: Path
    names: Names = field(default_factory=Names)
    annotation_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 7), np.int32))
    boxes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
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
        width, height, capture, subject, sequence, camera, frame = self.columns[place].tolist()
        texts = self.names.texts
        name = self.other_names.get(place) or _file_name(texts[capture], texts[sequence], texts[camera], frame)
        return Image(
            int(self.annotation_ids[place]), name, width, height, texts[capture], texts[subject], texts[sequence],
            texts[camera], frame, self.boxes[place].astype(np.float64),
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
            row: tuple[int, ...] = (0,) * 7
            try:
                row, other_name = _image(record, index.names, f"{named} (id {image_id})")
                if other_name:
                    image_names[image_id] = other_name
            except InputError as error:
                image_wrong[image_id] = str(error)
            image_rows[image_id] = len(images) // 7
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
    images.extend((0,) * 7)  # what row -1 is
    index.annotation_ids = np.array(ids, np.int64)
    index.columns = np.array(images, np.int32).reshape(-1, 7)[rows]
    index.boxes = np.array(boxes, np.float32).reshape(-1, 4)
    index.valid = np.frombuffer(bytes(valid), np.uint8).reshape(-1, 6)
    index.types = np.array(types, np.int8).reshape(-1, 2)
    return index


@dataclass(frozen=True)
class FrameTable:
    """Rows of `values` by capture and frame: `keys` are sorted, `wrong` says what is wrong in a key's row."""

    keys: NDArray[np.int64]
    values: NDArray[np.float64]
    wrong: dict[int, str]

    def row(self, capture: str, frame: int) -> NDArray[np.float64] | None:
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

    def joints(one: Any, named: str) -> NDArray[np.float64]:  # noqa: ANN401  # JSON
        return numbers(field_of(one, "world_coord", named), (JOINTS, 3), f"{named}.world_coord")

    return _frames(path, (JOINTS, 3), joints)


def index_mano(path: Path) -> FrameTable:
    """Read `..._MANO_NeuralAnnot.json`: rows (2, 61), right hand then left: pose, shape, place; NaN without a fit."""

    def fits(one: Any, named: str) -> NDArray[np.float64]:  # noqa: ANN401  # JSON
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


def _frames(path: Path, shape: tuple[int, ...], read: Callable[[Any, str], NDArray[np.float64]]) -> FrameTable:
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
    """A row of `ImageIndex.columns`, and the file's name where it is not the usual one."""
    texts = [str(field_of(record, name, named)) for name in ("capture", "subject", "seq_name", "camera")]
    width, height, frame = (_whole(record, name, named) for name in ("width", "height", "frame_idx"))
    name = str(field_of(record, "file_name", named))
    usual = _file_name(texts[0], texts[2], texts[3], frame)
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
