"""Sources and detectors that follow a script, so that runs need neither files nor networks."""

import math

import numpy as np

from sonjit import Body, Face, Hand
from sonjit.detectors import Detector
from sonjit.media.result_exports import Results
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.results import Gesture, MotionEvent
from sonjit.results.skeletons.faces import BLENDSHAPES

FPS = 16
SIZE = 96, 64  # pixels


class Clip(Source):
    """Frames of a video that are computed, `FPS` per second."""

    kind = "video"

    def __init__(self, count, name="clip.mp4"):
        super().__init__(name)
        self._length = count
        self.count, self.fps, (self.width, self.height) = count, FPS, SIZE

    def _frames(self):
        for index in range(self._length):
            yield SourceFrame(index, index / FPS, image(index))


class Still(Clip):
    """One computed image."""

    kind = "image"

    def __init__(self, name="still.png"):
        super().__init__(1, name)
        self.fps = None

    def _frames(self):
        yield SourceFrame(0, None, image(0))


def image(index):
    """Return the image (H, W, 3) of a frame: a gradient that moves."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    return np.dstack([2 * x, 3 * y, (x + y + index) % 200]).astype(np.uint8)


def shape(seed, count, *, left=30.0, top=10.0):
    """Return keypoints (N, 3) in pixels of the image, and in metres."""
    points = np.random.default_rng(seed).random((count, 3)).astype(np.float32)
    return points * 30 + np.float32([left, top, 0]), (points - 0.5) / 5


def hand(side="Right", *, id=1, gesture=None, seed=1, **more):
    """Return a hand on one side of the image; a gesture is a name and a score."""
    pixels, metres = shape(seed, 21, left=5.0 if side == "Right" else 55.0)
    return Hand(side, 0.75 + seed / 100, pixels, metres, id=id, gesture=gesture and Gesture(*gesture), **more)


def face(*, id=2, seed=3, **more):
    """Return a face with expressions."""
    pixels, _ = shape(seed, 478)
    expressions = {name: round(k / 52, 3) for k, name in enumerate(BLENDSHAPES)}
    return Face(0.875, pixels, (30.0, 10.0, 60.0, 40.0), id=id, blendshapes=expressions, **more)


def body(angle_deg=90.0, *, id=4, seed=5):
    """Return a body whose left elbow has an angle."""
    pixels, metres = shape(seed, 33)
    metres[13], metres[11], angle_rad = 0, (0.3, 0, 0), math.radians(angle_deg)
    metres[15] = (0.3 * math.cos(angle_rad), 0.3 * math.sin(angle_rad), 0)
    return Body(0.625, pixels, metres, np.ones(33, np.float32), np.ones(33, np.float32), id=id)


def motion(phase, time, *, name="Swipe_Left", id=1, side="Right", strength=0.5):
    """Return a step of a motion."""
    return MotionEvent(name, phase, id, side, time, strength, (0.25, -0.125), 1.5)


class Script(Detector):
    """Detector that finds what a function of the index of the frame returns: instances, and motions.

    The `last` motions end with the stream.
    """

    kind = ""

    def __init__(self, kind, find, more=0, last=()):
        self.kind, self._find, self._more, self._last = kind, find, more, last
        self.calls, self.resets, self.closes = [], 0, 0

    def detect(self, rgb, *, time=None, roi=None):
        self.calls.append((time, roi))
        found = self._find(len(self.calls) - 1)
        instances, motions = found if isinstance(found, tuple) else (found, [])
        return Results(instances, rgb, motions, len(instances) + self._more)

    def detect_frames(self, frames, *, roi=None, copy=True):
        for rgb, time in frames:
            yield self.detect(rgb, time=time, roi=roi)

    def finish(self):
        return [*self._last]

    def reset(self):
        self.resets += 1
        self.calls.clear()

    def close(self):
        self.closes += 1
