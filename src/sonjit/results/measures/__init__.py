"""Compute measures of results: angles, curl, palm and head pose, and repetitions. Units are in the names."""

import math
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar, cast

from sonjit._util import InputError
from sonjit.results import RESULT_TYPES, Body, Face, Frame, Hand, Instance, Person, Result, unmirrored
from sonjit.results.measures import bodies, faces, hands, joints
from sonjit.results.measures.bodies import *  # noqa: F403
from sonjit.results.measures.bodies import BODY_MEASURES, measure_body
from sonjit.results.measures.faces import *  # noqa: F403
from sonjit.results.measures.faces import FACE_MEASURES, measure_face
from sonjit.results.measures.hands import *  # noqa: F403
from sonjit.results.measures.hands import HAND_MEASURES, measure_hand
from sonjit.results.measures.joints import *  # noqa: F403

__all__ = [
    "DISTANCE_COLUMNS", "MEASURE_NAMES", "TRANSFORM_COLUMNS", "in_degrees", "instance_values", "measure_names",
    "measures", "with_owners",
]  # fmt: skip
__all__ += bodies.__all__
__all__ += faces.__all__
__all__ += hands.__all__
__all__ += joints.__all__

DISTANCE_COLUMNS: Final = ("distance_m", "distance_error_m")
"""Column names of the distance of a hand and its error."""
TRANSFORM_COLUMNS: Final = tuple(f"transform_{row}{column}" for row in range(4) for column in range(4))
"""Column names of the transform of a face."""
MEASURE_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    Hand.kind: HAND_MEASURES,
    Body.kind: BODY_MEASURES,
    Face.kind: FACE_MEASURES,
}
"""Names of the measures of hands, bodies and faces, in the order of `measures`."""
V = TypeVar("V")


def measure_names(kind: str) -> tuple[str, ...]:
    """Return the names of the measures of a kind of instance, such as "hand"; none for an unknown kind."""
    names = (result.measure_names for result in RESULT_TYPES.values() if result.kind == kind)
    return MEASURE_NAMES[kind] if kind in MEASURE_NAMES else next(names, ())


def with_owners(frame: Frame) -> Iterator[tuple[Instance, Result]]:
    """Yield each instance of a frame with what to measure: the person of a body, otherwise the instance."""
    for result in frame.all_results():
        for part in result.parts:
            is_body = isinstance(result, Person) and isinstance(part, Body)
            yield cast("Instance", part), result if is_body else part


def instance_values(instance: Instance, owner: Result | None = None) -> dict[str, float | str | None]:
    """Return the measures (of its owner), gesture, distance, blendshapes and transform of an instance by column."""
    values: dict[str, float | str | None] = {**measures(owner or instance)}
    if isinstance(instance, Hand):
        values["gesture"], values["gesture_score"] = instance.gesture or (None, None)
        if instance.distance_m is not None:
            values |= dict(zip(DISTANCE_COLUMNS, (instance.distance_m, instance.distance_error_m), strict=True))
    if isinstance(instance, Face):
        values |= instance.blendshapes or {}
        if instance.transform is not None:
            values |= dict(zip(TRANSFORM_COLUMNS, instance.transform.ravel().tolist(), strict=True))
    return values


def in_degrees(values: Mapping[str, V]) -> dict[str, V]:
    """Return values by name with angles in degrees: names that end in `_rad` then end in `_deg`.

    >>> in_degrees({"left_knee_angle_rad": math.pi / 2, "pinch_index_m": 0.1})
    {'left_knee_angle_deg': 90.0, 'pinch_index_m': 0.1}
    """
    angles = [name for name in values if name.endswith("_rad")]
    named = {name: f"{name.removesuffix('_rad')}_deg" if name in angles else name for name in values}
    return {
        named[name]: math.degrees(value) if name in angles and isinstance(value, float) else value  # pyright: ignore[reportReturnType]
        for name, value in values.items()
    }


def measures(instance: Result) -> dict[str, float]:
    """Return all measures of a hand, body, face or other result by name; NaN is unknown.

    Those of a `Person` are those of its body, with the wrists. A mirrored result has the measures of the image that is
    not mirrored.

    Raises:
        InputError: The instance is not a result.
    """
    if isinstance(instance, Result):  # pyright: ignore[reportUnnecessaryIsInstance]  # programs may give anything
        instance = unmirrored(instance)
    match instance:
        case Hand():
            return measure_hand(instance)
        case Body():
            return measure_body(instance)
        case Face():
            return measure_face(instance)
        case Person():
            return measure_body(instance.body, instance.left_hand, instance.right_hand)
        case Result():
            return instance.measure()
        case _:
            raise InputError(f"measures of a {type(instance).__name__}: give a Hand, Body or Face")
