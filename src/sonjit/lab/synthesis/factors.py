"""Factors of rendered images, by name, with values and distributions.

A factor is a property that may differ between two images. Each factor has its own generator, from seed, sample and
name, so that fixing one factor does not change the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, Literal, TypeAlias
from zlib import crc32

import numpy as np

from sonjit._util.data_files import key_values
from sonjit._util.errors import InputError, unknown_name
from sonjit.lab.synthesis.backgrounds import BACKGROUND_KINDS
from sonjit.lab.synthesis.gestures import gestures, pair_names, random_gestures
from sonjit.lab.synthesis.hands import GLOVES, SLEEVES
from sonjit.lab.synthesis.objects import SCENE_OBJECTS
from sonjit.lab.synthesis.person import MONK_TONES, TEXTURES

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


_SWITCH: Final = (False, True)
DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
"""Factors that are `Material.amounts` of skin."""
FOLDER: Final = "folder"
"""Value of the background factor for the user's own images."""
_STILL_FACTORS: Final = {"hands", "side", "gesture", "looseness", "pair", "held", "occluders"}

FACTORS: Final = (
    SceneFactor("person", Range(0, 999, integer=True), "person; sets hand shape, skin tone and skin details"),
    SceneFactor("tone", Range(1, len(MONK_TONES), integer=True), "skin tone on the Monk scale", "person"),
    SceneFactor("texture", Range(0, len(TEXTURES) - 1, integer=True), "variant of the skin", "person"),
    SceneFactor("shape_sd", Range(0, 2, normal=(0.9, 0.2)), "standard deviation of the 36 shape values", "person"),
    SceneFactor("pores", Range(0, 1, normal=(0.5, 0.25)), "strength of pores", "person"),
    SceneFactor("creases", Range(0, 1, normal=(0.5, 0.25)), "strength of creases", "person"),
    SceneFactor("nails", Range(0, 1, normal=(0.8, 0.2)), "contrast of the nails", "person"),
    SceneFactor("veins", Range(0, 1, chance=0.5), "strength of veins", "person"),
    SceneFactor("freckles", Range(0, 1, chance=0.25), "strength of freckles", "person"),
    SceneFactor("tattoo", Range(0, 1, chance=0.06), "strength of a tattoo", "person"),
    SceneFactor("glove", weighted_choice("none", 0.94, tuple(GLOVES)), "gloves"),
    SceneFactor("rings", Range(0, 3, integer=True, chance=0.2), "number of rings per hand"),
    SceneFactor("sleeve", weighted_choice("none", 0.45, tuple(SLEEVES)), "sleeves"),
    SceneFactor(
        "hands",
        Choice(("0", "1", "2", "interacting"), (0.04, 0.56, 0.2, 0.2)),
        "number of hands; interacting hands touch",
    ),
    SceneFactor("side", Choice(("left", "right")), "side of a single hand, from the person's view"),
    SceneFactor("gesture", gesture_choice(), "named gesture, or any pose"),
    SceneFactor("looseness", Range(0, 2, normal=(1, 0.3)), "deviation of the fingers from a named gesture"),
    SceneFactor("pair", weighted_choice("any", 0.4, pair_names()), "named pose of two interacting hands, or any"),
    SceneFactor(
        "held",
        weighted_choice("none", 0.85, tuple(SCENE_OBJECTS)),
        "object in the first hand, unless the hands interact",
    ),
    SceneFactor("occluders", Range(0, 2, integer=True, chance=0.12), "number of objects in front of the hands"),
    SceneFactor("distance", Range(0.22, 1.5, normal=(0.45, 0.12)), "distance from the camera in metres"),
    SceneFactor("view_deg", Range(35, 90, normal=(60, 8)), "field of view across the longer side in degrees"),
    SceneFactor("yaw_deg", Range(-180, 180), "rotation about the hand's long axis; 0 shows the palm"),
    SceneFactor("pitch_deg", Range(-90, 90, normal=(0, 25)), "tilt of the fingers towards the camera or away"),
    SceneFactor("roll_deg", Range(-180, 180, normal=(0, 40)), "rotation in the image; 0 points the fingers up"),
    SceneFactor("bend_deg", Range(-50, 50, normal=(0, 15)), "bend of the wrist towards the palm"),
    SceneFactor("cut", Range(0, 0.6, chance=0.1), "maximum share of the hands outside the image"),
    SceneFactor("background", Choice(BACKGROUND_KINDS), "procedural background, without --backgrounds"),
    SceneFactor("lights", Range(1, 3, integer=True), "number of lamps"),
    SceneFactor("light", Range(0.3, 1.6, normal=(1, 0.25)), "strength of the lamps"),
    SceneFactor("warmth", Range(-1, 1, normal=(0, 0.4)), "colour of the lamps, blue to orange"),
    SceneFactor("shadows", Choice(_SWITCH), "shadows of the first lamp"),
    SceneFactor("motion_blur", Range(0, 40, chance=0.15, normal=(5, 4)), "motion during the exposure in pixels"),
    SceneFactor("defocus", Range(0, 8, chance=0.2, normal=(1, 0.7)), "blur radius of the image in pixels"),
    SceneFactor("backdrop_blur", Range(0, 20, chance=0.4, normal=(3, 2)), "blur radius of the background in pixels"),
    SceneFactor("vignette", Range(0, 1, chance=0.3), "darkening of the corners"),
    SceneFactor("exposure", Range(-3, 3, normal=(0, 0.35)), "exposure error in stops"),
    SceneFactor("white_balance", Range(-1, 1, normal=(0, 0.2)), "white balance error, blue to orange"),
    SceneFactor("low_light", Range(0, 1, chance=0.08), "lack of light: darker, flatter, noisier"),
    SceneFactor("noise", Range(0, 1, normal=(0.15, 0.12)), "strength of sensor noise"),
    SceneFactor("infrared", Choice(_SWITCH, (0.97, 0.03)), "grey image as from an infrared camera"),
    SceneFactor("compression", Range(0, 1, chance=0.5, normal=(0.4, 0.2)), "strength of the JPEG compression"),
)
"""Factors in the order in which they are drawn; those of a person follow the person."""

_STEADY: Final = {
    "yaw_deg": Range(-180, 180, normal=(0, 15)),
    "pitch_deg": Range(-90, 90, normal=(0, 8)),
    "roll_deg": Range(-180, 180, normal=(0, 6)),
    "bend_deg": Range(-50, 50, normal=(0, 5)),
    "distance": Range(0.3, 1.5, normal=(0.65, 0.1)),
}

SEQUENCE_FACTORS: Final = tuple(
    replace(item, values=_STEADY.get(item.name, item.values)) for item in FACTORS if item.name not in _STILL_FACTORS
)
"""Factors of a sequence, which defines the poses itself; rotations apply to the person."""


class Factors:
    """All factors with a caller's settings.

    Args:
        table: Known factors.
        settings: Texts such as `tone=3` or `distance=0.3..0.5`, see `--set`.

    Raises:
        InputError: A name or value is unknown. The message lists the known ones.
    """

    def __init__(self, table: Iterable[SceneFactor], settings: Iterable[str] = ()) -> None:
        self.table = {item.name: item for item in table}
        for name, values in key_values(settings, form="factor=value, factor=a..b or factor=a,b"):
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
