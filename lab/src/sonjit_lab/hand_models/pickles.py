"""Read pickles of arrays without running anything in them, and without chumpy or scipy.

A class that a pickle names is replaced by a class of this module that only stores numbers. Any other name is refused
before an object is created. Arrays are built from their bytes, so that numpy never receives a forged state.
"""

import io
import math
import pickle
import pickletools
import re
from functools import cache
from typing import Any

import numpy as np

from sonjit._util import InputError

_MAX_NUMBERS = 10_000_000  # numbers in an array; MANO's largest has 315,090
_MAX_DEPTH = 8


def read_pickled_mapping(content: bytes, named: str) -> dict[Any, Any]:
    """Read a pickled mapping, whose values `plain_array` converts; `named` is the file for messages."""
    try:
        for opcode, argument, _ in pickletools.genops(content):  # the unpickler's own code fails for these
            if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(content):
                raise ValueError(f"a memo index is larger than the {len(content)} bytes of the file")
        loaded = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    except Exception as error:  # forged bytes raise arbitrary errors in the unpickler
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{named}: damaged pickle ({reason})") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{named}: the pickle contains a {type(loaded).__name__}, not a mapping of fields")
    return loaded


def plain_array(value: Any, depth: int = 0) -> np.ndarray:  # noqa: ANN401  # any unpickled value
    """Convert an unpickled field to an array. Raise ValueError, TypeError, IndexError or MemoryError if it is none."""
    if depth > _MAX_DEPTH:
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
        case _Sparse():
            return value.dense(depth + 1)
        case _:
            return np.asarray(value)


class _Placeholder:
    """An object of another library, reduced to its state."""

    def __init__(self, *_: Any) -> None:  # noqa: ANN401
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{type(self).__name__.strip('_')} without a state")
        self.state = state


class _Ch(_Placeholder):
    """chumpy's array: its numbers are `x`."""


class _Select(_Placeholder):
    """chumpy's selection of an array's elements: `a`, `idxs` and `preferred_shape`."""


class _Sparse(_Placeholder):
    """scipy's matrix in compressed columns or rows, or as coordinates."""

    def dense(self, depth: int) -> np.ndarray:
        def part(name: str) -> np.ndarray:
            return plain_array(self.state[name], depth)

        rows, columns = (int(size) for size in self.state["_shape"])
        data = part("data")
        if "coords" in self.state:
            down, across = (plain_array(places, depth) for places in self.state["coords"])
        elif "row" in self.state:
            down, across = part("row"), part("col")
        else:
            starts, places = part("indptr"), part("indices")
            if len(starts) != (columns if self.by_columns else rows) + 1:
                raise ValueError("a matrix that does not fit its shape")
            lines = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
            down, across = (places, lines) if self.by_columns else (lines, places)
        if not (0 < rows * columns <= _MAX_NUMBERS and min(*down, *across, 0) >= 0):
            raise ValueError("a matrix that does not fit its shape")
        matrix = np.zeros((rows, columns), data.dtype)
        np.add.at(matrix, (down, across), data)
        return matrix

    by_columns = False


class _Csc(_Sparse):
    by_columns = True


class _DType(_Placeholder):
    """numpy's data type."""

    def __init__(self, code: Any = "", *_: Any) -> None:  # noqa: ANN401
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if not (isinstance(text, str) and re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", text)):
            raise pickle.UnpicklingError(f"arrays of {text!r} are not supported")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _ArrayType(_Placeholder):
    """numpy's ndarray class as an argument in a pickle."""


class _Array(_Placeholder):
    """numpy's array, rebuilt from shape, data type and bytes."""

    fields: tuple[Any, Any, bool, Any] | None = None

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        _, *fields = state
        self.fields = tuple(fields)

    def values(self) -> np.ndarray:
        if self.fields is None:
            raise ValueError("an array without numbers")
        shape, kind, by_columns, raw = self.fields
        content = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
        flat = np.frombuffer(content, kind.dtype)
        if math.prod(shape) != len(flat) or len(flat) > _MAX_NUMBERS:
            raise ValueError(f"{len(flat)} numbers for an array of shape {tuple(shape)}")
        return flat.reshape(shape, order="F" if by_columns else "C")


class _Buffer(_Array):
    """numpy's array in protocol 5: bytes, data type, shape, order."""

    def __init__(self, raw: Any, kind: Any, shape: Any, order: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.fields = (shape, kind, order == "F", raw)


class _Scalar(_Array):
    """numpy's number: data type and bytes."""

    def __init__(self, kind: Any, raw: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.fields = ((), kind, False, raw)


class _Bytes:
    """`codecs.encode` as pickles of bytes in old protocols call it."""

    def __new__(cls, text: str, encoding: str = "latin1") -> Any:  # noqa: ANN401
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes in {encoding!r}")
        return text.encode("latin1")


class _DefaultDict(dict[Any, Any]):
    """A mapping with a default, which is ignored."""

    def __init__(self, *_: Any) -> None: ...  # noqa: ANN401


class _Rebuilt:
    """`copyreg._reconstructor` as pickles of objects in old protocols call it."""

    def __new__(cls, kind: Any, *_: Any) -> Any:  # noqa: ANN401
        if not (isinstance(kind, type) and issubclass(kind, _Placeholder)):
            raise pickle.UnpicklingError("object of an unknown class")
        return kind()


@cache
def _allowed_classes() -> dict[tuple[str, str], type]:
    """Return the classes that a pickle may name, and their replacements."""
    return {
        ("chumpy.ch", "Ch"): _Ch,
        ("chumpy.reordering", "Select"): _Select,
        ("numpy", "ndarray"): _ArrayType,
        ("numpy", "matrix"): _ArrayType,
        ("numpy.matrixlib.defmatrix", "matrix"): _ArrayType,
        ("numpy", "dtype"): _DType,
        ("_codecs", "encode"): _Bytes,
        ("collections", "OrderedDict"): dict,
        ("collections", "defaultdict"): _DefaultDict,
        **{
            (module, f"{kind}_{form}"): _Csc if kind == "csc" else _Sparse
            for kind in ("csc", "csr", "coo")
            for form in ("matrix", "array")
            for module in ("scipy.sparse", f"scipy.sparse.{kind}", f"scipy.sparse._{kind}")
        },
        **{(module, "_reconstructor"): _Rebuilt for module in ("copy_reg", "copyreg")},
        **{
            (module, kind.__name__): kind
            for module in ("__builtin__", "builtins")
            for kind in (object, set, frozenset, dict, list, int, float)
        },
        **{
            (f"numpy.{core}.{module}", name): kind
            for core in ("core", "_core")
            for module, name, kind in (
                ("multiarray", "_reconstruct", _Array),
                ("multiarray", "scalar", _Scalar),
                ("numeric", "_frombuffer", _Buffer),
            )
        },
    }


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        kind = _allowed_classes().get((module, name))
        if kind is None:
            requested = ascii(f"{module}.{name}"[:120])[1:-1]  # forged names contain arbitrary characters
            raise InputError(f"the pickle requests {requested}, which is not allowed; nothing was run")
        return kind
