"""Read annotation files and depth images, and make hands from joints, for the readers of data sets.

Errors name file and field. A joint order is the index of each of MediaPipe's 21 keypoints. SciPy's reader of MATLAB
files trusts the types that a file declares, so the file is scanned first ("MAT-File Format", The MathWorks, chapter 1).
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import Float32Array, FloatArray, InputError, unknown_name
from sonjit._util.records import numbers, one_line
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.sources.images import load_image, read_bytes
from sonjit.results import Box
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, Side
from sonjit_lab.hand_models.pickles import plain_array

_CHUNK = 1 << 20  # characters read at once
_NUMBER_PARTS = ("", ".", "e", "E")
_HEADER = 128
_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}
_NAME, _SHAPE, _FLAGS, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBER_TYPES = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)
_REAL_CLASSES = range(6, 16)  # double, single and the whole numbers
_COMPLEX = 0x800
_MAX_ELEMENT = 1 << 30  # maximum size of a compressed variable in bytes
MEDIAPIPE: Final = tuple(range(21))  # also the order of FreiHAND and DexYCB
INTERHAND: Final = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""InterHand2.6M: tips first, wrist last."""
RHD: Final = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""Wrist first, then each finger from its tip."""
STB: Final = (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)
"""Palm centre first, then from the little finger to the thumb."""
FPHA: Final = (0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20)
"""Wrist, all knuckles, then the rest of each finger."""
MANO: Final = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""HO-3D: MANO's 16 joints (index, middle, little, ring, thumb), then the tips of thumb to little finger."""
ORDERS: Final[Mapping[str, tuple[int, ...]]] = {
    "mediapipe": MEDIAPIPE, "freihand": MEDIAPIPE, "dexycb": MEDIAPIPE, "openpose": MEDIAPIPE,
    "coco-wholebody": MEDIAPIPE, "onehand10k": MEDIAPIPE, "interhand": INTERHAND, "rhd": RHD, "fpha": FPHA,
    "mano": MANO, "ho3d": MANO,
}  # fmt: skip
"""Orders of a hand's 21 keypoints by name. That of STB has the palm's centre instead of the wrist."""
MM = 1e-3  # metres in a millimetre
_SKELETONS = ("hand_mediapipe21", "body_coco17", "body_coco23", "body_blazepose33", "face_300w68", "face_wflw98")
_MESHES = ("face_mediapipe468", "face_mediapipe478")
"""Skeletons whose points mostly have no names: they are known by the names of all points in order."""
_SIDE = re.compile(r"^(left|right|l|r)_")
_FINGERS = {
    "thumb": "thumb", "forefinger": "index_finger", "index": "index_finger", "index_finger": "index_finger",
    "middle": "middle_finger", "middle_finger": "middle_finger", "ring": "ring_finger", "ring_finger": "ring_finger",
    "pinky": "pinky_finger", "pinky_finger": "pinky_finger", "little": "pinky_finger",
}  # fmt: skip


