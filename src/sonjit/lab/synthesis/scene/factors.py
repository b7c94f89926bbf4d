"""Factors of rendered images, by name, with values and distributions.

A factor is a property that may differ between two images. Each factor has its own generator, from seed, sample and
name, so that fixing one factor does not change the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final
from zlib import crc32

import numpy as np

from sonjit._util.errors import InputError, unknown_name
from sonjit._util.key_values import key_values
from sonjit.lab.synthesis.hands.person import MONK_TONES, TEXTURES
from sonjit.lab.synthesis.hands.worn import GLOVES, SLEEVES
from sonjit.lab.synthesis.scene.backgrounds import BACKGROUND_KINDS
from sonjit.lab.synthesis.scene.factor_values import (
    Choice,
    Range,
    SceneFactor,
    Value,
    gesture_choice,
    weighted_choice,
)
from sonjit.lab.synthesis.scene.gestures import pair_names
from sonjit.lab.synthesis.scene.objects import SCENE_OBJECTS

_SWITCH: Final = (False, True)
DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
"""Factors that are `Material.amounts` of skin."""
FOLDER: Final = "folder"
"""Value of the background factor for the user's own images."""
_STILL_FACTORS: Final = {"hands", "side", "gesture", "looseness", "pair", "held", "occluders"}

FACTORS: Final = (
    SceneFactor("person", Range(0, 999, integer=True), "whose hands: shape, tone and details of the skin go with it"),
    SceneFactor("tone", Range(1, len(MONK_TONES), integer=True), "skin tone on the Monk scale", "person"),
    SceneFactor("texture", Range(0, len(TEXTURES) - 1, integer=True), "variant of the skin", "person"),
    SceneFactor("shape_sd", Range(0, 2, normal=(0.9, 0.2)), "how far the 36 shape values spread", "person"),
    SceneFactor("pores", Range(0, 1, normal=(0.5, 0.25)), "strength of pores", "person"),
    SceneFactor("creases", Range(0, 1, normal=(0.5, 0.25)), "strength of creases", "person"),
    SceneFactor("nails", Range(0, 1, normal=(0.8, 0.2)), "how much nails stand out", "person"),
    SceneFactor("veins", Range(0, 1, chance=0.5), "strength of veins", "person"),
    SceneFactor("freckles", Range(0, 1, chance=0.25), "strength of freckles", "person"),
    SceneFactor("tattoo", Range(0, 1, chance=0.06), "strength of a tattoo", "person"),
    SceneFactor("glove", weighted_choice("none", 0.94, tuple(GLOVES)), "what covers the hands"),
    SceneFactor("rings", Range(0, 3, integer=True, chance=0.2), "how many rings on each hand"),
    SceneFactor("sleeve", weighted_choice("none", 0.45, tuple(SLEEVES)), "what covers the forearms"),
    SceneFactor(
        "hands", Choice(("0", "1", "2", "interacting"), (0.04, 0.56, 0.2, 0.2)), "how many, and whether they touch"
    ),
    SceneFactor("side", Choice(("left", "right")), "whose hand a single one is, the person's own"),
    SceneFactor("gesture", gesture_choice(), "a named gesture, or any pose"),
    SceneFactor("looseness", Range(0, 2, normal=(1, 0.3)), "how far fingers are off a named gesture"),
    SceneFactor("pair", weighted_choice("any", 0.4, pair_names()), "a named pose of two hands that touch, or any"),
    SceneFactor(
        "held", weighted_choice("none", 0.85, tuple(SCENE_OBJECTS)), "what the first hand holds, unless two touch"
    ),
    SceneFactor("occluders", Range(0, 2, integer=True, chance=0.12), "how many objects are in front of the hands"),
    SceneFactor("distance", Range(0.22, 1.5, normal=(0.45, 0.12)), "from the camera, metres"),
    SceneFactor("view_deg", Range(35, 90, normal=(60, 8)), "what the camera sees across its longer side, degrees"),
    SceneFactor("yaw_deg", Range(-180, 180), "turn about the hand's length; 0 shows the palm"),
    SceneFactor("pitch_deg", Range(-90, 90, normal=(0, 25)), "tilt of the fingers to or from the camera"),
    SceneFactor("roll_deg", Range(-180, 180, normal=(0, 40)), "turn in the image; 0 points the fingers up"),
    SceneFactor("bend_deg", Range(-50, 50, normal=(0, 15)), "bend of the wrist towards the palm"),
    SceneFactor("cut", Range(0, 0.6, chance=0.1), "how much of the hands may leave the image"),
    SceneFactor("background", Choice(BACKGROUND_KINDS), "what is behind, where no folder of images is given"),
    SceneFactor("lights", Range(1, 3, integer=True), "how many lamps"),
    SceneFactor("light", Range(0.3, 1.6, normal=(1, 0.25)), "strength of the lamps"),
    SceneFactor("warmth", Range(-1, 1, normal=(0, 0.4)), "colour of the lamps, blue to orange"),
    SceneFactor("shadows", Choice(_SWITCH), "the first lamp casts shadows"),
    SceneFactor(
        "motion_blur", Range(0, 40, chance=0.15, normal=(5, 4)), "how far hands move while the shutter is open, px"
    ),
    SceneFactor("defocus", Range(0, 8, chance=0.2, normal=(1, 0.7)), "radius of the blur of all, px"),
    SceneFactor("backdrop_blur", Range(0, 20, chance=0.4, normal=(3, 2)), "radius of the blur of what is behind, px"),
    SceneFactor("vignette", Range(0, 1, chance=0.3), "how much darker the corners are"),
    SceneFactor("exposure", Range(-3, 3, normal=(0, 0.35)), "stops over or under"),
    SceneFactor("white_balance", Range(-1, 1, normal=(0, 0.2)), "of the camera, blue to orange"),
    SceneFactor("low_light", Range(0, 1, chance=0.08), "how little light there was"),
    SceneFactor("noise", Range(0, 1, normal=(0.15, 0.12)), "of the sensor"),
    SceneFactor("infrared", Choice(_SWITCH, (0.97, 0.03)), "a grey image of an infra-red camera"),
    SceneFactor("compression", Range(0, 1, chance=0.5, normal=(0.4, 0.2)), "how hard JPEG was pressed"),
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
