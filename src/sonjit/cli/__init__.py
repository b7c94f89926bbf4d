"""Command line of Sonjit: one module per group of commands."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit._util import InputError, InputNote, InputWarning, MissingExtraError, SonjitError, check_memory
from sonjit._util.extensions import load_extension, load_extensions
from sonjit._util.extras import extra_of
from sonjit._util.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from cyclopts import App


_CORE = {
    "demo": ("sonjit.cli.find:demo", "Run on the bundled clip: a table, JSON and a drawn video."),
    "serve": ("sonjit.cli.serve:serve", "Serve the live app and its endpoints on this machine."),
    "page": ("sonjit.cli.serve:page", "Write the live app as a folder for any web host."),
    "gestures": ("sonjit.cli.gestures:app", "Record, train and test custom gestures."),
    "motions": ("sonjit.cli.gestures:motions", "Find swipes, waves, pinches and other motions of hands."),
    "control": ("sonjit.cli.stream:control", "Control other programs with hands: OSC, MIDI, MQTT, keys."),
    "stream": ("sonjit.cli.stream:stream", "Send live keypoints, JSON or blendshapes to other programs."),
    "models": ("sonjit.cli.models:app", "List, download and verify the published weight files."),
    "doctor": ("sonjit.cli.doctor:doctor", "Check this installation: versions, weights, extras, cameras."),
}
"""Commands of the tracker in addition to the detectors: function and summary."""
_LAB_OF_INPUTS = {
    "explain": ("sonjit.lab.cli.explain:explain", "Show which parts of an image are evidence for an output."),
    "report": ("sonjit.lab.cli.report:report", "Write a page about the joint angles of a person in a video."),
    "mesh": ("sonjit.lab.cli.explain:mesh", "Turn the hands of an image or video into meshes."),
    "segment": ("sonjit.lab.cli.explain:segment", "Find people and hands, or objects of other weights, as masks."),
}
_LAB = {
    "networks": ("sonjit.lab.cli.train:networks", "List the networks that can be trained and exported."),
    "train": ("sonjit.lab.cli.train:train", "Train a network with a recipe."),
    "export": ("sonjit.lab.cli.train:export", "Write a network as ONNX, OpenVINO IR or TFLite."),
    "datasets": ("sonjit.lab.cli.datasets:app", "List, check, show and convert data sets."),
    "eval": ("sonjit.lab.cli.eval:evaluate", "Evaluate a model with a protocol and write a report."),
    "card": ("sonjit.lab.cli.eval:card", "Write a model card from evaluations."),
    "compare": ("sonjit.lab.cli.eval:compare", "Draw the results of several evaluations next to each other."),
    "synth": ("sonjit.lab.cli.synth:synth", "Render hands with exact labels."),
    "bench": ("sonjit.lab.cli.bench:bench", "Measure time, CPU time and memory on this machine."),
}
_STUDIO = {
    "annotate": ("sonjit.studio.commands:app", "Annotate recordings of many cameras: calibrate, label, release.")
}
CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "?")  # a file's name may have codes for terminals
_LONGEST = 2000  # length of a printed message. What somebody typed, such as a number, may be longer.
_INPUT_USAGE = "Usage: sonjit {} INPUT... [OPTIONS]"


def build_app(*, overview: bool = False) -> App:
    """Return the command tree. The module of a command is imported when the command is called.

    Args:
        overview: Add a summary to each command. Its help is then only the summary.
    """
    from cyclopts import App, Group

    from sonjit.detectors.kinds import KINDS, find_kind

    app = App(
        name="sonjit",
        help="Find hands, faces and bodies in images, video and a live camera: offline, on an ordinary CPU.",
        version=__version__,
        suppress_keyboard_interrupt=False,  # `main` prints a message
    )
    kinds = {name: (f"sonjit.cli.find:{name}", find_kind(name).summary) for name in KINDS}
    if taken := sorted(kinds.keys() & {*_CORE, *_LAB_OF_INPUTS, *_LAB, *_STUDIO}):
        raise InputError(f"kind {taken[0]!r} has the name of a command: rename it, or its file")
    tracker, lab, studio = (Group(title, sort_key=key) for key, title in enumerate(("Tracker", "Lab", "Studio")))
    groups = (
        (tracker, kinds, _INPUT_USAGE),
        (tracker, _CORE, None),
        (lab, _LAB_OF_INPUTS, _INPUT_USAGE),
        (lab, _LAB, None),
        (studio, _STUDIO, None),
    )
    for group, commands, usage in groups:
        for name, (function, summary) in commands.items():
            options: dict[str, str] = {"help": summary} if overview else {}
            options |= {} if usage is None else {"usage": usage.format(name)}
            app.command(function, name=name, group=group, **options)
    app.register_install_completion_command(help="Install completion of commands and options for bash, zsh or fish.")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Returns:
        0 for success, 1 for a failed job, 2 for a wrong call or input, 130 after Ctrl-C (143 after SIGTERM), and 141 if
        the next program of a pipe has ended.
    """
    from cyclopts import CycloptsError, UnusedCliTokensError

    words = [*(sys.argv[1:] if arguments is None else arguments)]
    for extension in load_extensions():
        if extension.problem:
            print_error(extension.problem)
    log = _Warnings(logging.WARNING)
    logging.getLogger("sonjit").addHandler(log)
    try:
        if words and words[0].endswith(".toml"):  # a network of the user's own
            load_extension(words[0])
            words[0] = Path(words[0]).stem
        overview = all(word.startswith("-") for word in words)
        with _memory_errors(), _input_warnings() as shown:
            result = build_app(overview=overview)(
                words, exit_on_error=False, print_error=False, result_action="return_value"
            )
    except SonjitError as error:
        print_error(str(error))
        return error.exit_status
    except UnusedCliTokensError as error:
        command = " ".join(("sonjit", *(error.command_chain or ())))
        print_error(f"unexpected {' '.join(error.unused_tokens or ())}. {command} --help lists the options")
        return 2
    except CycloptsError as error:
        print_error(str(error))
        return 2
    except BrokenPipeError:  # the next program of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the buffer
        return 141
    except OSError as error:  # a name that is too long, or a folder that may not be read
        if error.filename is None:
            raise
        print_error(f"{error.filename}: {error.strerror}")
        return InputError.exit_status
    except ImportError as error:
        reason = error if isinstance(error, ModuleNotFoundError) else error.__cause__  # of the import of a command
        if isinstance(reason, ModuleNotFoundError) and (extra := extra_of(reason.name)) is not None:
            reason = MissingExtraError("this command", extra)
        if not isinstance(reason, MissingExtraError):
            raise
        print_error(str(reason))
        return MissingExtraError.exit_status
    except KeyboardInterrupt as stop:
        print_error("; ".join(("stopped", *getattr(stop, "__notes__", ()))))
        return 130
    finally:
        logging.getLogger("sonjit").removeHandler(log)
    return (result if isinstance(result, int) else 0) or int(bool(shown))


@contextmanager
def _memory_errors() -> Generator[None]:
    """Convert a failed allocation inside the block to a JobError."""
    try:
        yield
    except SonjitError:
        raise
    except Exception as error:
        check_memory(error)
        raise


@contextmanager
def _input_warnings() -> Generator[list[str]]:
    """Print each `InputWarning` inside the block as one line. Yield the list of those that fail the command."""
    shown: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:  # noqa: ANN401
            if issubclass(category, InputWarning):
                if not issubclass(category, InputNote):
                    shown.append(str(message))
                print_error(str(message))
            else:
                before(message, category, *place)

        warnings.showwarning = show
        yield shown


class _Warnings(logging.Handler):
    """Handler that prints the library's warnings like errors."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        print_error(record.getMessage())


def print_error(line: str) -> None:
    """Print a message as one line on standard error. Cut the middle out of a very long one."""
    text = " ".join(line.split()).translate(CONTROLS)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    sys.stderr.write(f"sonjit: {text}\n")
