"""The fixtures of `tests/cli`, and calls of `sonjit` commands."""

from tests.cli.conftest import frame_count, media, names_in, out, stills, write_image  # noqa: F401

from sonjit.cli import main


def run_command(command, capsys, *arguments):
    """Return the exit status of a command, its standard output and its standard error."""
    status = main([command, *map(str, arguments)])
    return status, *capsys.readouterr()
