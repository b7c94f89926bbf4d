"""A mirrored video has the same ranges of motion, with the real networks."""

import numpy as np
import pytest

from sonjit import Frame
from sonjit.media import open_source
from sonjit.report.joint_angles import report_detector
from sonjit.report.recording import recording_of

pytestmark = pytest.mark.golden
FRAMES = 24
LIMIT_DEG = 3.0
JOINTS = ("shoulder", "elbow", "hip", "knee")
SIDES = {"left": "right", "right": "left"}


def ranges_of(images, times):
    """Return the ranges of motion of the largest person in images (H, W, 3), in degrees."""
    with report_detector("body", "full") as detector:
        frames = [
            Frame(k, time, bodies=detector.detect(rgb, time=time))
            for k, (rgb, time) in enumerate(zip(images, times, strict=True))
        ]
    return {name: high - low for name, (low, high) in recording_of("a.mp4", "full", frames, ()).ranges.items()}


@pytest.mark.files("real/tfjs-models/pose-detection/test_data/*.mp4")
def test_a_mirrored_video_has_the_same_ranges(file, need):
    need("pose-detector", "body-full")
    images, times = [], []
    with open_source(str(file)) as source:
        for frame in source:
            images.append(frame.rgb.copy())
            times.append(frame.time)
            if len(images) == FRAMES:
                break
    found = ranges_of(images, times)
    mirrored = ranges_of([np.ascontiguousarray(rgb[:, ::-1]) for rgb in images], times)
    differences = {
        (joint, side): abs(found[f"{side}_{joint}_angle_rad"] - mirrored[f"{SIDES[side]}_{joint}_angle_rad"])
        for joint in JOINTS
        for side in SIDES
        if f"{side}_{joint}_angle_rad" in found
    }
    assert len(differences) == 2 * len(JOINTS)
    assert {key: value for key, value in differences.items() if value > LIMIT_DEG} == {}
