"""The search of streams and its verifiers, on instances made of plain numbers, and people who cross."""

import os
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

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


class Scripted(Finder):
    """Finder of given proposals, each in the first window only, which notes windows and observed boxes.

    `scores` are those of the observations of a box by its x, 0.9 otherwise.
    """

    parts = (1,)

    def __init__(self, *proposals, **scores):
        super().__init__(SimpleNamespace(box_after=around))
        self.waiting, self.windows, self.boxes, self.refused = list(proposals), [], [], ()
        self.scores = {int(name[1:]): score for name, score in scores.items()}
        self.confirmed = 0.8

    @property
    def sources(self):
        return (Source(self._proposals, self.parts),)

    def _proposals(self, rgb, window):
        self.windows.append(window)
        found, self.waiting = self.waiting, []
        return found

    def observe(self, rgb, box, proposal, tracked):
        self.boxes.append(round(box.cx))
        return seen_at(box.cx, box.cy, size=50.0, score=self.scores.get(round(box.cx), 0.9))

    def score(self, rgb, proposal, first, second):
        return self.confirmed

    def accepts_new(self, rgb, observation, detections=1, proposal=None):
        return round(around(observation).cx) not in self.refused


def proposal_at(x, score=0.5, otherwise=None):
    return Proposal(RotatedBox(float(x), 300.0, 60, 60), score, "given", otherwise=otherwise)


BLANK = np.zeros((SIZE, SIZE, 3), np.uint8)
X = range(40, 600, 70)  # places that are apart


def step(search, tracked=(), new=(), lost=(), *, spent=0, room=9):
    return [
        round(around(one).cx)
        for one in search.step(BLANK, list(tracked), list(new), list(lost), spent=spent, room=room)
    ]


def seen(*places):
    return [seen_at(x, 300, size=50.0) for x in places]


@pytest.mark.parametrize(
    ("tracked", "new", "spent", "counts"),
    [
        (0, 0, 0, [1, 2]),
        (1, 0, 0, [1, 2]),
        (2, 0, 0, [2, 2]),  # also a window in the second frame
        (2, 1, 0, [3, 3]),
        (2, 1, 1, [2, 2]),
        (0, 0, 1, [0, 1]),
        (0, 0, 2, [0, 0]),
    ],
)
def test_proposals_are_observed_with_the_inferences_that_a_frame_has_left(tracked, new, spent, counts):
    """The first frame also searches a window, which is one of the inferences."""
    finder = Scripted(*(proposal_at(x) for x in range(300, 600, 33)))
    search, places = StreamSearch(finder), seen(*X[: tracked + new])
    for count in counts:
        step(search, places[:tracked], places[tracked:], spent=spent)
        assert len(finder.boxes) == count
        search._candidates = []
        finder.boxes.clear()


def test_new_detections_are_returned_if_they_are_accepted():
    finder = Scripted()
    finder.refused = (X[1],)
    search = StreamSearch(finder)
    assert step(search, new=seen(X[0], X[1], X[2])) == [X[0], X[2]]
    assert step(search, new=seen(X[1], X[2]), room=1) == [X[2]]
    assert not search.is_verifying


@pytest.mark.parametrize(("room", "new", "windows"), [(1, 0, 1), (0, 0, 0), (1, 1, 1), (2, 1, 1)])
def test_windows_are_searched_while_instances_may_be_added(room, new, windows):
    finder = Scripted(proposal_at(X[3]), proposal_at(X[4]))
    search = StreamSearch(finder)
    assert step(search, new=seen(*X[:new]), room=room) == list(X[:new])
    assert len(finder.windows) == windows
    assert len(finder.boxes) == (room > new)
    assert len(search._proposals) == (room > new)  # outdated without room


@pytest.mark.parametrize(("room", "kept"), [(1, 3), (2, 4), (3, 6)])
def test_as_many_proposals_are_kept_as_may_be_needed_best_first(room, kept):
    finder = Scripted(*(proposal_at(x, 0.1 + k / 10) for k, x in enumerate(X)))
    search = StreamSearch(finder)
    step(search, room=room)
    assert [round(one.box.cx) for one in search._proposals] == list(X[::-1][1:kept])
    assert finder.boxes == [X[-1]]


