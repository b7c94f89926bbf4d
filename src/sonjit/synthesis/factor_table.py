"""The table of all factors: their values, and how often each is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sonjit.synthesis.backgrounds import KINDS
from sonjit.synthesis.factors import Choice, Factor, Range
from sonjit.synthesis.gestures import gestures
from sonjit.synthesis.objects import THINGS
from sonjit.synthesis.pairs import pair_names
from sonjit.synthesis.skins import MONK_TONES, TEXTURES
from sonjit.synthesis.worn import GLOVES, SLEEVES

_SWITCH: Final = (False, True)
DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
"""Factors that are `Material.amounts` of skin."""
FOLDER: Final = "folder"
"""The background where pictures of the user's own are."""


def _mostly(value: str, share: float, others: tuple[str, ...]) -> Choice:
    return Choice((value, *others), (share, *[(1 - share) / len(others)] * len(others)))


FACTORS: Final = (
    Factor("person", Range(0, 999, whole=True), "whose hands: shape, tone and details of the skin go with it"),
    Factor("tone", Range(1, len(MONK_TONES), whole=True), "skin tone on the Monk scale", "person"),
    Factor("texture", Range(0, len(TEXTURES) - 1, whole=True), "variant of the skin", "person"),
    Factor("shape_sd", Range(0, 2, normal=(0.9, 0.2)), "how far the 36 shape values spread", "person"),
    Factor("pores", Range(0, 1, normal=(0.5, 0.25)), "strength of pores", "person"),
    Factor("creases", Range(0, 1, normal=(0.5, 0.25)), "strength of creases", "person"),
    Factor("nails", Range(0, 1, normal=(0.8, 0.2)), "how much nails stand out", "person"),
    Factor("veins", Range(0, 1, rare=0.5), "strength of veins", "person"),
    Factor("freckles", Range(0, 1, rare=0.25), "strength of freckles", "person"),
    Factor("tattoo", Range(0, 1, rare=0.06), "strength of a tattoo", "person"),
    Factor("glove", _mostly("none", 0.94, tuple(GLOVES)), "what covers the hands"),
    Factor("rings", Range(0, 3, whole=True, rare=0.2), "how many rings on each hand"),
    Factor("sleeve", _mostly("none", 0.45, tuple(SLEEVES)), "what covers the forearms"),
    Factor("hands", Choice(("0", "1", "2", "interacting"), (0.04, 0.56, 0.2, 0.2)), "how many, and whether they touch"),
    Factor("side", Choice(("left", "right")), "whose hand a single one is, the person's own"),
    Factor("gesture", _mostly("any", 0.9, tuple(gestures())), "a named gesture, or any pose"),
    Factor("looseness", Range(0, 2, normal=(1, 0.3)), "how far fingers are off a named gesture"),
    Factor("pair", _mostly("any", 0.4, pair_names()), "a named pose of two hands that touch, or any"),
    Factor("held", _mostly("none", 0.85, tuple(THINGS)), "what the first hand holds, unless two touch"),
    Factor("occluders", Range(0, 2, whole=True, rare=0.12), "how many things stand before the hands"),
    Factor("distance", Range(0.22, 1.5, normal=(0.45, 0.12)), "from the camera, metres"),
    Factor("view_deg", Range(35, 90, normal=(60, 8)), "what the camera sees across its longer side, degrees"),
    Factor("yaw_deg", Range(-180, 180), "turn about the hand's length; 0 shows the palm"),
    Factor("pitch_deg", Range(-90, 90, normal=(0, 25)), "tilt of the fingers to or from the camera"),
    Factor("roll_deg", Range(-180, 180, normal=(0, 40)), "turn in the picture; 0 points the fingers up"),
    Factor("bend_deg", Range(-50, 50, normal=(0, 15)), "bend of the wrist towards the palm"),
    Factor("cut", Range(0, 0.6, rare=0.1), "how much of the hands may leave the picture"),
    Factor("background", Choice(KINDS), "what is behind, where no folder of pictures is given"),
    Factor("lights", Range(1, 3, whole=True), "how many lamps"),
    Factor("light", Range(0.3, 1.6, normal=(1, 0.25)), "strength of the lamps"),
    Factor("warmth", Range(-1, 1, normal=(0, 0.4)), "colour of the lamps, blue to orange"),
    Factor("shadows", Choice(_SWITCH), "the first lamp casts shadows"),
    Factor("motion_blur", Range(0, 40, rare=0.15, normal=(5, 4)), "how far hands move while the shutter is open, px"),
    Factor("defocus", Range(0, 8, rare=0.2, normal=(1, 0.7)), "radius of the blur of all, px"),
    Factor("backdrop_blur", Range(0, 20, rare=0.4, normal=(3, 2)), "radius of the blur of what is behind, px"),
    Factor("vignette", Range(0, 1, rare=0.3), "how much darker the corners are"),
    Factor("exposure", Range(-3, 3, normal=(0, 0.35)), "stops over or under"),
    Factor("white_balance", Range(-1, 1, normal=(0, 0.2)), "of the camera, blue to orange"),
    Factor("low_light", Range(0, 1, rare=0.08), "how little light there was"),
    Factor("noise", Range(0, 1, normal=(0.15, 0.12)), "of the sensor"),
    Factor("infrared", Choice(_SWITCH, (0.97, 0.03)), "a grey picture of an infra-red camera"),
    Factor("compression", Range(0, 1, rare=0.5, normal=(0.4, 0.2)), "how hard JPEG was pressed"),
)
"""In the order in which they are drawn; what goes with a person stands after it."""

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
