"""MANO's numbers: read from the licensed `.pkl`, from `.npz` or a mapping, and checked.

MANO may not be passed on: everybody fetches MANO_RIGHT.pkl and MANO_LEFT.pkl from https://mano.is.tue.mpg.de.

Pickles, those of data sets too, are read without running anything in them, and without chumpy or scipy: every class
that such a file names is replaced by one of this file that only keeps numbers; any other name is refused before
anything is made of it. Arrays are built from their bytes here, so that not even numpy is handed a forged state.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit.errors import InputError

VERTICES: Final = 778
JOINTS: Final = 16

SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "v_template": (VERTICES, 3),
    "shapedirs": (VERTICES, 3, 10),
    "posedirs": (VERTICES, 3, 9 * (JOINTS - 1)),
    "J_regressor": (JOINTS, VERTICES),
    "weights": (VERTICES, JOINTS),
    "hands_components": (45, 45),
    "hands_mean": (45,),
    "f": (1538, 3),
    "kintree_table": (2, JOINTS),
}
"""MANO's fields, by the names in its files, and their shapes; lengths in metres."""

PARENTS: Final = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""Of the 16 joints: wrist, then three each of index, middle, little and ring finger and thumb."""

TO_MEDIAPIPE21: Final = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""Index of each of MediaPipe's 21 keypoints among MANO's 16 joints and, after them, the tips from thumb to little
finger."""

_WHERE = "MANO_RIGHT.pkl and MANO_LEFT.pkl are to be had, after registration, from https://mano.is.tue.mpg.de"
_LARGEST_FILE = 64 << 20  # bytes; the licensed files have under 4 million
_INTEGERS = ("f", "kintree_table")


@dataclass(frozen=True)
class JointLayout:
    """Which vertices stand for the finger tips, and where the hand is put.

    Attributes:
        right: tip vertices of a right hand: thumb, index, middle, ring, little finger.
        left: those of a left one.
        centred: the wrist is the origin, unless a translation is given.
    """

    right: tuple[int, int, int, int, int]
    left: tuple[int, int, int, int, int]
    centred: bool = False


_MANOPTH = JointLayout(right=(745, 317, 444, 556, 673), left=(745, 317, 445, 556, 673))
_HO3D = (728, 353, 442, 576, 694)

LAYOUTS: Final[dict[str, JointLayout]] = {
    "handoccnet": _MANOPTH,
    "deformer_ho3d": JointLayout(_HO3D, _HO3D, centred=True),
    "deformer_dexycb": _MANOPTH,
}
"""The layouts of the networks that use MANO, by the value of `tips`."""


def read_mano(source: str | Path | Mapping[str, object]) -> dict[str, NDArray[Any]]:
    """MANO's fields by name, of the shapes above, checked: float64, and int64 for faces and parents.

    Args:
        source: the licensed `.pkl`, read without running anything in it; an `.npz` or a mapping with its field names.

    Raises:
        InputError: the file is missing, damaged, of another kind or not MANO, or a field is.
    """
    if isinstance(source, Mapping):
        return _checked(source, "this mapping")
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_WHERE}")
    if path.suffix not in (".pkl", ".npz"):
        raise InputError(f"{path}: unknown ending {path.suffix!r} of a MANO file; known: .pkl, .npz")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError("too large for a MANO file")
        fields = read_pickled_fields(path.read_bytes()) if path.suffix == ".pkl" else _read_npz(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return _checked(fields, str(path))


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.file_size > _LARGEST_FILE for entry in archive.infolist()):
                raise InputError("too large for a MANO file once unpacked")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in SHAPES if name in archive.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, NotImplementedError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a damaged .npz ({(str(error) or type(error).__name__).splitlines()[0][:120]})") from None


def _checked(fields: Mapping[str, object], name: str) -> dict[str, NDArray[Any]]:
    if missing := [field for field in SHAPES if field not in fields]:
        raise InputError(f"{name}: not a MANO model: without {', '.join(missing)}; {_WHERE}")
    checked: dict[str, NDArray[Any]] = {}
    for field, shape in SHAPES.items():
        try:
            array = plain_array(fields[field])
            wide = array.astype(np.int64 if field in _INTEGERS else np.float64)
        except Exception as error:  # a forged field can fail in any way that numpy knows
            reason = (str(error) or type(error).__name__).splitlines()[0][:120]
            raise InputError(f"{name}: its {field} is not an array of numbers ({reason})") from None
        if wide.shape != shape:
            raise InputError(f"{name}: its {field} has shape {wide.shape} instead of {shape}: not a MANO model")
        if not np.isfinite(wide).all():
            raise InputError(f"{name}: its {field} holds values that are not numbers")
        checked[field] = wide
    if checked["f"].min() < 0 or checked["f"].max() >= VERTICES:
        raise InputError(f"{name}: its faces refer to vertices that do not exist")
    if tuple(checked["kintree_table"][0, 1:]) != PARENTS[1:]:
        raise InputError(f"{name}: its joints hang together otherwise than MANO's")
    for field in ("weights", "J_regressor"):
        if np.abs(checked[field].sum(1) - 1).max() > 1e-3:
            raise InputError(f"{name}: rows of its {field} do not sum to 1")
    return checked


_LARGEST = 10_000_000  # numbers in one array; MANO's greatest holds 315,090
_DEEPEST = 8


def read_pickled_fields(content: bytes) -> Mapping[str, Any]:
    """The arrays and plain values of a pickled mapping, by name; what is under no name is left out.

    Raises:
        InputError: as `read_pickled_mapping`.
    """
    return {name: value for name, value in read_pickled_mapping(content).items() if isinstance(name, str)}


