"""Factors of rendered images, by name, with values and distributions.

A factor is a property that may differ between two images. Each factor has its own generator, from seed, sample and
name, so that fixing one factor does not change the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final, Literal, TypeAlias
from zlib import crc32

import numpy as np

from sonjit._util import InputError, data_files, unknown_name
from sonjit_lab.synthesis import hands, objects, read_table
from sonjit_lab.synthesis.gestures import gestures, pair_names, random_gestures

_MIN_SHARE = 1e-6  # of a normal distribution between the ends of a range; a smaller one is drawn evenly

Value: TypeAlias = float | int | str | bool

Of = Literal["person", "scene"]
DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
"""Factors that are `Material.amounts` of skin."""
FOLDER: Final = "folder"  # value of the background factor for the user's own images
_OTHERS: Final = {
    "gloves": tuple(hands.GLOVES),
    "sleeves": tuple(hands.SLEEVES),
    "pairs": pair_names(),
    "objects": tuple(objects.SCENE_OBJECTS),
}
_TABLE: Final[Mapping[str, Mapping[str, Any]]] = read_table("scenes")["factors"]


@dataclass(frozen=True)
class Range:
    """Number between two others."""

    low: float  # minimum
    high: float  # maximum
    integer: bool = False  # True to draw only integers
    chance: float = 1.0  # probability of a draw; otherwise the value is `low`
    # mean and standard deviation of a normal distribution, truncated to the range; None draws evenly
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

    def narrow(self, text: str, name: str) -> "Range | Choice":
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
    """One of several values."""

    values: tuple[Value, ...]  # possible values
    weights: tuple[float, ...] = ()  # weights of the values, equal by default

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        weights = np.array(self.weights or (1.0,) * len(self.values)).cumsum()
        return self.values[int(np.searchsorted(weights, rng.random() * weights[-1], "right"))]

    def narrow(self, text: str, name: str) -> "Choice":
        """Return the choice restricted by `--set`: one value, or `a,b,c`."""
        value_of_name = {str(value).lower(): value for value in self.values}
        requested = [part.strip().lower() for part in text.split(",")]
        if unknown := [part for part in requested if part not in value_of_name]:
            raise InputError(unknown_name(name, unknown[0], value_of_name))
        weights = dict(zip(self.values, self.weights or (1.0,) * len(self.values), strict=True))
        values = tuple(value_of_name[part] for part in dict.fromkeys(requested))
        chosen_weights = tuple(weights[value] for value in values)
        return Choice(values, chosen_weights if all(chosen_weights) else ())

    def __str__(self) -> str:
        return "|".join(str(value).lower() for value in self.values)


@dataclass(frozen=True)
class SceneFactor:
    """Factor of a scene."""

    name: str  # name in `--set` and in the truth
    values: Range | Choice  # possible values and their default distribution
    about: str  # description of its effect
    of: Of = "scene"  # unit of the draw: once per person, the same in all their images, or for each scene


def _values(entry: Mapping[str, Any]) -> Range | Choice:
    """Return the values of a factor in the file."""
    if "range" in entry:
        normal = tuple(entry["normal"]) if "normal" in entry else None
        low, high = entry["range"]
        return Range(low, high, entry.get("integer", False), entry.get("chance", 1.0), normal)
    if "others" in entry:
        return _weighted_choice(entry["value"], entry["share"], _OTHERS[entry["others"]])
    if entry["values"] == "gestures":  # variants have weight 0 and are drawn only on request
        drawn, values = _weighted_choice("any", 0.9, random_gestures()), ("any", *gestures())
        return Choice(values, (*drawn.weights, *[0.0] * (len(values) - len(drawn.values))))
    return Choice(tuple(entry["values"]), tuple(entry.get("weights", ())))


def _weighted_choice(value: str, share: float, others: tuple[str, ...]) -> Choice:
    """Return the choice between a value of a given probability and others, which are equally likely."""
    return Choice((value, *others), (share, *[(1 - share) / len(others)] * len(others)))


FACTORS: Final = tuple(
    SceneFactor(name, _values(entry), entry["about"], entry.get("of", "scene")) for name, entry in _TABLE.items()
)
"""Factors in the order in which they are drawn; those of a person follow the person."""
SEQUENCE_FACTORS: Final = tuple(
    replace(item, values=_values(_TABLE[item.name].get("steady", _TABLE[item.name])))
    for item in FACTORS
    if "still" not in _TABLE[item.name]
)
"""Factors of a sequence, which defines the poses itself; rotations apply to the person."""


class Factors:
    """All factors with a caller's settings, texts such as `tone=3` or `distance=0.3..0.5`, see `--set`."""

    def __init__(self, table: Iterable[SceneFactor], settings: Iterable[str] = ()) -> None:
        self.table = {item.name: item for item in table}
        for name, values in data_files.key_values(settings, form="factor=value, factor=a..b or factor=a,b"):
            if name not in self.table:
                raise InputError(f"--set {name}={values}: {unknown_name('factor', name, self.table)}")
            factor = self.table[name]
            self.table[name] = replace(factor, values=factor.values.narrow(values, f"--set {name}"))

    def draw(self, seed: int, index: int) -> Mapping[str, Value]:
        """Draw the value of each factor for one scene."""
        drawn: dict[str, Value] = {}
        for name, factor in self.table.items():
            place = (1, int(drawn["person"])) if factor.of == "person" else (0, index)
            drawn[name] = factor.values.draw(np.random.default_rng((seed, *place, crc32(name.encode()))))
        return drawn
