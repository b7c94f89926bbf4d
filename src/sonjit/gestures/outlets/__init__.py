"""Send commands by OSC, HTTP, WebSocket, MQTT and MIDI, or as keys and pointer: one module for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

from sonjit.gestures.control import Command, Rule
from sonjit.gestures.outlets import http, keys, midi, mqtt, osc, websocket
from sonjit.gestures.outlets.sender import Sender


class Outlets:
    """Send commands to the targets of their rules, each in a thread of its own; see `Target`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        desktop = keys.Desktop()
        actions: dict[str, Callable[[str, ExitStack], Sender]] = {
            "osc": osc.open_osc,
            "post": http.open_post,
            "websocket": websocket.open_websocket,
            "mqtt": mqtt.open_mqtt,
            "midi": midi.MidiPorts().open,
            "key": desktop.open_key,
            "click": desktop.open_click,
            "pointer": desktop.open_pointer,
        }
        with ExitStack() as stack:
            self._send = {rule: actions[rule.action](rule.target, stack) for rule in rules}
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, command: Command) -> None:
        """Send a command without waiting for its target. A target that fails is reported once as a warning."""
        self._send[command.rule](command)
