"""Errors that Sonjit raises on purpose, and templates whose messages name the object, its value and the remedy."""

from collections.abc import Iterable
from typing import Final

from sonjit._util.addresses import hide_secrets

OUT_OF_MEMORY: Final = "not enough memory: close other programs, or use fewer --jobs, smaller inputs or settings"
"""Message for a failed allocation."""
_ALLOCATION_FAILED: Final = (
    "can't alloc",  # PyTorch, OpenVINO
    "can't start new thread",  # Python
    "Resource temporarily unavailable",  # a thread of OpenVINO
    "not enough memory",  # PyTorch on Windows
    "out of memory",  # PyTorch on a GPU
    "bad_alloc",  # OpenVINO
    "bad allocation",  # OpenVINO on Windows
    "Failed to allocate",  # OpenCV
    "Insufficient memory",  # OpenCV
    "failed to map segment",  # a library that is loaded
    "Cannot allocate memory",
)


class SonjitError(Exception):
    """Base of all errors that Sonjit raises on purpose. Their message is one line, without secrets of addresses."""

    exit_status = 1

    def __str__(self) -> str:
        """Return the message as one line, also if a library gave the reason in several."""
        text = hide_secrets(super().__str__())
        return " ".join(text.split()) if "\n" in text else text


class InputWarning(UserWarning):
    """Warn that an input is skipped or ends early. The command line prints one line, and its exit status is 1."""

    def __str__(self) -> str:
        """Return the message without secrets of addresses."""
        return hide_secrets(super().__str__())


class InputNote(InputWarning):
    """Warn that an input is not read as it is stored. The command line prints one line; its exit status stays."""


class InputError(SonjitError, ValueError):
    """Report a wrong call or an unusable input, which the caller can fix. Exit status 2."""

    exit_status = 2


class JobError(SonjitError, RuntimeError):
    """Report a job that was called correctly and failed. Exit status 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Check whether an error is a failed allocation, of Python or of a library in C++, which has its own errors.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"))
    True
    """
    return isinstance(error, MemoryError) or any(text in str(error) for text in _ALLOCATION_FAILED)


def check_memory(error: BaseException) -> None:
    """Raise a JobError if an error that would be blamed on an input is a failed allocation."""
    if is_out_of_memory(error):
        raise JobError(OUT_OF_MEMORY) from error


def unknown_name(noun: str, name: object, choices: Iterable[object]) -> str:
    """Return the message for an unknown name.

    >>> unknown_name("kind", "feet", ("face", "hands"))
    "Unknown kind 'feet'. Choose from face, hands."
    """
    return f"Unknown {noun} {name!r}. Choose from {', '.join(map(str, choices))}."


def already_registered(noun: str, name: str) -> str:
    """Return the message for a name that is registered twice.

    >>> already_registered("kind", "hands")
    "kind 'hands' is already registered. Choose another name."
    """
    return f"{noun} {name!r} is already registered. Choose another name."


def pluralize(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    >>> pluralize(1, "frame"), pluralize(0, "body", "bodies")
    ('1 frame', '0 bodies')
    """
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