def read_pickled_mapping(content: bytes) -> dict[Any, Any]:
    """A pickled mapping; `plain_array` makes arrays of its values.

    Raises:
        InputError: it is not such a pickle, it is damaged, or it names something that is not allowed; without a path.
    """
    try:
        _look_through(content)
        loaded = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except InputError:
        raise
    except Exception as error:  # forged bytes can fail in any way that the unpickler knows
        raise InputError(f"a damaged pickle ({(str(error) or type(error).__name__).splitlines()[0][:120]})") from None
    if not isinstance(loaded, dict):
        raise InputError(f"it holds a {type(loaded).__name__}, not a mapping of fields")
    return loaded


def plain_array(value: Any, depth: int = 0) -> np.ndarray:  # noqa: ANN401  # whatever was read
    """What was read of one field as an array.

    Raises:
        ValueError, TypeError, IndexError, MemoryError: it makes no array.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    match value:
        case _Array():
            return value.values()
        case _Ch():
            return plain_array(value.state["x"], depth + 1)
        case _Select():
            indices = plain_array(value.state["idxs"], depth + 1)
            chosen = plain_array(value.state["a"], depth + 1).ravel()[indices]
            return chosen.reshape(value.state.get("preferred_shape", chosen.shape))
        case _Csc():
            return value.dense(depth + 1)
        case _:
            return np.asarray(value)


class _StandIn:
    """Keeps the state of an object of another library."""

    def __init__(self, *_: Any) -> None:  # noqa: ANN401
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{type(self).__name__.strip('_')} without a state")
        self.state = state


class _Ch(_StandIn):
    """chumpy's array: its numbers are `x`."""


class _Select(_StandIn):
    """chumpy's choice of an array's elements: `a`, `idxs` and `preferred_shape`."""


class _Csc(_StandIn):
    """scipy's matrix in compressed columns."""

    def dense(self, depth: int) -> np.ndarray:
        rows, columns = (int(size) for size in self.state["_shape"])
        data, indices, starts = (plain_array(self.state[name], depth) for name in ("data", "indices", "indptr"))
        if not (0 < rows * columns <= _LARGEST and len(starts) == columns + 1 and min(indices, default=0) >= 0):
            raise ValueError("a matrix that does not fit its shape")
        matrix = np.zeros((rows, columns), data.dtype)
        np.add.at(matrix, (indices, np.repeat(np.arange(columns), np.diff(starts))), data)
        return matrix


class _DType(_StandIn):
    """numpy's kind of number."""

    def __init__(self, code: Any = "", *_: Any) -> None:  # noqa: ANN401
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if not (isinstance(text, str) and re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", text)):
            raise pickle.UnpicklingError(f"arrays of {text!r} are not read")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _ArrayType(_StandIn):
    """numpy's ndarray, as the argument that it is in a pickle."""


class _Array(_StandIn):
    """numpy's array, rebuilt from shape, kind and bytes."""

    parts: tuple[Any, Any, bool, Any] | None = None

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        _, *parts = state
        self.parts = tuple(parts)

    def values(self) -> np.ndarray:
        if self.parts is None:
            raise ValueError("an array without numbers")
        shape, kind, by_columns, raw = self.parts
        content = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
        flat = np.frombuffer(content, kind.dtype)
        if math.prod(shape) != len(flat) or len(flat) > _LARGEST:
            raise ValueError(f"{len(flat)} numbers for an array of shape {tuple(shape)}")
        return flat.reshape(shape, order="F" if by_columns else "C")


class _Buffer(_Array):
    """numpy's array as protocol 5 writes it: bytes, kind, shape, order."""

    def __init__(self, raw: Any, kind: Any, shape: Any, order: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.parts = (shape, kind, order == "F", raw)


class _Scalar(_Array):
    """numpy's number: kind and bytes."""

    def __init__(self, kind: Any, raw: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.parts = ((), kind, False, raw)


class _Bytes:
    """`codecs.encode` as pickles of bytes in old protocols call it."""

    def __new__(cls, text: str, encoding: str = "latin1") -> Any:  # noqa: ANN401
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes in {encoding!r}")
        return text.encode("latin1")


class _Rebuilt:
    """`copyreg._reconstructor` as pickles of objects in old protocols call it."""

    def __new__(cls, kind: Any, *_: Any) -> Any:  # noqa: ANN401
        if not (isinstance(kind, type) and issubclass(kind, _StandIn)):
            raise pickle.UnpicklingError("an object of no known class")
        return kind()


_ALLOWED: dict[tuple[str, str], type] = {
    ("chumpy.ch", "Ch"): _Ch,
    ("chumpy.reordering", "Select"): _Select,
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Bytes,
    **{(module, "csc_matrix"): _Csc for module in ("scipy.sparse", "scipy.sparse.csc", "scipy.sparse._csc")},
    **{(module, "_reconstructor"): _Rebuilt for module in ("copy_reg", "copyreg")},
    **{(module, name): kind
       for module in ("__builtin__", "builtins")
       for name, kind in (("object", object), ("set", set))},
    **{(f"numpy.{core}.{module}", name): kind
       for core in ("core", "_core")
       for module, name, kind in (("multiarray", "_reconstruct", _Array),
                                  ("multiarray", "scalar", _Scalar),
                                  ("numeric", "_frombuffer", _Buffer))},
}  # fmt: skip
"""What a pickle may name -> what stands in for it."""


def _look_through(content: bytes) -> None:
    """Refuse what the unpickler's own code stumbles over: parts that are cut off, and numbers of places far off."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(content):
            raise ValueError(f"it keeps more than {len(content)} bytes can hold")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        kind = _ALLOWED.get((module, name))
        if kind is None:
            asked = ascii(f"{module}.{name}"[:120])[1:-1]  # forged names hold anything
            raise InputError(f"it asks for {asked}, which no such file needs: not read, and nothing was run")
        return kind
