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

from sonjit._util.arrays import FloatArray, Image
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.hand_models.rig import Rig, RigPose, Side
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.backgrounds import BackgroundFolder, BackgroundKind, draw_background
from sonjit.lab.synthesis.drawable import Drawable, Light, Lighting
from sonjit.lab.synthesis.factors import DETAILS, FOLDER, Factors, Value
from sonjit.lab.synthesis.hands import SceneHand
from sonjit.lab.synthesis.mesh import HandFiles
from sonjit.lab.synthesis.motions import HandMotion, NamedMotions, VideoMotion
from sonjit.lab.synthesis.objects import SCENE_OBJECTS, drawable_from_solid, occluder, sample_material
from sonjit.lab.synthesis.person import SHAPE_NAMES, HandAppearance, rig_from_shape
from sonjit.lab.synthesis.poses import Grasp, pose_hands, rotation_from_angles

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
    *,
    matrix: FloatArray,
    size: tuple[int, int],
    drawn: Mapping[str, Value],
    rng: np.random.Generator,
    spread: float,
) -> list[RigPose]:
    """Move hands in front of the first camera so that their keypoints fall into its image; touching hands stay
    in contact.

    Args:
        rigs: Rigs of the hands.
        poses: Poses of the hands, N frames each.
        matrix: Camera matrix (3, 3) in pixels.
        size: Width and height of its image.
        drawn: Values of the factors `distance` and `cut`.
        rng: Generator of the position in the image.
        spread: 0 places them in the middle of the image, 1 anywhere.
    """
    points = [rig.keypoints(pose).reshape(-1, 3) for rig, pose in zip(rigs, poses, strict=True)]
    nearest = [
        min(float(own[:, 2].min()), float(_elbow(rig, pose)[:, 2].min()))
        for rig, pose, own in zip(rigs, poses, points, strict=True)
    ]
    crop_share, distance = float(drawn["cut"]), float(drawn["distance"])
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
        middle = (own[:, 2].min() + own[:, 2].max()) / 2
        move = _move_into_view(
            own,
            max(depth, _MIN_DISTANCE_M + middle - near),
            matrix,
            size=size,
            position=position,
            crop_share=crop_share,
        )
        placed.append(replace(pose, translation=pose.translation + move))
    return placed


