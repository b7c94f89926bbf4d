"""The endpoint `WS /v1/stream`: detect instances in the images of one client, in order."""

import asyncio
import math
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TypeAlias, cast, get_args

import anyio
import numpy as np
from anyio import to_thread
from anyio.abc import TaskGroup
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sonjit._util import Json, SonjitError, json_from
from sonjit.gestures import LearnedGestures
from sonjit.gestures.control import Controller, ControlMap, read_map
from sonjit.results import Hand, MotionEvent
from sonjit.server import gestures, middleware, processes
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.hiding import ClientHiding, Hiding
from sonjit.server.images import ClientDetector, decode_upload, explainer_of, raw_image
from sonjit.server.options import MEASURES, SessionOptions, load_json, read_detectors, read_values, require_short_map
from sonjit.server.service import Service

_GOING_AWAY, _REFUSED, _FULL, _IDLE = 1001, 1008, 1013, 4408  # close codes of WebSockets; 4408 is private to Sonjit
_CLOSE_S = 2.0  # time in which a client answers a close message
_MAX_WAITING_SETTINGS = 32
"""Maximum number of waiting messages other than images. A client that sends more does not wait for answers."""
_HEADER = struct.Struct("<4sIdB3x2H")
_MAGIC = b"SNJ1"
_ENCODED = 0  # format of encoded images
_CHANNELS = {1: 4, 2: 3}  # number of channels of the raw formats RGBA and RGB
_MAX_TEXT_CHARACTERS = 2_000_000  # gestures of 1 MB in base64, a control map and the options of detectors fit into it


class ProtocolError(Exception):
    """The reason for which the server closes a connection: the client did not follow the protocol, unless stated."""

    def __init__(self, reason: str, code: int = _REFUSED) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(slots=True)
class StreamImage:
    """One frame of a stream."""

    number: int  # number that the client gave the frame; the answer contains it
    time_s: float  # time of the frame in seconds on the client's clock
    format: int  # format of the data: 0 for encoded, 1 for RGBA, 2 for RGB
    width: int  # width of a raw image in pixels
    height: int  # height of a raw image in pixels
    data: memoryview  # encoded image, or rows of pixels; empty after decoding
    arrived_s: float = field(default_factory=time.perf_counter)  # arrival time on the clock of `time.perf_counter`
    rgb: NDArray[np.uint8] | RefusedError | None = None  # (H, W, 3), or the reason why it cannot be decoded
    timing: dict[str, float] = field(default_factory=dict[str, float])  # times of the answer by name, in milliseconds

    def decode(self, max_pixels: int, decoders: processes.Decoders) -> NDArray[np.uint8]:
        """Return the frame as (H, W, 3) uint8 RGB. Raise RefusedError if it is not an image."""
        if self.format == _ENCODED:
            return decode_upload(bytes(self.data), max_pixels, decoders)
        if self.format not in _CHANNELS:
            raise RefusedError("bad_image", f"format {self.format}: give 0 (encoded), 1 (raw RGBA) or 2 (raw RGB)")
        return raw_image(self.data, self.width, self.height, _CHANNELS[self.format], max_pixels)


@dataclass(frozen=True, slots=True)
class Configure:
    """Request for other detectors."""

    detectors: tuple[SessionOptions, ...] | RefusedError  # options, or the reason why the request is refused
    control: ControlMap | None = None  # control map whose commands are reported but not sent
    custom: LearnedGestures | None = None
    anonymise: Hiding | None = None  # whom the client hides


@dataclass(frozen=True, slots=True)
class Reset:
    """Request to forget all tracked instances."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Request for the motions and events that end with the stream. Instances stay tracked."""


