"""From results to meaning: angles, curl, palm and head pose, repetitions. Pure numpy, units in names."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from sonjit.errors import InputError
from sonjit.extensions import Registry
from sonjit.measures.bodies import (
    BODY_ANGLES,
    BODY_MEASURES,
    LIMBS,
    body_angles_rad,
    limb_lengths_m,
    measure_body,
    torso_lean_rad,
    torso_side_lean_rad,
)
from sonjit.measures.faces import (
    FACE_MEASURES,
    eye_openness,
    head_pose_rad,
    head_rotation,
    measure_face,
    mouth_openness,
)
from sonjit.measures.hands import (
    FINGERS,
    HAND_MEASURES,
    finger_bends_rad,
    finger_curl_rad,
    finger_curls,
    finger_reach,
    finger_spread_rad,
    fingers_up,
    hand_length_m,
    measure_hand,
    palm_facing,
    palm_normal,
    pinch_distance_m,
    thumb_spread_rad,
)
from sonjit.measures.joints import joint_angles_rad, joint_triples
from sonjit.measures.repetitions import RepetitionCounter, count_repetitions
from sonjit.results import Body, Face, Hand, Person

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit.results import Instance, Result

    R = TypeVar("R", bound=Result)

__all__ = [
    "BODY_ANGLES",
    "FINGERS",
    "LIMBS",
    "MEASURE_NAMES",
    "RepetitionCounter",
    "body_angles_rad",
    "count_repetitions",
    "eye_openness",
    "finger_bends_rad",
    "finger_curl_rad",
    "finger_curls",
    "finger_reach",
    "finger_spread_rad",
    "fingers_up",
    "hand_length_m",
    "head_pose_rad",
    "head_rotation",
    "joint_angles_rad",
    "joint_triples",
    "limb_lengths_m",
    "measure_body",
    "measure_face",
    "measure_hand",
    "measures",
    "mouth_openness",
    "palm_facing",
    "palm_normal",
    "pinch_distance_m",
    "register_measures",
    "thumb_spread_rad",
    "torso_lean_rad",
    "torso_side_lean_rad",
]

MEASURE_NAMES: dict[str, tuple[str, ...]] = {}
"""Column names per kind of instance, in the order in which `measures` gives them; no two kinds share a name."""
_MEASURE: Registry[Callable[[Result], dict[str, float]]] = Registry("measures of")


def register_measures(kind: type[R], names: tuple[str, ...], measure: Callable[[R], dict[str, float]]) -> None:
    """Give a result type measures.

    Args:
        kind: the type.
        names: of the measures, always all of them; no other type may have one of them.
        measure: gives them for one instance; NaN is unknown.

    Raises:
        InputError: a name is taken.
    """
    if taken := set(names) & {name for known in MEASURE_NAMES.values() for name in known}:
        raise InputError(f"measures of {kind.__name__}: {', '.join(sorted(taken))} taken already; name them otherwise")
    MEASURE_NAMES[kind.kind] = names
    _MEASURE.add(kind.kind, cast("Callable[[Result], dict[str, float]]", measure), replace=True)


register_measures(Hand, HAND_MEASURES, measure_hand)
register_measures(Body, BODY_MEASURES, measure_body)
register_measures(Face, FACE_MEASURES, measure_face)


def measures(instance: Instance) -> dict[str, float]:
    """Measures of a hand, body or face by name, always all of its kind; NaN is unknown. A type without any gives none.

    Raises:
        InputError: it is a `Person`, whose `parts` have measures, or no result.
    """
    kind = getattr(instance, "kind", None)
    if isinstance(instance, Person) or not isinstance(kind, str):
        raise InputError(f"measures of a {type(instance).__name__}: give a Hand, Body or Face")
    return _MEASURE[kind](instance) if kind in _MEASURE else {}
