"""Compute measures of results: angles, curl, palm and head pose, and repetitions. Units are in the names."""

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar, cast

from sonjit._util import InputError
from sonjit._util.extensions import resolved
from sonjit.results import RESULT_TYPES, Frame, Instance, Result, unmirrored
from sonjit.results.classes import DISTANCE_COLUMNS, TRANSFORM_COLUMNS
from sonjit.results.measures import bodies, faces, hands, joints
from sonjit.results.measures.bodies import *  # noqa: F403
from sonjit.results.measures.faces import *  # noqa: F403
from sonjit.results.measures.hands import *  # noqa: F403
from sonjit.results.measures.joints import *  # noqa: F403

__all__ = [
    "DISTANCE_COLUMNS", "TRANSFORM_COLUMNS", "in_degrees", "instance_values", "measure_names", "measures",
    "with_owners",
]  # fmt: skip
__all__ += bodies.__all__
__all__ += faces.__all__
__all__ += hands.__all__
__all__ += joints.__all__

V = TypeVar("V")


def measure_names(kind: str) -> tuple[str, ...]:
    """Return the names of the measures of a kind of instance, such as "hand"; none for an unknown kind."""
    return resolved(next((result.measure_names for result in RESULT_TYPES.values() if result.kind == kind), ()))


def with_owners(frame: Frame) -> Iterator[tuple[Instance, Result]]:
    """Yield each instance of a frame with what to measure: the person of a body, otherwise the instance."""
    for result in frame.all_results():
        for part in result.parts:
            is_main = bool(result.members) and part.keypoints is result.keypoints
            yield cast("Instance", part), result if is_main else part


def instance_values(instance: Instance, owner: Result | None = None) -> dict[str, float | str | None]:
    """Return the measures (of its owner), gesture, distance, blendshapes and transform of an instance by column."""
    values: dict[str, float | str | None] = {**measures(owner or instance)}
    return values | instance.further_values()


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
    if not isinstance(instance, Result):  # pyright: ignore[reportUnnecessaryIsInstance]  # programs give anything
        raise InputError(f"measures of a {type(instance).__name__}: give a Hand, Body or Face")
    return unmirrored(instance).measure()
