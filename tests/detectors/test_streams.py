"""The search of streams and its verifiers, on instances made of plain numbers, and people who cross."""

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.crossings import cross_people

import sonjit
from sonjit.detectors.kinds.body import BodyObservation, box_from_alignment
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.search.geometry import Proposal, Window, head_of_body, windows
from sonjit.detectors.search.stream_finders import BodyFinder, FaceFinder
from sonjit.detectors.search.streams import Finder, Source, StreamSearch
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox
from sonjit.media import open_source

from .fakes import seen_at

SIZE = 600
WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"


class Dots(Finder):
    """Finder of bright pixels, which counts its inferences."""

    def __init__(self, confirmed=0.9):
        super().__init__(None, around)
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


@pytest.mark.parametrize("suggests", [False, True])
def test_a_window_that_changes_is_searched_again_ever_later_while_nothing_is_suggested_there(suggests):
    finder = Dots(confirmed=0)
    search = StreamSearch(finder)
    searched = []
    for i in range(150):
        rgb = image((500, 500)) if suggests else image()
        rgb[450:550, 450:550, 1] = 20 * i % 250
        before = len(finder.windows)
        search.step(rgb, [], [], [], spent=0, room=9)
        searched += [i for window in finder.windows[before:] if window == windows(SIZE, SIZE, 2)[-1]]
    first, second, third, fourth = searched[:4]
    assert 13 < second - first < 20  # all the others could have been searched meanwhile
    assert (third - second > 26, fourth - third > 39) == (not suggests, not suggests)


def test_active_instances_may_move_without_a_search_of_their_windows():
    finder = Dots()
    search = stepping(finder)
    for i in range(40):
        rgb = image()
        rgb[280 + i : 320 + i, 280:320] = 200
        search(rgb, [seen_at(300, 300 + i, size=50.0)], [])
    assert len(finder.windows) == 13


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


def test_all_that_one_window_shows_is_found_though_nothing_moves():
    search = stepping(Dots())
    crowd = image(*[(x, y) for x in range(20, 280, 80) for y in range(20, 280, 80)])
    found_hands = []
    for _ in range(20):
        found_hands += search(crowd, found_hands, [])
    assert len(found_hands) == 16


def test_what_is_found_and_not_held_is_offered_three_times():
    search = stepping(Dots())
    frames = [bool(search(image((150, 150)), [], [])) for _ in range(20)]
    assert frames[1:5] == [True, True, True, False]


def test_where_something_was_lost_is_searched_first():
    finder = Dots()
    search = stepping(finder)
    for _ in range(2):
        search(image(), [], [RotatedBox(300, 300, 50, 50)])
    assert (250, 250, 350, 350) in finder.windows


class Faces:
    """Face detector that finds one face or none."""

    def __init__(self, box=None, score=0.9):
        self.box, self.score = box, score

    def find(self, rgb, min_score):
        if self.box is None or self.score < min_score:
            return []
        return [SimpleNamespace(box=np.array(self.box, float), score=self.score)]


class Meshes:
    """Kind of the faces, whose network is not used."""

    box_after = None


def mesh():
    points = np.random.default_rng(0).uniform(100, 200, (478, 3)).astype(np.float32)
    return FaceObservation(1.0, points)


@pytest.mark.parametrize(
    ("box", "score", "admitted"),
    [
        ((100, 100, 200, 200), 0.9, True),
        ((100, 100, 200, 200), 0.3, False),
        ((100, 100, 140, 140), 0.9, False),  # a small one beside the middle: a part of a hand
        (None, 0.9, False),
    ],
)
def test_a_mesh_needs_a_face_in_its_place(box, score, admitted):
    finder = FaceFinder(Faces(box, score), Meshes, 0.5)
    assert finder.accepts_new(np.zeros((300, 300, 3), np.uint8), mesh()) is admitted


def test_a_mesh_that_slips_off_its_face_is_dropped():
    faces = Faces((100, 100, 200, 200))
    finder, rgb, seen = FaceFinder(faces, Meshes, 0.5), np.zeros((300, 300, 3), np.uint8), mesh()
    track = Track(1, seen, seen, None, 0.0)
    assert all(finder.verify(rgb, track, seen, [track]) for _ in range(60))
    faces.box = None
    assert not all(finder.verify(rgb, track, seen, [track]) for _ in range(90))


def body(heatmap=0.0):
    """Return a body of 200 px whose head is in the middle of an image of 300."""
    points = np.zeros((33, 3), np.float32)
    points[:11, :2] = np.random.default_rng(0).uniform(-10, 10, (11, 2))
    points[[11, 12, 23, 24], :2] = [[20, 30], [-20, 30], [15, 90], [-15, 90]]
    points[:, :2] += 150
    sure = np.ones(33, np.float32)
    alignment = np.array([[150, 240], [150, 140]], np.float32)
    return BodyObservation(1.0, points, points, sure, sure, alignment, heatmap_peak=heatmap)


def face_in_window(seen):
    """Return the box of a body's face in the window of its search."""
    spread = seen.keypoints[:11, :2]
    window = 1.5 * float(np.ptp(spread, axis=0).max())
    middle = spread.mean(axis=0) - (np.floor(spread.mean(axis=0) - window))
    return (*(middle - 12), *(middle + 12))


class Bodies:
    """Network that finds the same body again, with or without distinct heatmaps."""

    people = SimpleNamespace(detector=None)

    def __init__(self, heatmap=0.0):
        self._heatmap = heatmap

    def observe(self, rgb, box):
        return body(self._heatmap)

    def box_after(self, seen):
        return box_from_alignment(seen.alignment)