def stream_json(path: Path, depth: int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield keys and indices that lead to a value at one depth of a JSON file, and the value, without loading the rest.

    Depth 1 are the members of the outermost object or list. Values at a smaller depth are skipped.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = _Text(file)
            yield from _walk(text, depth, ())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or not JSON: {error}") from None


class _Text:
    """Text of a file from the current position."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401  # a text file
        self._file = file
        self._text = ""
        self._at = 0
        self._discarded = 0  # characters that were removed from the buffer
        self._ended = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not a space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def expect(self, expected: str) -> str:
        """Read the next character. It must be one of `expected`."""
        character = self.peek()
        if not character or character not in expected:
            raise ValueError(f"{character or 'the end'!r} at character {self._discarded + self._at}")
        self._at += 1
        return character

    def value(self) -> Any:  # noqa: ANN401  # JSON
        """Read the next complete value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError(f"{error} at character {self._discarded + self._at}") from None
            except json.JSONDecodeError as error:
                if not self._more():
                    raise ValueError(f"{error.msg} at character {self._discarded + error.pos}") from None
                continue
            # A number may continue in the next chunk, also after a point or an exponent's e at the end of this one.
            if self._text[end : end + 1] not in _NUMBER_PARTS or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        # The buffer doubles while a value is incomplete, so that a long value is parsed only a few times.
        read = "" if self._ended else self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._ended = not read
        if read:
            self._discarded += self._at
            self._text = self._text[self._at :] + read
            self._at = 0
        return bool(read)


def _walk(text: _Text, depth: int, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if depth == 0:
        yield keys, text.value()
        return
    opening = text.peek()
    if opening not in ("{", "["):
        text.value()
        return
    closing = "}" if opening == "{" else "]"
    text.expect(opening)
    if text.peek() == closing:
        text.expect(closing)
        return
    index = 0
    while True:
        key: str | int = index
        if opening == "{":
            key = str(text.value())
            text.expect(":")
        yield from _walk(text, depth - 1, (*keys, key))
        index += 1
        if text.expect("," + closing) == closing:
            return


def pickled_numbers(value: Any, shape: tuple[int, ...], named: str) -> FloatArray:  # noqa: ANN401  # a stand-in
    """Return numbers of a known shape from a pickle."""
    try:
        return numbers(plain_array(value), shape, named)
    except InputError:
        raise
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        raise InputError(f"{named} is damaged: {error}") from None


def number_table(
    path: Path, shape: tuple[int, ...], wrong: dict[int, str] | None = None, *, half: bool = False
) -> NDArray[Any]:
    """Return the rows of a JSON list of numbers as (N, *shape), float64, or float32 with `half`.

    `wrong` receives the problem of each wrong row by index; such rows are NaN. Without it a wrong row raises an error.
    """
    dtype = np.float32 if half else np.float64
    rows: list[NDArray[Any]] = []
    for (index, *_), value in stream_json(path, 1):
        try:
            row = numbers(value, shape, f"{path}: [{index}]")
        except InputError as error:
            if wrong is None:
                raise
            wrong.setdefault(len(rows), str(error))
            row = np.full(shape, np.nan)
        rows.append(row.astype(dtype))
    return np.array(rows, dtype).reshape(-1, *shape)


def depth_from_png(path: Path, metres_per_step: float, *, red_is_high: bool = False) -> Float32Array:
    """Return the depth (H, W) in metres of a PNG with a 16-bit value of steps in red and green, in RHD red is the high
    byte.
    """
    red, green = np.moveaxis(load_image(path, upright=False)[..., :2].astype(np.float32), -1, 0)
    steps = red * 256 + green if red_is_high else red + green * 256
    return steps * np.float32(metres_per_step)


def load_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a MATLAB file by name."""
    from scipy.io import loadmat

    content = read_bytes(path)
    order = _ORDERS.get(content[124:_HEADER])
    if order is None:
        raise InputError(f"{path} is not a MATLAB 5 file; save it with -v6 or -v7")
    try:
        for kind, data in _elements(content[_HEADER:], order):
            _check_variable(kind, data, order)
        arrays = loadmat(BytesIO(content))
    except Exception as error:  # SciPy's reader names none that it raises
        raise InputError(f"{path} is damaged: {one_line(error)}; get it again") from None
    return {name: value for name, value in arrays.items() if not name.startswith("__")}


def _check_variable(kind: int, data: bytes, order: str) -> None:
    if kind == _COMPRESSED:
        ((kind, data),) = _elements(zlib.decompressobj().decompress(data, _MAX_ELEMENT), order)
    elements = list(_elements(data, order))
    kinds = [part for part, _ in elements]
    (flags,) = struct.unpack(order + "I4x", elements[0][1]) if elements else (0,)
    is_real = flags & 0xFF in _REAL_CLASSES and not flags & _COMPLEX
    if kind != _MATRIX or not is_real or kinds[:3] != [_FLAGS, _SHAPE, _NAME] or len(kinds) != 4:
        raise ValueError("a variable is not an array of real numbers")
    if kinds[3] not in _NUMBER_TYPES:
        raise ValueError(f"numbers of the unknown type {kinds[3]}")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the types and contents of data elements."""
    position = 0
    while position < len(content):
        kind, size = struct.unpack_from(order + "II", content, position)
        start = position + 8
        end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if kind >> 16:  # a small element: size and kind share four bytes, up to four bytes of data follow
            kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        if start + size > len(content):
            raise ValueError(f"{start + size - len(content)} bytes are missing at its end")
        yield kind, content[start : start + size]
        position = end


def camera_matrix(focal: ArrayLike, centre: ArrayLike) -> NDArray[np.float64]:
    """Return the matrix (3, 3) of focal lengths (2,) and principal point (2,) in pixels."""
    matrix = np.eye(3)
    matrix[[0, 1], [0, 1]] = focal
    matrix[:2, 2] = centre
    return matrix


def hand_before_camera(
    joints_m: NDArray[np.float64],
    camera: CalibratedCamera,
    side: Side,
    *,
    valid: NDArray[np.bool_] | None = None,
    keypoints_px: NDArray[np.float64] | None = None,
    **more: Any,  # noqa: ANN401  # of Instance
) -> Instance:
    """Return a hand with joints (21, 3) in metres in the camera's frame, in MediaPipe's order, NaN where not `valid`.

    Keypoints (21, 2) are the projected joints unless the set labels them. `more`: other fields of `Instance`.
    """
    labelled = np.ones(len(joints_m), np.bool_) if valid is None else valid
    placed = np.where(labelled[:, None], joints_m, np.nan)
    projected = camera.project(placed) if keypoints_px is None else np.where(labelled[:, None], keypoints_px, np.nan)
    return Instance(
        kind="hand",
        side=side,
        skeleton=HAND_SKELETON,
        keypoints_px=projected,
        valid_px=labelled & complete(projected),
        keypoints_m=placed,
        valid_m=labelled,
        **more,
    )


def box_from_xywh(xywh: ArrayLike) -> Box:
    """Return x_min, y_min, x_max, y_max of x, y, width, height (4,), all in pixels.

    >>> box_from_xywh([10, 20, 5, 6])
    (10.0, 20.0, 15.0, 26.0)
    """
    x, y, width, height = np.asarray(xywh, np.float64).tolist()
    return x, y, x + width, y + height


def complete(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask (K,) of the points (K, D) with all coordinates known."""
    return np.asarray(np.isfinite(points).all(axis=-1), np.bool_)


def skeleton_of_names(names: Sequence[str]) -> tuple[str | None, NDArray[np.int64] | None]:
    """Return the skeleton with these keypoints, and the index of each of its keypoints among the names.

    A hand's fingers may also be counted from the palm to the tip: `forefinger1` to `forefinger4`. All names of a hand
    may begin with its side: `left_thumb1`, `r_wrist`.

    Returns:
        Name, and indices (K,) so that `points[indices]` are in the skeleton's order; None and None if no skeleton fits.

    >>> skeleton_of_names(["wrist"])
    (None, None)
    """
    return _skeleton_of_names(tuple(names))


def skeleton_of_order(order: str, names: Sequence[str], count: int) -> tuple[str, NDArray[np.int64]]:
    """Return the skeleton of a stated order, and the index of each of its keypoints in that order.

    Args:
        order: Name of one of `ORDERS`, or of a skeleton of Sonjit.
        names: Names of the keypoints in the file; may be empty.
        count: Number of keypoints.

    Raises:
        InputError: The order is unknown, has another number of keypoints, or contradicts the names.

    >>> skeleton_of_order("interhand", (), 21)[1][:5].tolist()
    [20, 3, 2, 1, 0]
    """
    if order in ORDERS:
        skeleton, indices = HAND_SKELETON, np.array(ORDERS[order], np.int64)
    elif order in (*_SKELETONS, *_MESHES):
        skeleton, indices = order, np.arange(len(load_skeleton(order).keypoints))
    else:
        raise InputError(unknown_name("order", order, (*ORDERS, *_SKELETONS, *_MESHES)))
    if len(indices) != count:
        raise InputError(f"order={order} has {len(indices)} keypoints, but the labels have {count}")
    named, by_name = skeleton_of_names(names)
    if by_name is not None and (named != skeleton or not np.array_equal(by_name, indices)):
        raise InputError(f"order={order} contradicts the names of the keypoints, which are those of {named}: remove it")
    return skeleton, indices


@cache
def _skeleton_of_names(names: tuple[str, ...]) -> tuple[str | None, NDArray[np.int64] | None]:
    for mesh in _MESHES:
        if load_skeleton(mesh).keypoints == names:
            return mesh, np.arange(len(names))
    spelled = [standard_name(name) for name in names]
    of_one_side = [standard_name(_SIDE.sub("", name.lower().replace(" ", "_"))) for name in names]
    for skeleton, spelled_names in (*((skeleton, spelled) for skeleton in _SKELETONS), (HAND_SKELETON, of_one_side)):
        keypoints = load_skeleton(skeleton).keypoints
        if len(keypoints) == len(spelled_names) and set(keypoints) == set(spelled_names):
            return skeleton, np.array([spelled_names.index(name) for name in keypoints])
    return None, None


def standard_name(name: str) -> str:
    """Return a keypoint's name as spelled in MediaPipe's skeleton.

    >>> standard_name("forefinger1"), standard_name("THUMB_4"), standard_name("pinky_mcp")
    ('index_finger_mcp', 'thumb_tip', 'pinky_finger_mcp')
    """
    name = name.lower().replace(" ", "_")
    if name == "hand_root":  # COCO-WholeBody
        return "wrist"
    stem, level = name.rstrip("1234").rstrip("_"), name[-1:]
    if level in "1234" and stem in _FINGERS:
        levels = ("cmc", "mcp", "ip", "tip") if stem == "thumb" else ("mcp", "pip", "dip", "tip")
        return f"{_FINGERS[stem]}_{levels[int(level) - 1]}"
    finger, _, joint = name.rpartition("_")
    return f"{_FINGERS[finger]}_{joint}" if finger in _FINGERS else name
