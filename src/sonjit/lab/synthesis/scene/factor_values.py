"""Values of factors: ranges of numbers and choices, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np

from sonjit._util.errors import InputError, unknown_name
from sonjit.lab.synthesis.scene.gestures import gestures, random_gestures

_MIN_SHARE = 1e-6
"""Minimum share of a normal distribution between the ends of a range. A smaller share is drawn evenly."""

Value: TypeAlias = float | int | str | bool

Of = Literal["person", "scene"]


@dataclass(frozen=True)
class Range:
    """Number between two others.

    Attributes:
        low: Minimum.
        high: Maximum.
        integer: True to draw only integers.
        chance: Probability of a draw; otherwise the value is `low`.
        normal: Mean and standard deviation of a normal distribution, truncated to the range; None draws evenly.
    """

    low: float
    high: float
    integer: bool = False
    chance: float = 1.0
    normal: tuple[float, float] | None = None

    def draw(self, rng: np.random.Generator) -> float | int:
        """Draw one value."""
        occurrence, quantile = rng.random(), rng.random()
        if occurrence >= self.chance:
            value = self.low
        elif self.integer:
            return int(self.low + np.floor(quantile * (self.high - self.low + 1)))
        else:
            value = self._quantile(quantile)
        return int(value) if self.integer else round(value, 4)

    def _quantile(self, quantile: float) -> float:
        """Return the value of a quantile 0..1."""
        if self.normal is not None:
            distribution = NormalDist(*self.normal)
            low, high = distribution.cdf(self.low), distribution.cdf(self.high)
            if high - low > _MIN_SHARE:
                return distribution.inv_cdf(low + (high - low) * min(max(quantile, _MIN_SHARE), 1 - _MIN_SHARE))
        return self.low + quantile * (self.high - self.low)

    def narrow(self, text: str, name: str) -> Range | Choice:
        """Return the range restricted by `--set`: one number, `a..b`, or `a,b,c`."""
        low, dots, high = text.partition("..")
        values = [self._number(part, name) for part in ([low, high] if dots else text.split(","))]
        if dots:
            if values[0] > values[1]:
                raise InputError(f"{name}={text}: the minimum is above the maximum")
            return replace(self, low=values[0], high=values[1], chance=1.0)
        return Choice(tuple(int(value) if self.integer else value for value in values))

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"

    def _number(self, text: str, name: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high or (self.integer and value % 1):
            kind = "whole numbers" if self.integer else "numbers"
            raise InputError(f"{name}={text}: requires {kind} from {self}, such as {name}={self.low:g}..{self.high:g}")
        return value


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        values: Possible values.
        weights: Weights of the values, equal by default.
    """

    values: tuple[Value, ...]
    weights: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        weights = np.array(self.weights or (1.0,) * len(self.values)).cumsum()
        return self.values[int(np.searchsorted(weights, rng.random() * weights[-1], "right"))]

    def narrow(self, text: str, name: str) -> Choice:
        """Return the choice restricted by `--set`: one value, or `a,b,c`."""
        known = {str(value).lower(): value for value in self.values}
        requested = [part.strip().lower() for part in text.split(",")]
        if unknown := [part for part in requested if part not in known]:
            raise InputError(unknown_name(name, unknown[0], known))
        weights = dict(zip(self.values, self.weights or (1.0,) * len(self.values), strict=True))
        values = tuple(known[part] for part in dict.fromkeys(requested))
        chosen_weights = tuple(weights[value] for value in values)
        return Choice(values, chosen_weights if all(chosen_weights) else ())

    def __str__(self) -> str:
        return "|".join(str(value).lower() for value in self.values)


@dataclass(frozen=True)
class SceneFactor:
    """Factor of a scene.

    Attributes:
        name: Name in `--set` and in the truth.
        values: Possible values and their default distribution.
        about: Description of its effect.
        of: Unit of the draw: once per person, the same in all their images, or for each scene.
    """

    name: str
    values: Range | Choice
    about: str
    of: Of = "scene"


def weighted_choice(value: str, share: float, others: tuple[str, ...]) -> Choice:
    """Return the choice between a value of a given probability and others, which are equally likely."""
    return Choice((value, *others), (share, *[(1 - share) / len(others)] * len(others)))


def gesture_choice() -> Choice:
    """Return the choice of poses: any pose, and sometimes a named one. Variants have weight 0 and are drawn only on
    request.
    """
    drawn = weighted_choice("any", 0.9, random_gestures())
    values = ("any", *gestures())
    return Choice(values, (*drawn.weights, *[0.0] * (len(values) - len(drawn.values))))
