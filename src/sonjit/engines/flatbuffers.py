"""Flatbuffers: tables point forward to their fields' values, and a table's vtable says where each field stands.

Source: the flatbuffers' "internals". Reading what is not there raises struct.error or IndexError.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


class FlatBuffer:
    """Tables of a flatbuffer, by position. Numbers of fields are those of the schema, in its order.

    Attributes:
        data: the whole file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def target(self, position: int) -> int:
        """Where the offset at a position leads."""
        return position + struct.unpack_from("<I", self.data, position)[0]

    def field(self, table: int, number: int) -> int:
        """Where a table's field stands, 0 for one left out."""
        vtable = table - struct.unpack_from("<i", self.data, table)[0]
        (size,) = struct.unpack_from("<H", self.data, vtable)
        entry = 4 + 2 * number
        offset = struct.unpack_from("<H", self.data, vtable + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    def number(self, table: int, number: int, default: int = 0) -> int:
        """A field of 32 bits."""
        position = self.field(table, number)
        return struct.unpack_from("<i", self.data, position)[0] if position else default

    def byte(self, table: int, number: int) -> int:
        """A field of 8 bits; 0 for one left out."""
        position = self.field(table, number)
        return self.data[position] if position else 0

    def vector(self, table: int, number: int) -> tuple[int, int]:
        """Where the elements of a vector begin, and how many they are."""
        position = self.field(table, number)
        if not position:
            return 0, 0
        start = self.target(position)
        return start + 4, struct.unpack_from("<I", self.data, start)[0]

    def numbers(self, table: int, number: int) -> tuple[int, ...]:
        """A vector of 32-bit numbers."""
        start, count = self.vector(table, number)
        return struct.unpack_from(f"<{count}i", self.data, start)

    def array(self, table: int, number: int, dtype: np.typing.DTypeLike) -> NDArray[np.generic]:
        """A vector of numbers of some type."""
        start, count = self.vector(table, number)
        dtype = np.dtype(dtype)
        if start + count * dtype.itemsize > len(self.data):
            raise IndexError("a vector past the end")
        return np.frombuffer(self.data, dtype, count, start)

    def table(self, table: int, number: int) -> int:
        """Where a field's table stands, 0 for one left out."""
        position = self.field(table, number)
        return self.target(position) if position else 0

    def tables(self, table: int, number: int) -> list[int]:
        """Where the tables of a vector stand."""
        start, count = self.vector(table, number)
        if start + 4 * count > len(self.data):
            raise IndexError("a vector past the end")
        return [self.target(start + 4 * index) for index in range(count)]

    def bytes(self, table: int, number: int) -> bytes:
        """A vector of bytes, or a string."""
        start, count = self.vector(table, number)
        return struct.unpack_from(f"{count}s", self.data, start)[0]
