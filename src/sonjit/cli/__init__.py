"""The command line: one verb per job, one file per group of verbs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.errors import MissingExtraError, SonjitError
from sonjit.extensions import load_extensions
from sonjit.extras import extra_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import App


def build_app() -> App:
    """The whole command tree; each group is imported only when it is called."""
    from cyclopts import App

    from sonjit.detectors.kinds import KINDS

    app = App(
        name="sonjit",
        help="Find hands in images, video and a live camera: offline, on an ordinary CPU.",
        version=__version__,
        suppress_keyboard_interrupt=False,  # `main` says what was kept
    )
    over_inputs = {kind: f"find:{kind}" for kind in KINDS} | {
        "explain": "explain:explain",
        "mesh": "mesh:mesh",
        "segment": "explain:segment",
    }
    for name, place in over_inputs.items():
        app.command(f"sonjit.cli.{place}", name=name, usage=f"Usage: sonjit {name} INPUT... [OPTIONS]")
    app.command("sonjit.cli.demo:demo", name="demo")
    app.command("sonjit.cli.models:app", name="models")
    app.command("sonjit.cli.doctor:doctor", name="doctor")
    app.command("sonjit.cli.bench:bench", name="bench")
    app.command("sonjit.cli.serve:serve", name="serve")
    app.command("sonjit.cli.networks:networks", name="networks")
    app.command("sonjit.cli.networks:export", name="export")
    app.command("sonjit.cli.train:train", name="train")
    app.command("sonjit.cli.synth:synth", name="synth")
    app.command("sonjit.cli.datasets:app", name="datasets")
    app.command("sonjit.cli.eval:evaluate", name="eval")
    app.command("sonjit.cli.eval:card", name="card")
    app.command("sonjit.cli.annotate:app", name="annotate")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 1 failed, 2 wrong call or input, 130 stopped."""
    from cyclopts import CycloptsError

    for extension in load_extensions():
        if extension.problem:
            complain(extension.problem)
    try:
        result = build_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except SonjitError as error:
        complain(str(error))
        return error.exit_status
    except CycloptsError as error:
        complain(str(error))
        return 2
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        if extra is None:
            raise
        complain(str(MissingExtraError("this command", extra)))
        return MissingExtraError.exit_status
    except KeyboardInterrupt:
        complain("stopped; what was finished is kept")
        return 130
    return result if isinstance(result, int) else 0


def complain(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"sonjit: {' '.join(line.split())}\n")
