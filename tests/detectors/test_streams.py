"""The search of streams and its verifiers, on instances made of plain numbers, and people who cross."""

import os
import weakref
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tests.support.crossings import cross_people

import sonjit
from sonjit.detectors import Detector
from sonjit.detectors.loop import Loop
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.tracking import Tracker
from sonjit.geometry.boxes import RotatedBox
from sonjit.media import open_source

from .fakes import Scene, seen_at

SIZE, BOX = 600, 60
WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"


def image(*dots):
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    for x, y in dots:
        rgb[y, x] = 255
    return rgb


class Dots(Scene):
    """White pixels, each of which the landmark network sees in a box around it with a presence of 0.9."""

    least = 0.9

    def find(self, rgb, min_score):
        return [RotatedBox(float(x), float(y), BOX, BOX) for y, x in np.argwhere(rgb[..., 0])]

    def find_near(self, rgb, box):
        return [dot for dot in self.find(rgb, 0.5) if max(abs(dot.cx - box.cx), abs(dot.cy - box.cy)) < 2 * BOX]

    def observe(self, rgb, box):
        dots = [dot for dot in self.find(rgb, 0.5) if max(abs(dot.cx - box.cx), abs(dot.cy - box.cy)) < BOX / 2]
        score = self.least if dots else 0.0
        return seen_at(*((dots or [box])[0][:2]), size=BOX, score=score)

    def box_after(self, observation):
        x, y = observation.keypoints[:2, :2].mean(axis=0).tolist()
        return RotatedBox(x, y, BOX, BOX)

    def follow(self, track):
        return self.box_after(track.observation)


def recorded(images, scores=lambda number: 0.9):
    """Return ids and x of the dots in each image of a recording at 30 frames a second.

    Key frames give their dots a probability of `scores`, by the number of the key frame.
    """
    kind, key_frames = Dots(), []

    def search(rgb):
        key_frames.append(rgb)
        probability = scores(len(key_frames) - 1)
        return [replace(kind.observe(rgb, box), score=probability) for box in kind.find(rgb, 0.5)], True

    options = CommonOptions(search="auto", static_image=False, max_instances=3)
    new_tracker = partial(Tracker, propagate=kind.propagate, max_tracks=3)
    with Detector(Loop(kind, new_tracker(), options, search=search, backward=new_tracker())) as detector:
        frames = [(rgb, index / 30) for index, rgb in enumerate(images)]
        return [[(place.id, place.x) for place in places] for places in detector.detect_frames(frames)]


def test_an_instance_that_jumps_is_searched_where_it_was_going():
    places = [200] * 5 + [245] * 5
    assert recorded([image((x, 300)) for x in places]) == [[(1, x)] for x in places]


def test_an_instance_that_is_hidden_for_a_moment_keeps_its_id():
    places = [*range(200, 240, 10), None, None, *range(260, 300, 10)]
    images = [image(*([] if x is None else [(x, 300)])) for x in places]
    assert recorded(images) == [[] if x is None else [(1, x)] for x in places]


def test_a_track_is_shown_by_the_mean_probability_of_its_key_frames():
    still = [image((200, 300))] * 70
    assert recorded(still, scores=[0.9, 0.4, 0.4, 0.4, 0.4].__getitem__) == [[(1, 200)]] * 70
    assert recorded(still, scores=[0.6, 0.3, 0.3, 0.3, 0.3].__getitem__) == [[]] * 70


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


@pytest.mark.slow
def test_a_clock_that_steps_back_changes_no_instance(demo_clip):
    """Two clips in a row in one recording, the second of which has a clock of its own."""
    images = demo_clip[1][:24]
    times = [index / 30 for index in range(len(images))]

    def ids(start_s):
        with sonjit.create_detector("hands") as detector:
            frames = [
                *zip(images, times, strict=True),
                *((rgb, start_s + time) for rgb, time in zip(images, times, strict=True)),
            ]
            streamed = [[hand.id for hand in detector.detect(rgb, time=time)] for rgb, time in frames]
            return streamed, [[hand.id for hand in hands] for hands in detector.detect_frames(frames)]

    (streamed, recorded), (_, goes_on) = ids(0.0), ids(times[-1] + 1 / 30)
    assert recorded == goes_on
    assert [len(frame) for frame in streamed] == [len(frame) for frame in streamed[:24]] * 2


def test_a_recording_of_a_region_counts_its_complete_images(need):
    """Images of 72 MB take no memory here, because all of their pixels are one."""
    need("palm-full", "hand-full", "person-detector", "body-full")
    alive, most = set(), 0

    def frames():
        nonlocal most
        for index in range(8):
            rgb = np.broadcast_to(np.zeros(3, np.uint8), (4000, 6000, 3))
            alive.add(index)
            weakref.finalize(rgb, alive.discard, index)
            most = max(most, len(alive))
            yield rgb, index / 30

    with sonjit.create_detector("hands") as detector:
        assert len(list(detector.detect_frames(frames(), roi=(0, 0, 64, 64)))) == 8
    assert most <= 256_000_000 // 72_000_000 + 3  # one is read ahead, one leaves, and one is yielded
