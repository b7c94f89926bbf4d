"""Notes, controllers and pitch by MIDI, with mido."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from sonjit._util import InputError
from sonjit.gestures.control import Command, MidiMessage, Rule
from sonjit.gestures.outlets.sender import Device, Sender, module_for


class MidiPorts:
    """Open MIDI ports by name. A missing port becomes a virtual port that other programs find."""

    def __init__(self) -> None:
        self._ports: dict[str, tuple[Device, Callable[[object], object]]] = {}

    def open(self, rule: Rule, stack: ExitStack) -> Sender:
        """Open the outlet of a target such as PORT/CHANNEL/note/NUMBER."""
        target = rule.target
        mido = module_for("midi", "mido")
        message = MidiMessage.of(target)
        assert message is not None  # the map was checked
        name, channel, kind, number = message
        if name not in self._ports:
            try:
                is_there = name in mido.get_output_names()
                port = mido.open_output(name) if is_there else mido.open_output(name, virtual=True)
            except (OSError, ImportError, RuntimeError, SystemError, ValueError, NotImplementedError) as error:
                raise InputError(f"midi {target}: the port {name!r} cannot be opened: {error}") from error
            self._ports[name] = Device(f"midi {name}", stack, port.close), port.send
        device, send = self._ports[name]

        def play(command: Command) -> None:
            share = min(1.0, max(0.0, command.value))
            if kind == "pitch":
                send(mido.Message("pitchwheel", channel=channel, pitch=round(16383 * share) - 8192))
            elif kind == "control":
                send(mido.Message("control_change", channel=channel, control=number, value=round(127 * share)))
            else:
                for status, velocity in (("note_on", max(1, round(127 * share))), ("note_off", 0)):
                    send(mido.Message(status, channel=channel, note=number, velocity=velocity))

        return device.sender(play)
