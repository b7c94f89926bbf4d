"""Command line of Sonjit: one module per group of commands."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
import warnings
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit._util import (
    InputError,
    InputNote,
    InputWarning,
    MissingExtraError,
    MissingPackageError,
    SonjitError,
    check_memory,
)
from sonjit._util.addresses import hide_secrets, shown_name
from sonjit._util.extensions import load_extensions
from sonjit._util.extras import extra_of
from sonjit._util.version import __version__
from sonjit.cli.commands import COMMANDS, PACKAGES, TRACKER, Command
from sonjit.detectors import load_extension

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from inspect import BoundArguments

    from cyclopts import App


CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "?")  # a file's name may have codes for terminals
_CLOSED_PIPE = 141  # exit status if the next program of a pipe has ended
_LONGEST = 2000  # length of a printed message. What somebody typed, such as a number, may be longer.
_OTHER_WORDS = {
    **dict.fromkeys(("pose", "pose_landmarker", "pose_landmark", "blazepose", "skeleton"), "body"),
    **dict.fromkeys(("mediapipe", "detect", "track", "hand_landmarker", "hand_landmark", "palm"), "hands"),
    **dict.fromkeys(("face_landmarker", "face_mesh", "facemesh", "face_detector", "face_landmark"), "face"),
    **dict.fromkeys(("holistic_landmarker", "wholebody"), "holistic"),
    **dict.fromkeys(("gesture_recognizer", "gesture"), "gestures"),
    "server": "serve",
}
"""Words that people use for commands, with the commands."""
_BY_ENDING = "The ending of --save FILE chooses the format, such as .csv"
_FOUND = ("hands", "faces", "poses", "people", "bodies")
_OTHER_OPTIONS = {
    "--show": "There is no window. sonjit serve shows results live, and --draw FILE writes them as an image or a video",
    **dict.fromkeys(
        ("--overwrite", "--force", "-f", "-y"),
        "Outputs of the same name are replaced. Finished ones of several inputs are kept: delete those to process "
        "again",
    ),
    **dict.fromkeys(("--resume", "--continue"), "The same command continues a run that was stopped"),
    **dict.fromkeys(("--out", "--output", "-o"), "--save FILE writes a table, and --draw FILE an image or a video"),
    "--format": _BY_ENDING,
    **dict.fromkeys(
        (*(f"--max-num-{what}" for what in _FOUND), *(f"--num-{what}" for what in _FOUND)),
        "--max-instances limits how many are found",
    ),
    "--model-complexity": "--model chooses the network, such as --model lite",
    "--running-mode": "The input decides whether images are stills or a stream. --static-image treats all as stills",
    **dict.fromkeys(("--input", "-i"), "Inputs have no option: write their names alone"),
    **dict.fromkeys(("--webcam", "--camera-index"), "camera:0 is the first camera: write it as the input"),
    **dict.fromkeys(("--gpu", "--cuda"), "--device selects a device, such as --device gpu"),
    "--pdf": "The ending of --save FILE chooses the format, such as .pdf",
    "--keep": "sonjit body, face and holistic keep the head of one person visible",
    "--blur": "--anonymise blur hides heads in drawings",
}
"""Options of other programs and commands that users try, with what to use."""
_OPTION_NAME = re.compile(r"--[a-z-]+")
_SHORT_OPTION = re.compile(r"-[A-Za-z]\Z")
_MIN_SIMILARITY = 0.65  # of a misspelt command, or option without its dashes, and the one that the user may mean
_INPUT_USAGE = "Usage: sonjit {} INPUT... [OPTIONS]"


def build_app(called: str | None = None) -> App:
    """Return the command tree.

    Args:
        called: Name of the command that is called. Other commands are left out. With an empty name, all commands have
            only their summaries, so that their modules are not imported. None gives all commands.
    """
    from cyclopts import App, Group, Parameter

    from sonjit.cli.options import shown_default
    from sonjit.detectors.kinds import KINDS

    load_extensions()
    app = App(
        name="sonjit",
        help="Find hands, faces and bodies in images, video and a live camera: offline, on an ordinary CPU.",
        version=__version__,
        suppress_keyboard_interrupt=False,  # `main` prints a message
        default_parameter=Parameter(show_default=shown_default),
    )
    if taken := sorted(KINDS.keys() & COMMANDS.keys()):
        raise InputError(f"kind {taken[0]!r} has the name of a command: rename it, or its file")
    groups = dict.fromkeys([TRACKER, *(command.group for command in COMMANDS.values())])
    titles = {name: Group(name, sort_key=key) for key, name in enumerate(groups)}
    for name in (*KINDS, *COMMANDS) if not called else (called,):
        command = COMMANDS[name] if name in COMMANDS else _command_of_kind(name, is_listed=called == "")
        usage = {"usage": _INPUT_USAGE.format(name)} if command.takes_inputs else {}
        summary = {"help": command.summary} if called == "" else {}
        app.command(command.function, name=name, group=titles[command.group], **summary, **usage)
    if not called:  # its modules load slowly
        app.register_install_completion_command(
            help="Install completion of commands and options for bash, zsh or fish."
        )
    return app


def _command_of_kind(name: str, *, is_listed: bool) -> Command:
    """Return the command of a kind. One that is only listed has no options, which load slowly."""
    from sonjit.detectors.kinds import KINDS

    function: Callable[..., int] = lambda: 0  # noqa: E731  # of a listed command
    if not is_listed:
        from sonjit.cli.find import detect_command

        function = detect_command(name)
    return Command(function, KINDS[name].summary, takes_inputs=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Returns:
        0 for success, 1 for a failed job, 2 for a wrong call or input, 130 after Ctrl-C (143 after SIGTERM), and 141 if
        the next program of a pipe has ended.
    """
    from cyclopts import CycloptsError, UnusedCliTokensError

    from sonjit.cli.options import check_outputs

    words = [*(sys.argv[1:] if arguments is None else arguments)]
    for extension in load_extensions():
        if extension.problem:
            print_error(extension.problem)
    log = _Warnings(logging.WARNING)
    logging.getLogger("sonjit").addHandler(log)
    try:
        if words[:1] in (["help"], ["version"]):
            words = [*words[1:], f"--{words[0]}"]
        if words and words[0].endswith(".toml"):  # a network of the user's own
            load_extension(words[0])
            words[0] = Path(words[0]).stem
        called = next((word for word in words if not word.startswith("-")), "")
        _check_installed(called)
        _check_known(called)
        with _memory_errors(), _input_warnings() as shown:
            app = build_app(None if "--install-completion" in words else called)
            try:
                command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
            except CycloptsError:
                _check_options(app, called, words)
                raise
            if any(isinstance(value, str) and value.startswith("-") for value in _values_of(bound)):
                _check_options(app, called, words)
            check_outputs(command, bound.arguments)
            gc.enable()  # `sonjit.__main__` disables it
            result = command(*bound.args, **bound.kwargs)
    except SonjitError as error:
        print_error(str(error))
        return error.exit_status
    except UnusedCliTokensError as error:
        command = " ".join(("sonjit", *(error.command_chain or ())))
        print_error(f"unexpected {' '.join(error.unused_tokens or ())}. {command} --help lists the options")
        return 2
    except CycloptsError as error:
        print_error(str(error.__cause__ if isinstance(error.__cause__, InputError) else error))  # of a check of ours
        return 2
    except BrokenPipeError:  # the next program of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the buffer
        return _CLOSED_PIPE
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        return _CLOSED_PIPE  # Rich has discarded the rest
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


