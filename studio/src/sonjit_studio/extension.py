"""Addition of the studio to Sonjit: the command `sonjit annotate`."""

from sonjit.cli.commands import COMMANDS, Command


def register() -> None:
    """Add the command. The entry point of the group `sonjit.extensions` calls it."""
    summary = "Annotate recordings of many cameras: calibrate, label, release."
    COMMANDS.add("annotate", Command("sonjit_studio.commands:app", summary, "Studio"), replace=True)