def test_a_proposal_of_a_tracked_instance_is_left_out():
    finder = Scripted(proposal_at(X[0] + 31), proposal_at(X[1] + 33))  # IoU of 0.318 and 0.29
    search = StreamSearch(finder)
    step(search, seen(X[0], X[1]))
    assert finder.boxes == [X[1] + 33]


@pytest.mark.parametrize(
    ("presence", "again", "confirmed", "boxes", "found"),
    [
        (0.21, 0.9, 0.51, ["own", "own"], 1),
        (0.2, 0.9, 0.9, ["own", "other"], 0),  # not observed again
        (0.9, 0.2, 0.9, ["own", "own", "other"], 0),
        (0.9, 0.21, 0.51, ["own", "own"], 1),
        (0.9, 0.9, 0.5, ["own", "own", "other"], 0),
    ],
)
def test_a_proposal_is_replaced_by_its_alternative_if_it_is_not_verified(presence, again, confirmed, boxes, found):
    finder = Scripted(proposal_at(X[0], otherwise=proposal_at(X[4])))
    finder.confirmed, search = confirmed, StreamSearch(finder)
    finder.scores[X[0]] = presence
    assert step(search) == []
    finder.scores[X[0]] = again
    assert step(search) == [X[0]] * found
    assert finder.boxes == [X[0] if one == "own" else X[4] for one in boxes]
    assert search.is_verifying == bool(found)


def test_a_detection_has_the_score_of_both_observations_and_repeats_in_three_frames():
    search = StreamSearch(Scripted(proposal_at(X[0])))
    found = [search.step(BLANK, [], [], [], spent=0, room=9) for _ in range(6)]
    assert [[one.score for one in frame] for frame in found] == [[], [0.8], [0.8], [0.8], [], []]


def test_a_refused_detection_is_tried_again_in_the_next_frames():
    finder = Scripted(proposal_at(X[0]))
    finder.refused, search = (X[0],), StreamSearch(finder)
    assert [step(search), step(search)] == [[], []]
    finder.refused = ()
    assert [step(search), step(search), step(search)] == [[X[0]], [X[0]], []]


def test_a_candidate_waits_for_enough_inferences():
    class Thorough(Scripted):
        inferences = 3

    finder = Thorough(proposal_at(X[0]))
    search = StreamSearch(finder)
    assert [step(search), step(search)] == [[], []]  # two inferences
    assert finder.boxes == [X[0]]
    assert step(search, seen(X[4], X[6])) == [X[0]]
    assert finder.boxes == [X[0], X[0]]


def test_a_candidate_that_is_tracked_or_found_meanwhile_is_forgotten():
    finder = Scripted(proposal_at(X[0]))
    search = StreamSearch(finder)
    step(search)
    assert step(search, seen(X[0])) == []
    assert finder.boxes == [X[0]]  # it is not observed again
    finder.waiting, finder.boxes = [proposal_at(X[2])], []
    search.reset()
    step(search)
    assert step(search, new=seen(X[2])) == [X[2]]
    assert (finder.boxes, search.is_verifying) == ([X[2]], False)


def test_two_candidates_of_an_instance_become_one():
    finder = Scripted(proposal_at(X[0]), proposal_at(X[0] + 30))
    search = StreamSearch(finder)
    step(search, seen(X[5], X[7]))
    assert finder.boxes == [X[0], X[0] + 30]
    finder.is_same = lambda one, other: abs(around(one).cx - around(other).cx) < 31
    assert step(search, seen(X[5], X[7])) == [X[0]]


def test_every_second_search_is_around_the_next_lost_instance():
    class Parts(Scripted):
        parts = (2,)

    finder = Parts()
    search = StreamSearch(finder)
    lost = [RotatedBox(100, 100, 60, 60), RotatedBox(400, 300, 50, 50), RotatedBox(-500, 300, 60, 60)]
    for _ in range(8):
        step(search, lost=lost)
    around_lost = [(40, 40, 160, 160), (350, 250, 450, 350)]
    assert [*finder.windows[::2]][:2] == around_lost
    every = {one.window for one in [SimpleNamespace(window=window) for window in finder.windows]}
    assert len(every) == 2 + 4  # windows in quarters of the image
    assert finder.windows[4] not in around_lost  # the third one is outside the image
    assert finder.windows[6] == around_lost[0]


