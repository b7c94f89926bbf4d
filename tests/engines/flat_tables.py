"""Flatbuffers for tests."""

import struct


def write_table(fields, data=None):
    """Append a flatbuffer table {field: number, bytes, numbers, table or tables} to `data`; return its position."""
    data = bytearray() if data is None else data
    data += bytes(-len(data) % 4)
    vtable, count = len(data), max(fields, default=-1) + 1
    data += struct.pack("<2H", 4 + 2 * count, 4 + 4 * count)
    data += b"".join(struct.pack("<H", 4 + 4 * i if i in fields else 0) for i in range(count))
    data += bytes(-len(data) % 4)
    table = len(data)
    data += struct.pack("<i", table - vtable) + bytes(4 * count)
    for number, value in fields.items():
        write_value(data, table + 4 + 4 * number, value)
    return data, table


def write_value(data, position, value):
    if isinstance(value, int):
        struct.pack_into("<i", data, position, value)
        return
    data += bytes(-len(data) % 4)
    if isinstance(value, dict):
        _, table = write_table(value, data)
        struct.pack_into("<I", data, position, table - position)
        return
    struct.pack_into("<I", data, position, len(data) - position)
    start = len(data) + 4
    data += struct.pack("<I", len(value))
    if isinstance(value, bytes):
        data += value + b"\0"
    elif value and isinstance(value[0], dict):
        data += bytes(4 * len(value))
        for index, fields in enumerate(value):
            _, table = write_table(fields, data)
            struct.pack_into("<I", data, start + 4 * index, table - (start + 4 * index))
    else:
        data += struct.pack(f"<{len(value)}i", *value)
