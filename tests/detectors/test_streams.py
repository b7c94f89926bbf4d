"""The search of streams and its verifiers, on instances made of plain numbers, and people who cross."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tests.support.crossings import cross_people

import sonjit
from sonjit.media import open_source

SIZE = 600
WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"


def image(*dots):
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    for x, y in dots:
        rgb[y, x] = 255
    return rgb


@pytest.mark.golden
@pytest.mark.slow
def test_people_who_cross_keep_their_ids():
    """Use people from photographs, each of whom walks in front once."""
    images = [WILD / f"{name}.jpg" for name in ("person-linda", "cgi-model-20")]
    if not all(image.is_file() for image in images):
        pytest.skip("photographs of real/wild are missing")
    rows = list(cross_people(images, fps=15))
    assert len(rows) == 2
    for figures in rows:
        assert figures["wrong id"] == figures["false"] == 0
        assert figures["missed"] <= 1
        assert figures["late"] <= 12


@pytest.mark.golden
@pytest.mark.parametrize(
    ("clip", "shown"),
    [
        ("pose-detection/test_data/pose_squats.mp4", [1] * 5),
        ("hand-pose-detection/test_data/asl_hand*.mp4", [0] * 5),  # a hand that the body networks take for a body
    ],
)
def test_a_body_shows_in_the_first_frame_and_a_hand_does_not(data, clip, shown):
    file = next((data / "real" / "tfjs-models").glob(clip), None)
    if file is None:
        pytest.skip(f"no {clip} in {data}")
    with open_source(file) as source:
        frames = [frame.rgb for frame in islice(source, len(shown))]
    with sonjit.create_detector("body", search="fast") as fast, sonjit.create_detector("body") as auto:
        assert len(fast.detect(frames[0])) == 1
        for _ in range(2):
            assert [len(auto.detect(rgb)) for rgb in frames] == shown
            auto.reset()


@pytest.mark.slow
def test_rendered_hands_are_no_bodies(demo_clip, need):
    """The body networks take these hands for a body, and the network of people proposes it again and again."""
    need("pose-detector", "body-full", "face-full", "person-detector")
    with sonjit.create_detector("body") as auto:
        assert sum(bool(auto.detect(rgb)) for rgb in demo_clip[1][215:305:2]) <= 2
