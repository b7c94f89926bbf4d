"""What a client of a stream may send: settings as text, pictures as bytes."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sonjit.server.errors import RefusedError
from sonjit.server.images import decode_picture, raw_picture
from sonjit.server.options import OPTIONS, Spec, read_kind, read_options, read_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADER = struct.Struct("<4sIdB3x2H")
_MAGIC = b"SNJ1"
_ENCODED = 0
_CHANNELS = {1: 4, 2: 3}
"""Of the raw formats: RGBA and RGB."""


class NoMessageError(Exception):
    """What came is no message of the protocol; the connection is closed with this reason."""


@dataclass(slots=True)
class Picture:
    """One frame of a stream, not decoded yet.

    Attributes:
        number: the client's, given back in the answer.
        time_s: the client's.
        arrived_s: on the clock of `time.perf_counter`.
    """

    number: int
    time_s: float
    data: memoryview
    format: int
    width: int
    height: int
    arrived_s: float

    def decode(self, max_pixels: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; RefusedError where it cannot be used."""
        if self.format == _ENCODED:
            return decode_picture(bytes(self.data), max_pixels)
        if self.format not in _CHANNELS:
            raise RefusedError("bad_image", f"format {self.format}: give 0 (encoded), 1 (raw RGBA) or 2 (raw RGB)")
        return raw_picture(self.data, self.width, self.height, _CHANNELS[self.format], max_pixels)


@dataclass(slots=True)
class Decoded:
    """A picture (H, W, 3) with its number and time, or why there is none; how long it waited and was decoded."""

    number: int
    time_s: float
    rgb: NDArray[np.uint8] | RefusedError
    wait_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Configure:
    """Which detectors shall look from now on, or why they cannot."""

    specs: tuple[Spec, ...] | RefusedError


@dataclass(frozen=True, slots=True)
class Reset:
    """Every instance is to be forgotten."""


Message = Picture | Configure | Reset


def read_picture(data: bytes) -> Picture:
    """A binary message; NoMessageError where it has not the header."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise NoMessageError(f"a binary message begins with SNJ1 and has {_HEADER.size} bytes before the picture")
    _, number, time_s, format_, width, height = _HEADER.unpack_from(data)
    return Picture(number, time_s, memoryview(data)[_HEADER.size :], format_, width, height, time.perf_counter())


def read_text(text: str) -> Configure | Reset:
    """A text message; NoMessageError where it is none."""
    try:
        message: object = json.loads(text)
    except (ValueError, RecursionError):
        raise NoMessageError("a text message is JSON") from None
    kind = cast("dict[str, object]", message).get("type") if isinstance(message, dict) else None
    if kind == "reset":
        return Reset()
    if kind != "configure":
        raise NoMessageError('a text message is an object whose type is "configure" or "reset"')
    try:
        return Configure(_read_specs(cast("dict[str, object]", message)))
    except RefusedError as refusal:
        return Configure(refusal)


def _read_specs(message: dict[str, object]) -> tuple[Spec, ...]:
    """The detectors of a `configure` message; its `measures` count for those that say nothing of their own."""
    unknown = message.keys() - {"type", "detectors", "measures"}
    if unknown:
        raise RefusedError("bad_option", f"unknown member {min(unknown)[:60]!r}; known: type, detectors, measures")
    measures = read_value("measures", message.get("measures", False), OPTIONS["measures"])
    listed = message.get("detectors")
    if not isinstance(listed, list):
        raise RefusedError("bad_option", 'detectors: give a list such as [{"kind": "hands"}]')
    specs = [_read_spec(one, measures=measures) for one in cast("list[object]", listed)]
    kinds = [spec.kind for spec in specs]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice:
        raise RefusedError("bad_option", f"detectors: {twice} stands there more than once; give each kind once")
    return tuple(specs)


def _read_spec(listed: object, *, measures: bool) -> Spec:
    if not isinstance(listed, dict):
        raise RefusedError("bad_option", 'detectors: each is an object such as {"kind": "hands", "model": "lite"}')
    given: dict[str, Any] = {"measures": measures} | cast("dict[str, Any]", listed)
    kind = read_kind(given.pop("kind", None))
    return Spec.filled(kind, read_options(kind, given), still=False)
