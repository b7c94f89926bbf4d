"""Send commands by OSC, HTTP, WebSocket, MQTT and MIDI, or as keys and pointer: one module for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

from sonjit.gestures.control import Command, Rule
from sonjit.gestures.outlets import http, keys, midi, mqtt, osc, websocket
from sonjit.gestures.outlets.sender import Sender

_LOG = logging.getLogger(__name__)


class Outlets:
    """Send commands to the targets of their rules, each over a network in a thread of its own; see `Target`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._failed: set[str] = set()
        actions: dict[str, Callable[[str, ExitStack], Sender]] = {
            "osc": osc.open_osc,
            "post": http.open_post,
            "websocket": websocket.open_websocket,
            "mqtt": mqtt.open_mqtt,
            "midi": midi.MidiPorts().open,
            "key": keys.open_key,
            "click": keys.open_click,
            "pointer": keys.open_pointer,
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