def place_motion(
    motion: HandMotion, matrix: FloatArray, size: tuple[int, int], drawn: Mapping[str, Value]
) -> HandMotion:
    """Rotate a motion by the factors and move it in front of the first camera, completely in view.

    Args:
        motion: Motion relative to the point in front of a person's chest.
        matrix: Camera matrix (3, 3) in pixels.
        size: Width and height of its image.
        drawn: Values of the factors.
    """
    turn = rotation_from_angles(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
    poses = [
        replace(hand.pose, rotation=turn @ hand.pose.rotation, translation=hand.pose.translation @ turn.T)
        for hand in motion.hands
    ]
    points = [item.rig.keypoints(pose).reshape(-1, 3) for item, pose in zip(motion.hands, poses, strict=True)]
    all_points = np.concatenate(points)
    elbows = np.concatenate([_elbow(item.rig, pose) for item, pose in zip(motion.hands, poses, strict=True)])
    middle = (all_points[:, 2].min() + all_points[:, 2].max()) / 2
    depth = max(float(drawn["distance"]), _MIN_DISTANCE_M + middle - min(all_points[:, 2].min(), elbows[:, 2].min()))
    move = _move_into_view(all_points, depth, matrix, size=size, position=np.zeros(2), crop_share=float(drawn["cut"]))
    hands = [
        replace(item, pose=replace(pose, translation=pose.translation + move))
        for item, pose in zip(motion.hands, poses, strict=True)
    ]
    return replace(motion, hands=tuple(hands))


def grasped_drawable(pose: RigPose, grasped: Grasp, name: str, rng: np.random.Generator) -> Drawable:
    """Return the object in a hand of one frame."""
    item = look_up("object", SCENE_OBJECTS, name)
    turn = pose.rotation[0]
    place = pose.translation[0] + turn @ grasped.place
    return drawable_from_solid(
        item.solid, turn @ grasped.rotation, place, sample_material(item.surfaces, rng), FIRST_OBJECT
    )


def occluders(
    rigs: Sequence[Rig], poses: Sequence[RigPose], count: int, first: int, rng: np.random.Generator
) -> list[Drawable]:
    """Return objects between the first camera and some keypoints of hands of one frame.

    Args:
        rigs: Rigs of the hands.
        poses: Poses of the hands.
        count: Number of objects.
        first: Instance of the first object.
        rng: Generator of positions and kinds.
    """
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
    points: FloatArray,
    depth: float,
    matrix: FloatArray,
    *,
    size: tuple[int, int],
    position: FloatArray,
    crop_share: float,
) -> FloatArray:
    """Return the translation (3,) that moves points (N, 3) in front of the camera to a position in its image.

    Args:
        points: Points (N, 3) in metres.
        depth: Depth of their middle.
        matrix: Camera matrix (3, 3).
        size: Width and height of the image.
        position: Position (2,), -1 to 1: between the edges at which they are still in view.
        crop_share: Share of them that may leave the image, 0 to 1.
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
    """Sampler of scenes.

    Attributes:
        factors: Factors and their distributions.
        seed: Seed of all random choices.
        rig: Kind of camera rig.
        views: Number of cameras.
        size: Width and height of each image.
        images: Images to cut backgrounds from; None for procedural ones.
        motions: Motions of sequences; None for stills.
        files: Files of the user's own hands; None for the catalog's rig.
    """

    factors: Factors
    seed: int
    rig: RigKind
    views: int
    size: tuple[int, int]
    images: BackgroundFolder | None = None
    motions: NamedMotions | VideoMotion | None = None
    files: HandFiles | None = None

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
        matrix = empty.cameras[0].K
        poses = place_hands(
            rigs, poses, matrix=matrix, size=self.size, drawn=drawn, rng=self._rng("place", index), spread=spread
        )
        hands = [self._hand(rig, shape, pose, drawn, index) for rig, pose in zip(rigs, poses, strict=True)]
        return replace(empty, hands=tuple(hands), objects=tuple(self._objects(rigs, poses, grasped, drawn, index)))

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
        return Scene(
            hands=(),
            objects=(),
            lighting=light_scene(drawn, self._rng("lights", index)),
            background=tuple(self._background(drawn, index, view) for view in range(self.views)),
            cameras=cameras,
            sizes=(self.size,) * self.views,
            factors=drawn,
            seed=int(self._rng("sensor", index).integers(1 << 32)),
        )

    def _hand(self, rig: Rig, shape: FloatArray, pose: RigPose, drawn: dict[str, Value], index: int) -> SceneHand:
        person = int(drawn["person"])
        appearance = draw_appearance(drawn, self._rng("skin", person), self._rng("worn", index))
        bend = math.radians(float(drawn["bend_deg"])), 0.0
        return SceneHand(
            side=rig.side, shape=shape, pose=pose, appearance=appearance, person=person, bend=bend, files=self.files
        )

    def _objects(
        self, rigs: list[Rig], poses: list[RigPose], grasped: Grasp | None, drawn: dict[str, Value], index: int
    ) -> list[Drawable]:
        """Return held objects and occluders."""
        objects: list[Drawable] = []
        if grasped is not None:
            objects.append(grasped_drawable(poses[0], grasped, str(drawn["held"]), self._rng("held", index)))
        rng = self._rng("occluders", index)
        return [*objects, *occluders(rigs, poses, int(drawn["occluders"]), FIRST_OBJECT + len(objects), rng)]

    def _background(self, drawn: dict[str, Value], index: int, view: int) -> Image:
        rng = self._rng("background", index, view)
        if self.images is not None:
            return self.images.draw(self.size, rng)
        kind = cast("BackgroundKind", drawn["background"])
        return draw_background(kind, self.size, rng)

    def _rng(self, purpose: str, *place: int) -> np.random.Generator:
        """Return the generator of one purpose at one index."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))


def person_shape(drawn: Mapping[str, Value], rng: np.random.Generator) -> FloatArray:
    """Return the shape (36,) of both hands of a person."""
    return rng.normal(size=len(SHAPE_NAMES)).clip(-_MAX_DEVIATIONS, _MAX_DEVIATIONS) * float(drawn["shape_sd"])


def draw_appearance(drawn: Mapping[str, Value], rng: np.random.Generator, worn: np.random.Generator) -> HandAppearance:
    """Draw the appearance of a person's hands in one scene.

    Args:
        drawn: Values of the factors.
        rng: Generator of the person.
        worn: Generator of the scene.
    """
    return HandAppearance(
        tone=int(drawn["tone"]),
        texture=int(drawn["texture"]),
        amounts={name: float(drawn[name]) for name in DETAILS},
        glove=_name_or_none(drawn["glove"]),
        rings=tuple(sorted(worn.permutation(5)[: int(drawn["rings"])].tolist())),
        sleeve=_name_or_none(drawn["sleeve"]),
        seed=float(rng.uniform(0, 100)),
    )


def sides_of(drawn: Mapping[str, Value]) -> tuple[Side, ...]:
    """Return the sides of the hands of a still, the first one first."""
    own: Side = "Left" if drawn["side"] == "left" else "Right"
    other: Side = "Right" if own == "Left" else "Left"
    match drawn["hands"]:
        case "0":
            return ()
        case "1":
            return (own,)
        case _:
            return own, other


def _name_or_none(value: Value) -> str | None:
    return None if value == "none" else str(value)
