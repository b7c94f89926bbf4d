"""Format words in messages."""

from __future__ import annotations


def pluralize(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    Args:
        count: Number of things.
        singular: Noun for one thing.
        plural: Noun for any other number; None appends an "s".

    >>> pluralize(1, "frame"), pluralize(0, "body", "bodies")
    ('1 frame', '0 bodies')
    """
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
