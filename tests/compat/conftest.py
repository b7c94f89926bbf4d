"""Provide weights and reference images, or skip tests that lack them."""

import hashlib
import json
from concurrent.futures import Future

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp
from sonjit.compat.mediapipe import _detector
from sonjit.detectors.kinds import KINDS


@pytest.fixture
def golden(file, data):
    """Return the results of the reference program for one image, and the image (H, W, 3) RGB."""
    golden = json.loads(file.read_text("utf-8"))
    image = cv2.imread(str(data / golden["source"]))
    if image is None:
        pytest.skip(f"{data / golden['source']} is not there")
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if hashlib.sha256(rgb.tobytes()).hexdigest() != golden["first_frame_rgb_sha256"]:
        pytest.skip("this OpenCV decodes the image to other pixels than the reference saw")
    return golden, rgb


@pytest.fixture
def pixels():
    """Return x, y and z (K, 3) of landmarks in pixels of an image."""

    def pixels(landmarks, rgb):
        size = (rgb.shape[1], rgb.shape[0], rgb.shape[1])
        return np.array([(mark.x, mark.y, mark.z) for mark in landmarks.landmark]) * size

    return pixels


class FakeDetector:
    """Detector that returns given results."""

    def __init__(self):
        self.found, self.calls, self.kind, self.options = [], [], "", {}

    def detect(self, image, time=None):
        return self.found

    def reset(self):
        self.calls.append("reset")

    def close(self):
        self.calls.append("close")


def loaded_at_once(load):
    future = Future()
    future.set_result(load())
    return future


@pytest.fixture
def detector(monkeypatch):
    """Replace the detector of every solution with a fake that records its calls."""
    fake = FakeDetector()

    def check(kind, options):
        fake.kind, fake.options = kind, options
        return KINDS[kind].options()

    def create(options):
        fake.thresholds = options.thresholds
        return fake

    monkeypatch.setattr(_detector, "check_detector", check)
    monkeypatch.setattr(_detector, "load_ahead", loaded_at_once)
    monkeypatch.setattr(_detector.create, "detector_from", create)
    return fake


@pytest.fixture
def hand_landmarker(weights):
    """Return a function that creates a hand landmarker from the published networks. They are closed after the test."""
    made = []

    def make(**options):
        options = {"base_options": mp.tasks.BaseOptions()} | options
        made.append(
            mp.tasks.vision.HandLandmarker.create_from_options(mp.tasks.vision.HandLandmarkerOptions(**options))
        )
        return made[-1]

    yield make
    for one in made:
        one.close()
