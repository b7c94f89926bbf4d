"""What all outlets share: the type of a sender, its thread, secrets from the environment, and optional packages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from types import ModuleType
from typing import TypeAlias

from sonjit._util import InputError, optional_import
from sonjit.gestures.control import Command
from sonjit.gestures.targets import Target

Sender: TypeAlias = Callable[[Command], object]
"""Function that sends a command."""


def with_environment(text: str, key: str) -> str:
    """Return a text with the variables of the environment in place of $NAME. Raise InputError for an unset one."""

    def value(match: re.Match[str]) -> str:
        if (found := os.environ.get(match[1])) is None:
            raise InputError(f"{key}: the variable {match[1]} of the environment is not set")
        return found

    return re.sub(r"\$([A-Za-z_][A-Za-z0-9_]*)", value, text)


def in_thread(
    name: str,
    send: Sender,
    stack: ExitStack,
    abort: Callable[[], object] = lambda: None,
    end: Callable[[], object] = lambda: None,
) -> Sender:
    """Return a sender that never waits for its receiver; see `Target`."""
    return stack.enter_context(Target(name, send, abort, end=end, valid_s=lambda command: command.rule.valid_s)).put


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
