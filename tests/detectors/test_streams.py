"""The search of streams and its verifiers, on instances made of plain numbers, and people who cross."""

import os
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.crossings import cross_people

import sonjit
from sonjit.detectors.search.geometry import Proposal
from sonjit.detectors.search.streams import Finder, Source, StreamSearch
from sonjit.geometry.boxes import RotatedBox
from sonjit.media import open_source

from .fakes import seen_at

SIZE = 600
WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"


class Dots(Finder):
    """Finder of bright pixels, which counts its inferences."""

    def __init__(self, confirmed=0.9):
        super().__init__(SimpleNamespace(box_after=around))
        self.windows, self.looks, self.confirmed = [], 0, confirmed

    @property
    def sources(self):
        return (Source(self._proposals),)

    def _proposals(self, rgb, window):
        self.windows.append(window)
        ys, xs = np.nonzero(window.cut(rgb)[..., 0])
        return [
            Proposal(RotatedBox(float(x) + window.left, float(y) + window.top, 60, 60), 0.5, "dots")
            for x, y in zip(xs, ys, strict=True)
        ]

    def observe(self, rgb, box, proposal, tracked):
        self.looks += 1
        return seen_at(box.cx, box.cy, size=50.0)

    def score(self, rgb, place, first, second):
        return self.confirmed


def around(seen):
    x, y = seen.keypoints[:2, :2].mean(axis=0).tolist()
    return RotatedBox(x, y, 60, 60)


def stepping(finder):
    search = StreamSearch(finder)
    return lambda rgb, tracked, lost: search.step(rgb, tracked, [], lost, spent=0, room=9)


def image(*dots):
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    for x, y in dots:
        rgb[y, x] = 255
    return rgb


def test_every_window_is_searched_once_and_only_one_in_a_frame():
    finder = Dots()
    search = stepping(finder)
    for i in range(20):
        search(image(), [], [])
        assert len(finder.windows) == min(i + 1, 13)  # what does not change is not searched again
    assert len(set(finder.windows)) == 13


@pytest.mark.parametrize(("confirmed", "found"), [(0.9, 1), (0.4, 0)])
def test_what_is_found_is_seen_in_two_frames_and_scored(confirmed, found):
    search = stepping(Dots(confirmed))
    frames = [search(image((150, 150)), [], []) for _ in range(20)]
    firsts = [i for i, candidates in enumerate(frames) if candidates]
    assert len(firsts[:1]) == found
    if found:
        assert firsts[0] == 1  # the first window shows it, the next frame confirms it
        assert frames[1][0].score == confirmed


def test_what_is_held_is_not_found_again():
    search = stepping(Dots())
    active = [seen_at(150, 150, size=50.0)]
    assert all(not search(image((150, 150)), active, []) for _ in range(30))


def test_a_frame_takes_few_inferences_however_much_it_shows():
    finder = Dots()
    search = stepping(finder)
    crowd = image(*[(x, y) for x in range(40, SIZE, 80) for y in range(40, SIZE, 80)])
    for _ in range(40):
        before = finder.looks
        search(crowd, [], [])
        assert finder.looks - before <= 2


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
        assert sum(bool(auto.detect(rgb)) for rgb in demo_clip[1][215:305]) <= 2


@pytest.mark.parametrize(("cost", "most"), [(1.0, 1), (0.5, 2), (0.25, 4)])
def test_a_frame_searches_as_many_windows_as_its_inferences_allow(cost, most):
    class Costly(Dots):
        @property
        def sources(self):
            return (Source(self._proposals, cost=cost, parts=(1, 2)),)

    finder = Costly()
    step = stepping(finder)
    for count in range(1, 4):
        step(np.zeros((SIZE, SIZE, 3), np.uint8), [], [])
        assert len(finder.windows) == min(count * most, 5)


class Complete(Dots):
    """Finder that searches the complete image at once, and notes the frames of its searches."""

    refresh_frames = 50

    def __init__(self, proposes_in=()):
        super().__init__(confirmed=0.4)
        self.frame, self.searched, self.proposes_in = 0, [], proposes_in

    @property
    def sources(self):
        return (Source(self._proposals, parts=(1,)),)

    def _proposals(self, rgb, window):
        self.searched.append(self.frame)
        return [Proposal(RotatedBox(300, 300, 60, 60), 0.5, "dots")] if self.frame in self.proposes_in else []

    def searched_frames(self, images, tracked=()):
        step = stepping(self)
        for self.frame, rgb in enumerate(images, 1):
            step(rgb, list(tracked), [])
        return self.searched


def grey(level):
    return np.full((SIZE, SIZE, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("proposes_in", "searched"), [((), [1, 3, 6, 10, 14, 18]), ((6,), [1, 3, 6, 8, 11, 15, 19]), ((1,), [1, 3, 6, 10])]
)
def test_a_window_without_proposals_is_searched_ever_less_often(proposes_in, searched):
    images = [grey(40 * number % 256) for number in range(20)]
    assert Complete(proposes_in).searched_frames(images)[: len(searched)] == searched


@pytest.mark.parametrize(("step", "searched"), [(6, [1, 52, 103]), (7, [1, 3, 54, 105]), (-7, [1, 3, 54, 105])])
def test_a_window_is_searched_again_if_it_changed_or_after_some_time(step, searched):
    assert Complete().searched_frames([grey(100), *[grey(100 + step)] * 110]) == searched


@pytest.mark.parametrize(("place", "is_again"), [(300, False), (500, True)])
def test_changes_of_tracked_instances_are_not_searched(place, is_again):
    changed = grey(100)
    changed[270:330, place - 30 : place + 30] = 200
    searched = Complete().searched_frames([grey(100), *[changed] * 9], [seen_at(300, 300, size=50.0)])
    assert searched == ([1, 3] if is_again else [1])


def test_a_detection_that_is_not_tracked_is_returned_in_three_frames():
    finder = Complete(proposes_in=(1,))
    finder.confirmed, step = 0.9, stepping(finder)
    counts = []
    for finder.frame in range(1, 10):
        counts.append(len(step(grey(100), [], [])))
    assert counts == [0, 1, 1, 1, 0, 0, 0, 0, 0]
