"""The command line: one verb per job, one file per group of verbs."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.errors import MissingExtraError, SonjitError
from sonjit.extensions import load_extensions
from sonjit.extras import extra_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import App


_OF_INPUTS = {
    "explain": ("explain:explain", "Show which parts of an image are evidence for an output, as a heat map."),
    "mesh": ("mesh:mesh", "Turn hands into meshes: GLB, BVH, OBJ, or drawn over the images."),
    "segment": ("explain:segment", "Find objects as boxes, categories and masks, by Mask R-CNN."),
}
"""Commands that take images, videos and cameras, beside the detectors: where they are, and what they do."""
_OTHERS = {
    "demo": ("demo:demo", "Run on the bundled clip: a table, JSON and a drawn video."),
    "serve": ("serve:serve", "Serve the live app and its endpoints on this machine."),
    "page": ("page:page", "Write the live app as a folder for any web host: it computes in the browser."),
    "models": ("models:app", "List, fetch, check and find the published weight files."),
    "doctor": ("doctor:doctor", "Check this installation: versions, processor, weights, extras, cameras."),
    "bench": ("bench:bench", "Measure time, processor time and memory on this machine."),
    "networks": ("networks:networks", "List the networks that can be trained and exported."),
    "train": ("train:train", "Train a network by a recipe."),
    "export": ("networks:export", "Write a network as ONNX or OpenVINO IR."),
    "datasets": ("datasets:app", "List, check, show and convert data sets."),
    "eval": ("eval:evaluate", "Evaluate a model by a protocol, with a report."),
    "card": ("eval:card", "Write a model card from evaluations."),
    "compare": ("compare:compare", "Draw the results of several evaluations beside each other."),
    "synth": ("synth:synth", "Render hands with exact labels."),
    "gestures": ("gestures:app", "Teach gestures by example: record, train, test."),
    "motions": ("motions:motions", "Find swipes, waves, pinches, claps and other motions of hands."),
    "control": ("control:control", "Let hands act on other programs: OSC, MIDI, MQTT, keys."),
    "annotate": ("annotate:app", "Annotate recordings of many cameras: calibrate, label, release."),
}


def build_app(*, overview: bool = False) -> App:
    """The whole command tree; each group is imported only when it is called.

    Args:
        overview: say beside each command what it does; its own help is then this line alone.
    """
    from cyclopts import App

    from sonjit.detectors.kinds import KINDS, find_kind

    app = App(
        name="sonjit",
        help="Find hands, faces and bodies in images, video and a live camera: offline, on an ordinary CPU.",
        version=__version__,
        suppress_keyboard_interrupt=False,  # `main` says what was kept
    )
    kinds = {name: (f"find:{name}", find_kind(name).summary) for name in KINDS}
    for commands, usage in ((kinds | _OF_INPUTS, "Usage: sonjit {} INPUT... [OPTIONS]"), (_OTHERS, None)):
        for name, (place, summary) in commands.items():
            said = {"help": summary} if overview else {}
            said |= {} if usage is None else {"usage": usage.format(name)}
            app.command(f"sonjit.cli.{place}", name=name, **said)
    app.register_install_completion_command(
        help="Complete commands and options in bash, zsh or fish: once for a shell."
    )
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    It is 0 done, 1 failed, 2 wrong call or input, 130 stopped,
    141 the next program of a pipe has ended.
    """
    from cyclopts import CycloptsError, UnusedCliTokensError

    for extension in load_extensions():
        if extension.problem:
            complain(extension.problem)
    warnings = _Warnings(logging.WARNING)
    logging.getLogger("sonjit").addHandler(warnings)
    try:
        overview = all(word.startswith("-") for word in (sys.argv[1:] if arguments is None else arguments))
        result = build_app(overview=overview)(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except SonjitError as error:
        complain(str(error))
        return error.exit_status
    except UnusedCliTokensError as error:
        command = " ".join(("sonjit", *(error.command_chain or ())))
        complain(f"unexpected {' '.join(error.unused_tokens or ())}; {command} --help shows what it takes")
        return 2
    except CycloptsError as error:
        complain(str(error))
        return 2
    except BrokenPipeError:  # the next program of a pipe has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        return 141
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        if extra is None:
            raise
        complain(str(MissingExtraError("this command", extra)))
        return MissingExtraError.exit_status
    except KeyboardInterrupt:
        complain("stopped; what was finished is kept")
        return 130
    finally:
        logging.getLogger("sonjit").removeHandler(warnings)
    return result if isinstance(result, int) else 0


class _Warnings(logging.Handler):
    """Tells the library's warnings as the command line tells everything."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        complain(record.getMessage())


def complain(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"sonjit: {' '.join(line.split())}\n")
