"""Projects of plain images for the automatic annotator, and a detector that knows their joints."""

import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np

from sonjit.results import Hand
from sonjit_studio import annotator, detection, marks, run_folder
from sonjit_studio.project import create_project, open_project

from .projects import hands
from .rigs import random_rig

FRAMES = 8
CHUNK = 5
OFF_M = np.array([[[0.004, -0.003, 0.002]], [[-0.004, -0.003, 0.002]]])
"""(2, 1, 3) what the detector is off by, mirrored for left hands, as detectors are."""


class DrawnHands:
    """Hand detector that returns the drawn joints, selected by the brightness of the image and by the camera."""

    def __init__(self, rig, joints_m):
        self.rig, self.joints_m, self.looked = rig, joints_m, 0

    def detect(self, rgb, boxes=None):
        self.looked += boxes is None
        row, view = int(rgb[2, 2, 1]), int(rgb[2, 2, 0])
        pixels = self.rig.cameras[view].project(self.joints_m[row].reshape(2, 21, 3) + OFF_M)
        found = []
        for side, points in zip(("Right", "Left"), pixels, strict=True):
            hand = np.concatenate([points, np.zeros((21, 1))], 1).astype(np.float32)
            found.append(Hand(side, 0.9, hand, hand, handedness_score=0.9))
        if boxes is None:
            return found
        return [min(found, key=lambda one: np.hypot(*(one.keypoints[:, :2].mean(0) - boxes[0][:2])))]


class Dying(DrawnHands):
    """Detector whose process is killed after the cameras are checked and the second chunk has started."""

    def detect(self, rgb, boxes=None):
        if self.looked > len(self.rig) * (FRAMES + CHUNK + 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(rgb, boxes)


def drawn_joints():
    """Return joints (FRAMES, 42, 3) in metres."""
    return hands(FRAMES) * (1, 1, -1)


def drawn_project(folder):
    """Return a new, open project of five views."""
    rig = random_rig(5)
    for view, camera in enumerate(rig):
        (folder / camera.name).mkdir()
        for row in range(FRAMES):
            image = np.zeros((480, 640, 3), np.uint8)
            image[:] = (0, row, view)  # blue, green, red
            cv2.imwrite(str(folder / camera.name / f"{row}.png"), image)
    return create_project(folder / "project", rig, {one.name: folder / one.name for one in rig})


def people_mark(project, joints, frames):
    for frame in frames:
        for camera in project.rig:
            pixels = camera.project(joints[frame].reshape(42, 3)).tolist()
            project.store.add(
                [
                    marks.Mark(f"{frame}-{camera.name}-{k}", frame, camera.name, k, "Ann", "seen", x, y)
                    for k, (x, y) in enumerate(pixels)
                ]
            )


if __name__ == "__main__":  # a run that is killed
    project = open_project(Path(sys.argv[1]))
    run_folder.CHUNK_FRAME_SETS = CHUNK
    detector = Dying(project.rig, drawn_joints())
    detection._open_once = lambda _: (project, detector)
    annotator.annotate(project, annotator.AnnotatorSettings(fps=1))
