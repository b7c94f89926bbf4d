"""Keys and the pointer of this machine, with pynput."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from sonjit._util import InputError
from sonjit.gestures.control import Command, Rule
from sonjit.gestures.outlets.sender import Device, Sender, module_for


def _pynput(part: str) -> ModuleType:
    if find_spec("pynput") is None:
        module_for("a key or pointer", "pynput")
    try:
        return import_module(f"pynput.{part}")
    except ImportError as error:  # no screen
        raise InputError(f"a key or pointer is not available: {' '.join(str(error).split())}") from None


class Desktop:
    """Press keys, and move and click the pointer."""

    def __init__(self) -> None:
        self._device: Device | None = None
        self._pressed: dict[object, Callable[[object], object]] = {}  # buttons that are down, with what releases them

    def open_key(self, rule: Rule, stack: ExitStack) -> Sender:
        """Return a sender that presses keys such as ctrl+s. Raise InputError for an unknown key."""
        keyboard = _pynput("keyboard")
        *modifiers, last = [
            item if len(item) == 1 else getattr(keyboard.Key, item, None) for item in rule.target.split("+")
        ]
        if None in (*modifiers, last):
            raise InputError(
                f"key {rule.target!r}: unknown key. "
                f"Choose from single characters and {', '.join(keyboard.Key.__members__)}"
            )
        controller = keyboard.Controller()

        def press(_: Command) -> None:
            with controller.pressed(*modifiers):
                controller.tap(last)

        return self._sender(press, stack)

    def open_click(self, rule: Rule, stack: ExitStack) -> Sender:
        """Return a sender that clicks a button."""
        mouse = _pynput("mouse")
        controller = mouse.Controller()
        return self._sender(lambda _: controller.click(mouse.Button[rule.target]), stack)

    def open_pointer(self, rule: Rule, stack: ExitStack) -> Sender:
        """Return a sender that moves the pointer along an axis, or presses or releases its left button."""
        mouse = _pynput("mouse")
        controller, button = mouse.Controller(), mouse.Button["left"]

        def move(command: Command) -> None:
            x, y = controller.position
            controller.position = (round(command.value), y) if rule.target == "x" else (x, round(command.value))

        def press(_: Command) -> None:
            self._pressed[button] = controller.release
            controller.press(button)

        def release(_: Command) -> None:
            self._pressed.pop(button, None)
            controller.release(button)

        return self._sender({"press": press, "release": release}.get(rule.target, move), stack)

    def _sender(self, act: Sender, stack: ExitStack) -> Sender:
        if self._device is None:
            self._device = Device("keys and pointer", stack, self._end)
        return self._device.sender(act)

    def _end(self) -> None:
        for button, release in self._pressed.items():
            release(button)