@pytest.mark.parametrize(
    ("score", "heatmap", "admitted"),
    [
        (0.9, 0.1, [True, True, True]),
        (0.6, 0.1, [False, True, True]),  # a doubtful face must be seen again
        (0.1, 0.1, [False, False, False]),
        (0.1, 0.8, [False, False, True]),  # seen from behind, or with a hidden face
    ],
)
def test_a_body_needs_a_face_or_a_high_score(score, heatmap, admitted):
    seen = body(heatmap)
    rgb = np.zeros((300, 300, 3), np.uint8)
    finder = BodyFinder(Faces(face_in_window(seen), score), None, Bodies(heatmap))
    assert [finder.accepts_new(rgb, seen, detections) for detections in (1, 2, 3)] == admitted


@pytest.mark.parametrize(("score", "admitted"), [(0.4, False), (0.9, True)])
def test_the_score_of_the_search_decides_on_a_body_without_a_face(score, admitted):
    finder, rgb, seen = (
        BodyFinder(Faces(), None, Bodies()),
        np.zeros((300, 300, 3), np.uint8),
        replace(body(), score=score),
    )
    person = Proposal(held_at(0, 1).box, 0.5, "dots")
    assert finder.accepts_new(rgb, seen, 3, person) == admitted
    assert not finder.accepts_new(rgb, seen, 3, replace(person, head=head_of_body(seen)))  # its face must be detected


def test_a_face_that_only_a_window_shows_must_be_confirmed_by_a_second_detection_of_its_body():
    rgb, seen, faces = np.zeros((300, 300, 3), np.uint8), body(), Faces()
    x, y = seen.keypoints[[2, 5, 9, 10], :2].mean(axis=0)
    keypoints = np.array([[x - 5, y - 6], [x + 5, y - 6], [x, y], [x, y + 6], [x - 9, y], [x + 9, y]])
    face = SimpleNamespace(score=0.9, keypoints=keypoints, box=np.zeros(4))
    faces.find = lambda part, min_score: [face] if part.shape == rgb.shape else []
    finder = BodyFinder(faces, None, Bodies())
    (proposal,) = finder.sources[0].find(rgb, Window(0, 0, 300, 300))
    assert [finder.accepts_new(rgb, seen, detections, proposal) for detections in (1, 2)] == [False, True]


def test_a_single_detection_is_accepted_in_the_first_frame_only():
    class DoubtfulDots(Dots):
        def accepts_new(self, rgb, seen, detections=1, proposal=None):
            return detections >= 3

    search = StreamSearch(DoubtfulDots())
    new = [seen_at(150, 150, size=50.0)]
    assert [search.step(image(), [], new, [], spent=1, room=1) for _ in range(2)] == [new, []]


def test_a_body_with_its_head_outside_the_image_is_not_accepted():
    seen = body(0.8)
    outside = replace(seen, keypoints=seen.keypoints - np.float32([0, 151, 0]))
    bodies = Bodies(0.8)
    bodies.observe = lambda rgb, box: outside
    finder = BodyFinder(Faces(), None, bodies)
    assert not finder.accepts_new(np.zeros((300, 300, 3), np.uint8), outside, 3)


@pytest.mark.parametrize(("heatmap", "stays"), [(0.1, False), (0.8, True)])
def test_a_held_body_without_a_face_stays_while_its_score_is_high(heatmap, stays):
    seen = body(heatmap)
    finder, rgb, own = BodyFinder(Faces(), None, Bodies(heatmap)), np.zeros((300, 300, 3), np.uint8), held_at(0, 1)
    own.observation = seen
    assert all(finder.verify(rgb, own, seen, [own]) for _ in range(60)) == stays


def held_at(x, number):
    seen = body()
    seen = replace(seen, keypoints=seen.keypoints + np.float32([x, 0, 0]))
    track = Track(number, seen, seen, None, 0.0)
    track.box = RotatedBox(150 + x, 240, 250, 250)
    return track


def test_a_held_body_stays_where_it_is_while_its_box_shows_another_one():
    own, other = held_at(0, 1), held_at(90, 2)
    finder = BodyFinder(Faces(face_in_window(own.observation)), None, Bodies())
    rgb = np.zeros((300, 400, 3), np.uint8)
    kept = finder.verify(rgb, own, other.observation, [own, other])
    np.testing.assert_array_equal(kept.keypoints, own.observation.keypoints)
    assert finder.verify(rgb, own, other.observation, [own]) is other.observation  # no other person is near


def test_a_detected_head_is_covered_for_some_frames_unless_its_body_is_tracked():
    rgb, own, other = np.zeros((300, 400, 3), np.uint8), held_at(0, 1), held_at(90, 2)
    keypoints = np.array([[235, 140], [245, 140], [240, 148], [240, 156], [230, 142], [250, 142]], float)
    faces = Faces((225, 130, 255, 160))
    faces.find = lambda rgb, min_score: [SimpleNamespace(score=0.9, keypoints=keypoints)]
    finder = BodyFinder(faces, None, Bodies())

    def covered(frames, tracked=()):
        finder.reset()
        finder.sources[0].find(rgb, Window(0, 0, 400, 300))
        for _ in range(frames):
            finder.begin_frame(tracked)
        return finder.image_for_track(rgb, own, [own])[150, 240].any()

    assert [covered(frames) for frames in (0, 39, 40)] == [True, True, False]
    assert not covered(1, [other.observation])


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
        ("pose-detection/test_data/pose_squats.mp4", [1, 1, 1, 1, 1]),
        (
            "hand-pose-detection/test_data/asl_hand*.mp4",
            [0, 0, 0, 0, 0],
        ),  # a hand that the body networks take for a body
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
