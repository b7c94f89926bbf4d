"""The errors that Sonjit raises on purpose. Each message names the thing, the value and what to do."""


class SonjitError(Exception):
    """Base of every error that Sonjit raises on purpose; the command line prints it as one line."""

    exit_status = 1


class InputError(SonjitError, ValueError):
    """A wrong call or an input that cannot be used: the caller can fix it. Exit status 2."""

    exit_status = 2


class JobError(SonjitError, RuntimeError):
    """A job that was called rightly and failed on the way. Exit status 1."""


class MissingExtraError(SonjitError, ImportError):
    """An optional dependency is not installed; the message holds the line to type. Exit status 2."""

    exit_status = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: {install_line(extra)}")


def install_line(extra: str) -> str:
    """What to type for an optional dependency."""
    return f"pip install 'sonjit[{extra}]'"
