"""Seed and number → scene: who, which pose, where, in what light, before which cameras.

Whatever is random has a generator of its own, from seed, number and purpose, so that one choice never moves another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

from sonjit.synthesis.cameras import Rig, camera_rig
from sonjit.synthesis.lamps import light_scene
from sonjit.synthesis.posing import place_hands, pose_hands
from sonjit.synthesis.scene import HandLook, Scene, SceneHand
from sonjit.synthesis.shape import rig_from_shape
from sonjit.synthesis.shape_names import SHAPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Side
    from sonjit.synthesis.factors import Factors, Value

DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
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
    """

    factors: Factors
    seed: int
    rig: Rig
    views: int
    size: tuple[int, int]

    def make(self, index: int) -> Scene:
        """One scene."""
        drawn = self.factors.draw(self.seed, index)
        middle = np.array([0.0, 0, float(drawn["distance"])])
        cameras = camera_rig(self.rig, self.views, self.size, float(drawn["view_deg"]), middle)
        shape, look = self._person(drawn)
        rigs = [rig_from_shape(side, shape) for side in _sides(drawn)]
        poses = pose_hands(rigs, drawn, self._rng("pose", index))
        spread = 1.0 if self.rig == "webcam" else _SPREAD
        poses = place_hands(rigs, poses, cameras[0].K, self.size, drawn, self._rng("place", index), spread=spread)
        person = int(drawn["person"])
        return Scene(
            hands=tuple(SceneHand(rig.side, shape, pose, look, person) for rig, pose in zip(rigs, poses, strict=True)),
            objects=(),
            lighting=light_scene(drawn, self._rng("lights", index)),
            background=tuple(self._background(index, view) for view in range(self.views)),
            cameras=cameras,
            sizes=(self.size,) * self.views,
            factors=dict(drawn),
        )

    def _person(self, drawn: Mapping[str, Value]) -> tuple[NDArray[np.float64], HandLook]:
        """A person's shape and skin."""
        rng = self._rng("person", int(drawn["person"]))
        shape = rng.normal(size=len(SHAPE_NAMES)).clip(-3, 3) * float(drawn["shape_sd"])
        amounts = {name: float(drawn[name]) for name in DETAILS}
        return shape, HandLook(int(drawn["tone"]), int(drawn["texture"]), amounts, seed=float(rng.uniform(0, 100)))

    def _background(self, index: int, view: int) -> NDArray[np.uint8]:
        return self._rng("background", index, view).integers(30, 220, (4, 4, 3), np.uint8)

    def _rng(self, purpose: str, *place: int) -> np.random.Generator:
        """A generator for one purpose in one place."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))


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
