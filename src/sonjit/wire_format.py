"""Protobuf's wire format, as far as MediaPipe's messages need it.

Source: the encoding page of Protocol Buffers' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def wire_fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and content of each field of a message; a varint stays one.

    Raises:
        ValueError: the message is damaged.
    """
    position = 0
    while position < len(data):
        end = _varint_end(data, position)
        number, kind = divmod(whole_from_varint(data[position:end]), 8)
        position = end
        if kind == VARINT:
            end = _varint_end(data, position)
        elif kind == LENGTH:
            start = _varint_end(data, position)
            end = start + whole_from_varint(data[position:start])
            position = start
        elif kind in (FIXED64, FIXED32):
            end = position + (8 if kind == FIXED64 else 4)
        else:
            raise ValueError(f"a field of wire type {kind}")
        if end > len(data):
            raise ValueError("a field past the end")
        yield number, kind, data[position:end]
        position = end


def varints(data: bytes) -> Iterator[bytes]:
    """The varints of a packed list; raises as `wire_fields`."""
    position = 0
    while position < len(data):
        end = _varint_end(data, position)
        yield data[position:end]
        position = end


def whole_from_varint(varint: bytes) -> int:
    """The number from 0 that a varint holds."""
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(varint))


def varint_from_whole(number: int) -> bytes:
    """A whole number as a varint; a negative one in 64 bits of two's complement."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def wire_field(number: int, kind: int, content: bytes) -> bytes:
    """One field of a message; the length of content that has one is put before it."""
    length = varint_from_whole(len(content)) if kind == LENGTH else b""
    return varint_from_whole(number * 8 + kind) + length + content


def _varint_end(data: bytes, position: int) -> int:
    while position < len(data) and data[position] & 0x80:
        position += 1
    if position >= len(data):
        raise ValueError("a number past the end")
    return position + 1
