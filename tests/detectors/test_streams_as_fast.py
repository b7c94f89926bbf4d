"""With search="auto", a stream shows in each frame what search="fast" shows, if the search of stills is certain too."""

import json
from functools import cache
from itertools import islice

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.detectors.search.geometry import is_same_instance
from sonjit.media import open_source

pytestmark = [pytest.mark.golden, pytest.mark.slow]

FRAMES, REPEATS = 5, 2
EMPTY, FRAMES_AFTER_EMPTY = 2, 2  # fewer than between two key frames
CERTAIN = 0.95
AT_ONCE = 1
"""Maximum number of instances that are absent in a single frame of a clip."""
HEAD = slice(0, 11)
SEQUENCES_OF_BODIES = "goldens/mediapipe/pose.*[ck].full.json"
SEQUENCES_OF_HANDS = "goldens/mediapipe/hands.*2.full.json"
"""Goldens with different images. Other files have the same images for other models and numbers of hands."""


@pytest.fixture(scope="module")
def searches(need):
    """Return a function: detectors of a kind with `fast` and `auto` for streams, and for stills."""
    need("palm-full", "hand-full", "pose-detector", "body-full", "face-short", "face-full", "face-attention")
    need("person-detector")
    made = {}

    def get(kind):
        if kind not in made:
            streams = [sonjit.create_detector(kind, search=search) for search in ("fast", "auto")]
            made[kind] = (*streams, sonjit.create_detector(kind, static_image=True, max_instances=20))
        for detector in made[kind]:
            detector.reset()
        return made[kind]

    yield get
    for detectors in made.values():
        for detector in detectors:
            detector.close()


def missing(detectors, frames):
    """Return number and type of each instance or part of `fast` that `auto` lacks and that is certain as a still.

    `auto` gets the frames (H, W, 3), and after a reset the first ones again after empty ones.
    """
    fast, auto, still = detectors
    expected = [parts_of(fast.detect(rgb)) for rgb in frames]

    @cache
    def certain(number):
        first = next(at for at, rgb in enumerate(frames) if rgb is frames[number])  # a photograph is several frames
        if first < number:
            return certain(first)
        return [one for one in parts_of(still.detect(frames[number])) if one.score > CERTAIN]

    def lacking(number):
        found = parts_of(auto.detect(frames[number]))
        absent = [one for one in expected[number] if not is_among(one, found)]
        return [(number, one.kind) for one in absent if is_among(one, certain(number))]

    at_once = [each for number in range(len(frames)) for each in lacking(number)]
    auto.reset()
    for _ in range(EMPTY):
        auto.detect(np.zeros_like(frames[0]))
    return at_once + [each for number in range(min(len(frames), FRAMES_AFTER_EMPTY)) for each in lacking(number)]


def parts_of(results):
    return [part for result in results for part in result.parts]


def is_among(one, found):
    return any(one.kind == other.kind and is_same_instance(one.keypoints, other.keypoints) for other in found)


def head_covered(rgb, bodies):
    """Cover the heads of bodies in an image (H, W, 3), as a helmet does."""
    covered = rgb.copy()
    for body in bodies:
        head = body.keypoints[HEAD, :2]
        reach = 1.3 * np.ptp(head, axis=0).max()
        cv2.circle(covered, [round(float(at)) for at in head.mean(axis=0)], round(float(reach)), (60, 60, 60), -1)
    return covered


@pytest.mark.nightly_after(1, per="kind")
@pytest.mark.files("real/[tw]*/**/*.mp4")
@pytest.mark.parametrize("kind", ["body", "hands", "face", pytest.param("holistic", marks=pytest.mark.nightly)])
def test_clips_show_what_fast_shows(searches, kind, file):
    with open_source(file) as source:
        frames = [frame.rgb for frame in islice(source, FRAMES)]
    absent = missing(searches(kind), frames)
    assert len(absent) <= AT_ONCE  # hands that meet may be one for a frame


@pytest.mark.nightly_after(1)
@pytest.mark.files(SEQUENCES_OF_BODIES)
def test_people_whose_head_is_covered_show_as_soon_as_with_fast(searches, golden_frames, file):
    frames = golden_clip(golden_frames, file)
    fast = searches("body")[0]
    covered = [head_covered(rgb, fast.detect(rgb)) for rgb in frames]
    assert missing(searches("body"), covered) == []


@pytest.mark.nightly_after(1)
@pytest.mark.files(SEQUENCES_OF_BODIES)
def test_goldens_show_the_bodies_that_fast_shows(searches, golden_frames, file):
    frames = golden_clip(golden_frames, file)
    assert missing(searches("body"), frames) == []


@pytest.mark.nightly_after(1)
@pytest.mark.files(SEQUENCES_OF_HANDS)
def test_goldens_show_the_hands_that_fast_shows(searches, golden_frames, file):
    frames = golden_clip(golden_frames, file)
    assert missing(searches("hands"), frames) == []


@pytest.mark.nightly_after(1)
@pytest.mark.files("goldens/mediapipe/facemesh.*.refine.json")
def test_goldens_show_the_faces_that_fast_shows(searches, golden_frames, file):
    frames = golden_clip(golden_frames, file)
    assert missing(searches("face"), frames) == []


def golden_clip(golden_frames, file):
    """Return the first frames of a golden, or its photograph several times."""
    frames = list(islice(golden_frames(file, json.loads(file.read_text("utf-8")))[1], FRAMES))
    return frames if len(frames) > 1 else frames * REPEATS
