"""Scenes (one frame of a rendered world with hands, objects, light, background and cameras), sampled from a seed.

A scene contains only numbers and names, so that it can be stored as truth and rendered again. Camera rigs are a webcam,
a stereo pair as on glasses, or a dome of up to 140 cameras. An index stands for one still, or for a sequence with a
scene per frame. Every random choice has its own generator, from seed, index and purpose, so that no choice changes
another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.hand_models.rig import Rig, RigPose, Side
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.backgrounds import BackgroundFolder, BackgroundKind, draw_background
from sonjit.lab.synthesis.drawable import Drawable, Light, Lighting
from sonjit.lab.synthesis.factors import DETAILS, FOLDER, Factors, Value
from sonjit.lab.synthesis.hands import SceneHand
from sonjit.lab.synthesis.motions import HandMotion, NamedMotions, VideoMotion
from sonjit.lab.synthesis.objects import SCENE_OBJECTS, drawable_from_solid, occluder, sample_material
from sonjit.lab.synthesis.person import SHAPE_NAMES, HandAppearance, HandFiles, rig_from_shape
from sonjit.lab.synthesis.poses import pose_hands, rotation_from_angles

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
    """

    hands: tuple[SceneHand, ...]  # hands in the world
    objects: tuple[Drawable, ...]  # held objects and occluders as meshes
    lighting: Lighting  # light in the world
    # background (H, W, 3) of each camera, uint8 RGB, stretched over its image
    background: tuple[NDArray[np.uint8], ...]
    cameras: tuple[CalibratedCamera, ...]  # cameras with R and t of the world; their sizes are in `sizes`
    sizes: tuple[tuple[int, int], ...]  # width and height of each camera's image in pixels
    factors: dict[str, float | int | str | bool]  # value of every named factor
    sequence: str = "still"  # name of its recording
    frame: int = 0  # frame number within the recording
    time_s: float = 0.0  # time within the recording, seconds
    seed: int = 0  # seed of the sensor noise of each camera


def light_scene(drawn: Mapping[str, Value], rng: np.random.Generator) -> Lighting:
    """Return lamps above and in front of the hands; the first is the strongest."""
    lights: list[Light] = []
    warm = float(drawn["warmth"])
    for number in range(3):  # as many draws whatever their number
        across, up = rng.uniform(-1.2, 1.2), rng.uniform(0.1, 1.3)
        direction = np.array([np.sin(across) * np.cos(up), -np.sin(up), -np.cos(across) * np.cos(up)])
        strength = float(drawn["light"]) * (1 if number == 0 else rng.uniform(0.15, 0.5))
        tint = warm + rng.normal(0, 0.15)
        colour = strength * np.array([1 + 0.18 * tint, 1, 1 - 0.22 * tint])
        lights.append(Light(tuple(direction.tolist()), tuple(colour.tolist()), number == 0 and bool(drawn["shadows"])))
    ambient = rng.uniform(0.1, 0.35) * np.array([1 + 0.05 * warm, 1, 1 - 0.06 * warm])
    return Lighting(tuple(lights[: int(drawn["lights"])]), tuple(ambient.tolist()))


