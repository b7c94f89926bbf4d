"""Whose hands: a person's shape and skin, and what they wear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.synthesis.hands.shape import SHAPE_NAMES
from sonjit.synthesis.scene.factors import DETAILS
from sonjit.synthesis.scene.scene import HandLook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Side
    from sonjit.synthesis.scene.factors import Value

_MOST_SD = 3.0


def person_shape(drawn: Mapping[str, Value], rng: np.random.Generator) -> NDArray[np.float64]:
    """(36,) of both hands of a person."""
    return rng.normal(size=len(SHAPE_NAMES)).clip(-_MOST_SD, _MOST_SD) * float(drawn["shape_sd"])


def hand_look(drawn: Mapping[str, Value], rng: np.random.Generator, worn: np.random.Generator) -> HandLook:
    """How a person's hands look in one scene.

    Args:
        drawn: the factors.
        rng: of the person.
        worn: of the scene.
    """
    return HandLook(
        tone=int(drawn["tone"]),
        texture=int(drawn["texture"]),
        amounts={name: float(drawn[name]) for name in DETAILS},
        glove=_named(drawn["glove"]),
        rings=tuple(sorted(worn.permutation(5)[: int(drawn["rings"])].tolist())),
        sleeve=_named(drawn["sleeve"]),
        seed=float(rng.uniform(0, 100)),
    )


def sides_of(drawn: Mapping[str, Value]) -> tuple[Side, ...]:
    """Of the hands of a still, the first one first."""
    own: Side = "Left" if drawn["side"] == "left" else "Right"
    other: Side = "Right" if own == "Left" else "Left"
    match drawn["hands"]:
        case "0":
            return ()
        case "1":
            return (own,)
        case _:
            return own, other


def _named(value: Value) -> str | None:
    return None if value == "none" else str(value)
