"""A scene: one frame of a rendered world with hands, objects, light, background and cameras.

It holds numbers and names only, so that it can be kept as truth and rendered again. Its cameras are one as on a laptop,
a pair as on glasses, or a dome of up to 140.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.synthesis.render.drawable import Light, Lighting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

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
        cameras: with R and t of the world; their sizes are in `sizes`.
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
        rng: where the lamps are.
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


def _triple(values: FloatArray) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


RigKind = Literal["webcam", "glasses", "dome"]
MOST_VIEWS: Final = 140
_EYES_M: Final = 0.13
"""Between the cameras at the temples of a pair of glasses."""
_TURN: Final = math.pi * (3 - math.sqrt(5))
"""The golden angle: points on a spiral that turns by it lie evenly on a sphere."""
_POLES: Final = (0.93, -0.55)
"""The dome's highest and lowest cameras, as parts of its radius above its middle."""


def camera_rig(
    rig: RigKind, views: int, size: tuple[int, int], view_deg: float, middle: FloatArray
) -> tuple[CalibratedCamera, ...]:
    """Cameras that look at a point; the first of them is at the world's origin and looks along its z.

    Args:
        rig: webcam (1 view), glasses (2, one at each temple), dome (1 to 140 about the point, all equally far).
        views: how many.
        size: width and height in pixels.
        view_deg: that each sees across the longer side of its image.
        middle: (3,) metres, the point; before the first camera.

    Raises:
        InputError: a rig that has not so many views.
    """
    check_rig(rig, views)
    focal = max(size) / 2 / math.tan(math.radians(view_deg) / 2)
    matrix = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    if rig == "glasses":
        places = np.array([[0.0, 0, 0], [_EYES_M, 0, 0]])
        return tuple(CalibratedCamera(matrix, np.eye(3), -place) for place in places)
    radius = float(np.linalg.norm(middle))
    cameras = [CalibratedCamera(matrix, np.eye(3), np.zeros(3))]
    high, low = _POLES
    for number in range(1, views):
        up = high + (low - high) * (number - 0.5) / (views - 1)
        across, turn = math.sqrt(1 - up * up), number * _TURN
        place = middle + radius * np.array([across * math.sin(turn), -up, -across * math.cos(turn)])
        rotation = _looking(middle - place)
        cameras.append(CalibratedCamera(matrix, rotation, -rotation @ place))
    return tuple(cameras)


def check_rig(rig: RigKind, views: int) -> None:
    """Refuse a rig that has not so many views.

    Raises:
        InputError: with how many it has.
    """
    least, most = {"webcam": (1, 1), "glasses": (2, 2), "dome": (1, MOST_VIEWS)}[rig]
    if not least <= views <= most:
        takes = f"{least} to {most}" if least < most else f"exactly {least}"
        raise InputError(f"--rig {rig} with --views {views}: it takes {takes}")


def view_name(number: int) -> str:
    """Of a camera in files, such as `400000`: all digits, as InterHand2.6M names its own."""
    return f"{400000 + number}"


def turned(yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """(3, 3): first yaw about the world's y, then pitch about its x, then roll about its z."""
    angles = np.deg2rad(np.diag([pitch_deg, yaw_deg, roll_deg]))
    pitch, yaw, roll = matrix_from_rotation_vector(angles)
    return roll @ pitch @ yaw


def _looking(towards: FloatArray) -> FloatArray:
    """(3, 3) world to camera for one that looks along a vector, its image's up as near to the world's as can be."""
    forward = towards / np.linalg.norm(towards)
    right = np.cross(np.array([0.0, 1, 0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])
