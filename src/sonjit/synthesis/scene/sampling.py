"""Seed and number → scenes: who, which pose, where, in what light, before which cameras.

A number stands for one still, or for a sequence of as many scenes as it has frames. Whatever is random has a generator
of its own, from seed, number and purpose, so that one choice never moves another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast
from zlib import crc32

import numpy as np

from sonjit.arrays import FloatArray, Image
from sonjit.hand_models.rig import Rig, RigPose, Side
from sonjit.synthesis.hands.hands import SceneHand
from sonjit.synthesis.hands.mesh import HandFiles
from sonjit.synthesis.hands.person import SHAPE_NAMES, HandLook, rig_from_shape
from sonjit.synthesis.render.drawable import Drawable
from sonjit.synthesis.scene.backgrounds import BackgroundFolder, BackgroundKind, draw_background
from sonjit.synthesis.scene.factors import DETAILS, FOLDER, Factors, Value
from sonjit.synthesis.scene.hand_poses import Grasp, pose_hands
from sonjit.synthesis.scene.motions import MotionSource
from sonjit.synthesis.scene.placement import FIRST_OBJECT, held_drawable, occluders, place_hands, place_motion
from sonjit.synthesis.scene.scene import RigKind, Scene, camera_rig, light_scene

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
