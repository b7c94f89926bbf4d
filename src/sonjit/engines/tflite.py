"""Read operators and tensors of TFLite files, and extract a part as a separate file.

A TFLite file is a flatbuffer: tables point forward to their fields' values, and a table's vtable contains the position
of each field. An extracted part has another list of operators, inputs and outputs, and the rest of the file. Tensors
become arrays, also half-precision, quantized and sparse ones. Reading beyond the file raises struct.error or
IndexError.

Sources: the schema of TensorFlow Lite (`schema.fbs`, version 3), tables Tensor, QuantizationParameters and
SparsityParameters; the "internals" of flatbuffers and flexbuffers; for sparse layouts Kjolstad et al. 2017, The Tensor
Algebra Compiler, section 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array, IntArray

_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 7: "<i2", 9: "i1", 10: "<f8"}
_PASSED_THROUGH = ("DEQUANTIZE", "DENSIFY")
"""Operators that return a constant in another form."""
# Numbers of the fields of tensors, their quantization and sparsity.
_MODEL_BUFFERS, _GRAPH_TENSORS, _BUFFER_DATA = 4, 0, 0
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION, _SPARSITY = 0, 1, 2, 3, 4, 6
_SCALE, _ZERO_POINT, _QUANTIZED_AXIS = 2, 3, 6
_TRAVERSAL, _BLOCK_MAP, _LEVELS = 0, 1, 2
_LEVEL_FORMAT, _LEVEL_SIZE = 0, 1
_SPARSE = (3, 5)  # segments and indices
_MAX_VALUES = 2**28  # values of a sparse tensor: a damaged size must not take all memory
_UNION_DTYPES = {1: "<i4", 2: "<u2", 3: "u1"}

FlexValue = int | float | tuple[int, ...]
_CUSTOM = 32  # of the enumeration BuiltinOperator
_KINDS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 5: "DEPTH_TO_SPACE",
    6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6",
    22: "RESHAPE", 23: "RESIZE_BILINEAR", 34: "PAD", 40: "MEAN", 54: "PRELU", 67: "TRANSPOSE_CONV", 117: "HARD_SWISH",
    124: "DENSIFY",
}  # fmt: skip
_ACTIVATIONS = {0: "", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
_ACTIVATION_FIELD = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "TRANSPOSE_CONV": 3, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5,
    "ADD": 0, "MUL": 0, "FULLY_CONNECTED": 0, "CONCATENATION": 1,
}  # fmt: skip
_WITH_WINDOW = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
# Numbers of the fields of graphs and operators.
_MODEL_CODES, _MODEL_SUBGRAPHS = 1, 2
_CODE_OLD_BUILTIN, _CODE_CUSTOM_NAME, _CODE_BUILTIN = 0, 1, 3
_GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 1, 2, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_BUILTIN_OPTIONS, _OPERATOR_CUSTOM_OPTIONS = 0, 1, 2, 4, 5
_WINDOW_PADDING, _WINDOW_STRIDE_X, _WINDOW_STRIDE_Y = 0, 1, 2


@dataclass(frozen=True)
class Tensor:
    """Description of a tensor without its values.

    Attributes:
        name: Name from the converter.
        shape: Shape in the file, in TFLite's layouts.
        dtype: Stored type, "" for a type that is not a number.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


