"""Annotation projects of drawn images with known joints."""

from dataclasses import replace

import cv2
import numpy as np

from sonjit_studio import marks, project
from sonjit_studio.rig import CameraRig, RigCamera

from .rigs import random_rig

PALM_M = (0.45, 0.088, 0.084, 0.08, 0.078)
FINGERS_M = (
    (0.045, 0.037, 0.03),
    (0.046, 0.027, 0.019),
    (0.05, 0.032, 0.02),
    (0.046, 0.031, 0.02),
    (0.039, 0.022, 0.018),
)
LABELS_PX = 2


def hands(frames=1, seed=0):
    """Return joints (frames, 42, 3) in metres of two hands near the origin, with a different pose in each frame."""
    rng = np.random.default_rng(seed)
    points = np.zeros((frames, marks.JOINTS, 3))
    for frame in points:
        for side in range(2):
            own = frame[21 * side : 21 * side + 21]
            own[0] = np.array([0.09 * (2 * side - 1), 0.05, 0]) + rng.normal(0, 0.01, 3)
            for finger in range(5):
                turn = (0.9, 0.3, 0.05, -0.2, -0.45)[finger] * (1 - 2 * side)
                bend = rng.uniform(0.1, 0.5)
                place, steps = own[0], (0.03, *FINGERS_M[0]) if finger == 0 else (PALM_M[finger], *FINGERS_M[finger])
                for k, step in enumerate(steps):
                    way = np.array([np.sin(turn), -np.cos(turn) * np.cos(bend * k), np.cos(turn) * np.sin(bend * k)])
                    place = place + step * way / np.linalg.norm(way)
                    own[1 + 4 * finger + k] = place
    return points


def draw(rig, joints_m, number):
    """Draw the images of all cameras at one frame set, with a dot for each joint."""
    images = []
    for camera, points in zip(rig, rig.project(joints_m), strict=True):
        image = np.full((camera.height, camera.width, 3), (60 + 20 * (number % 7), 90, 70), np.uint8)
        for x, y in points[np.isfinite(points).all(1)]:
            cv2.circle(image, (round(x - 0.5), round(y - 0.5)), LABELS_PX, (40, 60, 230), -1)
        images.append(image)
    return images


def write_views(folder, rig, joints_m):
    """Write a folder of images per camera; return `rig` and the joints (F, 42, 3) of frames 0, 10, 20, ..."""
    for number, joints in enumerate(joints_m):
        for camera, image in zip(rig, draw(rig, joints, number), strict=True):
            (folder / camera.name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / camera.name / f"image{10 * number}.png"), image)
    return {camera.name: folder / camera.name for camera in rig}


def finer(rig, times):
    """Return the same cameras with a multiple of the pixels."""

    def one(camera):
        K = camera.camera.K * np.array([[times], [times], [1]])
        return RigCamera(camera.name, camera.width * times, camera.height * times, replace(camera.camera, K=K))

    return CameraRig(one(camera) for camera in rig)


def make_project(folder, *, cameras=6, frames=2, seed=0, lens=True, times=1):
    """Return a new, open project and the ground truth (F, 42, 3) of its frames 0, 10, 20, ..."""
    rig = finer(random_rig(cameras, seed, lens=lens), times)
    joints_m = hands(frames, seed)
    views = write_views(folder / "views", rig, joints_m)
    return project.create_project(folder / "project", rig, views), joints_m
