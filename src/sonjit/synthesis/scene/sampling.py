"""Seed and number → scenes: who, which pose, where before which cameras, what else is there, in what light.

A number means one still, or a sequence of as many scenes as it has frames. Whatever is random has a generator of its
own, from seed, number and purpose, so that one choice never moves another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast
from zlib import crc32

import numpy as np

from sonjit.arrays import FloatArray, Image
from sonjit.hand_models.rig import Rig, RigPose, Side
from sonjit.synthesis import look_up
from sonjit.synthesis.hands.hands import SceneHand
from sonjit.synthesis.hands.mesh import HandFiles
from sonjit.synthesis.hands.person import SHAPE_NAMES, HandLook, rig_from_shape
from sonjit.synthesis.render.drawable import Drawable
from sonjit.synthesis.scene.backgrounds import BackgroundFolder, BackgroundKind, draw_background
from sonjit.synthesis.scene.factors import DETAILS, FOLDER, Factors, Value
from sonjit.synthesis.scene.hand_poses import Grasp, pose_hands
from sonjit.synthesis.scene.motions import HandMotion, MotionSource
from sonjit.synthesis.scene.objects import SCENE_OBJECTS, drawable_from_solid, occluder, sample_material
from sonjit.synthesis.scene.scene import RigKind, Scene, camera_rig, light_scene, turned

FIRST_OBJECT: Final = 200
"""Instance of the first object."""
_ROOM_M: Final = 0.012
"""Of skin beyond the keypoints."""
_NEAREST_M: Final = 0.1
"""What no part of a hand or forearm comes nearer to the camera than."""
_FOREARM_M: Final = 0.26
_OCCLUDER_M: Final = ((0.05, 0.12), (0.06, 0.15))
"""An occluder's size, and how far in front of a hand's keypoint it is."""
_ROUNDS: Final = 3


def place_hands(
    rigs: Sequence[Rig],
    poses: Sequence[RigPose],
    matrix: FloatArray,
    size: tuple[int, int],
    drawn: Mapping[str, Value],
    rng: np.random.Generator,
    *,
    spread: float,
) -> list[RigPose]:
    """Hands moved before the first camera so that their keypoints fall into its image, touching ones together.

    Args:
        rigs: of the hands.
        poses: of the hands, N frames each.
        matrix: (3, 3) of the camera, pixels.
        size: width and height of its image.
        drawn: the factors: how far, and how much may be cut off.
        rng: where in the image.
        spread: 0 puts them in the middle of the image, 1 anywhere.
    """
    points = [rig.keypoints(pose).reshape(-1, 3) for rig, pose in zip(rigs, poses, strict=True)]
    nearest = [
        min(float(own[:, 2].min()), float(_elbow(rig, pose)[:, 2].min()))
        for rig, pose, own in zip(rigs, poses, points, strict=True)
    ]
    cut, distance = float(drawn["cut"]), float(drawn["distance"])
    if drawn["hands"] == "interacting":
        points, nearest = [np.concatenate(points)] * 2, [min(nearest)] * 2
    placed: list[RigPose] = []
    spot = rng.uniform(-1, 1, 2) * spread
    depth = distance
    for number, (pose, own, near) in enumerate(zip(poses, points, nearest, strict=True)):
        if drawn["hands"] == "2":
            spot = rng.uniform(-1, 1, 2) * spread
            spot[0] = (0.6 + 0.4 * abs(spot[0])) * (1 if number else -1)
            depth = distance * (1 + (0.08 * rng.normal() if number else 0))
        middle = (own[:, 2].min() + own[:, 2].max()) / 2
        move = _move_into_view(own, max(depth, _NEAREST_M + middle - near), matrix, size, spot, cut)
        placed.append(replace(pose, translation=pose.translation + move))
    return placed


def place_motion(
    motion: HandMotion, matrix: FloatArray, size: tuple[int, int], drawn: Mapping[str, Value]
) -> HandMotion:
    """A motion turned as the factors say and moved before the first camera, all of it in view.

    Args:
        motion: about the point before a person's chest.
        matrix: (3, 3) of the camera, pixels.
        size: width and height of its image.
        drawn: the factors.
    """
    turn = turned(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
    poses = [
        replace(one.pose, rotation=turn @ one.pose.rotation, translation=one.pose.translation @ turn.T)
        for one in motion.hands
    ]
    points = [one.rig.keypoints(pose).reshape(-1, 3) for one, pose in zip(motion.hands, poses, strict=True)]
    whole = np.concatenate(points)
    elbows = np.concatenate([_elbow(one.rig, pose) for one, pose in zip(motion.hands, poses, strict=True)])
    middle = (whole[:, 2].min() + whole[:, 2].max()) / 2
    depth = max(float(drawn["distance"]), _NEAREST_M + middle - min(whole[:, 2].min(), elbows[:, 2].min()))
    move = _move_into_view(whole, depth, matrix, size, np.zeros(2), float(drawn["cut"]))
    hands = [
        replace(one, pose=replace(pose, translation=pose.translation + move))
        for one, pose in zip(motion.hands, poses, strict=True)
    ]
    return replace(motion, hands=tuple(hands))


def held_drawable(pose: RigPose, held: Grasp, name: str, rng: np.random.Generator) -> Drawable:
    """The thing in a hand of one frame."""
    item = look_up("object", SCENE_OBJECTS, name)
    turn = pose.rotation[0]
    place = pose.translation[0] + turn @ held.place
    return drawable_from_solid(
        item.solid, turn @ held.rotation, place, sample_material(item.surfaces, rng), FIRST_OBJECT
    )


def occluders(
    rigs: Sequence[Rig], poses: Sequence[RigPose], count: int, first: int, rng: np.random.Generator
) -> list[Drawable]:
    """Things between the first camera and some keypoints of hands of one frame.

    Args:
        rigs: of the hands.
        poses: of the hands.
        count: how many things.
        first: instance of the first.
        rng: where, and which.
    """
    if not rigs:
        return []
    points = np.concatenate([rig.keypoints(pose)[0] for rig, pose in zip(rigs, poses, strict=True)])
    made: list[Drawable] = []
    for number in range(count):
        own = np.random.default_rng(rng.integers(1 << 62))
        behind = points[own.integers(len(points))]
        size, before = (float(own.uniform(*limits)) for limits in _OCCLUDER_M)
        way = behind / np.linalg.norm(behind)
        made.append(occluder(own, behind - way * min(before, behind[2] / 2), size, first + number))
    return made


def _elbow(rig: Rig, pose: RigPose) -> FloatArray:
    """(N, 3) where a forearm ends that carries on straight."""
    return pose.translation + _FOREARM_M * (pose.rotation @ rig.frames[0][:, 2])


def _move_into_view(
    points: FloatArray, depth: float, matrix: FloatArray, size: tuple[int, int], spot: FloatArray, cut: float
) -> FloatArray:
    """(3,) what brings points (N, 3) before the camera to a spot of its image.

    Args:
        points: metres.
        depth: of their middle.
        matrix: of the camera.
        size: of the image.
        spot: (2,) -1 to 1: from one edge at which they are still in view to the other.
        cut: 0 to 1: how much of them may leave the image.
    """
    move = np.array([0, 0, depth]) - (points.min(0) + points.max(0)) / 2
    whole = np.array(size, np.float64)
    for _ in range(_ROUNDS):
        placed = points + move
        seen = placed[:, :2] / placed[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        room = _ROOM_M * matrix[0, 0] / placed[:, 2:]
        low, high = (seen - room).min(0), (seen + room).max(0)
        reach = np.maximum(whole / 2 - (high - low) / 2 * (1 - 2 * cut), 0)
        move[:2] += (whole / 2 + spot * reach - (low + high) / 2) * depth / matrix[0, 0]
    return move


_SPREAD: Final = 0.1
"""How far from the middle hands are when seen by many cameras."""


@dataclass(frozen=True)
class SceneSampler:
    """Samples scenes.

    Attributes:
        factors: how they are drawn.
        seed: of all.
        rig: of cameras.
        views: how many.
        size: width and height of each image.
        images: to cut backgrounds from; None for procedural ones.
        motions: of sequences; None for stills.
        files: the user's own hands; None for the catalog's.
    """

    factors: Factors
    seed: int
    rig: RigKind
    views: int
    size: tuple[int, int]
    images: BackgroundFolder | None = None
    motions: MotionSource | None = None
    files: HandFiles | None = None

    def make(self, index: int) -> Iterator[Scene]:
        """The scenes that a number stands for."""
        drawn = dict(self.factors.draw(self.seed, index))
        if self.images is not None:
            drawn["background"] = FOLDER
        if self.motions is None:
            yield self._still(drawn, index)
        else:
            yield from self._sequence(self.motions, drawn, index)

    def _still(self, drawn: dict[str, Value], index: int) -> Scene:
        bare = self._bare(drawn, index)
        shape = person_shape(drawn, self._rng("shape", int(drawn["person"])))
        rigs = [rig_from_shape(side, shape, self.files) for side in sides_of(drawn)]
        poses, held = pose_hands(rigs, drawn, self._rng("pose", index))
        spread = 1.0 if self.rig == "webcam" else _SPREAD
        matrix = bare.cameras[0].K
        poses = place_hands(rigs, poses, matrix, self.size, drawn, self._rng("place", index), spread=spread)
        hands = [self._hand(rig, shape, pose, drawn, index) for rig, pose in zip(rigs, poses, strict=True)]
        return replace(bare, hands=tuple(hands), objects=tuple(self._objects(rigs, poses, held, drawn, index)))

    def _sequence(self, motions: MotionSource, drawn: dict[str, Value], index: int) -> Iterator[Scene]:
        shape = person_shape(drawn, self._rng("shape", int(drawn["person"])))
        motion = motions.make(shape, self._rng("motion", index))
        if motion.camera is not None:
            scale = max(self.size) / (2 * max(motion.camera.cx, motion.camera.cy))
            drawn["view_deg"] = round(math.degrees(2 * math.atan(max(self.size) / 2 / (motion.camera.fx * scale))), 4)
        else:
            motion = place_motion(motion, self._bare(drawn, index).cameras[0].K, self.size, drawn)
        bare = self._bare(drawn, index)
        number = f"{index:04d}_{motion.name}"
        for frame, time in enumerate(motion.times.tolist()):
            hands = [
                self._hand(one.rig, one.shape, one.pose[one.rows[frame]], drawn, index)
                for one in motion.hands
                if frame in one.rows
            ]
            seed = bare.seed + frame + 1
            yield replace(bare, hands=tuple(hands), sequence=number, frame=frame, time_s=time, seed=seed)

    def _bare(self, drawn: dict[str, Value], index: int) -> Scene:
        """Light, background and cameras."""
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
        look = hand_look(drawn, self._rng("skin", person), self._rng("worn", index))
        bend = math.radians(float(drawn["bend_deg"])), 0.0
        return SceneHand(rig.side, shape, pose, look, person, bend, self.files)

    def _objects(
        self, rigs: list[Rig], poses: list[RigPose], held: Grasp | None, drawn: dict[str, Value], index: int
    ) -> list[Drawable]:
        """What the hands hold, and what is in front of them."""
        things: list[Drawable] = []
        if held is not None:
            things.append(held_drawable(poses[0], held, str(drawn["held"]), self._rng("held", index)))
        rng = self._rng("occluders", index)
        return [*things, *occluders(rigs, poses, int(drawn["occluders"]), FIRST_OBJECT + len(things), rng)]

    def _background(self, drawn: dict[str, Value], index: int, view: int) -> Image:
        rng = self._rng("background", index, view)
        if self.images is not None:
            return self.images.draw(self.size, rng)
        kind = cast("BackgroundKind", drawn["background"])
        return draw_background(kind, self.size, rng)

    def _rng(self, purpose: str, *place: int) -> np.random.Generator:
        """A generator for one purpose in one place."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))


_MOST_SD = 3.0


def person_shape(drawn: Mapping[str, Value], rng: np.random.Generator) -> FloatArray:
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
