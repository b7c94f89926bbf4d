"""Send commands by OSC, HTTP, WebSocket, MQTT and MIDI, or as keys and pointer. Source: the OSC 1.0 specification."""

from __future__ import annotations

import logging
import socket
import struct
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

from sonjit._util import InputError, json_from, optional_import
from sonjit.gestures.control import Command, MidiMessage, Rule
from sonjit.gestures.targets import TIMEOUT_S, Target

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

Sender: TypeAlias = Callable[[Command], object]

_BUNDLE: Final = b"#bundle\0\0\0\0\0\0\0\0\1"  # start of a bundle with the time "immediately"
_MAX_BUNDLE_BYTES: Final = 8192
_LOG = logging.getLogger(__name__)


def osc_message(address: str, *values: float | str) -> bytes:
    r"""Return a message for a UDP packet, with texts as strings and numbers as float32.

    >>> osc_message("/volume", 0.5)
    b'/volume\x00,f\x00\x00?\x00\x00\x00'
    """
    types = "," + "".join("s" if isinstance(value, str) else "f" for value in values)
    parts = [_padded(item) if isinstance(item, str) else struct.pack(">f", item) for item in (address, types, *values)]
    return b"".join(parts)


def osc_bundles(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Yield packets with all messages in order: bundles of at most 8 kB, unless one message is larger.

    >>> [len(packet) for packet in osc_bundles([osc_message("/a", 0.5), osc_message("/b")])]
    [44]
    """
    packet = _BUNDLE
    for message in messages:
        if len(packet) + len(message) > _MAX_BUNDLE_BYTES and packet != _BUNDLE:
            yield packet
            packet = _BUNDLE
        packet += struct.pack(">i", len(message)) + message
    if packet != _BUNDLE:
        yield packet


def _padded(text: str) -> bytes:
    """Return a text with one to four zero bytes, padded to a multiple of four."""
    data = text.encode()
    return data + bytes(4 - len(data) % 4)


class Outlets:
    """Send commands to the targets of their rules, each over a network in a thread of its own; see `Target`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._failed: set[str] = set()
        actions: dict[str, Callable[[str, ExitStack], Sender]] = {
            "osc": _osc,
            "post": _post,
            "websocket": _websocket,
            "mqtt": _mqtt,
            "midi": _Midi().sender,
            "key": _key,
            "click": _click,
            "pointer": _pointer,
        }
        with ExitStack() as stack:
            self._send = {rule: actions[rule.action](rule.target, stack) for rule in rules}
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, command: Command) -> None:
        """Send a command. A target that fails is reported once as a warning."""
        try:
            self._send[command.rule](command)
        except OSError as error:
            if command.rule.target not in self._failed:
                self._failed.add(command.rule.target)
                _LOG.warning("%s %s: %s", command.rule.action, command.rule.target, error)


def _content(command: Command) -> str:
    return json_from({"value": command.value} | command.content)


def open_udp(host: str, port: int, stack: ExitStack) -> Callable[[bytes], object]:
    """Return a function that sends UDP packets to an address."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise InputError(f"osc {host}:{port}: {error.strerror or error}") from error
    outlet = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    return lambda packet: outlet.sendto(packet, address)


def _osc(target: str, stack: ExitStack) -> Sender:
    parts = urlsplit(f"osc://{target}")
    send = open_udp(str(parts.hostname), parts.port or 0, stack)
    return _target(f"osc {target}", lambda command: send(osc_message(parts.path, command.value)), stack)


def _target(name: str, send: Sender, stack: ExitStack, abort: Callable[[], object] = lambda: None) -> Sender:
    return stack.enter_context(Target(name, send, abort)).put


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that refuses redirects, because only addresses in the control map receive data."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow no redirect."""


def _post(target: str, stack: ExitStack) -> Sender:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def post(command: Command) -> None:
        data = _content(command).encode()
        request = urllib.request.Request(target, data, {"Content-Type": "application/json"})
        with opener.open(request, timeout=TIMEOUT_S):
            pass

    return _target(f"post {target}", post, stack)


class WebSocketClient:
    """Connection to a WebSocket address that is opened again after it was lost."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()

    def connect(self) -> ClientConnection:
        """Open the connection. Raise OSError if no WebSocket answers."""
        with optional_import("websocket", "control"):
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
        try:
            opened = connect(self._target, open_timeout=TIMEOUT_S, close_timeout=TIMEOUT_S, proxy=None)
            self._connection = self._stack.enter_context(opened)
        except WebSocketException as error:
            raise OSError(error) from error
        return self._connection

    def send(self, text: str) -> None:
        """Send a message. Raise OSError if the connection is lost; the next message opens another one."""
        from websockets.exceptions import WebSocketException

        try:
            (self._connection or self.connect()).send(text)
        except (OSError, WebSocketException) as error:
            self.close()
            raise OSError(error) from error

    def abort(self) -> None:
        """Let a `send` in another thread fail, whose receiver does not read."""
        if (connection := self._connection) is not None:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, within the time limit also if its receiver does not read."""
        connection, self._connection = self._connection, None
        with suppress(OSError):
            if connection is not None:
                connection.socket.settimeout(TIMEOUT_S)
            self._stack.close()


