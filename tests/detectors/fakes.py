"""Instances made of plain numbers, and a detector kind that reads them from an array instead of an image."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sonjit.detectors.interfaces import Kind
from sonjit.geometry.boxes import RotatedBox

SHAPE = np.random.default_rng(1).uniform(-0.5, 0.5, (21, 3)).astype(np.float32)
SHAPE[:2, :2] = [[-0.5, -0.5], [0.5, 0.5]]  # so that its long side is 1


@dataclass(frozen=True, eq=False)
class Seen:
    """Observation of the shape at a position."""

    score: float
    keypoints: np.ndarray
    keypoints_3d: np.ndarray
    left: float | None = None
    colours: np.ndarray | None = None


def seen_at(x, y=0.0, *, size=100.0, left=None, score=0.9, colours=None):
    keypoints = SHAPE * size + np.array([x, y, 0], np.float32)
    return Seen(score, keypoints, SHAPE * 0.1, left, None if colours is None else np.array(colours, np.float32))


class Place(NamedTuple):
    """Result of a scene: track ID and x. It has no arrays."""

    id: int | None
    x: int

    def freeze(self):
        return self


class Scene(Kind):
    """Instances stand where `places` says, at a distance of at least a box; a box sees the nearest one in reach.

    `places`: x of each instance; `searches`: numbers of searched images; `looks`: boxes looked into, per image.
    """

    def __init__(self, places=()):
        self.places, self.searches, self.looks = list(places), [], []
        self._image = -1

    def show(self, *places):
        """Return the next image."""
        self.places = list(places)
        self._image += 1
        self.looks.append(0)

    def find(self, rgb, min_score):
        self.searches.append(self._image)
        return [RotatedBox(x, 50, 100, 100) for x in self.places]

    def observe(self, rgb, box):
        if self.looks:
            self.looks[-1] += 1
        near = [x for x in self.places if abs(x - box.cx) < 60]
        if not near:
            return seen_at(box.cx, 50, score=0.1)
        return seen_at(min(near, key=lambda x: abs(x - box.cx)), 50)

    def follow(self, track):
        x, y = track.observation.keypoints[:2, :2].mean(axis=0).tolist()
        return RotatedBox(x, y, 100, 100)

    def result(self, rgb, observation, track):
        return Place(None if track is None else track.id, round(float(observation.keypoints[:2, 0].mean())))
