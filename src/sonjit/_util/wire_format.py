"""Read and write the parts of Protobuf's wire format that MediaPipe's messages use.

Source: the encoding page of Protocol Buffers' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def wire_fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the number, wire type and content of each field of a message. Varints stay encoded.

    Raises:
        ValueError: The message is damaged.
    """
    position = 0
    while position < len(data):
        end = _varint_end(data, position)
        number, kind = divmod(int_from_varint(data[position:end]), 8)
        position = end
        if kind == VARINT:
            end = _varint_end(data, position)
        elif kind == LENGTH:
            start = _varint_end(data, position)
            end = start + int_from_varint(data[position:start])
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
    """Yield the varints of a packed list.

    Raises:
        ValueError: The list is damaged.
    """
    position = 0
    while position < len(data):
        end = _varint_end(data, position)
        yield data[position:end]
        position = end


def int_from_varint(varint: bytes) -> int:
    """Decode a varint as an unsigned integer."""
    return sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(varint))


def varint_from_int(number: int) -> bytes:
    """Encode an integer as a varint, negative numbers as 64-bit two's complement."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def wire_field(number: int, kind: int, content: bytes) -> bytes:
    """Encode one field of a message, with a length prefix if its wire type is `LENGTH`."""
    length = varint_from_int(len(content)) if kind == LENGTH else b""
    return varint_from_int(number * 8 + kind) + length + content


def _varint_end(data: bytes, position: int) -> int:
    while position < len(data) and data[position] & 0x80:
        position += 1
    if position >= len(data):
        raise ValueError("a number past the end")
    return position + 1