def _check_installed(command: str) -> None:
    """Raise MissingPackageError for a command of a distribution that is not installed."""
    for package, names in PACKAGES.items():
        if command in names and command not in COMMANDS:
            raise MissingPackageError(f"sonjit {command}", package)


def _check_known(command: str) -> None:
    """Raise InputError for a word that is no command: a misspelt one, the name of results, or an input."""
    from sonjit.detectors.kinds import KINDS

    if not command or command in KINDS or command in COMMANDS:
        return
    from sonjit.media.sources import CAMERA_WORDS, is_stream
    from sonjit.media.sources.images import IMAGE_ENDINGS
    from sonjit.media.sources.video import VIDEO_ENDINGS

    ending, word = Path(command).suffix.lower(), command.casefold()
    is_input = is_stream(command) or word in CAMERA_WORDS or ending in (*IMAGE_ENDINGS, *VIDEO_ENDINGS)
    if is_input or Path(command).exists():
        shown = shown_name(command)
        name = "camera:0" if word in CAMERA_WORDS else shown
        raise InputError(f"{shown} is an input, not a command. Name a command first, such as sonjit hands {name}")
    command_of_word = {
        name: name for name in (*KINDS, *COMMANDS, *(name for names in PACKAGES.values() for name in names))
    }
    command_of_word |= _OTHER_WORDS | {entry.list_name: name for name, entry in KINDS.items()}
    nearest = get_close_matches(word, command_of_word, n=1, cutoff=_MIN_SIMILARITY)
    hint = f"Did you mean {command_of_word[nearest[0]]}?" if nearest else "sonjit --help lists the commands."
    raise InputError(f"Unknown command {command}. {hint}")


def _check_options(app: App, command: str, words: Sequence[str]) -> None:
    """Raise InputError for a misspelt option of a command with inputs, which accepts every other word as an input."""
    before = words[: words.index("--") if "--" in words else None]
    given = (word.partition("=")[0] for word in before if word.startswith("--") or _SHORT_OPTION.match(word))
    options = {*given} - {"--help", "--version", "-h"}
    from sonjit.media.tables import find_format

    if options and command in app and callable(app[command].default_command):
        names = {name for argument in app[command].assemble_argument_collection() for name in argument.names}
        for option in sorted(options - names):
            is_format = find_format(f"x.{option.removeprefix('--')}") is not None
            if hint := _OTHER_OPTIONS.get(option) or (_BY_ENDING if is_format else None):
                is_known = names.issuperset(_OPTION_NAME.findall(hint))
                raise InputError(f"unknown option {option}. {hint if is_known else '--help lists the options'}")
            known = [name.removeprefix("--") for name in names]
            if nearest := get_close_matches(option.removeprefix("--"), known, n=1, cutoff=_MIN_SIMILARITY):
                raise InputError(f"unknown option {option}. Did you mean --{nearest[0]}?")


def _values_of(bound: BoundArguments) -> Iterator[object]:
    """Return the positional arguments of a call, and the items of those that are tuples."""
    for value in bound.args:
        yield from value if isinstance(value, tuple) else (value,)


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
    text = hide_secrets(" ".join(line.split())).translate(CONTROLS)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    sys.stderr.write(f"sonjit: {text}\n")
