"""Factors: everything that may differ between two rendered images, by name; their values, and how each is drawn.

Each factor is drawn by a generator of its own, from seed, sample and name: pinning one leaves all others as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, Literal, TypeAlias
from zlib import crc32

import numpy as np

from sonjit.errors import InputError
from sonjit.key_values import key_values
from sonjit.synthesis.hands.person import MONK_TONES, TEXTURES
from sonjit.synthesis.hands.worn import GLOVES, SLEEVES
from sonjit.synthesis.scene.backgrounds import BACKGROUND_KINDS
from sonjit.synthesis.scene.gestures import gestures, pair_names, random_gestures
from sonjit.synthesis.scene.objects import SCENE_OBJECTS

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
        kept = tuple(weights[value] for value in values)
        return Choice(values, kept if all(kept) else ())

    def __str__(self) -> str:
        return "|".join(str(value).lower() for value in self.values)


@dataclass(frozen=True)
class SceneFactor:
    """One thing that may differ.

    Attributes:
        name: as `--set` and the truth call it.
        values: from which, and how it is drawn by default.
        about: what it does.
        of: drawn once for a person, the same in all their images, or anew for each scene.
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

    def __init__(self, table: Iterable[SceneFactor], settings: Iterable[str] = ()) -> None:
        self.table = {one.name: one for one in table}
        for name, values in key_values(settings, form="factor=value, factor=a..b or factor=a,b"):
            if name not in self.table:
                raise InputError(f"--set {name}={values}: unknown factor {name!r}; known: {', '.join(self.table)}")
            factor = self.table[name]
            self.table[name] = replace(factor, values=factor.values.narrowed(values, f"--set {name}"))

    def draw(self, seed: int, index: int) -> Mapping[str, Value]:
        """The value of each factor in one scene."""
        drawn: dict[str, Value] = {}
        for name, factor in self.table.items():
            place = (1, int(drawn["person"])) if factor.of == "person" else (0, index)
            drawn[name] = factor.values.draw(np.random.default_rng((seed, *place, crc32(name.encode()))))
        return drawn


_SWITCH: Final = (False, True)
DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
"""Factors that are `Material.amounts` of skin."""

FOLDER: Final = "folder"
"""The background where images of the user's own are."""


def _mostly(value: str, share: float, others: tuple[str, ...]) -> Choice:
    return Choice((value, *others), (share, *[(1 - share) / len(others)] * len(others)))


def _gesture_choice() -> Choice:
    """Any pose, and now and then a named one; variants have no weight, and are there to be asked for."""
    drawn = _mostly("any", 0.9, random_gestures())
    values = ("any", *gestures())
    return Choice(values, (*drawn.weights, *[0.0] * (len(values) - len(drawn.values))))


