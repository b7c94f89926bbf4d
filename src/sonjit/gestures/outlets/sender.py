"""What all outlets share: the type of a sender, its thread, the text of a command, and optional packages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from types import ModuleType
from typing import TypeAlias

from sonjit._util import json_from, optional_import
from sonjit.gestures.control import Command
from sonjit.gestures.targets import Target

Sender: TypeAlias = Callable[[Command], object]
"""Function that sends a command."""


def content_of(command: Command) -> str:
    """Return a command as the JSON that programs receive."""
    return json_from({"value": command.value} | command.content)


def in_thread(
    name: str,
    send: Sender,
    stack: ExitStack,
    abort: Callable[[], object] = lambda: None,
    end: Callable[[], object] = lambda: None,
) -> Sender:
    """Return a sender that never waits for its receiver; see `Target`."""
    return stack.enter_context(Target(name, send, abort, end=end)).put


class Device:
    """A device that receives the commands of several rules in order, in a thread; one command of each rule waits."""

    def __init__(self, name: str, stack: ExitStack, end: Callable[[], object] = lambda: None) -> None:
        self._thread = stack.enter_context(Target(name, _act, slot=_rule_of, end=end))

    def sender(self, act: Sender) -> Sender:
        """Return a sender that never waits for the device."""
        return lambda command: self._thread.put((act, command))


def _act(message: tuple[Sender, Command]) -> None:
    act, command = message
    act(command)


def _rule_of(message: tuple[Sender, Command]) -> tuple[str, str]:
    rule = message[1].rule
    return rule.action, rule.target


def module_for(action: str, name: str) -> ModuleType:
    """Import a package that an action needs. Raise MissingExtraError without it."""
    with optional_import(action, "control"):
        return import_module(name)
