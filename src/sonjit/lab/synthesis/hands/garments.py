"""Kinds of gloves and sleeves."""

from __future__ import annotations

from typing import NamedTuple

from sonjit.lab.synthesis.render.drawable import Surface

_Colour = tuple[float, float, float]


class Glove(NamedTuple):
    """Kind of glove: cloth, colours (linear RGB), metres off the skin, and whether the tips are open."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    thick_m: float
    fingerless: bool = False


class Sleeve(NamedTuple):
    """Kind of sleeve: cloth, colours, and metres behind the wrist, off the skin and of its folds."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    start_m: float
    width_m: float
    folds_m: float
