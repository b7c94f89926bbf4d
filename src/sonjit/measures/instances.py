"""One call for whatever was found: a flat row of named measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.measures.bodies import BODY_MEASURES, measure_body
from sonjit.measures.faces import FACE_MEASURES, measure_face
from sonjit.measures.hands import HAND_MEASURES, measure_hand
from sonjit.results import Body, Face, Hand

if TYPE_CHECKING:
    from sonjit.results import Instance

MEASURE_NAMES: dict[str, tuple[str, ...]] = {"hand": HAND_MEASURES, "body": BODY_MEASURES, "face": FACE_MEASURES}
"""Column names per kind of instance, in the order in which `measures` gives them; no two kinds share a name."""


def measures(instance: Instance) -> dict[str, float]:
    """Measures of a hand, body or face by name, always all of its kind; NaN is unknown.

    Raises:
        InputError: it is none of the three (a `Person` has `parts`).
    """
    if isinstance(instance, Hand):
        return measure_hand(instance)
    if isinstance(instance, Body):
        return measure_body(instance)
    if isinstance(instance, Face):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        return measure_face(instance)
    raise InputError(f"measures of a {type(instance).__name__}: give a Hand, Body or Face")
