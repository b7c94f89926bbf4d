"""`ClassifierOptions`: which categories a classifier gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category
from sonjit.errors import InputError


@dataclass
class ClassifierOptions:
    """Which categories a classifier gives.

    Attributes:
        display_names_locale: language of the display names; there are none here.
        max_results: how many at most, the best first; None or a negative number for all.
        score_threshold: least score.
        category_allowlist: names of those that count; None for all.
        category_denylist: names of those that do not; not together with the list above.
    """

    display_names_locale: str | None = None
    max_results: int | None = None
    score_threshold: float | None = None
    category_allowlist: list[str] | None = None
    category_denylist: list[str] | None = None

    def check(self) -> None:
        """Refuse contradictions.

        Raises:
            InputError: both lists, or no result at all.
        """
        if self.category_allowlist and self.category_denylist:
            raise InputError("category_allowlist and category_denylist are mutually exclusive: give one of them")
        if self.max_results == 0:
            raise InputError("max_results=0: give None for all, or at least 1")

    def choose(self, categories: Iterable[Category]) -> list[Category]:
        """Of scored categories those that count, the best first."""
        allowed, denied = self.category_allowlist, self.category_denylist or ()
        least = self.score_threshold or 0.0
        kept = [
            one
            for one in categories
            if (one.score or 0.0) >= least and one.category_name not in denied
            and (not allowed or one.category_name in allowed)
        ]  # fmt: skip
        kept.sort(key=lambda one: -(one.score or 0.0))
        return kept[: self.max_results] if self.max_results is not None and self.max_results > 0 else kept
