"""Send commands by OSC, HTTP, WebSocket, MQTT and MIDI, or as keys and pointer: one module for each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from sonjit.gestures.control import Command, ControlMap, Rule
from sonjit.gestures.outlets import http, keys, midi, mqtt, osc, websocket
from sonjit.gestures.outlets.sender import Sender, with_environment


class Outlets:
    """Send commands to the targets of their rules; see `Target`.

    Rules of one action and one state, or target, share a thread. The newest of their commands is sent last.
    """

    def __init__(self, control_map: ControlMap) -> None:
        desktop = keys.Desktop()
        actions: dict[str, Callable[[Rule, ExitStack], Sender]] = {
            "osc": osc.open_osc,
            "post": http.open_post,
            "websocket": websocket.open_websocket,
            "mqtt": mqtt.Brokers(control_map.broker).open,
            "midi": midi.MidiPorts().open,
            "key": desktop.open_key,
            "click": desktop.open_click,
            "pointer": desktop.open_pointer,
        }
        with ExitStack() as stack:
            self._send: dict[tuple[str, str], Sender] = {}
            for rule in control_map.rules:
                with_environment(
                    " ".join(rule.headers.values()), "headers"
                )  # an unset variable is an error at the start
                if _receiver(rule) not in self._send:
                    self._send[_receiver(rule)] = actions[rule.action](rule, stack)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, command: Command) -> None:
        """Send a command without waiting for its target. A target that fails is reported once as a warning."""
        self._send[_receiver(command.rule)](command)


def _receiver(rule: Rule) -> tuple[str, str]:
    return rule.action, rule.target if rule.state is None else rule.state
