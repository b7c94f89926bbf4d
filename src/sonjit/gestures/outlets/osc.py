"""Messages and bundles of Open Sound Control over UDP. Source: the OSC 1.0 specification."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

from sonjit._util import InputError
from sonjit.gestures.control import Rule
from sonjit.gestures.outlets.sender import Sender, in_thread

_BUNDLE: Final = b"#bundle\0\0\0\0\0\0\0\0\1"  # start of a bundle with the time "immediately"
_MAX_BUNDLE_BYTES: Final = 1392  # a UDP packet that Wi-Fi, tunnels and mobile networks do not split


def osc_message(address: str, *values: float | str) -> bytes:
    r"""Return a message for a UDP packet, with texts as strings and numbers as float32.

    >>> osc_message("/volume", 0.5)
    b'/volume\x00,f\x00\x00?\x00\x00\x00'
    """
    types = "," + "".join("s" if isinstance(value, str) else "f" for value in values)
    encoded = [
        _padded(item) if isinstance(item, str) else struct.pack(">f", item) for item in (address, types, *values)
    ]
    return b"".join(encoded)


def osc_bundles(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Yield packets with all messages in order: bundles of at most 1,392 bytes, unless one message is larger.

    >>> [len(packet) for packet in osc_bundles([osc_message("/a", 0.5), osc_message("/b")])]
    [44]
    """
    packet = _BUNDLE
    for message in messages:
        element = struct.pack(">i", len(message)) + message
        if len(packet) + len(element) > _MAX_BUNDLE_BYTES and packet != _BUNDLE:
            yield packet
            packet = _BUNDLE
        packet += element
    if packet != _BUNDLE:
        yield packet


def _padded(text: str) -> bytes:
    """Return a text with one to four zero bytes, padded to a multiple of four."""
    data = text.encode()
    return data + bytes(4 - len(data) % 4)


def open_udp(host: str, port: int, stack: ExitStack) -> Callable[[bytes], object]:
    """Return a function that sends UDP packets to an address."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"osc {host}:{port}: {getattr(error, 'strerror', None) or error}") from error
    outlet = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    return lambda packet: outlet.sendto(packet, address)


def open_osc(rule: Rule, stack: ExitStack) -> Sender:
    """Open the outlet of a target HOST:PORT/ADDRESS."""
    address = urlsplit(f"osc://{rule.target}")
    send = open_udp(str(address.hostname), address.port or 0, stack)
    return in_thread(f"osc {rule.target}", lambda command: send(osc_message(address.path, command.value)), stack)
