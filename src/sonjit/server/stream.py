"""`WS /v1/stream`: images of one client in order, each answered by what is in it.

Three tasks hand images on: one receives and lets the oldest fall where too many wait, one has them decoded, one has
them processed and answers. So the next image is decoded while this one is processed.

What a client of a stream may send: settings as text, images as bytes.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sonjit.errors import InputError
from sonjit.gestures import LearnedGestures
from sonjit.gestures.control import Controller
from sonjit.gestures.rules import ControlMap, read_map
from sonjit.json_text import Json, json_from
from sonjit.results import Hand, MotionEvent
from sonjit.server.decoding import Decoders
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.gestures import read_gestures
from sonjit.server.images import decode_upload, raw_image
from sonjit.server.options import MEASURES, SessionOptions, each_kind_once, read_detector, read_value
from sonjit.server.service import Service
from sonjit.server.sessions import Session
from sonjit.server.tokens import accept

_GOING_AWAY, _REFUSED, _FULL, _IDLE = 1001, 1008, 1013, 4408
_CLOSE_S = 2.0
_MOST_SETTINGS = 32
"""Messages other than images may wait for as many; who sends more does not wait for answers."""


class Stream:
    """One connection, from its first message to its last.

    Args:
        socket: not accepted yet.
        service: the server's parts.
    """

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket = socket
        self._service = service
        self._lane = service.workers.lane()
        self._sessions: list[Session] = []
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._decoded: asyncio.Queue[Decoded | Configure | Reset] = asyncio.Queue(maxsize=1)
        self._control: DryRun | None = None
        self._dropped = 0
        self._heard_s = time.monotonic()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve the client until one of both sides leaves."""
        await accept(self._socket)
        settings = self._service.settings
        if len(self._service.streams) >= settings.max_clients:
            await self._close(_FULL, f"{settings.max_clients} clients are served already: try again later")
            return
        self._service.streams.add(self)
        work = [self._receive(), self._decode(), self._answer(), self._tire(), self._stopping.wait()]
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._close_with_reason(next((error for task in done if (error := task.exception())), None))
        finally:
            # A task of its own: where this one is cancelled, detectors still come back only once nobody uses them.
            self._ending = asyncio.ensure_future(self._end(tasks))
            await asyncio.shield(self._ending)

    async def stop(self) -> None:
        """Close the connection because the server stops."""
        self._stopping.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), 5)

    async def _end(self, tasks: list[asyncio.Future[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lane.close()
        self._waiting.clear()
        self._give_back(self._sessions)
        self._service.leave(self)
        self._ended.set()

    async def _close_with_reason(self, error: BaseException | None) -> None:
        if isinstance(error, ProtocolError):
            await self._close(_REFUSED, str(error))
        elif isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            await self._close(1011, str(refusal_from(error)))
        elif self._stopping.is_set():
            await self._close(_GOING_AWAY, "the server stops")
        elif self._left_s <= 0:
            minutes = self._service.settings.idle_minutes
            await self._close(_IDLE, f"nothing came for {minutes:g} minutes (--idle-minutes): connect again to go on")

    @property
    def _left_s(self) -> float:
        """Until the client has been silent for too long."""
        return self._heard_s + 60 * self._service.settings.idle_minutes - time.monotonic()

    async def _tire(self) -> None:
        """Wait until nothing has come for too long."""
        while (left_s := self._left_s) > 0:
            await asyncio.sleep(left_s)

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.client_state is WebSocketState.CONNECTED:
            with suppress(Exception):  # the other side may be gone, or read nothing
                async with asyncio.timeout(_CLOSE_S):
                    await self._socket.close(code, reason.encode()[:120].decode(errors="ignore"))

    async def _receive(self) -> None:
        """Take what comes; of the images that wait, let the oldest fall."""
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            self._heard_s = time.monotonic()
            data = message.get("bytes")
            if data is None:
                self._waiting.append(read_text(message["text"]))
            else:
                self._waiting.append(read_image(data))
            self._drop_oldest()
            self._arrived.set()

    def _drop_oldest(self) -> None:
        images = [item for item in self._waiting if isinstance(item, Image)]
        if len(images) > self._service.settings.queue:
            self._waiting.remove(images[0])
            self._dropped += 1
        elif len(self._waiting) - len(images) > _MOST_SETTINGS:
            raise ProtocolError(f"more than {_MOST_SETTINGS} messages wait: wait for the answers")

    async def _decode(self) -> None:
        """Have each image decoded, in order; hand everything on."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            item = self._waiting.popleft()
            await self._decoded.put(await self._decode_one(item) if isinstance(item, Image) else item)
            del item  # holds an image, and the next may be long in coming

    async def _decode_one(self, image: Image) -> Decoded:
        start = time.perf_counter()
        rgb: NDArray[np.uint8] | RefusedError
        try:
            rgb = await self._lane.run(partial(image.decode, self._service.settings.max_pixels, self._service.decoders))
        except Exception as error:
            rgb = refusal_from(error)
        wait_ms, decode_ms = 1e3 * (start - image.arrived_s), 1e3 * (time.perf_counter() - start)
        return Decoded(image.number, image.time_s, rgb, wait_ms, decode_ms)

    async def _answer(self) -> None:
        """Answer everything, in order."""
        while True:
            item = await self._decoded.get()
            if isinstance(item, Configure):
                await self._configure(item)
            elif isinstance(item, Reset):
                for session in self._sessions:
                    session.reset()
            else:
                await self._socket.send_text(await self._detect(item))
            del item

    async def _detect(self, decoded: Decoded) -> str:
        """The answer to one image."""
        start = time.perf_counter()
        try:
            if isinstance(decoded.rgb, RefusedError):
                raise decoded.rgb
            height, width = decoded.rgb.shape[:2]
            work = [partial(session.answer, decoded.rgb, decoded.time_s) for session in self._sessions]
            # All of them have to end: a detector still at work must not see the next image.
            members = await asyncio.gather(*map(self._lane.run, work), return_exceptions=True)
            if failure := next((one for one in members if isinstance(one, BaseException)), None):
                raise failure
        except Exception as error:
            return json_from({"type": "error", "frame": decoded.number, **refusal_from(error).to_dict()})
        timing = {
            "wait_ms": round(decoded.wait_ms, 2),
            "decode_ms": round(decoded.decode_ms, 2),
            "detect_ms": round(1e3 * (time.perf_counter() - start), 2),
        }
        head = {"type": "frame", "frame": decoded.number, "time": decoded.time_s, "width": width, "height": height}
        head |= {"dropped": self._dropped, "timing": timing}
        motions = [session.motions for session in self._sessions if session.motions is not None]
        if motions:
            head["motions"] = [one.to_dict() for one in chain(*motions)]
        if self._control is not None:
            hands = [hand for session in self._sessions for hand in session.hands]
            is_whole = len(motions) == sum(session.options.has_hands for session in self._sessions)
            found = [*chain(*motions)] if is_whole else None
            told = partial(self._control.commands, hands, decoded.time_s, (width, height), found)
            head["commands"] = await self._lane.run(told)
        return ",".join([json_from(head)[:-1], *map(str, members)]) + "}"

    async def _configure(self, configure: Configure) -> None:
        """Take the detectors that are wanted; those whose options stay the same keep their instances."""
        wanted, new = configure.wanted, list[Session]()
        try:
            if isinstance(wanted, RefusedError):
                raise wanted
            held = {session.options.key: session for session in self._sessions}
            missing = [one for one in wanted if one.key not in held]
            unloaded = [one for one in missing if not self._service.detectors.has(one)]
            for one in missing:
                if one in unloaded:
                    await self._send_progress(one, unloaded)
                new.append(await self._take(one))
            for one in wanted:
                await asyncio.to_thread(self._service.explainers.load, one)
        except BaseException as error:
            self._give_back(new)
            if not isinstance(error, Exception) or isinstance(error, WebSocketDisconnect):  # the client has left
                raise
            await self._socket.send_text(json_from({"type": "error", **refusal_from(error).to_dict()}))
            return
        held |= {session.options.key: session for session in new}
        self._sessions = [held.pop(one.key) for one in wanted]
        self._give_back(list(held.values()))
        for session, one in zip(self._sessions, wanted, strict=True):
            session.change(one, configure.custom)
        self._control = configure.control and DryRun(configure.control, configure.custom)
        await self._socket.send_text(json_from({"type": "ready", "detectors": [one.to_dict() for one in wanted]}))

    async def _send_progress(self, options: SessionOptions, unloaded: list[SessionOptions]) -> None:
        progress = {"model": options.name, "done": unloaded.index(options), "of": len(unloaded)}
        await self._socket.send_text(json_from({"type": "loading", **progress}))

    async def _take(self, options: SessionOptions) -> Session:
        """A detector of the pool; where the client leaves while it is loading, it goes back."""
        pool = self._service.detectors
        taking = asyncio.ensure_future(asyncio.to_thread(pool.take, options))
        try:
            return Session(options, await asyncio.shield(taking), self._service.explainers)
        except asyncio.CancelledError:
            with suppress(Exception):
                pool.give_back(options, await taking)
            raise

    def _give_back(self, sessions: list[Session]) -> None:
        for session in sessions:
            session.end()
            self._service.detectors.give_back(session.options, session.detector)


_HEADER = struct.Struct("<4sIdB3x2H")
_MAGIC = b"SNJ1"
_ENCODED = 0
_CHANNELS = {1: 4, 2: 3}
"""Of the raw formats: RGBA and RGB."""


class ProtocolError(Exception):
    """What came is not a message of the protocol; the connection is closed with this reason."""


@dataclass(slots=True)
class Image:
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

    def decode(self, max_pixels: int, decoders: Decoders) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; RefusedError where it cannot be used."""
        if self.format == _ENCODED:
            return decode_upload(bytes(self.data), max_pixels, decoders)
        if self.format not in _CHANNELS:
            raise RefusedError("bad_image", f"format {self.format}: give 0 (encoded), 1 (raw RGBA) or 2 (raw RGB)")
        return raw_image(self.data, self.width, self.height, _CHANNELS[self.format], max_pixels)


@dataclass(slots=True)
class Decoded:
    """An image (H, W, 3) with its number and time, or why there is none; how long it waited and was decoded."""

    number: int
    time_s: float
    rgb: NDArray[np.uint8] | RefusedError
    wait_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Configure:
    """Which detectors shall run from now on, or why they cannot.

    Attributes:
        wanted: detectors.
        control: a map whose commands are told, never sent.
        custom: the client's own gestures.
    """

    wanted: tuple[SessionOptions, ...] | RefusedError
    control: ControlMap | None = None
    custom: LearnedGestures | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Every instance is to be forgotten."""


Message = Image | Configure | Reset


def read_image(data: bytes) -> Image:
    """A binary message; ProtocolError where it has not the header."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise ProtocolError(f"a binary message begins with SNJ1 and has {_HEADER.size} bytes before the image")
    _, number, time_s, format_, width, height = _HEADER.unpack_from(data)
    return Image(number, time_s, memoryview(data)[_HEADER.size :], format_, width, height, time.perf_counter())


def read_text(text: str) -> Configure | Reset:
    """A text message; ProtocolError where it is not one."""
    try:
        message: object = json.loads(text)
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
    """The detectors of a `configure` message; its `measures` count for those that say nothing of their own."""
    known = ("type", "detectors", "measures", "control", "gestures_file")
    unknown = message.keys() - {*known}
    if unknown:
        raise RefusedError("bad_option", f"unknown member {min(unknown)[:60]!r}; known: {', '.join(known)}")
    measures = read_value(MEASURES, message.get("measures", False))
    listed = message.get("detectors")
    if not isinstance(listed, list):
        raise RefusedError("bad_option", 'detectors: give a list such as [{"kind": "hands"}]')
    read = [read_detector(one, given={"measures": measures}) for one in cast("list[object]", listed)]
    each_kind_once(kind for kind, _ in read)
    return tuple(SessionOptions.filled(kind, options, still=False) for kind, options in read)


def _read_control(text: object, custom: LearnedGestures | None) -> ControlMap | None:
    """A map for `sonjit control`, as TOML, that may name custom gestures; None for none."""
    if text is None:
        return None
    try:
        return read_map(text if isinstance(text, str) else "", "control", () if custom is None else custom.names)
    except InputError as error:
        raise RefusedError("bad_option", str(error)) from None


class DryRun:
    """What a map would send.

    Args:
        control_map: its rules.
        custom: gestures that they may name.
    """

    def __init__(self, control_map: ControlMap, custom: LearnedGestures | None) -> None:
        self._map, self._custom = control_map, custom
        self._controller, self._time_s = Controller(control_map, custom), -math.inf

    def commands(
        self, hands: list[Hand], time_s: float, size: tuple[int, int], motions: list[MotionEvent] | None
    ) -> list[Json]:
        """The commands of one frame, as `sonjit control --dry-run` prints them; none of stills.

        Motions are those that the stream's detectors found; None where one of them does not look for any.
        """
        if not math.isfinite(time_s) or any(hand.id is None for hand in hands):
            return []
        if time_s < self._time_s:  # a clip that begins anew
            self._controller = Controller(self._map, self._custom)
        self._time_s = time_s
        return [one.to_dict() for one in self._controller(hands, time_s, size, motions)]
