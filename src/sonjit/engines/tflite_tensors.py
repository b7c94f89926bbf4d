"""The tensors of a TFLite file as arrays: halves, quantized and sparse ones too.

Source: the schema of TensorFlow Lite (`schema.fbs`, version 3), tables Tensor, QuantizationParameters and
SparsityParameters; sparse layouts follow Kjolstad et al. 2017, The Tensor Algebra Compiler, section 3.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.engines.tflite import TfliteFile

_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 7: "<i2", 9: "i1", 10: "<f8"}
_PASSED_THROUGH = ("DEQUANTIZE", "DENSIFY")
"""Operators that give a constant in another form."""
# Numbers of the fields in their tables.
_MODEL_BUFFERS, _GRAPH_TENSORS, _BUFFER_DATA = 4, 0, 0
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION, _SPARSITY = 0, 1, 2, 3, 4, 6
_SCALE, _ZERO_POINT, _QUANTIZED_AXIS = 2, 3, 6
_TRAVERSAL, _BLOCK_MAP, _LEVELS = 0, 1, 2
_LEVEL_FORMAT, _LEVEL_SIZE = 0, 1
_SPARSE = (3, 5)  # segments and indices
_MOST = 2**28  # values of a sparse tensor: a damaged size must not take all memory
_UNION_DTYPES = {1: "<i4", 2: "<u2", 3: "u1"}


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor without its values.

    Attributes:
        name: given by the converter.
        shape: as written in the file, in TFLite's layouts.
        dtype: as stored, "" for a type that is not a number.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


class TfliteTensors:
    """The tensors of one file.

    Args:
        file: whose tensors they are.

    Attributes:
        tensors: all of them; their numbers are those of the operators.

    Raises:
        ValueError: the file is damaged.
    """

    def __init__(self, file: TfliteFile) -> None:
        self._flat = flat = file.flat
        try:
            self._tables = flat.tables(file.graph, _GRAPH_TENSORS)
            self._buffers = flat.tables(file.model, _MODEL_BUFFERS)
            self.tensors = [
                Tensor(
                    flat.bytes(table, _NAME).decode(),
                    flat.numbers(table, _SHAPE),
                    _DTYPES.get(flat.byte(table, _TYPE), ""),
                )
                for table in self._tables
            ]
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError("a damaged TFLite file") from error
        self._made_from = {
            operator.outputs[0]: operator.inputs[0]
            for operator in file.operators
            if operator.kind in _PASSED_THROUGH and operator.inputs and operator.outputs
        }

    def constant(self, number: int) -> NDArray[np.generic] | None:
        """The values of a constant tensor; None for one that depends on the input, or none at all.

        Halves and quantized numbers are given as float32, sparse tensors as dense ones; other types as they are.

        Raises:
            ValueError: the file is damaged, or holds a layout that is not known here.
        """
        for _ in self._tables:  # no longer than there are tensors: a damaged file may go round
            if number not in self._made_from:
                break
            number = self._made_from[number]
        if number < 0:
            return None
        try:
            return self._stored(self._tables[number], self.tensors[number])
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise ValueError(f"a damaged TFLite file: tensor {number}") from error

    def _stored(self, table: int, tensor: Tensor) -> NDArray[np.generic] | None:
        flat = self._flat
        buffer = self._buffers[flat.number(table, _BUFFER)]
        stored = flat.array(buffer, _BUFFER_DATA, "u1")
        if not stored.size or not tensor.dtype:
            return None
        values = stored.view(tensor.dtype)
        if sparsity := flat.table(table, _SPARSITY):
            values = self._densified(values, sparsity, tensor.shape)
        elif values.size != math.prod(tensor.shape):
            raise IndexError
        values = values.reshape(tensor.shape)
        if quantization := flat.table(table, _QUANTIZATION):
            values = self._dequantized(values, quantization)
        return values.astype(np.float32) if values.dtype.kind == "f" else values

    def _dequantized(self, values: NDArray[np.generic], table: int) -> NDArray[np.generic]:
        """Quantized values as numbers, by one scale and zero point or those of each slice along an axis."""
        scale: NDArray[np.float32] = self._flat.array(table, _SCALE, "<f4").astype(np.float32)
        if not scale.size:
            return values
        zero: NDArray[np.int64] = self._flat.array(table, _ZERO_POINT, "<i8").astype(np.int64)
        shape = [1] * values.ndim
        shape[self._flat.number(table, _QUANTIZED_AXIS)] = scale.size
        return scale.reshape(shape) * (values.astype(np.int64) - zero.reshape(shape)).astype(np.float32)

    def _densified(self, values: NDArray[np.generic], table: int, shape: tuple[int, ...]) -> NDArray[np.generic]:
        flat = self._flat
        levels = [
            Level(
                flat.number(level, _LEVEL_SIZE),
                *(None if flat.byte(level, _LEVEL_FORMAT) == 0 else self._union(level, field) for field in _SPARSE),
            )
            for level in flat.tables(table, _LEVELS)
        ]
        return dense_from_sparse(
            values, shape, flat.numbers(table, _TRAVERSAL), flat.numbers(table, _BLOCK_MAP), levels
        )

    def _union(self, level: int, field: int) -> NDArray[np.int64]:
        """A union of vectors of 32-, 16- and 8-bit numbers; its type is in the field before."""
        dtype = _UNION_DTYPES[self._flat.byte(level, field - 1)]
        return self._flat.array(self._flat.table(level, field), 0, dtype).astype(np.int64)


class Level(NamedTuple):
    """One level of a sparse tensor: all places of an axis, or some for each place of the level above.

    Attributes:
        size: of the axis, in blocks where it has any.
        segments: (parents + 1,) where each parent's indices begin; None for a dense level.
        indices: places along the axis; None for a dense level.
    """

    size: int
    segments: NDArray[np.int64] | None = None
    indices: NDArray[np.int64] | None = None


def dense_from_sparse(
    values: NDArray[np.generic],
    shape: tuple[int, ...],
    order: Sequence[int],
    blocks: Sequence[int],
    levels: Sequence[Level],
) -> NDArray[np.generic]:
    """Stored values in their places, zeros elsewhere.

    Args:
        values: (N,) in the order of the levels.
        shape: of the whole.
        order: the axis of each level; numbers from len(shape) on are axes within the blocks.
        blocks: which axis each axis within the blocks lies along.
        levels: from the outermost to the innermost.

    Raises:
        IndexError: they do not fit together.

    >>> rows, columns = Level(2), Level(3, np.array([0, 2, 3]), np.array([0, 2, 1]))
    >>> dense_from_sparse(np.array([5, 6, 7]), (2, 3), (0, 1), (), (rows, columns)).tolist()
    [[5, 0, 6], [0, 7, 0]]
    """
    if not 0 <= (size := math.prod(shape)) <= _MOST:
        raise IndexError(f"a tensor of {size} values")
    block_size = {axis: levels[order.index(len(shape) + place)].size for place, axis in enumerate(blocks)}
    places = np.zeros((len(shape), 1), np.int64)  # (axes, stored so far)
    for axis, level in zip(order, levels, strict=True):
        if level.segments is None or level.indices is None:
            if not 0 <= places.shape[1] * level.size <= max(size, 1):
                raise IndexError("a level larger than the tensor")
            parents, here = np.divmod(np.arange(places.shape[1] * level.size), level.size)
        else:
            parents, here = np.repeat(np.arange(places.shape[1]), np.diff(level.segments)), level.indices
        places = places[:, parents]
        if axis < len(shape):
            places[axis] += here * block_size.get(axis, 1)
        else:
            places[blocks[axis - len(shape)]] += here
    if places.shape[1] != values.size:
        raise IndexError("as many places as values")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(places)] = values
    return dense
