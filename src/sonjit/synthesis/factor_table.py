"""The table of all factors: their values, and how often each is drawn."""

from __future__ import annotations

from typing import Final

from sonjit.synthesis.factors import Choice, Factor, Range
from sonjit.synthesis.gestures import gestures

_SWITCH = (False, True)

FACTORS: Final = (
    Factor("person", Range(0, 999, whole=True), "whose hands: shape, tone and details of the skin go with it"),
    Factor("tone", Range(1, 10, whole=True), "skin tone on the Monk scale", "person"),
    Factor("texture", Range(0, 4, whole=True), "variant of the skin", "person"),
    Factor("shape_sd", Range(0, 2, normal=(0.9, 0.2)), "how far the 36 shape values spread", "person"),
    Factor("pores", Range(0, 1, normal=(0.5, 0.25)), "strength of pores", "person"),
    Factor("creases", Range(0, 1, normal=(0.5, 0.25)), "strength of creases", "person"),
    Factor("nails", Range(0, 1, normal=(0.8, 0.2)), "how much nails stand out", "person"),
    Factor("veins", Range(0, 1, rare=0.5), "strength of veins", "person"),
    Factor("freckles", Range(0, 1, rare=0.25), "strength of freckles", "person"),
    Factor("tattoo", Range(0, 1, rare=0.06), "strength of a tattoo", "person"),
    Factor("hands", Choice(("0", "1", "2", "interacting"), (0.04, 0.46, 0.2, 0.3)), "how many, and whether they touch"),
    Factor("side", Choice(("left", "right")), "whose hand a single one is, the person's own"),
    Factor(
        "gesture",
        Choice(("any", *gestures()), (9.0 * len(gestures()), *[1.0] * len(gestures()))),
        "a named gesture, or any pose",
    ),
    Factor("looseness", Range(0, 2, normal=(1, 0.3)), "how far fingers are off a named gesture"),
    Factor("distance", Range(0.22, 1.5, normal=(0.45, 0.12)), "from the camera, metres"),
    Factor("view_deg", Range(35, 90, normal=(60, 8)), "what the camera sees across its longer side, degrees"),
    Factor("yaw_deg", Range(-180, 180), "turn about the hand's length; 0 shows the palm"),
    Factor("pitch_deg", Range(-90, 90, normal=(0, 25)), "tilt of the fingers to or from the camera"),
    Factor("roll_deg", Range(-180, 180, normal=(0, 40)), "turn in the picture; 0 points the fingers up"),
    Factor("cut", Range(0, 0.6, rare=0.1), "how much of the hands may leave the picture"),
    Factor("lights", Range(1, 3, whole=True), "how many lamps"),
    Factor("light", Range(0.3, 1.6, normal=(1, 0.25)), "strength of the lamps"),
    Factor("warmth", Range(-1, 1, normal=(0, 0.4)), "colour of the lamps, blue to orange"),
    Factor("shadows", Choice(_SWITCH), "the first lamp casts shadows"),
)
"""In the order in which they are drawn; what goes with a person stands after it."""