def test_proposals_around_a_lost_instance_are_observed():
    finder = Scripted(proposal_at(X[0]))
    step(StreamSearch(finder), lost=[RotatedBox(300, 300, 60, 60)])
    assert finder.windows == [(240, 240, 360, 360)]
    assert finder.boxes == [X[0]]


def test_a_costly_window_is_followed_by_frames_without_a_search():
    class Costly(Scripted):
        searched: ClassVar = []

        @property
        def sources(self):
            return Source(self._proposals, (1,), 3.0), Source(self._others, (1, 2), 0.25)

        def _others(self, rgb, window):
            self.searched[-1] += 1
            return []

    finder = Costly()
    search, costly = StreamSearch(finder), []
    for _ in range(8):
        finder.searched.append(0)
        step(search)
        costly.append(len(finder.windows))
    assert costly == [1] * 8
    assert finder.searched == [0, 0, 0, 4, 1, 0, 0, 0]


def test_a_search_that_starts_again_has_forgotten_the_stream():
    finder, resets = Scripted(*(proposal_at(x) for x in X[:4])), []
    finder.reset = lambda: resets.append(True)
    search = StreamSearch(finder)
    for _ in range(3):
        step(search)
    assert search.is_verifying
    assert search.is_changed(BLANK)
    assert not search.is_changed(BLANK)
    search.reset()
    assert (search.is_verifying, len(resets)) == (False, 2)
    assert search.is_changed(BLANK)
    windows, boxes = len(finder.windows), len(finder.boxes)
    assert step(search) == []
    assert (len(finder.windows), len(finder.boxes)) == (windows + 1, boxes)  # without the earlier proposals


def test_the_first_pass_ends_when_all_windows_are_searched():
    class Parts(Scripted):
        parts = (1, 2)

    search, first = StreamSearch(Parts()), []
    for _ in range(8):
        first.append(search.is_first_pass)
        step(search)
    assert first == [True] * 6 + [False] * 2
    search.reset()
    assert search.is_first_pass


@pytest.mark.parametrize(("level", "is_changed"), [(106, False), (107, True), (93, True), (94, False)])
def test_an_image_has_changed_by_more_than_six_grey_levels(level, is_changed):
    search = StreamSearch(Scripted())
    assert search.is_changed(grey(100))
    assert search.is_changed(grey(level)) == is_changed
    assert search.is_changed(grey(2 * level - 100)) == (level not in (100,))
    assert search.is_changed(grey(2 * level - 100)[:300])  # another size


def test_instances_of_a_finder_are_compared_by_boxes_and_keypoints():
    finder = Scripted()
    for away, tracked in ((31, True), (33, False)):  # IoU of 0.32 and 0.29
        assert Finder.is_tracked(finder, proposal_at(300 + away), seen(300)[0]) == tracked
    points = seen(300)[0]
    assert Finder.is_same(finder, points, points)
    assert not Finder.is_same(finder, points, seen(500)[0])
    assert Finder.accepts_new(finder, BLANK, points) is True


@pytest.mark.parametrize(
    ("costs", "searched"), [((0.5, 1.0, 0.25), [1, 0, 0]), ((0.5, 0.5, 0.25), [1, 1, 0]), ((2.0, 0.1, 0.1), [1, 0, 0])]
)
def test_windows_are_searched_in_their_order_up_to_the_time_of_an_inference(costs, searched):
    """No cheap window is searched before a costly one, and one window is always searched."""
    counts = [0, 0, 0]

    class Costly(Scripted):
        def counted(self, number):
            counts[number] += 1
            return []

        @property
        def sources(self):
            finds = (lambda *_, number=number: self.counted(number) for number in range(3))
            return tuple(Source(find, (1,), cost) for find, cost in zip(finds, costs, strict=True))

    step(StreamSearch(Costly()))
    assert counts == searched


@pytest.mark.parametrize(("spent", "count"), [(1, 1), (2, 0), (3, 0)])
def test_a_frame_that_has_spent_its_inferences_observes_no_proposal(spent, count):
    finder = Scripted(*(proposal_at(x) for x in X))
    search = StreamSearch(finder)
    step(search)
    search._candidates = []
    step(search, spent=spent)
    assert len(finder.boxes) == 1 + count
