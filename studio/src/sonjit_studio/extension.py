"""What the studio adds to Sonjit when it is installed: the command `sonjit annotate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.cli.commands import COMMANDS, Command

if TYPE_CHECKING:
    from cyclopts import App


def register() -> None:
    """Add the command. The entry point of the group `sonjit.extensions` calls it."""
    summary = "Annotate recordings of many cameras: calibrate, label, release."
    COMMANDS.add("annotate", Command(_annotate, summary, "Studio"), replace=True)


def _annotate() -> App:
    from sonjit_studio.commands import app

    return app
