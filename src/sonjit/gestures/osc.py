"""Encode messages of Open Sound Control. Source: the OSC 1.0 specification."""

from __future__ import annotations

import struct


def osc_message(address: str, *values: float | str) -> bytes:
    r"""Return a message for a UDP packet, with texts as strings and numbers as float32.

    >>> osc_message("/volume", 0.5)
    b'/volume\x00,f\x00\x00?\x00\x00\x00'
    """
    types = "," + "".join("s" if isinstance(value, str) else "f" for value in values)
    parts = [_padded(item) if isinstance(item, str) else struct.pack(">f", item) for item in (address, types, *values)]
    return b"".join(parts)


def _padded(text: str) -> bytes:
    """Return a text with one to four zero bytes, padded to a multiple of four."""
    data = text.encode()
    return data + bytes(4 - len(data) % 4)