FACTORS: Final = (
    SceneFactor("person", Range(0, 999, whole=True), "whose hands: shape, tone and details of the skin go with it"),
    SceneFactor("tone", Range(1, len(MONK_TONES), whole=True), "skin tone on the Monk scale", "person"),
    SceneFactor("texture", Range(0, len(TEXTURES) - 1, whole=True), "variant of the skin", "person"),
    SceneFactor("shape_sd", Range(0, 2, normal=(0.9, 0.2)), "how far the 36 shape values spread", "person"),
    SceneFactor("pores", Range(0, 1, normal=(0.5, 0.25)), "strength of pores", "person"),
    SceneFactor("creases", Range(0, 1, normal=(0.5, 0.25)), "strength of creases", "person"),
    SceneFactor("nails", Range(0, 1, normal=(0.8, 0.2)), "how much nails stand out", "person"),
    SceneFactor("veins", Range(0, 1, rare=0.5), "strength of veins", "person"),
    SceneFactor("freckles", Range(0, 1, rare=0.25), "strength of freckles", "person"),
    SceneFactor("tattoo", Range(0, 1, rare=0.06), "strength of a tattoo", "person"),
    SceneFactor("glove", _mostly("none", 0.94, tuple(GLOVES)), "what covers the hands"),
    SceneFactor("rings", Range(0, 3, whole=True, rare=0.2), "how many rings on each hand"),
    SceneFactor("sleeve", _mostly("none", 0.45, tuple(SLEEVES)), "what covers the forearms"),
    SceneFactor(
        "hands", Choice(("0", "1", "2", "interacting"), (0.04, 0.56, 0.2, 0.2)), "how many, and whether they touch"
    ),
    SceneFactor("side", Choice(("left", "right")), "whose hand a single one is, the person's own"),
    SceneFactor("gesture", _gesture_choice(), "a named gesture, or any pose"),
    SceneFactor("looseness", Range(0, 2, normal=(1, 0.3)), "how far fingers are off a named gesture"),
    SceneFactor("pair", _mostly("any", 0.4, pair_names()), "a named pose of two hands that touch, or any"),
    SceneFactor("held", _mostly("none", 0.85, tuple(SCENE_OBJECTS)), "what the first hand holds, unless two touch"),
    SceneFactor("occluders", Range(0, 2, whole=True, rare=0.12), "how many objects are in front of the hands"),
    SceneFactor("distance", Range(0.22, 1.5, normal=(0.45, 0.12)), "from the camera, metres"),
    SceneFactor("view_deg", Range(35, 90, normal=(60, 8)), "what the camera sees across its longer side, degrees"),
    SceneFactor("yaw_deg", Range(-180, 180), "turn about the hand's length; 0 shows the palm"),
    SceneFactor("pitch_deg", Range(-90, 90, normal=(0, 25)), "tilt of the fingers to or from the camera"),
    SceneFactor("roll_deg", Range(-180, 180, normal=(0, 40)), "turn in the image; 0 points the fingers up"),
    SceneFactor("bend_deg", Range(-50, 50, normal=(0, 15)), "bend of the wrist towards the palm"),
    SceneFactor("cut", Range(0, 0.6, rare=0.1), "how much of the hands may leave the image"),
    SceneFactor("background", Choice(BACKGROUND_KINDS), "what is behind, where no folder of images is given"),
    SceneFactor("lights", Range(1, 3, whole=True), "how many lamps"),
    SceneFactor("light", Range(0.3, 1.6, normal=(1, 0.25)), "strength of the lamps"),
    SceneFactor("warmth", Range(-1, 1, normal=(0, 0.4)), "colour of the lamps, blue to orange"),
    SceneFactor("shadows", Choice(_SWITCH), "the first lamp casts shadows"),
    SceneFactor(
        "motion_blur", Range(0, 40, rare=0.15, normal=(5, 4)), "how far hands move while the shutter is open, px"
    ),
    SceneFactor("defocus", Range(0, 8, rare=0.2, normal=(1, 0.7)), "radius of the blur of all, px"),
    SceneFactor("backdrop_blur", Range(0, 20, rare=0.4, normal=(3, 2)), "radius of the blur of what is behind, px"),
    SceneFactor("vignette", Range(0, 1, rare=0.3), "how much darker the corners are"),
    SceneFactor("exposure", Range(-3, 3, normal=(0, 0.35)), "stops over or under"),
    SceneFactor("white_balance", Range(-1, 1, normal=(0, 0.2)), "of the camera, blue to orange"),
    SceneFactor("low_light", Range(0, 1, rare=0.08), "how little light there was"),
    SceneFactor("noise", Range(0, 1, normal=(0.15, 0.12)), "of the sensor"),
    SceneFactor("infrared", Choice(_SWITCH, (0.97, 0.03)), "a grey image of an infra-red camera"),
    SceneFactor("compression", Range(0, 1, rare=0.5, normal=(0.4, 0.2)), "how hard JPEG was pressed"),
)
"""In the order in which they are drawn; what belongs to a person comes after it."""

_OF_STILLS: Final = {"hands", "side", "gesture", "looseness", "pair", "held", "occluders"}

_STEADY: Final = {
    "yaw_deg": Range(-180, 180, normal=(0, 15)),
    "pitch_deg": Range(-90, 90, normal=(0, 8)),
    "roll_deg": Range(-180, 180, normal=(0, 6)),
    "bend_deg": Range(-50, 50, normal=(0, 5)),
    "distance": Range(0.3, 1.5, normal=(0.65, 0.1)),
}

SEQUENCE_FACTORS: Final = tuple(
    replace(one, values=_STEADY.get(one.name, one.values)) for one in FACTORS if one.name not in _OF_STILLS
)
"""Those of a sequence, which itself says how hands are held; turns are of the whole person."""
