"""Write points as C3D for motion capture (https://www.c3d.org/HTML/default.htm)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError

_BLOCK: Final = 512
_MAX_FRAMES: Final = 65535
"""C3D stores the number of frames in 16 bits."""
_MAX_LABELS: Final = 255
"""C3D stores the number of labels of a parameter in 8 bits; further labels go to LABELS2 and so on."""


def c3d_from_points(labels: Sequence[str], points_m: FloatArray, rate: float) -> bytes:
    """Return the content of a C3D file with points in millimetres, in Intel's byte order.

    Args:
        labels: Name of each point.
        points_m: (F, N, 3) points in metres, NaN where unknown.
        rate: Frames per second.

    Raises:
        InputError: There are more frames than C3D can store.
    """
    count = len(points_m)
    if count > _MAX_FRAMES:
        raise InputError(f"C3D stores at most {_MAX_FRAMES} frames, not {count}: write .trc or .csv")
    width = max(map(len, labels))
    label_entries = [
        _entry(
            f"LABELS{first // _MAX_LABELS + 1}" if first else "LABELS", 1,
            _values(-1, (width, len(chunk)), "".join(label.ljust(width) for label in chunk).encode()),
        )
        for first in range(0, len(labels), _MAX_LABELS)
        for chunk in [labels[first : first + _MAX_LABELS]]
    ]  # fmt: skip

    def section(data_block: int, blocks: int) -> bytes:
        entries = [
            _entry("POINT", -1, b"\0"),  # the group, without a description
            _entry("USED", 1, _values(2, (), struct.pack("<h", len(labels)))),
            _entry("SCALE", 1, _values(4, (), struct.pack("<f", -1.0))),
            _entry("RATE", 1, _values(4, (), struct.pack("<f", rate))),
            _entry("DATA_START", 1, _values(2, (), struct.pack("<h", data_block))),
            _entry("FRAMES", 1, _values(2, (), struct.pack("<H", count))),
            _entry("UNITS", 1, _values(-1, (2,), b"mm")),
            *label_entries,
        ]
        return b"\x01\x50" + bytes([blocks, 84]) + b"".join(entries) + b"\0\0"

    blocks = -(-len(section(0, 0)) // _BLOCK)
    data_block = 2 + blocks
    header = struct.pack("<BBhhHHhfhhf", 2, 0x50, len(labels), 0, 1, count, 0, -1.0, data_block, 0, rate)
    finite = np.isfinite(points_m).all(-1)
    body = np.concatenate([np.nan_to_num(points_m * 1000), np.where(finite, 0.0, -1.0)[..., None]], -1).astype("<f4")
    content = header.ljust(_BLOCK, b"\0") + section(data_block, blocks).ljust(blocks * _BLOCK, b"\0") + body.tobytes()
    return content + bytes(-len(content) % _BLOCK)


def _entry(name: str, group: int, content: bytes) -> bytes:
    """Return a group (number below 0) or a parameter of one. The offset counts from its own position."""
    return struct.pack("<bb", len(name), group) + name.encode() + struct.pack("<h", 2 + len(content)) + content


def _values(kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    """Return type (-1 text, 2 integers, 4 floats), dimensions, values and an empty description."""
    return struct.pack("<bB", kind, len(shape)) + bytes(shape) + data + b"\0"