def read_image(data: bytes) -> StreamImage:
    """Read a binary message. Raise ProtocolError if it lacks the header."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise ProtocolError(f"a binary message begins with SNJ1 and has {_HEADER.size} bytes before the image")
    _, number, time_s, format_, width, height = _HEADER.unpack_from(data)
    return StreamImage(number, time_s, format_, width, height, memoryview(data)[_HEADER.size :])


def read_text(text: str) -> Configure | Reset | Finish:
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
    if kind in ("reset", "finish"):
        return Reset() if kind == "reset" else Finish()
    if kind != "configure":
        raise ProtocolError('a text message is an object whose type is "configure", "reset" or "finish"')
    try:
        settings = cast("dict[str, object]", message)
        custom = gestures.read_gestures(settings.get("gestures_file"))
        detectors, control = _read_all(settings), _read_control(settings.get("control"), custom)
        return Configure(detectors, control, custom, _read_hiding(settings.get("anonymise")))
    except SonjitError as error:
        return Configure(refusal_from(error))


def _read_all(message: dict[str, object]) -> tuple[SessionOptions, ...]:
    """Return the detectors of a `configure` message. Its `measures` is the default for each detector."""
    members = ("type", "detectors", "measures", "control", "gestures_file", "anonymise")
    unknown = message.keys() - {*members}
    if unknown:
        raise RefusedError("bad_option", f"Unknown member {min(unknown)[:60]!r}. Choose from {', '.join(members)}")
    defaults = read_values([MEASURES], {"measures": message.get("measures", False)}, "configure")
    read = read_detectors(message.get("detectors"), defaults=defaults)
    return tuple(SessionOptions.from_values(kind, options, still=False) for kind, options in read)


def _read_hiding(how: object) -> Hiding | None:
    """Return whom the client hides in its images; None for nobody."""
    if how in (None, "none"):
        return None
    for choice in get_args(Hiding):
        if how == choice:
            return choice
    raise RefusedError("bad_option", f"anonymise={str(how)[:60]!r}: choose from none, {', '.join(get_args(Hiding))}")


def _read_control(text: object, custom: LearnedGestures | None) -> ControlMap | None:
    """Return a map for `sonjit control` in TOML, which may name custom gestures; None for none."""
    if text is None:
        return None
    toml = text if isinstance(text, str) else ""
    require_short_map(toml)
    return read_map(toml, "control", () if custom is None else custom.names)


Message: TypeAlias = StreamImage | Configure | Reset | Finish  # message of a client


class Stream:
    """One connection from its first to its last message.

    Three tasks pass images on: the first receives them and drops the oldest, the second decodes them, the third
    detects and answers. So the next image is decoded while the detectors process the current one.
    """

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket = socket
        self._service = service
        self._detectors: list[ClientDetector] = []
        self._waiting: deque[Message] = deque()
        self._arrived = anyio.Event()
        self._decoded: asyncio.Queue[Message] = asyncio.Queue(maxsize=1)
        self._control: DryRun | None = None
        self._hiding: ClientHiding | None = None
        self._dropped = 0
        self._heard_s = time.monotonic()
        self._stopping = anyio.Event()
        self._ended = anyio.Event()

    async def run(self) -> None:
        """Serve the client until it leaves or the server stops."""
        await middleware.accept(self._socket)
        settings = self._service.settings
        if len(self._service.streams) >= settings.max_clients:
            await self._close(_FULL, f"{settings.max_clients} clients are served already: try again later")
            return
        self._service.streams[self] = self.stop
        try:
            async with anyio.create_task_group() as tasks:
                for work in (self._receive, self._decode, self._answer, self._wait_for_silence, self._wait_for_stop):
                    tasks.start_soon(self._end_with, work, tasks)
        finally:  # nothing uses the detectors any more
            self._waiting.clear()
            self._give_back(self._detectors)
            self._service.streams.pop(self, None)
            self._ended.set()

    async def stop(self) -> None:
        """Close the connection because the server stops."""
        self._stopping.set()
        with anyio.move_on_after(5):
            await self._ended.wait()

    async def _end_with(self, work: Callable[[], Awaitable[None]], tasks: TaskGroup) -> None:
        """Run one of the tasks. At its end, close the connection and end the others."""
        try:
            await work()
        except ProtocolError as error:
            await self._close(error.code, str(error))
        except WebSocketDisconnect:
            pass
        except Exception as error:
            await self._close(1011, str(refusal_from(error)))
        tasks.cancel_scope.cancel()

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()
        raise ProtocolError("the server stops", _GOING_AWAY)

    async def _wait_for_silence(self) -> None:
        minutes = self._service.settings.idle_minutes
        while (left_s := self._heard_s + 60 * minutes - time.monotonic()) > 0:
            await anyio.sleep(left_s)
        raise ProtocolError(f"no image for {minutes:g} minutes (--idle-minutes): connect again to continue", _IDLE)

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.client_state is WebSocketState.CONNECTED:
            with suppress(Exception), anyio.move_on_after(_CLOSE_S):  # the client may have left, or may not read
                await self._socket.close(code, reason.encode()[:120].decode(errors="ignore"))

    async def _receive(self) -> None:
        """Queue the messages of the client. Drop the oldest image if too many wait."""
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
        images = [item for item in self._waiting if isinstance(item, StreamImage)]
        if len(images) > self._service.settings.queue:
            self._waiting.remove(images[0])
            self._dropped += 1
        elif len(self._waiting) - len(images) > _MAX_WAITING_SETTINGS:
            raise ProtocolError(f"more than {_MAX_WAITING_SETTINGS} messages wait: wait for the answers")

    async def _decode(self) -> None:
        """Decode the images in order, and pass on all messages."""
        while True:
            while not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            item = self._waiting.popleft()
            if isinstance(item, StreamImage):
                await self._decode_one(item)
            await self._decoded.put(item)
            del item  # it refers to an image, and the next message may come much later

    async def _decode_one(self, image: StreamImage) -> None:
        start = time.perf_counter()
        try:
            decode = partial(image.decode, self._service.settings.max_pixels, self._service.decoders)
            image.rgb = await self._service.run(decode)
        except Exception as error:
            image.rgb = refusal_from(error)
        image.data = memoryview(b"")
        waited_s, decoding_s = start - image.arrived_s, time.perf_counter() - start
        image.timing = {"wait_ms": round(1e3 * waited_s, 2), "decode_ms": round(1e3 * decoding_s, 2)}

    async def _answer(self) -> None:
        """Answer all messages in order."""
        while True:
            item = await self._decoded.get()
            if isinstance(item, Configure):
                await self._configure(item)
            elif isinstance(item, Reset):
                for detector in (*self._detectors, self._hiding):
                    if detector is not None:
                        detector.reset()
            elif isinstance(item, Finish):
                ended = [detector.finish() for detector in self._detectors]
                motions = [motion.to_dict() for found, _ in ended for motion in found]
                events = [event.to_dict() for _, found in ended for event in found]
                await self._send({"type": "finished", "motions": motions, "events": events})
            else:
                await self._socket.send_text(await self._detect(item))
            del item

    async def _detect(self, image: StreamImage) -> str:
        """Return the answer to one image."""
        start = time.perf_counter()
        try:
            rgb = image.rgb
            assert rgb is not None
            if isinstance(rgb, RefusedError):
                raise rgb
            height, width = rgb.shape[:2]
            members = await self._members(rgb, image.time_s)
        except Exception as error:
            return json_from({"type": "error", "frame": image.number, **refusal_from(error).to_dict()})
        timing = image.timing | {"detect_ms": round(1e3 * (time.perf_counter() - start), 2)}
        head = {"type": "frame", "frame": image.number, "time": image.time_s, "width": width, "height": height}
        head |= {"dropped": self._dropped, "timing": timing}
        motions = [detector.motions for detector in self._detectors if detector.motions is not None]
        if hidden := sum(detector.hidden for detector in self._detectors):
            head["hidden"] = hidden
        if motions:
            head["motions"] = [motion.to_dict() for motion in chain(*motions)]
            head["events"] = [event.to_dict() for detector in self._detectors for event in detector.events]
        if self._control is not None:
            hands = [hand for detector in self._detectors for hand in detector.hands]
            is_whole = len(motions) == sum(detector.options.has_hands for detector in self._detectors)
            motion_events = [*chain(*motions)] if is_whole else None
            commands = partial(self._control.commands, hands, image.time_s, (width, height), motion_events)
            head["commands"] = await self._service.run(commands)
        return ",".join([json_from(head)[:-1], *members]) + "}"

    async def _members(self, rgb: NDArray[np.uint8], time_s: float) -> list[str]:
        """Return what each detector answers. They work side by side; an error waits until all are done."""
        works: list[Callable[[], str]] = [partial(detector.answer, rgb, time_s) for detector in self._detectors]
        if self._hiding is not None:
            is_still = all(detector.options.detector.static_image for detector in self._detectors)
            works.append(partial(self._hiding.answer, rgb, time_s, is_still=is_still))
        members, errors = [""] * len(works), list[Exception]()

        async def run(number: int) -> None:
            try:
                members[number] = await self._service.run(works[number])
            except Exception as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for number in range(len(works)):
                tasks.start_soon(run, number)
        if errors:
            raise errors[0]
        return members

    async def _configure(self, configure: Configure) -> None:
        """Switch to other detectors. Detectors whose options do not change keep their tracked instances."""
        wanted, new = configure.detectors, list[ClientDetector]()
        try:
            if isinstance(wanted, RefusedError):
                raise wanted
            current = {detector.options.key: detector for detector in self._detectors}
            missing = [options for options in wanted if options.key not in current]
            unloaded = [options for options in missing if not self._service.detectors.has(options)]
            for options in missing:
                if options in unloaded:
                    progress = {"model": options.name, "done": unloaded.index(options), "of": len(unloaded)}
                    await self._send({"type": "loading", **progress})
                detector = await to_thread.run_sync(self._service.detectors.take, options)
                new.append(ClientDetector(options, detector))
            for options in wanted:
                await to_thread.run_sync(explainer_of, options)
            hiding = await self._find_hiding(configure.anonymise)
        except BaseException as error:
            self._give_back(new)
            if not isinstance(error, Exception) or isinstance(error, WebSocketDisconnect):  # the client has left
                raise
            await self._send({"type": "error", **refusal_from(error).to_dict()})
            return
        current |= {detector.options.key: detector for detector in new}
        self._detectors = [current.pop(options.key) for options in wanted]
        self._give_back(list(current.values()))
        for detector, options in zip(self._detectors, wanted, strict=True):
            detector.change(options, configure.custom)
        self._control = configure.control and DryRun(configure.control, configure.custom)
        self._hiding = hiding
        await self._send({"type": "ready", "detectors": [options.to_dict() for options in wanted]})

    async def _find_hiding(self, how: Hiding | None) -> ClientHiding | None:
        """Return the search for people to hide, which keeps its faces if nothing changes."""
        if how is None or (self._hiding is not None and self._hiding.how == how):
            return self._hiding if how else None
        return await to_thread.run_sync(ClientHiding, how)

    async def _send(self, message: object) -> None:
        await self._socket.send_text(json_from(message))

    def _give_back(self, detectors: list[ClientDetector]) -> None:
        for detector in detectors:
            detector.end()
            self._service.detectors.give_back(detector.options, detector.detector)


class DryRun:
    """Commands that a control map would send."""

    def __init__(self, control_map: ControlMap, custom: LearnedGestures | None) -> None:
        self._map, self._custom = control_map, custom
        self._controller, self._time_s = Controller(control_map, custom), -math.inf

    def commands(
        self, hands: list[Hand], time_s: float, size: tuple[int, int], motions: list[MotionEvent] | None
    ) -> list[Json]:
        """Return the commands of one frame, as `sonjit control --dry-run` prints them; none for still images.

        `size` is (width, height) in pixels. `motions` is None if one of the detectors does not look for motions.
        """
        if not math.isfinite(time_s) or any(hand.id is None for hand in hands):
            return []
        ended = [*self._controller.finish()] if time_s < self._time_s else []
        if time_s < self._time_s:  # a new clip starts
            self._controller = Controller(self._map, self._custom)
        self._time_s = time_s
        return [command.to_dict() for command in (*ended, *self._controller(hands, time_s, size, motions))]
