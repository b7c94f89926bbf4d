"""Everything that may differ between two made pictures, by name: what it does, its values, how it is drawn, how pinned.

Each factor is drawn by a generator of its own, from seed, sample and name: to pin one leaves all others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, TypeAlias
from zlib import crc32

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LEAST_SHARE = 1e-6
"""A narrower part of a normal distribution counts as even."""
Value: TypeAlias = float | int | str | bool
Of = Literal["person", "scene"]


@dataclass(frozen=True)
class Range:
    """A number between two.

    Attributes:
        low: least.
        high: greatest.
        whole: whole numbers only.
        rare: how often it is drawn at all; else it is `low`.
        normal: mean and spread of a normal distribution, of which the part between the ends counts; None draws evenly.
    """

    low: float
    high: float
    whole: bool = False
    rare: float = 1.0
    normal: tuple[float, float] | None = None

    def draw(self, rng: np.random.Generator) -> float | int:
        """One value."""
        often, part = rng.random(), rng.random()
        if often >= self.rare:
            value = self.low
        elif self.whole:
            return int(self.low + np.floor(part * (self.high - self.low + 1)))
        else:
            value = self._between(part)
        return int(value) if self.whole else round(value, 4)

    def _between(self, part: float) -> float:
        """The value below which a part of all lie."""
        if self.normal is not None:
            bell = NormalDist(*self.normal)
            low, high = bell.cdf(self.low), bell.cdf(self.high)
            if high - low > _LEAST_SHARE:
                return bell.inv_cdf(low + (high - low) * min(max(part, _LEAST_SHARE), 1 - _LEAST_SHARE))
        return self.low + part * (self.high - self.low)

    def narrowed(self, text: str, name: str) -> Range | Choice:
        """As `--set` says: one number, `a..b`, or `a,b,c`."""
        low, dots, high = text.partition("..")
        values = [self._number(part, name) for part in ([low, high] if dots else text.split(","))]
        if dots:
            if values[0] > values[1]:
                raise InputError(f"{name}={text}: the first number is the greater one")
            return replace(self, low=values[0], high=values[1], rare=1.0)
        return Choice(tuple(int(value) if self.whole else value for value in values))

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"

    def _number(self, text: str, name: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high or (self.whole and value % 1):
            kind = "whole numbers" if self.whole else "numbers"
            raise InputError(f"{name}={text}: takes {kind} from {self}, such as {name}={self.low:g}..{self.high:g}")
        return value


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
        values: which.
        weights: how often each, by default alike.
    """

    values: tuple[Value, ...]
    weights: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator) -> Value:
        """One value."""
        weights = np.array(self.weights or (1.0,) * len(self.values)).cumsum()
        return self.values[int(np.searchsorted(weights, rng.random() * weights[-1], "right"))]

    def narrowed(self, text: str, name: str) -> Choice:
        """As `--set` says: one value, or `a,b,c`."""
        known = {str(value).lower(): value for value in self.values}
        asked = [part.strip().lower() for part in text.split(",")]
        if wrong := [part for part in asked if part not in known]:
            raise InputError(f"{name}={wrong[0]}: unknown; known: {', '.join(known)}")
        weights = dict(zip(self.values, self.weights or (1.0,) * len(self.values), strict=True))
        values = tuple(known[part] for part in dict.fromkeys(asked))
        return Choice(values, tuple(weights[value] or 1.0 for value in values))

    def __str__(self) -> str:
        return "|".join(str(value).lower() for value in self.values)


@dataclass(frozen=True)
class Factor:
    """One thing that may differ.

    Attributes:
        name: as `--set` and the truth call it.
        values: from which, and how it is drawn by default.
        about: what it does.
        of: drawn once for a person, the same in all their pictures, or anew for each scene.
    """

    name: str
    values: Range | Choice
    about: str
    of: Of = "scene"


class Factors:
    """All factors as a caller wants them drawn.

    Args:
        table: the factors.
        settings: texts such as `tone=3` or `distance=0.3..0.5`, see `--set`.

    Raises:
        InputError: an unknown name or value; the line says which are known.
    """

    def __init__(self, table: Iterable[Factor], settings: Iterable[str] = ()) -> None:
        self.table = {one.name: one for one in table}
        for text in settings:
            name, equals, values = (part.strip() for part in text.partition("="))
            if not equals or not values:
                raise InputError(f"--set {text}: write factor=value, factor=a..b or factor=a,b")
            if name not in self.table:
                raise InputError(f"--set {text}: unknown factor {name!r}; known: {', '.join(self.table)}")
            factor = self.table[name]
            self.table[name] = replace(factor, values=factor.values.narrowed(values, f"--set {name}"))

    def draw(self, seed: int, index: int) -> Mapping[str, Value]:
        """The value of each factor in one scene."""
        drawn: dict[str, Value] = {}
        for name, factor in self.table.items():
            place = (1, int(drawn["person"])) if factor.of == "person" else (0, index)
            drawn[name] = factor.values.draw(np.random.default_rng((seed, *place, crc32(name.encode()))))
        return drawn
