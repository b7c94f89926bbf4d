"""Calls of `sonjit` commands, for the tests of the lab's commands."""

from sonjit.cli import main


def run_command(command, capsys, *arguments):
    """Return the exit status of a command, its standard output and its standard error."""
    status = main([command, *map(str, arguments)])
    return status, *capsys.readouterr()
