"""Progress of long operations."""

from __future__ import annotations


class Progress:
    """Receiver of the progress of an operation. This class ignores it; subclasses show or send it.

    An exception of a method ends the operation.
    """

    def start(self, total: int | None) -> None:
        """Set the expected number of steps, or None if it is unknown."""

    def advance(self, count: int = 1, *, instances: int = 0) -> None:
        """Add finished steps.

        Args:
            count: Number of steps.
            instances: Number of instances that were found in them.
        """