def _websocket(target: str, stack: ExitStack) -> Sender:
    client = WebSocketClient(target)
    try:
        client.connect()
    except OSError as error:
        raise InputError(f"websocket {target}: {error}") from error
    stack.callback(client.close)
    return _target(f"websocket {target}", lambda command: client.send(_content(command)), stack, client.abort)


def _mqtt(target: str, stack: ExitStack) -> Sender:
    paho = _module("paho.mqtt.client", "mqtt")
    parts = urlsplit(f"mqtt://{target}")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect_timeout = TIMEOUT_S
    try:
        client.connect(parts.hostname, parts.port)
    except OSError as error:
        raise InputError(f"mqtt {target}: {error}") from error
    client.loop_start()  # a thread that also reconnects
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)

    last: Any = None

    def publish(command: Command) -> None:
        nonlocal last
        if last is None or last.is_published():  # paho keeps all messages that wait
            last = client.publish(parts.path[1:], _content(command))
            if (code := last.rc) != paho.MQTT_ERR_SUCCESS:
                last = None
                raise OSError(paho.error_string(code))
        last.wait_for_publish(TIMEOUT_S)
        if not last.is_published():
            raise OSError("it does not receive")

    return _target(f"mqtt {target}", publish, stack)


class _Midi:
    """Open MIDI ports by name. A missing port becomes a virtual port that other programs find."""

    def __init__(self) -> None:
        self._ports: dict[str, Callable[[object], object]] = {}

    def sender(self, target: str, stack: ExitStack) -> Sender:
        mido = _module("mido", "midi")
        found = MidiMessage.of(target)
        assert found is not None  # the map was checked
        name, channel, kind, number = found
        if name not in self._ports:
            try:
                is_there = name in mido.get_output_names()
                port = mido.open_output(name) if is_there else mido.open_output(name, virtual=True)
            except (OSError, ImportError, RuntimeError, SystemError, ValueError, NotImplementedError) as error:
                raise InputError(f"midi {target}: the port {name!r} cannot be opened: {error}") from error
            stack.callback(port.close)
            self._ports[name] = port.send
        send = self._ports[name]

        def play(command: Command) -> None:
            share = min(1.0, max(0.0, command.value))
            if kind == "pitch":
                send(mido.Message("pitchwheel", channel=channel, pitch=round(16383 * share) - 8192))
            elif kind == "control":
                send(mido.Message("control_change", channel=channel, control=number, value=round(127 * share)))
            else:
                for status, velocity in (("note_on", max(1, round(127 * share))), ("note_off", 0)):
                    send(mido.Message(status, channel=channel, note=number, velocity=velocity))

        return play


def _module(name: str, action: str) -> ModuleType:
    with optional_import(action, "control"):
        return import_module(name)


def _pynput(part: str) -> ModuleType:
    if find_spec("pynput") is None:
        _module("pynput", "a key or pointer")
    try:
        return import_module(f"pynput.{part}")
    except ImportError as error:  # no screen
        raise InputError(f"a key or pointer is not available: {' '.join(str(error).split())}") from None


def _key(target: str, _: ExitStack) -> Sender:
    keyboard = _pynput("keyboard")
    *modifiers, last = [item if len(item) == 1 else getattr(keyboard.Key, item, None) for item in target.split("+")]
    if None in (*modifiers, last):
        raise InputError(
            f"key {target!r}: unknown key. Choose from single characters and {', '.join(keyboard.Key.__members__)}"
        )
    controller = keyboard.Controller()

    def press(_: Command) -> None:
        with controller.pressed(*modifiers):
            controller.tap(last)

    return press


def _click(target: str, _: ExitStack) -> Sender:
    mouse = _pynput("mouse")
    controller = mouse.Controller()
    return lambda _: controller.click(mouse.Button[target])


def _pointer(target: str, stack: ExitStack) -> Sender:
    mouse = _pynput("mouse")
    controller, button = mouse.Controller(), mouse.Button["left"]

    def move(command: Command) -> None:
        x, y = controller.position
        controller.position = (round(command.value), y) if target == "x" else (x, round(command.value))

    if target == "press":
        stack.callback(controller.release, button)  # release the button at the end
    buttons: dict[str, Sender] = {
        "press": lambda _: controller.press(button),
        "release": lambda _: controller.release(button),
    }
    return buttons.get(target, move)
