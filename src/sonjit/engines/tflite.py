"""Read operators of TFLite files, and extract a part as a separate file.

A TFLite file is a flatbuffer: tables point forward to their fields' values, and a table's vtable contains the position
of each field. An extracted part has another list of operators, inputs and outputs, and the rest of the file. Reading
beyond the file raises struct.error or IndexError.

Sources: the schema of TensorFlow Lite (`schema.fbs`, version 3); the "internals" of flatbuffers and flexbuffers.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sonjit._util import Float32Array

_FLOAT32 = 0  # of the enumeration TensorType
_MODEL_BUFFERS, _GRAPH_TENSORS, _BUFFER_DATA, _SHAPE, _TYPE, _BUFFER = 4, 0, 0, 0, 1, 2

FlexValue = int | float | tuple[int, ...]
_CUSTOM = 32  # of the enumeration BuiltinOperator
_KINDS = {0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 9: "FULLY_CONNECTED", 22: "RESHAPE", 54: "PRELU"}
_ACTIVATIONS = {0: "", 1: "RELU", 3: "RELU6"}
_ACTIVATION_FIELD = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "ADD": 0, "FULLY_CONNECTED": 0}
_WITH_WINDOW = {"CONV_2D", "DEPTHWISE_CONV_2D"}
# Numbers of the fields of graphs and operators.
_MODEL_CODES, _MODEL_SUBGRAPHS = 1, 2
_CODE_OLD_BUILTIN, _CODE_CUSTOM_NAME, _CODE_BUILTIN = 0, 1, 3
_GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 1, 2, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_BUILTIN_OPTIONS, _OPERATOR_CUSTOM_OPTIONS = 0, 1, 2, 4, 5
_WINDOW_STRIDE_X, _WINDOW_STRIDE_Y = 1, 2


@dataclass(frozen=True)
class Operator:
    """One operator of a graph."""

    inputs: tuple[int, ...]  # numbers of the input tensors; -1 for an omitted optional input
    outputs: tuple[int, ...]
    custom: str  # name of a custom operator, else ""
    options: bytes
    kind: str = ""  # name of a built-in operator with weights, "ADD" or "RESHAPE"; the number of another one
    activation: str = ""  # fused activation such as "RELU6", else ""
    stride: tuple[int, int] = (1, 1)  # vertical and horizontal stride of a sliding window, else (1, 1)


class TfliteFile:
    """Graph of a TFLite file, with its operators in an order in which they can run. Damage is a ValueError."""

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
        activation, stride = "", (1, 1)
        if options := flat.table(table, _OPERATOR_BUILTIN_OPTIONS):
            if kind in _ACTIVATION_FIELD:
                number = flat.byte(options, _ACTIVATION_FIELD[kind])
                activation = _ACTIVATIONS.get(number, str(number))
            if kind in _WITH_WINDOW:
                stride = flat.number(options, _WINDOW_STRIDE_Y), flat.number(options, _WINDOW_STRIDE_X)
        return Operator(
            inputs=flat.numbers(table, _OPERATOR_INPUTS),
            outputs=flat.numbers(table, _OPERATOR_OUTPUTS),
            custom=custom,
            options=flat.bytes(table, _OPERATOR_CUSTOM_OPTIONS),
            kind=kind,
            activation=activation,
            stride=stride,
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

    def stored(self, number: int) -> Float32Array | None:
        """Return the values of a tensor that the file stores as float32, else None; see `openvino.read_constants`."""
        flat = self.flat
        try:
            table = flat.tables(self.graph, _GRAPH_TENSORS)[number]
            buffer = flat.tables(self.model, _MODEL_BUFFERS)[flat.number(table, _BUFFER)]
            values = flat.bytes(buffer, _BUFFER_DATA)
            if not values or flat.byte(table, _TYPE) != _FLOAT32:
                return None
            return np.frombuffer(values, "<f4").reshape(flat.numbers(table, _SHAPE))
        except (struct.error, IndexError, ValueError) as error:
            raise ValueError(f"a damaged TFLite file: tensor {number}") from error

    def _code(self, code: int) -> tuple[str, str]:
        """Return the name of a built-in or custom operator."""
        flat = self.flat
        # Files of before 2020 have only the old field.
        builtin = max(flat.byte(code, _CODE_OLD_BUILTIN), flat.number(code, _CODE_BUILTIN))
        if builtin == _CUSTOM:
            return "", flat.bytes(code, _CODE_CUSTOM_NAME).decode()
        return _KINDS.get(builtin, str(builtin)), ""


def read_options(data: bytes) -> dict[str, FlexValue]:
    """Read a flexbuffer map of numbers and vectors of integers. Other content is a ValueError."""
    try:
        return dict(_items(data))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("damaged options of a custom operator") from error


def _items(data: bytes) -> Iterable[tuple[str, FlexValue]]:
    width = data[-1]  # of the last value, which leads to the map

    def whole(position: int, width: int, *, signed: bool = False) -> int:
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
    """Tables of a flatbuffer, by position. Field numbers follow the order of the schema."""

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
