"""Scenes: one frame of a rendered world with hands, objects, light, background and cameras.

A scene contains only numbers and names, so that it can be stored as truth and rendered again. Camera rigs are a webcam,
a stereo pair as on glasses, or a dome of up to 140 cameras.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.synthesis.render.drawable import Light, Lighting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.lab.synthesis.hands.hands import SceneHand
    from sonjit.lab.synthesis.render.drawable import Drawable
    from sonjit.lab.synthesis.scene.factors import Value


RigKind = Literal["webcam", "glasses", "dome"]
MAX_VIEWS: Final = 140
_GLASSES_WIDTH_M: Final = 0.13
"""Distance between the cameras at the temples of a pair of glasses."""
_GOLDEN_ANGLE: Final = math.pi * (3 - math.sqrt(5))
"""Golden angle: points on a spiral with this rotation are evenly spread on a sphere."""
_DOME_HEIGHTS: Final = (0.93, -0.55)
"""Height of the dome's highest and lowest cameras above its middle, in radii."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame.

    Hands have instances 1, 2, … in their order; gloves have 100 + the hand's instance; forearms, sleeves and rings have
    150 + the hand's instance; objects have 200, 201, ….

    Attributes:
        hands: Hands in the world.
        objects: Held objects and occluders as meshes.
        lighting: Light in the world.
        background: Background (H, W, 3) of each camera, uint8 RGB, stretched over its image.
        cameras: Cameras with R and t of the world; their sizes are in `sizes`.
        sizes: Width and height of each camera's image in pixels.
        factors: Value of every named factor.
        sequence: Name of its recording.
        frame: Frame number within the recording.
        time_s: Time within the recording, seconds.
        seed: Seed of the sensor noise of each camera.
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
    """Return lamps above and in front of the hands; the first is the strongest.

    Args:
        drawn: Values of the factors.
        rng: Generator of the lamps' positions.
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


def camera_rig(
    rig: RigKind, views: int, size: tuple[int, int], view_deg: float, middle: FloatArray
) -> tuple[CalibratedCamera, ...]:
    """Return cameras that point at a target; the first is at the world's origin with its axis along z.

    Args:
        rig: Webcam (1 view), glasses (2, one at each temple), dome (1 to 140 around the point at equal distances).
        views: Number of cameras.
        size: Width and height in pixels.
        view_deg: Field of view across the longer side of the image.
        middle: Point (3,) in metres, in front of the first camera.

    Raises:
        InputError: The rig does not have that many views.
    """
    check_rig(rig, views)
    focal = max(size) / 2 / math.tan(math.radians(view_deg) / 2)
    matrix = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    if rig == "glasses":
        places = np.array([[0.0, 0, 0], [_GLASSES_WIDTH_M, 0, 0]])
        return tuple(CalibratedCamera(matrix, np.eye(3), -place) for place in places)
    radius = float(np.linalg.norm(middle))
    cameras = [CalibratedCamera(matrix, np.eye(3), np.zeros(3))]
    high, low = _DOME_HEIGHTS
    for number in range(1, views):
        up = high + (low - high) * (number - 0.5) / (views - 1)
        across, turn = math.sqrt(1 - up * up), number * _GOLDEN_ANGLE
        place = middle + radius * np.array([across * math.sin(turn), -up, -across * math.cos(turn)])
        rotation = _upright_rotation(middle - place)
        cameras.append(CalibratedCamera(matrix, rotation, -rotation @ place))
    return tuple(cameras)


def check_rig(rig: RigKind, views: int) -> None:
    """Refuse a number of views that the rig does not have.

    Raises:
        InputError: The message names the possible numbers.
    """
    minimum, maximum = {"webcam": (1, 1), "glasses": (2, 2), "dome": (1, MAX_VIEWS)}[rig]
    if not minimum <= views <= maximum:
        allowed = f"{minimum} to {maximum}" if minimum < maximum else f"exactly {minimum}"
        raise InputError(f"--rig {rig} with --views {views}: requires {allowed} views")


def view_name(number: int) -> str:
    """Return the name of a camera in files, such as `400000`: digits only, as in InterHand2.6M."""
    return f"{400000 + number}"


def rotation_from_angles(yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """Return the rotation (3, 3): yaw around the world's y, then pitch around its x, then roll around its z."""
    angles = np.deg2rad(np.diag([pitch_deg, yaw_deg, roll_deg]))
    pitch, yaw, roll = matrix_from_rotation_vector(angles)
    return roll @ pitch @ yaw


def _upright_rotation(towards: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) from world to camera for an upright camera with its axis along a vector."""
    forward = towards / np.linalg.norm(towards)
    right = np.cross(np.array([0.0, 1, 0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])
