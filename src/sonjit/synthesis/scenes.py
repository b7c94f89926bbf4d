"""Seed and number → scene: who, which pose, where, in what light, before which cameras.

Whatever is random has a generator of its own, from seed, number and purpose, so that one choice never moves another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

from sonjit.hand_models.rig import RigPose
from sonjit.synthesis.cameras import Rig, camera_rig, turned
from sonjit.synthesis.drawable import Light, Lighting
from sonjit.synthesis.hands import SHAPE_NAMES, keypoints_from_hand
from sonjit.synthesis.scene import HandLook, Scene, SceneHand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Side
    from sonjit.synthesis.factors import Factors, Value

DETAILS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")
_PALM_TO_CAMERA: Final = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
"""Columns: where the wrist's axes (bend, out of the back, back along the hand) point when the palm faces the camera
and the fingers point up."""


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
        hands = self._hands(drawn, index)
        middle = np.array([0.0, 0, float(drawn["distance"])])
        cameras = camera_rig(self.rig, self.views, self.size, float(drawn["view_deg"]), middle)
        hands = self._in_view(hands, drawn, cameras[0].K, index)
        backgrounds = tuple(self._background(index, view) for view in range(self.views))
        lighting = self._lighting(drawn, index)
        return Scene(hands, (), lighting, backgrounds, cameras, (self.size,) * self.views, dict(drawn))

    def rng(self, purpose: str, *place: int) -> np.random.Generator:
        """A generator for one purpose in one place."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))

    def _hands(self, drawn: Mapping[str, Value], index: int) -> tuple[SceneHand, ...]:
        count = drawn["hands"]
        own: Side = "Left" if drawn["side"] == "left" else "Right"
        other: Side = "Right" if own == "Left" else "Left"
        sides: tuple[Side, ...] = () if count == "0" else (own,) if count == "1" else (own, other)
        person = int(drawn["person"])
        rng = self.rng("person", person)
        shape = rng.normal(size=len(SHAPE_NAMES)).clip(-3, 3) * float(drawn["shape_sd"])
        look = HandLook(
            int(drawn["tone"]),
            int(drawn["texture"]),
            {name: float(drawn[name]) for name in DETAILS},
            seed=float(rng.uniform(0, 100)),
        )
        return tuple(
            SceneHand(side, shape, self._pose(side, drawn, index, number), look, person)
            for number, side in enumerate(sides)
        )

    def _pose(self, side: Side, drawn: Mapping[str, Value], index: int, number: int) -> RigPose:
        from sonjit.hand_models.rig import load_rig

        rng = self.rng("pose", index, number)
        angles = np.zeros((1, 5, 3, 3))
        angles[0, :, :, 1] = rng.uniform(0, 1.2, (5, 1)) * np.array([0.9, 1.0, 0.7])
        spread = rng.normal(0, 25, 3) if number else np.zeros(3)
        yaw, pitch, roll = (float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll"))
        mirrored = -1 if side == "Left" else 1
        turn = turned(mirrored * (yaw + spread[0]), pitch + spread[1], mirrored * (roll + spread[2]))
        rotation = turn @ _PALM_TO_CAMERA @ load_rig(side).frames[0].T
        return RigPose(rotation[None], np.zeros((1, 3)), angles)

    def _in_view(
        self, hands: tuple[SceneHand, ...], drawn: Mapping[str, Value], matrix: NDArray[np.float64], index: int
    ) -> tuple[SceneHand, ...]:
        """The hands moved along rays of the first camera so that their keypoints fall into its picture."""
        placed: list[SceneHand] = []
        rng = self.rng("place", index)
        for number, hand in enumerate(hands):
            points = keypoints_from_hand(hand)
            centre = (points.min(axis=0) + points.max(axis=0)) / 2
            depth = float(drawn["distance"]) * (1 + 0.1 * number * rng.normal())
            half = np.ptp(points, axis=0)[:2] / 2 * matrix[0, 0] / depth * 1.25  # px, with room for skin and nearness
            room = np.maximum(np.array(self.size) / 2 - half * (1 - 2 * float(drawn["cut"])), 0)
            offset = rng.uniform(-1, 1, 2) * room
            if len(hands) == 2:
                offset[0] = (abs(offset[0]) / 2 + room[0] / 2) * (1 if number else -1)
            move = np.append(offset / matrix[0, 0] * depth, depth) - centre
            placed.append(SceneHand(hand.side, hand.shape, hand.pose.moved(move[None]), hand.look, hand.person))
        return tuple(placed)

    def _lighting(self, drawn: Mapping[str, Value], index: int) -> Lighting:
        rng = self.rng("lights", index)
        lights: list[Light] = []
        warm = float(drawn["warmth"])
        for number in range(3):
            across, up = rng.uniform(-1.2, 1.2), rng.uniform(0.1, 1.3)
            direction = np.array([np.sin(across) * np.cos(up), -np.sin(up), -np.cos(across) * np.cos(up)])
            strength = float(drawn["light"]) * (1 if number == 0 else rng.uniform(0.15, 0.5))
            tint = warm + rng.normal(0, 0.15)
            colour = (strength * (1 + 0.18 * tint), strength, strength * (1 - 0.22 * tint))
            lights.append(Light(_triple(direction), _triple(colour), shadows=number == 0 and bool(drawn["shadows"])))
        ambient = rng.uniform(0.1, 0.35) * np.array([1 + 0.05 * warm, 1, 1 - 0.06 * warm])
        return Lighting(tuple(lights[: int(drawn["lights"])]), _triple(ambient))

    def _background(self, index: int, view: int) -> NDArray[np.uint8]:
        rng = self.rng("background", index, view)
        return rng.integers(30, 220, (4, 4, 3), np.uint8)


def _triple(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
