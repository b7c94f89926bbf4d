"""Checks of `sonjit doctor` that other distributions add."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sonjit._util.extensions import Registry

State = Literal["ok", "note", "missing", "optional"]


@dataclass(frozen=True)
class Finding:
    """Line of the report.

    `missing` means that hands cannot be found until it is fixed, and `note` that something does not work as it could.
    """

    state: State
    what: str
    detail: str


CHECKS: Final[Registry[Callable[[], Iterable[Finding]]]] = Registry("check")
"""Functions that examine this machine, by name."""
