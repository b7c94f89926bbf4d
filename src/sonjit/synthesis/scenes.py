"""Seed and number → scene: who, which pose, where, in what light, before which cameras.

Whatever is random has a generator of its own, from seed, number and purpose, so that one choice never moves another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from zlib import crc32

import numpy as np

from sonjit.synthesis.backgrounds import draw_background
from sonjit.synthesis.cameras import camera_rig
from sonjit.synthesis.factor_table import DETAILS, FOLDER
from sonjit.synthesis.lamps import light_scene
from sonjit.synthesis.placing import OBJECTS, held_drawable, occluders, place_hands
from sonjit.synthesis.posing import pose_hands
from sonjit.synthesis.scene import HandLook, Scene, SceneHand
from sonjit.synthesis.shape import rig_from_shape
from sonjit.synthesis.shape_names import SHAPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, RigPose, Side
    from sonjit.synthesis.backgrounds import BackgroundFolder, Kind
    from sonjit.synthesis.cameras import Rig as CameraRig
    from sonjit.synthesis.drawable import Drawable
    from sonjit.synthesis.factors import Factors, Value
    from sonjit.synthesis.grasps import Grasp

_SPREAD: Final = 0.1
"""How far from the middle hands stand before many cameras."""


@dataclass(frozen=True)
class SceneMaker:
    """Makes scenes.

    Attributes:
        factors: how they are drawn.
        seed: of all.
        rig: of cameras.
        views: how many.
        size: width and height of each picture.
        pictures: to cut backgrounds from; None makes them up.
    """

    factors: Factors
    seed: int
    rig: CameraRig
    views: int
    size: tuple[int, int]
    pictures: BackgroundFolder | None = None

    def make(self, index: int) -> Scene:
        """One scene."""
        drawn = dict(self.factors.draw(self.seed, index))
        if self.pictures is not None:
            drawn["background"] = FOLDER
        middle = np.array([0.0, 0, float(drawn["distance"])])
        cameras = camera_rig(self.rig, self.views, self.size, float(drawn["view_deg"]), middle)
        shape, look = self._person(drawn, index)
        rigs = [rig_from_shape(side, shape) for side in _sides(drawn)]
        poses, held = pose_hands(rigs, drawn, self._rng("pose", index))
        spread = 1.0 if self.rig == "webcam" else _SPREAD
        poses = place_hands(rigs, poses, cameras[0].K, self.size, drawn, self._rng("place", index), spread=spread)
        person, bend = int(drawn["person"]), (math.radians(float(drawn["bend_deg"])), 0.0)
        return Scene(
            hands=tuple(
                SceneHand(rig.side, shape, pose, look, person, bend) for rig, pose in zip(rigs, poses, strict=True)
            ),
            objects=tuple(self._objects(rigs, poses, held, drawn, index)),
            lighting=light_scene(drawn, self._rng("lights", index)),
            background=tuple(self._background(drawn, index, view) for view in range(self.views)),
            cameras=cameras,
            sizes=(self.size,) * self.views,
            factors=drawn,
            seed=int(self._rng("sensor", index).integers(1 << 32)),
        )

    def _person(self, drawn: Mapping[str, Value], index: int) -> tuple[NDArray[np.float64], HandLook]:
        """A person's shape and skin, and what is worn in a scene."""
        rng, worn = self._rng("person", int(drawn["person"])), self._rng("worn", index)
        shape = rng.normal(size=len(SHAPE_NAMES)).clip(-3, 3) * float(drawn["shape_sd"])
        fingers = worn.permutation(5)[: int(drawn["rings"])].tolist()
        look = HandLook(
            tone=int(drawn["tone"]),
            texture=int(drawn["texture"]),
            amounts={name: float(drawn[name]) for name in DETAILS},
            glove=_named(drawn["glove"]),
            rings=tuple(sorted(fingers)),
            sleeve=_named(drawn["sleeve"]),
            seed=float(rng.uniform(0, 100)),
        )
        return shape, look

    def _objects(
        self, rigs: list[Rig], poses: list[RigPose], held: Grasp | None, drawn: Mapping[str, Value], index: int
    ) -> list[Drawable]:
        """What the hands hold, and what stands before them."""
        things: list[Drawable] = []
        if held is not None:
            things.append(held_drawable(poses[0], held, str(drawn["held"]), self._rng("held", index)))
        rng = self._rng("occluders", index)
        return [*things, *occluders(rigs, poses, int(drawn["occluders"]), OBJECTS + len(things), rng)]

    def _background(self, drawn: Mapping[str, Value], index: int, view: int) -> NDArray[np.uint8]:
        rng = self._rng("background", index, view)
        if self.pictures is not None:
            return self.pictures.draw(self.size, rng)
        kind = cast("Kind", drawn["background"])
        return draw_background(kind, self.size, rng)

    def _rng(self, purpose: str, *place: int) -> np.random.Generator:
        """A generator for one purpose in one place."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))


def _named(value: Value) -> str | None:
    return None if value == "none" else str(value)


def _sides(drawn: Mapping[str, Value]) -> tuple[Side, ...]:
    own: Side = "Left" if drawn["side"] == "left" else "Right"
    other: Side = "Right" if own == "Left" else "Left"
    match drawn["hands"]:
        case "0":
            return ()
        case "1":
            return (own,)
        case _:
            return own, other
