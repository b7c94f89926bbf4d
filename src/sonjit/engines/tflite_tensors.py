"""The tensors of a TFLite file as arrays: halves, quantized and sparse ones too.

Source: the schema of TensorFlow Lite (`schema.fbs`, version 3), tables Tensor, QuantizationParameters and
SparsityParameters; sparse layouts follow Kjolstad et al. 2017, The Tensor Algebra Compiler, section 3.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
_LEVEL_FORMAT, _LEVEL_SIZE, _SEGMENTS, _INDICES = 0, 1, 3, 5  # a union's type stands one before it
_UNION_DTYPES = {1: "<i4", 2: "<u2", 3: "u1"}


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor without its values.

    Attributes:
        name: given by the converter.
        shape: as written in the file, in TFLite's layouts.
        dtype: as stored, "" for one that is no number.
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
        """Stored values in their places, zeros elsewhere.

        The levels go through the tensor's axes, then through the axes of the blocks in which some are stored. A dense
        level has all its places, a sparse one those of `indices`, from `segments[parent]` to `segments[parent + 1]`.
        """
        flat = self._flat
        order, blocks = flat.numbers(table, _TRAVERSAL), flat.numbers(table, _BLOCK_MAP)
        sizes = [flat.number(level, _LEVEL_SIZE) for level in flat.tables(table, _LEVELS)]
        block_size = {axis: sizes[order.index(len(shape) + place)] for place, axis in enumerate(blocks)}
        places = np.zeros((len(shape), 1), np.int64)  # (axes, stored so far)
        for axis, level, size in zip(order, flat.tables(table, _LEVELS), sizes, strict=True):
            if flat.byte(level, _LEVEL_FORMAT) == 0:
                parents, here = np.divmod(np.arange(places.shape[1] * size), size)
            else:
                segments, here = self._numbers(level, _SEGMENTS), self._numbers(level, _INDICES)
                parents = np.repeat(np.arange(places.shape[1]), np.diff(segments))
            within = axis >= len(shape)
            axis = blocks[axis - len(shape)] if within else axis
            places = places[:, parents]
            places[axis] += here if within else here * block_size.get(axis, 1)
        dense = np.zeros(shape, values.dtype)
        if places.shape[1] != values.size:
            raise IndexError
        dense[tuple(places)] = values
        return dense

    def _numbers(self, level: int, field: int) -> NDArray[np.int64]:
        """A union of vectors of 32-, 16- and 8-bit numbers."""
        dtype = _UNION_DTYPES[self._flat.byte(level, field - 1)]
        return self._flat.array(self._flat.table(level, field), 0, dtype).astype(np.int64)
