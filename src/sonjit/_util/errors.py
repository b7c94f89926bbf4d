"""Errors that Sonjit raises on purpose, and templates whose messages name the object, its value and the remedy."""

from __future__ import annotations

from collections.abc import Iterable


class SonjitError(Exception):
    """Base of all errors that Sonjit raises on purpose; the command line prints them as one line."""

    exit_status = 1


class InputError(SonjitError, ValueError):
    """Report a wrong call or an unusable input, which the caller can fix. Exit status 2."""

    exit_status = 2


class JobError(SonjitError, RuntimeError):
    """Report a job that was called correctly and failed. Exit status 1."""


class MissingExtraError(SonjitError, ImportError):
    """Report an optional dependency that is not installed, with the command that installs it. Exit status 2."""

    exit_status = 2

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency: {install_line(extra)}")


def install_line(extra: str) -> str:
    """Return the command that installs an optional dependency."""
    return f"pip install 'sonjit[{extra}]'"


def unknown_name(noun: str, name: str, choices: Iterable[str]) -> str:
    """Return the message for an unknown name.

    >>> unknown_name("kind", "feet", ("face", "hands"))
    "Unknown kind 'feet'. Choose from face, hands."
    """
    return f"Unknown {noun} {name!r}. Choose from {', '.join(choices)}."


def already_registered(noun: str, name: str) -> str:
    """Return the message for a name that is registered twice.

    >>> already_registered("kind", "hands")
    "kind 'hands' is already registered. Choose another name."
    """
    return f"{noun} {name!r} is already registered. Choose another name."
