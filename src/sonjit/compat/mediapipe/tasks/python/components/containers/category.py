"""`Category`."""

from dataclasses import dataclass


@dataclass
class Category:
    """One label: its index among the labels, its probability and its names; None where it has none."""

    index: int | None = None
    score: float | None = None
    display_name: str | None = None
    category_name: str | None = None
