"""Define `Timestamp`, the time of an image in microseconds."""

from __future__ import annotations

from typing import ClassVar, Self

_SPECIAL = {
    "UNSET": -(2**63),
    "UNSTARTED": 1 - 2**63,
    "PRESTREAM": 2 - 2**63,
    "MIN": 3 - 2**63,
    "MAX": 2**63 - 4,
    "POSTSTREAM": 2**63 - 3,
    "DONE": 2**63 - 1,
}
"""Times before, at the limits of and after a stream."""


class Timestamp(int):
    """A time as an integer of microseconds.

    >>> Timestamp.from_seconds(1.5).value
    1500000
    """

    UNSET: ClassVar[Timestamp]
    UNSTARTED: ClassVar[Timestamp]
    PRESTREAM: ClassVar[Timestamp]
    MIN: ClassVar[Timestamp]
    MAX: ClassVar[Timestamp]
    POSTSTREAM: ClassVar[Timestamp]
    DONE: ClassVar[Timestamp]

    @classmethod
    def from_seconds(cls, seconds: float) -> Self:
        """Return the time of a number of seconds, rounded to microseconds."""
        return cls(round(seconds * 1e6))

    @property
    def value(self) -> int:
        """Microseconds."""
        return int(self)

    def seconds(self) -> float:
        """Return the time in seconds."""
        return self / 1e6

    def microseconds(self) -> int:
        """Return the time in microseconds."""
        return int(self)

    def __repr__(self) -> str:
        """Return MediaPipe's text, with the name of a special value."""
        names = (name for name in _SPECIAL if getattr(Timestamp, name) == self)
        return f"<mediapipe.Timestamp with value: {next(names, self.value)}>"


for _name, _value in _SPECIAL.items():
    setattr(Timestamp, _name, Timestamp(_value))
