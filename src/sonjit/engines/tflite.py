"""TFLite files: read what their operators are, and cut out a part as a file of its own.

A TFLite file is a flatbuffer: tables point forward to their fields' values, and a table's vtable says where each
field stands. A part keeps everything of the file but the list of operators and of the graph's inputs and outputs.

Source: the schema of TensorFlow Lite (`schema.fbs`, version 3) and the flatbuffers' and flexbuffers' "internals".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Option = int | float | tuple[int, ...]

_CUSTOM = 32  # of the enumeration BuiltinOperator
# Numbers of the fields in their tables.
_MODEL_CODES, _MODEL_SUBGRAPHS = 1, 2
_CODE_OLD_BUILTIN, _CODE_CUSTOM_NAME, _CODE_BUILTIN = 0, 1, 3
_GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 1, 2, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_CUSTOM_OPTIONS = 0, 1, 2, 5


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        inputs: numbers of the tensors that it reads; -1 for an optional one left out.
        outputs: numbers of the tensors that it writes.
        custom: name of an operator that is none of TFLite's own, else "".
        options: of a custom operator.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom: str
    options: bytes


class TfliteFile:
    """The one graph of a TFLite file.

    Attributes:
        operators: in an order in which they can run.
        inputs: numbers of the graph's input tensors.
        outputs: numbers of its output tensors.

    Raises:
        ValueError: the bytes are no TFLite file, or a damaged one.
    """

    def __init__(self, data: bytes) -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFLite file")
        self._data = data
        try:
            self._read()
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError("a damaged TFLite file") from error

    def _read(self) -> None:
        model = self._target(0)
        names = [self._code_name(code) for code in self._tables(model, _MODEL_CODES)]
        self._graph = self._tables(model, _MODEL_SUBGRAPHS)[0]
        self.inputs = self._numbers(self._graph, _GRAPH_INPUTS)
        self.outputs = self._numbers(self._graph, _GRAPH_OUTPUTS)
        self.operators = [
            Operator(
                self._numbers(table, _OPERATOR_INPUTS),
                self._numbers(table, _OPERATOR_OUTPUTS),
                names[self._number(table, _OPERATOR_CODE)],
                self._bytes(table, _OPERATOR_CUSTOM_OPTIONS),
            )
            for table in self._tables(self._graph, _GRAPH_OPERATORS)
        ]

    def part(self, inputs: Iterable[int], outputs: Iterable[int]) -> bytes:
        """A file with only the operators that lead from some tensors to some others."""
        inputs, wanted = list(inputs), list(outputs)
        needed, kept = set(wanted) - set(inputs), list[int]()
        for index in reversed(range(len(self.operators))):
            operator = self.operators[index]
            if needed.intersection(operator.outputs):
                kept.append(index)
                needed.update(set(operator.inputs) - set(inputs))
        data = bytearray(self._data)
        # In place: offsets only point forward, and each kept entry moves towards the front.
        start, _ = self._vector(self._graph, _GRAPH_OPERATORS)
        struct.pack_into("<I", data, start - 4, len(kept))
        for place, index in enumerate(reversed(kept)):
            target = self._target(start + 4 * index)
            struct.pack_into("<I", data, start + 4 * place, target - (start + 4 * place))
        for field, numbers in ((_GRAPH_INPUTS, inputs), (_GRAPH_OUTPUTS, wanted)):
            data += bytes(-len(data) % 4)
            position = self._field(self._graph, field)
            struct.pack_into("<I", data, position, len(data) - position)
            data += struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers)
        return bytes(data)

    def _code_name(self, code: int) -> str:
        old, new = self._field(code, _CODE_OLD_BUILTIN), self._number(code, _CODE_BUILTIN)
        builtin = max(self._data[old] if old else 0, new)  # files of before 2020 have only the first
        return self._bytes(code, _CODE_CUSTOM_NAME).decode() if builtin == _CUSTOM else ""

    def _target(self, position: int) -> int:
        return position + struct.unpack_from("<I", self._data, position)[0]

    def _field(self, table: int, number: int) -> int:
        """Where a table's field stands, 0 for one left out."""
        vtable = table - struct.unpack_from("<i", self._data, table)[0]
        (size,) = struct.unpack_from("<H", self._data, vtable)
        entry = 4 + 2 * number
        offset = struct.unpack_from("<H", self._data, vtable + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    def _number(self, table: int, number: int) -> int:
        position = self._field(table, number)
        return struct.unpack_from("<i", self._data, position)[0] if position else 0

    def _vector(self, table: int, number: int) -> tuple[int, int]:
        """Where the elements of a vector begin, and how many they are."""
        position = self._field(table, number)
        if not position:
            return 0, 0
        start = self._target(position)
        return start + 4, struct.unpack_from("<I", self._data, start)[0]

    def _numbers(self, table: int, number: int) -> tuple[int, ...]:
        start, count = self._vector(table, number)
        return struct.unpack_from(f"<{count}i", self._data, start)

    def _tables(self, table: int, number: int) -> list[int]:
        start, count = self._vector(table, number)
        return [self._target(start + 4 * index) for index in range(count)]

    def _bytes(self, table: int, number: int) -> bytes:
        start, count = self._vector(table, number)
        return struct.unpack_from(f"{count}s", self._data, start)[0]


def read_options(data: bytes) -> dict[str, Option]:
    """A custom operator's options: a flexbuffer map of numbers and vectors of whole numbers.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    try:
        return dict(_items(data))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("damaged options of a custom operator") from error


def _items(data: bytes) -> Iterable[tuple[str, Option]]:
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
