"""Run many synthetic frames through the tracker and the session of a server, and check ids, times and memory.

Two instances circle around each other, one of them hides now and then, and the clock starts again now and then. As a
program it takes the number of frames and a seed, and prints the memory.
"""

import json
import random
import sys
from dataclasses import dataclass

import numpy as np
import psutil

from sonjit.detectors import Detector
from sonjit.detectors.interfaces import Kind
from sonjit.detectors.loop import Loop
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro
from sonjit.detectors.tracking import Track, Tracker
from sonjit.geometry.boxes import RotatedBox
from sonjit.results import Hand
from sonjit.server.images import ClientDetector
from sonjit.server.options import SessionOptions

SHAPE = np.random.default_rng(1).uniform(-0.5, 0.5, (21, 3)).astype(np.float32)
IMAGE = np.zeros((100, 1000, 3), np.uint8)
SIZE = 100.0  # of an instance in pixels
SAMPLES = 20
MAX_GROWTH = 1.01  # memory at the end by the memory after the first half
ANSWERED = 4  # every so many frames, the session writes the answer of a server
LATE = 10  # frames after which an instance that returned must be found
RESTART, HIDE = 100_000, 997  # frames between restarts of the clock, and between short absences


@dataclass(frozen=True, eq=False)
class Seen:
    """Observation of the shape at a position."""

    score: float
    keypoints: np.ndarray
    keypoints_3d: np.ndarray
    left: float | None = None
    colours: np.ndarray | None = None


class Scene(Kind[Seen, Hand]):
    """Instances at the positions `places`; a box shows the nearest one."""

    def __init__(self) -> None:
        self.places: list[float] = []

    def find(self, rgb: object, min_score: float) -> list[RotatedBox]:
        """Return a box around each instance."""
        return [RotatedBox(x, 50, SIZE, SIZE) for x in self.places]

    def observe(self, rgb: object, box: RotatedBox) -> Seen:
        """Return the instance in a box, or an observation of low score."""
        near = min(self.places, key=lambda x: abs(x - box.cx), default=-1e9)
        is_seen = abs(near - box.cx) < SIZE / 2
        position = np.array([near if is_seen else box.cx, 50, 0], np.float32)
        return Seen(0.9 if is_seen else 0.1, SHAPE * SIZE + position, SHAPE * 0.1)

    def follow(self, track: Track[Seen]) -> RotatedBox:
        """Return the box of a track in the next frame."""
        x, y = (track.observation.keypoints - SHAPE * SIZE)[0, :2].tolist()
        return RotatedBox(x, y, SIZE, SIZE)

    def result(self, rgb: object, observation: Seen, track: Track[Seen] | None) -> Hand:
        """Return a hand."""
        return Hand("Left", 0.9, observation.keypoints, observation.keypoints_3d, track and track.id)


def main(count: int, seed: int) -> int:
    """Run the frames. Return 1 if an id, a time or the memory is wrong."""
    options = SessionOptions.from_values("hands", {"max_instances": 2}, still=False)
    scene, rng = Scene(), random.Random(seed)
    detector = Detector(Loop(scene, Tracker(lambda: KeypointSmoother(OneEuro())), options.detector))
    client = ClientDetector(options, detector)
    process, memory = psutil.Process(), list[int]()
    time_s = 0.0
    for number in range(count):
        time_s = 0.0 if number % RESTART == 0 else time_s + rng.choice((1 / 60, 1 / 30, 1 / 15))
        swing = 250 * np.sin(number / 90)
        scene.places = [300 + swing, 700 + swing][: 1 + (number % HIDE > 9)]
        if number % ANSWERED:
            hands = detector.detect(IMAGE, time=time_s)
            ids, xs = [hand.id for hand in hands], [float(hand.keypoints[0, 0]) for hand in hands]
        else:
            answers = json.loads(f"{{{client.answer(IMAGE, time_s)}}}")["hands"]
            ids, xs = [hand["id"] for hand in answers], [hand["keypoints"][0]["x"] for hand in answers]
        returned = number % HIDE < 10 + LATE  # the next search finds an instance that returned
        if ids != [1, 2][: len(scene.places)] and not (returned and ids == [1]):
            raise SystemExit(f"frame {number}: ids {ids} of {len(scene.places)} instances")
        for first, x in zip(xs, scene.places, strict=False):
            centre = first - float(SHAPE[0, 0]) * SIZE
            if abs(centre - x) > SIZE / 2:
                raise SystemExit(f"frame {number}: an instance at {x:.0f} px is reported at {centre:.0f} px")
        if number % max(1, count // SAMPLES) == 0:
            memory.append(process.memory_info().rss)
    sys.stdout.write(f"{count} frames, memory in MB: {', '.join(f'{one / 1e6:.1f}' for one in memory)}\n")
    if len(memory) >= SAMPLES and memory[-1] > MAX_GROWTH * memory[len(memory) // 2]:
        raise SystemExit("the memory grew by more than 1 %")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