def camera_rig(
    rig: RigKind, views: int, size: tuple[int, int], view_deg: float, middle: FloatArray
) -> tuple[CalibratedCamera, ...]:
    """Return cameras that point at a target; the first is at the world's origin with its axis along z.

    `rig`: webcam (1 view), glasses (2, one at each temple), dome (1 to 140 around the point at equal distances);
    `size`: width and height in pixels; `middle`: point (3,) in metres, in front of the first camera.
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
    """Refuse a number of views that the rig does not have."""
    minimum, maximum = {"webcam": (1, 1), "glasses": (2, 2), "dome": (1, MAX_VIEWS)}[rig]
    if not minimum <= views <= maximum:
        allowed = f"{minimum} to {maximum}" if minimum < maximum else f"exactly {minimum}"
        raise InputError(f"--rig {rig} with --views {views}: requires {allowed} views")


def view_name(number: int) -> str:
    """Return the name of a camera in files, such as `400000`: digits only, as in InterHand2.6M."""
    return f"{400000 + number}"


def _upright_rotation(towards: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) from world to camera for an upright camera with its axis along a vector."""
    forward = towards / np.linalg.norm(towards)
    right = np.cross(np.array([0.0, 1, 0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


FIRST_OBJECT: Final = 200
"""Instance of the first object."""
_SKIN_MARGIN_M: Final = 0.012
"""Margin of skin around the keypoints."""
_MIN_DISTANCE_M: Final = 0.1
"""Minimum distance of any part of a hand or forearm from the camera."""
_FOREARM_M: Final = 0.26
_OCCLUDER_M: Final = ((0.05, 0.12), (0.06, 0.15))
"""Range of an occluder's size, and of its distance in front of a hand's keypoint."""
_ROUNDS: Final = 3

_MAX_SPREAD: Final = 0.1
"""Maximum distance of hands from the middle of the image when seen by several cameras."""
_MAX_DEVIATIONS = 3.0


def place_hands(
    rigs: Sequence[Rig],
    poses: Sequence[RigPose],
    matrix: FloatArray,
    size: tuple[int, int],
    drawn: Mapping[str, Value],
    rng: np.random.Generator,
    spread: float,
) -> list[RigPose]:
    """Move hands so that their keypoints fall into the first camera's image; touching hands stay in contact.

    `matrix`: camera matrix (3, 3) in pixels; `drawn`: values of the factors `distance` and `cut`; `spread`: 0 places
    them in the middle of the image, 1 anywhere.
    """
    hands = list(zip(rigs, poses, strict=True))
    points = [rig.keypoints(pose).reshape(-1, 3) for rig, pose in hands]
    depths = [own[:, 2].min() for own in points]
    nearest = [float(min(own, _elbow(*hand)[:, 2].min())) for own, hand in zip(depths, hands, strict=True)]
    distance = float(drawn["distance"])
    if drawn["hands"] == "interacting":
        points, nearest = [np.concatenate(points)] * 2, [min(nearest)] * 2
    placed: list[RigPose] = []
    position = rng.uniform(-1, 1, 2) * spread
    depth = distance
    for number, (pose, own, near) in enumerate(zip(poses, points, nearest, strict=True)):
        if drawn["hands"] == "2":
            position = rng.uniform(-1, 1, 2) * spread
            position[0] = (0.6 + 0.4 * abs(position[0])) * (1 if number else -1)
            depth = distance * (1 + (0.08 * rng.normal() if number else 0))
        depth_or_more = max(depth, _MIN_DISTANCE_M + (own[:, 2].min() + own[:, 2].max()) / 2 - near)
        move = _move_into_view(own, depth_or_more, matrix, size, position, float(drawn["cut"]))
        placed.append(replace(pose, translation=pose.translation + move))
    return placed


def place_motion(
    motion: HandMotion, matrix: FloatArray, size: tuple[int, int], drawn: Mapping[str, Value]
) -> HandMotion:
    """Rotate a motion by the factors and move it in front of the first camera, completely in view.

    `matrix`: camera matrix (3, 3) in pixels.
    """
    turn = rotation_from_angles(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
    poses = [
        replace(hand.pose, rotation=turn @ hand.pose.rotation, translation=hand.pose.translation @ turn.T)
        for hand in motion.hands
    ]
    pairs = list(zip(motion.hands, poses, strict=True))
    points = np.concatenate([hand.rig.keypoints(pose).reshape(-1, 3) for hand, pose in pairs])
    nearest = min(points[:, 2].min(), *(_elbow(hand.rig, pose)[:, 2].min() for hand, pose in pairs))
    middle = (points[:, 2].min() + points[:, 2].max()) / 2
    depth = max(float(drawn["distance"]), _MIN_DISTANCE_M + middle - nearest)
    move = _move_into_view(points, depth, matrix, size, np.zeros(2), float(drawn["cut"]))
    moved = [replace(hand, pose=replace(pose, translation=pose.translation + move)) for hand, pose in pairs]
    return replace(motion, hands=tuple(moved))


def occluders(
    rigs: Sequence[Rig], poses: Sequence[RigPose], count: int, first: int, rng: np.random.Generator
) -> list[Drawable]:
    """Return objects between the first camera and some keypoints of hands of one frame."""
    if not rigs:
        return []
    points = np.concatenate([rig.keypoints(pose)[0] for rig, pose in zip(rigs, poses, strict=True)])
    drawables: list[Drawable] = []
    for number in range(count):
        own = np.random.default_rng(rng.integers(1 << 62))
        behind = points[own.integers(len(points))]
        size, before = (float(own.uniform(*limits)) for limits in _OCCLUDER_M)
        ray = behind / np.linalg.norm(behind)
        drawables.append(occluder(own, behind - ray * min(before, behind[2] / 2), size, first + number))
    return drawables


def _elbow(rig: Rig, pose: RigPose) -> FloatArray:
    """Return the end (N, 3) of a straight forearm."""
    return pose.translation + _FOREARM_M * (pose.rotation @ rig.frames[0][:, 2])


def _move_into_view(
    points: FloatArray, depth: float, matrix: FloatArray, size: tuple[int, int], position: FloatArray, crop_share: float
) -> FloatArray:
    """Return the translation (3,) that moves points (N, 3) in front of the camera to a position in its image.

    `points`: points (N, 3) in metres; `matrix`: camera matrix (3, 3); `position`: position (2,), -1 to 1: between the
    edges at which they are still in view; `crop_share`: share of them that may leave the image, 0 to 1.
    """
    move = np.array([0, 0, depth]) - (points.min(0) + points.max(0)) / 2
    image_size = np.array(size, np.float64)
    for _ in range(_ROUNDS):
        placed = points + move
        projected = placed[:, :2] / placed[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        margin = _SKIN_MARGIN_M * matrix[0, 0] / placed[:, 2:]
        low, high = (projected - margin).min(0), (projected + margin).max(0)
        range_px = np.maximum(image_size / 2 - (high - low) / 2 * (1 - 2 * crop_share), 0)
        move[:2] += (image_size / 2 + position * range_px - (low + high) / 2) * depth / matrix[0, 0]
    return move


@dataclass(frozen=True)
class SceneSampler:
    """Sampler of scenes."""

    factors: Factors  # factors and their distributions
    seed: int  # seed of all random choices
    rig: RigKind  # kind of camera rig
    views: int  # number of cameras
    size: tuple[int, int]  # width and height of each image
    images: BackgroundFolder | None = None  # images to cut backgrounds from; None for procedural ones
    motions: NamedMotions | VideoMotion | None = None  # motions of sequences; None for stills
    files: HandFiles | None = None  # files of the user's own hands; None for the catalog's rig

    def make(self, index: int) -> Iterator[Scene]:
        """Yield the scenes of an index."""
        drawn = dict(self.factors.draw(self.seed, index))
        if self.images is not None:
            drawn["background"] = FOLDER
        if self.motions is None:
            yield self._still(drawn, index)
        else:
            yield from self._sequence(self.motions, drawn, index)

    def _still(self, drawn: dict[str, Value], index: int) -> Scene:
        empty = self._empty_scene(drawn, index)
        shape = person_shape(drawn, self._rng("shape", int(drawn["person"])))
        rigs = [rig_from_shape(side, shape, self.files) for side in sides_of(drawn)]
        poses, grasped = pose_hands(rigs, drawn, self._rng("pose", index))
        spread = 1.0 if self.rig == "webcam" else _MAX_SPREAD
        poses = place_hands(rigs, poses, empty.cameras[0].K, self.size, drawn, self._rng("place", index), spread)
        hands = [self._hand(rig, shape, pose, drawn, index) for rig, pose in zip(rigs, poses, strict=True)]
        objects: list[Drawable] = []
        if grasped is not None:
            item, turn = look_up("object", SCENE_OBJECTS, str(drawn["held"])), poses[0].rotation[0]
            place = poses[0].translation[0] + turn @ grasped.place
            material = sample_material(item.surfaces, self._rng("held", index))
            objects.append(drawable_from_solid(item.solid, turn @ grasped.rotation, place, material, FIRST_OBJECT))
        first, rng = FIRST_OBJECT + len(objects), self._rng("occluders", index)
        objects += occluders(rigs, poses, int(drawn["occluders"]), first, rng)
        return replace(empty, hands=tuple(hands), objects=tuple(objects))

    def _sequence(self, motions: NamedMotions | VideoMotion, drawn: dict[str, Value], index: int) -> Iterator[Scene]:
        shape = person_shape(drawn, self._rng("shape", int(drawn["person"])))
        motion = motions.make(shape, self._rng("motion", index))
        if motion.camera is not None:
            scale = max(self.size) / (2 * max(motion.camera.cx, motion.camera.cy))
            drawn["view_deg"] = round(math.degrees(2 * math.atan(max(self.size) / 2 / (motion.camera.fx * scale))), 4)
        else:
            motion = place_motion(motion, self._empty_scene(drawn, index).cameras[0].K, self.size, drawn)
        empty = self._empty_scene(drawn, index)
        number = f"{index:04d}_{motion.name}"
        for frame, time in enumerate(motion.times.tolist()):
            hands = [
                self._hand(hand.rig, hand.shape, hand.pose[hand.rows[frame]], drawn, index)
                for hand in motion.hands
                if frame in hand.rows
            ]
            seed = empty.seed + frame + 1
            yield replace(empty, hands=tuple(hands), sequence=number, frame=frame, time_s=time, seed=seed)

    def _empty_scene(self, drawn: dict[str, Value], index: int) -> Scene:
        """Return a scene with light, background and cameras only."""
        middle = np.array([0.0, 0, float(drawn["distance"])])
        cameras = camera_rig(self.rig, self.views, self.size, float(drawn["view_deg"]), middle)
        kind = cast("BackgroundKind", drawn["background"])
        rngs = [self._rng("background", index, view) for view in range(self.views)]
        backgrounds = [
            draw_background(kind, self.size, rng) if self.images is None else self.images.draw(self.size, rng)
            for rng in rngs
        ]
        return Scene(
            hands=(), objects=(), lighting=light_scene(drawn, self._rng("lights", index)),
            background=tuple(backgrounds), cameras=cameras,
            sizes=(self.size,) * self.views, factors=drawn, seed=int(self._rng("sensor", index).integers(1 << 32)),
        )  # fmt: skip

    def _hand(self, rig: Rig, shape: FloatArray, pose: RigPose, drawn: dict[str, Value], index: int) -> SceneHand:
        person = int(drawn["person"])
        appearance = draw_appearance(drawn, self._rng("skin", person), self._rng("worn", index))
        bend = math.radians(float(drawn["bend_deg"])), 0.0
        return SceneHand(rig.side, shape, pose, appearance, person, bend, self.files)

    def _rng(self, purpose: str, *place: int) -> np.random.Generator:
        """Return the generator of one purpose at one index."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))


def person_shape(drawn: Mapping[str, Value], rng: np.random.Generator) -> FloatArray:
    """Return the shape (36,) of both hands of a person."""
    return rng.normal(size=len(SHAPE_NAMES)).clip(-_MAX_DEVIATIONS, _MAX_DEVIATIONS) * float(drawn["shape_sd"])


def draw_appearance(drawn: Mapping[str, Value], rng: np.random.Generator, worn: np.random.Generator) -> HandAppearance:
    """Draw the appearance of a person's hands in one scene, with a generator of the person and one of the scene."""
    glove, garment = (None if drawn[name] == "none" else str(drawn[name]) for name in ("glove", "sleeve"))
    return HandAppearance(
        tone=int(drawn["tone"]), texture=int(drawn["texture"]), amounts={name: float(drawn[name]) for name in DETAILS},
        glove=glove, rings=tuple(sorted(worn.permutation(5)[: int(drawn["rings"])].tolist())), sleeve=garment,
        seed=float(rng.uniform(0, 100)),
    )  # fmt: skip


def sides_of(drawn: Mapping[str, Value]) -> tuple[Side, ...]:
    """Return the sides of the hands of a still, the first one first."""
    sides: tuple[Side, Side] = ("Left", "Right") if drawn["side"] == "left" else ("Right", "Left")
    return sides[: {"0": 0, "1": 1}.get(str(drawn["hands"]), 2)]
