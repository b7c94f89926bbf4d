"""Messages that a client of a stream sends: settings as text, images as bytes."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit.gestures import LearnedGestures
from sonjit.gestures.rules import ControlMap, read_map
from sonjit.server.client_text import load_json, require_short_map
from sonjit.server.decoding import Decoders
from sonjit.server.errors import RefusedError
from sonjit.server.gestures import read_gestures
from sonjit.server.images import decode_upload, raw_image
from sonjit.server.options import MEASURES, SessionOptions, read_detector, read_value, refuse_duplicate_kinds

Message: TypeAlias = "StreamImage | Configure | Reset"

_HEADER = struct.Struct("<4sIdB3x2H")
_MAGIC = b"SNJ1"
_ENCODED = 0
"""Format of encoded images."""
_CHANNELS = {1: 4, 2: 3}
"""Number of channels of the raw formats RGBA and RGB."""
_MAX_TEXT_CHARACTERS = 2_000_000
"""Gestures of 1 MB in base64, a control map and the options of detectors fit into it."""


class ProtocolError(Exception):
    """The client sent something else than a message of the protocol. It is the reason for closing the connection."""


@dataclass(slots=True)
class StreamImage:
    """One frame of a stream before decoding.

    Attributes:
        number: Number that the client gave the frame; the answer contains it.
        time_s: Time of the frame in seconds on the client's clock.
        data: Encoded image, or rows of pixels.
        format: Format of the data: 0 for encoded, 1 for RGBA, 2 for RGB.
        width: Width of a raw image in pixels.
        height: Height of a raw image in pixels.
        arrived_s: Arrival time on the clock of `time.perf_counter`.
    """

    number: int
    time_s: float
    data: memoryview
    format: int
    width: int
    height: int
    arrived_s: float

    def decode(self, max_pixels: int, decoders: Decoders) -> NDArray[np.uint8]:
        """Return the frame as (H, W, 3) uint8 RGB. Raise RefusedError if it is not an image."""
        if self.format == _ENCODED:
            return decode_upload(bytes(self.data), max_pixels, decoders)
        if self.format not in _CHANNELS:
            raise RefusedError("bad_image", f"format {self.format}: give 0 (encoded), 1 (raw RGBA) or 2 (raw RGB)")
        return raw_image(self.data, self.width, self.height, _CHANNELS[self.format], max_pixels)


@dataclass(frozen=True, slots=True)
class Configure:
    """Request for other detectors.

    Attributes:
        detectors: Options of the detectors, or the reason why the request is refused.
        control: Control map whose commands are reported but not sent.
        custom: The client's own gestures.
    """

    detectors: tuple[SessionOptions, ...] | RefusedError
    control: ControlMap | None = None
    custom: LearnedGestures | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Request to forget all tracked instances."""


def read_image(data: bytes) -> StreamImage:
    """Read a binary message. Raise ProtocolError if it lacks the header."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise ProtocolError(f"a binary message begins with SNJ1 and has {_HEADER.size} bytes before the image")
    _, number, time_s, format_, width, height = _HEADER.unpack_from(data)
    return StreamImage(
        number=number,
        time_s=time_s,
        data=memoryview(data)[_HEADER.size :],
        format=format_,
        width=width,
        height=height,
        arrived_s=time.perf_counter(),
    )


def read_text(text: str) -> Configure | Reset:
    """Read a text message. Raise ProtocolError if it is not one."""
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise ProtocolError(f"a text message has at most {_MAX_TEXT_CHARACTERS} characters")
    try:
        message: object = load_json(text, "the message")
    except RefusedError as refusal:
        raise ProtocolError(str(refusal)) from None
    except (ValueError, RecursionError):
        raise ProtocolError("a text message is JSON") from None
    kind = cast("dict[str, object]", message).get("type") if isinstance(message, dict) else None
    if kind == "reset":
        return Reset()
    if kind != "configure":
        raise ProtocolError('a text message is an object whose type is "configure" or "reset"')
    try:
        settings = cast("dict[str, object]", message)
        custom = read_gestures(settings.get("gestures_file"))
        return Configure(_read_all(settings), _read_control(settings.get("control"), custom), custom)
    except RefusedError as refusal:
        return Configure(refusal)


def _read_all(message: dict[str, object]) -> tuple[SessionOptions, ...]:
    """Return the detectors of a `configure` message. Its `measures` is the default for each detector."""
    known = ("type", "detectors", "measures", "control", "gestures_file")
    unknown = message.keys() - {*known}
    if unknown:
        raise RefusedError("bad_option", f"Unknown member {min(unknown)[:60]!r}. Choose from {', '.join(known)}")
    measures = read_value(MEASURES, message.get("measures", False))
    listed = message.get("detectors")
    if not isinstance(listed, list):
        raise RefusedError("bad_option", 'detectors: give a list such as [{"kind": "hands"}]')
    read = [read_detector(entry, defaults={"measures": measures}) for entry in cast("list[object]", listed)]
    refuse_duplicate_kinds(kind for kind, _ in read)
    return tuple(SessionOptions.from_values(kind, options, still=False) for kind, options in read)


def _read_control(text: object, custom: LearnedGestures | None) -> ControlMap | None:
    """Return a map for `sonjit control` in TOML, which may name custom gestures; None for none."""
    if text is None:
        return None
    toml = text if isinstance(text, str) else ""
    require_short_map(toml)
    try:
        return read_map(toml, "control", () if custom is None else custom.names)
    except InputError as error:
        raise RefusedError("bad_option", str(error)) from None
