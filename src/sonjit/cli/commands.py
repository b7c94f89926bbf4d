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
        function: Function, or app with further commands. An import string such as `"package.module:function"` is
            imported when a user calls the command, so that other commands do not wait for its imports.
        summary: First line of its help.
        group: Group in `sonjit --help`.
        takes_inputs: Whether its arguments are inputs such as images and videos.
    """

    function: Callable[..., Any] | App | str
    summary: str
    group: str = TRACKER
    takes_inputs: bool = False


COMMANDS: Final[Registry[Command]] = Registry(
    "command",
    values={
        "demo": Command("sonjit.cli.find:demo", "Run on the bundled clip: a table, JSON and a drawn video."),
        "explain": Command(
            "sonjit.cli.explain:explain",
            "Show which parts of an image are evidence for an output.",
            takes_inputs=True,
        ),
        "segment": Command(
            "sonjit.cli.explain:segment",
            "Find people and hands, or objects of other weights, as masks.",
            takes_inputs=True,
        ),
        "report": Command(
            "sonjit.cli.joint_angles:report",
            "Write a page about the joint angles of a person in a video.",
            takes_inputs=True,
        ),
        "serve": Command("sonjit.cli.serve:serve", "Serve the live app and its endpoints on this machine."),
        "page": Command("sonjit.cli.serve:page", "Write the live app as a folder for any web host."),
        "gestures": Command("sonjit.cli.gestures:app", "Record, train and test custom gestures."),
        "motions": Command("sonjit.cli.gestures:motions", "Find swipes, waves, pinches and other motions of hands."),
        "control": Command("sonjit.cli.stream:control", "Control other programs with hands: OSC, MIDI, MQTT, keys."),
        "stream": Command("sonjit.cli.stream:stream", "Send live keypoints, JSON or blendshapes to other programs."),
        "models": Command("sonjit.cli.models:app", "List, download and verify the published weight files."),
        "doctor": Command("sonjit.cli.doctor:doctor", "Check this installation: versions, weights, extras, cameras."),
    },
)
"""Commands by name. Extensions add theirs with `COMMANDS.add(name, Command(...))`."""
