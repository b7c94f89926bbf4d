"""Calls of `sonjit` commands, for the tests of the lab's commands."""

from sonjit.cli import main


def run_command(command, capsys, *arguments):
    """Return the exit status of a command, its standard output and its standard error."""
    status = main([command, *map(str, arguments)])
    return status, *capsys.readouterr()


def refusal_of(command, capsys, *arguments):
    """Return the error message of a command that refuses its arguments."""
    status, _, err = run_command(command, capsys, *arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err
