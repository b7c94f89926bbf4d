"""A scene: one frame of a rendered world with hands, objects, light, background and cameras.

It holds numbers and names only, so that it can be kept as truth and rendered again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.synthesis.render.drawable import Light, Lighting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.synthesis.hands.hands import SceneHand
    from sonjit.synthesis.render.drawable import Drawable
    from sonjit.synthesis.scene.factors import Value


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame.

    Hands have instances 1, 2, … in their order; gloves have 100 + the hand's instance; forearms, sleeves and rings have
    150 + the hand's instance; objects have 200, 201, ….

    Attributes:
        hands: in the world.
        objects: held things and occluders, ready to be drawn.
        lighting: in the world.
        background: (H, W, 3) uint8 RGB, stretched over each image; one for each camera.
        cameras: with R and t of the world; their sizes stand in `sizes`.
        sizes: (width, height) pixels of each camera.
        factors: every named factor and its value, as drawn.
        sequence: name of the recording that it belongs to.
        frame: its number within that.
        time_s: likewise.
        seed: of what each camera's sensor adds.
    """

    hands: tuple[SceneHand, ...]
    objects: tuple[Drawable, ...]
    lighting: Lighting
    background: tuple[NDArray[np.uint8], ...]
    cameras: tuple[CalibratedCamera, ...]
    sizes: tuple[tuple[int, int], ...]
    factors: dict[str, float | int | str | bool]
    sequence: str = "still"
    frame: int = 0
    time_s: float = 0.0
    seed: int = 0


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
