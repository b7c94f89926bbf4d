"""Messages of Open Sound Control, as far as they are sent here. Source: the OSC 1.0 specification."""

from __future__ import annotations

import struct


def osc_message(address: str, *values: float | str) -> bytes:
    r"""One message, as a UDP packet holds it: texts as such, numbers as float32.

    >>> osc_message("/volume", 0.5)
    b'/volume\x00,f\x00\x00?\x00\x00\x00'
    """
    types = "," + "".join("s" if isinstance(one, str) else "f" for one in values)
    parts = [_padded(one) if isinstance(one, str) else struct.pack(">f", one) for one in (address, types, *values)]
    return b"".join(parts)


def _padded(text: str) -> bytes:
    """Ended by one to four zero bytes, to a multiple of four."""
    data = text.encode()
    return data + bytes(4 - len(data) % 4)
