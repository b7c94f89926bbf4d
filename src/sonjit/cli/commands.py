"""Commands by name: those of the tracker, those of kinds, and those that other distributions register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sonjit._util.extensions import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclopts import App

TRACKER: Final = "Tracker"
"""Group of the tracker's commands in `sonjit --help`."""
PACKAGES: Final = {
    "sonjit-lab": ("mesh", "networks", "train", "export", "datasets", "eval", "card", "compare", "synth"),
    "sonjit-studio": ("annotate",),
}
"""Commands of the other distributions, for the message where one is not installed."""


@dataclass(frozen=True)
class Command:
    """A command of `sonjit`.

    Attributes:
        load: Import and return the function, or the app with further commands. It is called when a user calls the
            command, so that other commands do not wait for its imports.
        summary: First line of its help.
        group: Group in `sonjit --help`.
        takes_inputs: Whether its arguments are inputs such as images and videos.
    """

    load: Callable[[], Callable[..., Any] | App]
    summary: str
    group: str = TRACKER
    takes_inputs: bool = False


COMMANDS: Final[Registry[Command]] = Registry("command")
"""Commands by name. Extensions add theirs with `COMMANDS.add(name, Command(...))`."""


def _demo() -> Callable[..., Any]:
    from sonjit.cli.find import demo

    return demo


def _explain() -> Callable[..., Any]:
    from sonjit.cli.explain import explain

    return explain


def _segment() -> Callable[..., Any]:
    from sonjit.cli.explain import segment

    return segment


def _report() -> Callable[..., Any]:
    from sonjit.cli.joint_angles import report

    return report


def _serve() -> Callable[..., Any]:
    from sonjit.cli.serve import serve

    return serve


def _page() -> Callable[..., Any]:
    from sonjit.cli.serve import page

    return page


def _gestures() -> App:
    from sonjit.cli.gestures import app

    return app


def _motions() -> Callable[..., Any]:
    from sonjit.cli.gestures import motions

    return motions


def _control() -> Callable[..., Any]:
    from sonjit.cli.stream import control

    return control


def _stream() -> Callable[..., Any]:
    from sonjit.cli.stream import stream

    return stream


def _models() -> App:
    from sonjit.cli.models import app

    return app


def _doctor() -> Callable[..., Any]:
    from sonjit.cli.doctor import doctor

    return doctor


COMMANDS.update(
    {
        "demo": Command(_demo, "Run on the bundled clip: a table, JSON and a drawn video."),
        "explain": Command(_explain, "Show which parts of an image are evidence for an output.", takes_inputs=True),
        "segment": Command(
            _segment, "Find people and hands, or objects of other weights, as masks.", takes_inputs=True
        ),
        "report": Command(_report, "Write a page about the joint angles of a person in a video.", takes_inputs=True),
        "serve": Command(_serve, "Serve the live app and its endpoints on this machine."),
        "page": Command(_page, "Write the live app as a folder for any web host."),
        "gestures": Command(_gestures, "Record, train and test custom gestures."),
        "motions": Command(_motions, "Find swipes, waves, pinches and other motions of hands."),
        "control": Command(_control, "Control other programs with hands: OSC, MIDI, MQTT, keys."),
        "stream": Command(_stream, "Send live keypoints, JSON or blendshapes to other programs."),
        "models": Command(_models, "List, download and verify the published weight files."),
        "doctor": Command(_doctor, "Check this installation: versions, weights, extras, cameras."),
    }
)
