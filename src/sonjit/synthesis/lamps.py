"""The light of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.synthesis.drawable import Light, Lighting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.synthesis.factors import Value


def light_scene(drawn: Mapping[str, Value], rng: np.random.Generator) -> Lighting:
    """Lamps above and before the hands; the first is the strongest.

    Args:
        drawn: the factors.
        rng: where the lamps stand.
    """
    lights: list[Light] = []
    warm = float(drawn["warmth"])
    for number in range(3):  # as many draws whatever their number
        across, up = rng.uniform(-1.2, 1.2), rng.uniform(0.1, 1.3)
        direction = np.array([np.sin(across) * np.cos(up), -np.sin(up), -np.cos(across) * np.cos(up)])
        strength = float(drawn["light"]) * (1 if number == 0 else rng.uniform(0.15, 0.5))
        tint = warm + rng.normal(0, 0.15)
        colour = strength * np.array([1 + 0.18 * tint, 1, 1 - 0.22 * tint])
        lights.append(Light(_triple(direction), _triple(colour), shadows=number == 0 and bool(drawn["shadows"])))
    ambient = rng.uniform(0.1, 0.35) * np.array([1 + 0.05 * warm, 1, 1 - 0.06 * warm])
    return Lighting(tuple(lights[: int(drawn["lights"])]), _triple(ambient))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