class TfliteTensors:
    """Tensors of one file.

    Attributes:
        tensors: All tensors, indexed by the numbers in the operators.

    Raises:
        ValueError: The file is damaged.
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
        """Return the values of a constant tensor; None for a tensor that depends on the input.

        Halves and quantized numbers are given as float32, sparse tensors as dense ones; other types as they are.

        Raises:
            ValueError: The file is damaged or has an unknown layout.
        """
        for _ in self._tables:  # at most one step per tensor, because a damaged file may contain a cycle
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
        """Convert quantized values by one scale and zero point, or by those of each slice along an axis."""
        scale: Float32Array = self._flat.array(table, _SCALE, "<f4").astype(np.float32)
        if not scale.size:
            return values
        zero: IntArray = self._flat.array(table, _ZERO_POINT, "<i8").astype(np.int64)
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

    def _union(self, level: int, field: int) -> IntArray:
        """Read a union of vectors of 32-, 16- and 8-bit numbers. The previous field has the type."""
        dtype = _UNION_DTYPES[self._flat.byte(level, field - 1)]
        return self._flat.array(self._flat.table(level, field), 0, dtype).astype(np.int64)


class Level(NamedTuple):
    """One level of a sparse tensor: all positions of an axis, or some for each position of the level above.

    Attributes:
        size: Length of the axis, in blocks if it has blocks.
        segments: Start (parents + 1,) of each parent's indices; None for a dense level.
        indices: Positions along the axis; None for a dense level.
    """

    size: int
    segments: IntArray | None = None
    indices: IntArray | None = None


def dense_from_sparse(
    values: NDArray[np.generic],
    shape: tuple[int, ...],
    order: Sequence[int],
    blocks: Sequence[int],
    levels: Sequence[Level],
) -> NDArray[np.generic]:
    """Return the dense array of a sparse tensor.

    Args:
        values: Stored values (N,) in the order of the levels.
        shape: Shape of the dense array.
        order: Axis of each level; numbers from len(shape) on are axes within the blocks.
        blocks: Axis of the array for each axis within the blocks.
        levels: Levels from the outermost to the innermost.

    Raises:
        IndexError: The arguments do not fit together.

    >>> rows, columns = Level(2), Level(3, np.array([0, 2, 3]), np.array([0, 2, 1]))
    >>> dense_from_sparse(np.array([5, 6, 7]), (2, 3), (0, 1), (), (rows, columns)).tolist()
    [[5, 0, 6], [0, 7, 0]]
    """
    if not 0 <= (size := math.prod(shape)) <= _MAX_VALUES:
        raise IndexError(f"a tensor of {size} values")
    block_size = {axis: levels[order.index(len(shape) + index)].size for index, axis in enumerate(blocks)}
    positions = np.zeros((len(shape), 1), np.int64)  # (axes, stored so far)
    for axis, level in zip(order, levels, strict=True):
        if level.segments is None or level.indices is None:
            if not 0 <= positions.shape[1] * level.size <= max(size, 1):
                raise IndexError("a level larger than the tensor")
            parents, offsets = np.divmod(np.arange(positions.shape[1] * level.size), level.size)
        else:
            parents, offsets = np.repeat(np.arange(positions.shape[1]), np.diff(level.segments)), level.indices
        positions = positions[:, parents]
        if axis < len(shape):
            positions[axis] += offsets * block_size.get(axis, 1)
        else:
            positions[blocks[axis - len(shape)]] += offsets
    if positions.shape[1] != values.size:
        raise IndexError("as many places as values")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(positions)] = values
    return dense


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        inputs: Numbers of the input tensors; -1 for an omitted optional input.
        outputs: Numbers of the output tensors.
        custom: Name of a custom operator, else "".
        options: Options of a custom operator.
        kind: Name of a built-in operator, or its number if no published network has it.
        activation: Fused activation such as "RELU6", else "".
        stride: Vertical and horizontal stride of a sliding window, else (1, 1).
        same: True if the window is padded to keep the size, apart from the stride.
        options_table: Position of a built-in operator's options in the flatbuffer; 0 for none.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom: str
    options: bytes
    kind: str = ""
    activation: str = ""
    stride: tuple[int, int] = (1, 1)
    same: bool = True
    options_table: int = 0


class TfliteFile:
    """Graph of a TFLite file.

    Attributes:
        operators: Operators in an order in which they can run.
        inputs: Numbers of the graph's input tensors.
        outputs: Numbers of the graph's output tensors.
        flat: Flatbuffer of the file.
        model, graph: Positions of these two tables in the flatbuffer.

    Raises:
        ValueError: The bytes are not a TFLite file, or the file is damaged.
    """

    def __init__(self, data: bytes) -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFLite file")
        self.flat = FlatBuffer(data)
        try:
            self._read()
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError("a damaged TFLite file") from error

    def _read(self) -> None:
        flat = self.flat
        self.model = flat.target(0)
        codes = [self._code(code) for code in flat.tables(self.model, _MODEL_CODES)]
        self.graph = flat.tables(self.model, _MODEL_SUBGRAPHS)[0]
        self.inputs = flat.numbers(self.graph, _GRAPH_INPUTS)
        self.outputs = flat.numbers(self.graph, _GRAPH_OUTPUTS)
        self.operators = [
            self._operator(table, *codes[flat.number(table, _OPERATOR_CODE)])
            for table in flat.tables(self.graph, _GRAPH_OPERATORS)
        ]

    def _operator(self, table: int, kind: str, custom: str) -> Operator:
        flat = self.flat
        activation, stride, same = "", (1, 1), True
        if options := flat.table(table, _OPERATOR_BUILTIN_OPTIONS):
            if kind in _ACTIVATION_FIELD:
                number = flat.byte(options, _ACTIVATION_FIELD[kind])
                activation = _ACTIVATIONS.get(number, str(number))
            if kind in _WITH_WINDOW:
                same = flat.byte(options, _WINDOW_PADDING) == 0
                stride = flat.number(options, _WINDOW_STRIDE_Y), flat.number(options, _WINDOW_STRIDE_X)
        return Operator(
            inputs=flat.numbers(table, _OPERATOR_INPUTS),
            outputs=flat.numbers(table, _OPERATOR_OUTPUTS),
            custom=custom,
            options=flat.bytes(table, _OPERATOR_CUSTOM_OPTIONS),
            kind=kind,
            activation=activation,
            stride=stride,
            same=same,
            options_table=options,
        )

    def part(self, inputs: Iterable[int], outputs: Iterable[int]) -> bytes:
        """Return a file with only the operators between some tensors and some others."""
        inputs, outputs_kept = list(inputs), list(outputs)
        needed, indices = set(outputs_kept) - set(inputs), list[int]()
        for index in reversed(range(len(self.operators))):
            operator = self.operators[index]
            if needed.intersection(operator.outputs):
                indices.append(index)
                needed.update(set(operator.inputs) - set(inputs))
        data = bytearray(self.flat.data)
        # In place: offsets only point forward, and each kept entry moves towards the front.
        start, _ = self.flat.vector(self.graph, _GRAPH_OPERATORS)
        struct.pack_into("<I", data, start - 4, len(indices))
        for position_index, index in enumerate(reversed(indices)):
            target = self.flat.target(start + 4 * index)
            struct.pack_into("<I", data, start + 4 * position_index, target - (start + 4 * position_index))
        for field, numbers in ((_GRAPH_INPUTS, inputs), (_GRAPH_OUTPUTS, outputs_kept)):
            data += bytes(-len(data) % 4)
            position = self.flat.field(self.graph, field)
            struct.pack_into("<I", data, position, len(data) - position)
            data += struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers)
        return bytes(data)

    def _code(self, code: int) -> tuple[str, str]:
        """Return the name of a built-in or custom operator."""
        flat = self.flat
        # Files of before 2020 have only the old field.
        builtin = max(flat.byte(code, _CODE_OLD_BUILTIN), flat.number(code, _CODE_BUILTIN))
        if builtin == _CUSTOM:
            return "", flat.bytes(code, _CODE_CUSTOM_NAME).decode()
        return _KINDS.get(builtin, str(builtin)), ""


def read_options(data: bytes) -> dict[str, FlexValue]:
    """Read the options of a custom operator: a flexbuffer map of numbers and vectors of integers.

    Raises:
        ValueError: The data are damaged or have another content.
    """
    try:
        return dict(_items(data))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("damaged options of a custom operator") from error


def _items(data: bytes) -> Iterable[tuple[str, FlexValue]]:
    width = data[-1]  # of the last value, which leads to the map

    def whole(position: int, width: int, signed: bool = False) -> int:
        if width not in (1, 2, 4, 8) or not 0 <= position <= len(data) - width:
            raise IndexError
        return int.from_bytes(data[position : position + width], "little", signed=signed)

    root = len(data) - 2 - width
    width, values = 1 << (data[-2] & 3), root - whole(root, width)
    count = whole(values - width, width)
    keys = values - 3 * width
    keys, key_width = keys - whole(keys, width), whole(values - 2 * width, width)
    for index in range(count):
        key = keys + index * key_width
        key -= whole(key, key_width)
        name = data[key : data.index(0, key)].decode()
        kind, bits = divmod(data[values + count * width + index], 4)
        position = values + index * width
        if kind == 1:
            yield name, whole(position, width, signed=True)
        elif kind == 3:
            yield name, struct.unpack_from("<d" if width == 8 else "<f", data, position)[0]
        elif kind == 11:
            start, size = position - whole(position, width), 1 << bits
            yield name, tuple(whole(start + i * size, size, signed=True) for i in range(whole(start - size, size)))
        else:
            raise IndexError


class FlatBuffer:
    """Tables of a flatbuffer, by position. Field numbers follow the order of the schema.

    Attributes:
        data: Content of the file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def target(self, position: int) -> int:
        """Return the target of the offset at a position."""
        return position + struct.unpack_from("<I", self.data, position)[0]

    def field(self, table: int, number: int) -> int:
        """Return the position of a table's field, 0 for an omitted field."""
        vtable = table - struct.unpack_from("<i", self.data, table)[0]
        (size,) = struct.unpack_from("<H", self.data, vtable)
        entry = 4 + 2 * number
        offset = struct.unpack_from("<H", self.data, vtable + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    def number(self, table: int, number: int, default: int = 0) -> int:
        """Read a field of 32 bits."""
        position = self.field(table, number)
        return struct.unpack_from("<i", self.data, position)[0] if position else default

    def byte(self, table: int, number: int) -> int:
        """Read a field of 8 bits; 0 for an omitted field."""
        position = self.field(table, number)
        return self.data[position] if position else 0

    def vector(self, table: int, number: int) -> tuple[int, int]:
        """Return the start and the number of a vector's elements."""
        position = self.field(table, number)
        if not position:
            return 0, 0
        start = self.target(position)
        return start + 4, struct.unpack_from("<I", self.data, start)[0]

    def numbers(self, table: int, number: int) -> tuple[int, ...]:
        """Read a vector of 32-bit numbers."""
        start, count = self.vector(table, number)
        return struct.unpack_from(f"<{count}i", self.data, start)

    def array(self, table: int, number: int, dtype: np.typing.DTypeLike) -> NDArray[np.generic]:
        """Read a vector of numbers of a type."""
        start, count = self.vector(table, number)
        dtype = np.dtype(dtype)
        if start + count * dtype.itemsize > len(self.data):
            raise IndexError("a vector past the end")
        return np.frombuffer(self.data, dtype, count, start)

    def table(self, table: int, number: int) -> int:
        """Return the position of a field's table, 0 for an omitted field."""
        position = self.field(table, number)
        return self.target(position) if position else 0

    def tables(self, table: int, number: int) -> list[int]:
        """Return the positions of a vector's tables."""
        start, count = self.vector(table, number)
        if start + 4 * count > len(self.data):
            raise IndexError("a vector past the end")
        return [self.target(start + 4 * index) for index in range(count)]

    def bytes(self, table: int, number: int) -> bytes:
        """Read a vector of bytes, or a string."""
        start, count = self.vector(table, number)
        return struct.unpack_from(f"{count}s", self.data, start)[0]
