import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.kinds.hands import HandObservation
from sonjit.detectors.observations import is_same_object
from sonjit.detectors.search.bodies import without_other_heads
from sonjit.detectors.search.faces import Head, HeadMap, head_from_detection, without_same_heads
from sonjit.detectors.search.finds import (
    LogisticRegression,
    Place,
    Window,
    is_same_find,
    logit,
    merged,
    oks,
    tiles,
    window_around,
)
from sonjit.detectors.search.hands import Guide, HandSearch, seen_in_mirror
from sonjit.detectors.search.people import faces_of_bodies, hands_of_bodies
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox

WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_tiles_of_each_size_cover_the_image_once(width, height):
    windows = tiles(width, height)
    assert windows[0] == (0, 0, width, height)
    areas = [(w.right - w.left) * (w.bottom - w.top) for w in windows]
    assert sum(areas) == width * height * {1: 1, 5: 2, 14: 3}[len(windows)]
    assert all(0 <= w.left < w.right <= width and 0 <= w.top < w.bottom <= height for w in windows[:1])


def test_a_window_is_cut_off_at_the_image_and_none_where_nothing_is_left():
    rgb = np.zeros((100, 200, 3), np.uint8)
    assert window_around(10, 10, 60, rgb) == (0, 0, 40, 40)
    assert window_around(-100, 50, 60, rgb) is None


def test_similarity_falls_with_distance_and_counts_weights():
    points = np.random.default_rng(0).random((21, 2)) * 100
    assert oks(points, points) == pytest.approx(1)
    assert 1 > oks(points, points + 3) > oks(points, points + 10) > 0
    moved = points.copy()
    moved[0] += 1000
    assert oks(points, moved, weights=np.r_[0, np.ones(20)]) > 0.99 * oks(points, points)


def test_a_score_is_a_logistic_regression():
    regression = LogisticRegression(-1.0, {"a": 2.0})
    assert regression({"a": 0.5, "unused": 9}) == pytest.approx(0.5)
    assert LogisticRegression(0, {"p": 1.0})({"p": logit(0.8)}) == pytest.approx(0.8)


def test_places_that_show_the_same_are_one_with_all_their_votes():
    near, far = RotatedBox(50, 50, 40, 40, 0.0), RotatedBox(90, 50, 40, 40, 0.0)
    (first, second) = merged([Place(near, 0.4, {1}), Place(near._replace(cx=51), 0.9, {2}), Place(far, 0.3, {3})], 400)
    assert (first.score, first.votes, second.votes) == (0.9, {1, 2}, {3})


def test_one_inside_the_other_is_one_find_and_one_reading():
    class Seen:
        def __init__(self, points, left):
            self.keypoints, self.left = points, left

    points = np.random.default_rng(1).random((21, 3)).astype(np.float32) * 100
    inside = 50 + 0.7 * (points[::-1] - 50)
    assert is_same_find(points, inside)
    assert is_same_object(Seen(points, 0.1), Seen(inside, 0.2), one_reading=True)
    assert not is_same_object(Seen(points, 0.1), Seen(inside, 0.9), one_reading=True)
    assert not is_same_object(Seen(points, 0.1), Seen(inside, 0.2))


def test_boxes_of_faces_have_no_thorough_search_in_streams():
    with pytest.raises(sonjit.InputError, match="search='thorough': face box has none for streams"):
        sonjit.create_detector("face", model="box", search="thorough")


@pytest.mark.parametrize("model", ["box", "box-full"])
@pytest.mark.files("real/tfjs-models/face-landmarks-detection/test_data/*.jpg")
def test_boxes_of_small_faces_are_found_in_windows_once_and_the_published_ones_stay(file, model):
    """The image itself, and twice smaller beside it."""
    portrait = cv2.imread(str(file))
    scene = np.full((1200, 1600, 3), 128, np.uint8)
    scene[100:920, 60:880] = cv2.resize(portrait, (820, 820))
    for left in (950, 1300):
        scene[300:580, left : left + 280] = cv2.resize(portrait, (280, 280), interpolation=cv2.INTER_AREA)
    scene = scene[..., ::-1].copy()
    found = {}
    for search in ("fast", "auto"):
        with sonjit.create_detector("face", model=model, search=search, static_image=True, max_instances=9) as one:
            found[search] = one.detect(scene)
    assert len(found["auto"]) == 3
    for published in found["fast"]:
        assert any(np.array_equal(published.keypoints, one.keypoints, equal_nan=True) for one in found["auto"])


def a_hand(x, y, left=0.5, size=20):
    """A hand whose wrist is at (x, y) and whose fingers point up."""
    points = np.random.default_rng(2).random((21, 3)).astype(np.float32) * size + (x - size / 2, y - size, 0)
    points[0, :2] = x, y
    return HandObservation(0.99, points, np.zeros((21, 3), np.float32), left)


def a_body(x, left_wrist, right_wrist):
    """A body whose head is at (x, 50)."""
    points = np.zeros((33, 3), np.float32)
    points[:11, :2] = x, 50
    points[15, :2], points[16, :2] = left_wrist, right_wrist
    ones = np.ones(33, np.float32)
    return BodyObservation(0.99, points, points, ones, ones, np.zeros((2, 2), np.float32))


def test_each_arm_has_one_hand_and_each_hand_one_arm():
    bodies = [a_body(50, (100, 100), (20, 100)), a_body(200, (250, 100), (112, 100))]
    hers, his, far = a_hand(101, 100, left=0.9), a_hand(111, 101, left=0.1), a_hand(400, 100)
    assert hands_of_bodies(bodies, [far, his, hers]) == {(0, 0): hers, (1, 1): his}
    assert hands_of_bodies(bodies, [hers]) == {(0, 0): hers}
    assert hands_of_bodies([a_body(50, (100, 100), (101, 100))], [a_hand(100, 100, left=0.0)]).keys() == {(0, 1)}


def test_each_face_is_on_one_neck():
    bodies = [a_body(50, (0, 0), (0, 0)), a_body(70, (0, 0), (0, 0))]
    faces = [FaceObservation(1.0, np.array([[x - 20, 30, 0], [x + 20, 70, 0]], np.float32)) for x in (68, 55, 300)]
    assert faces_of_bodies(bodies, faces) == {1: faces[0], 0: faces[1]}


def test_other_heads_are_covered_and_ones_own_stays_where_they_overlap():
    rgb = np.full((100, 300, 3), 7, np.uint8)
    heads = [Head(1.0, np.array([x, 50.0]), np.array([0.0, 40.0])) for x in (60, 100, 250)]
    alone = without_other_heads(rgb, heads, heads[0])
    assert alone[50, 250].tolist() == alone[50, 105].tolist() == [128] * 3
    assert (alone[32:68, 42:78] == 7).all()
    assert without_other_heads(rgb, heads[:1], heads[0]) is rgb


def test_heads_of_a_stream_are_forgotten_after_some_frames_and_where_they_are_known_better():
    heads = [Head(1.0, np.array([x, 50.0]), np.array([0.0, 40.0])) for x in (60, 100)]
    known = HeadMap(frames=3)
    known.see(Window(0, 0, 300, 100), heads)
    assert list(known) == heads
    known.begin_frame(lambda head: head is heads[0])
    known.begin_frame(lambda head: False)
    assert list(known) == heads[1:]
    known.begin_frame(lambda head: False)
    assert not list(known)


def test_a_head_lies_below_the_eyes_of_its_window():
    eyes_to_ears = np.array([[-5, 0], [5, 0], [0, 5], [0, 10], [-9, 0], [9, 0]], float)
    head = head_from_detection(Detection(0.8, np.zeros(4), eyes_to_ears + 50), Window(100, 200, 300, 400))
    assert head.score == 0.8
    assert 20 < head.height < 30
    np.testing.assert_allclose(head.middle, (150, 253.9))
    nearby = Head(0.9, head.middle + 3, head.down)
    assert without_same_heads([head, nearby, Head(0.1, head.middle + 99, head.down)])[0] is nearby


class Palms:
    """A palm detector that finds one palm in the middle of whatever it is shown."""

    def find_from(self, rgb, *min_scores):
        height, width = rgb.shape[:2]
        points = np.tile([width / 2, height / 2], (7, 1))
        points[2] -= 0, 10
        box = np.array([width / 2 - 10, height / 2 - 10, width / 2 + 10, height / 2 + 10])
        return [[Detection(0.9, box, points)] for _ in min_scores]


class Landmarks:
    """A hand network that places the keypoints of a hand at the brightest pixel, of one score."""

    def __init__(self, score):
        self.score, self.images = score, []

    def observe(self, rgb, box):
        self.images.append(rgb)
        y, x = np.unravel_index(rgb[..., 0].argmax(), rgb.shape[:2])
        points = np.full((21, 3), (x + 0.5, y + 0.5, 0), np.float32)
        points[:, 1] -= np.arange(21)  # upright: the same in the mirror
        return HandObservation(self.score, points, np.ones((21, 3), np.float32), 0.9, appearance=points)


def an_image():
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[110, 140] = 255
    return rgb


def test_plain_hands_end_a_search_before_faces_are_asked():
    def load():
        raise AssertionError("loaded")

    palms = Palms()
    (find,) = HandSearch(palms, Landmarks(0.99), Guide(load), enough=1).search(an_image())
    assert find.plain
    assert find.score > 0.8
    with pytest.raises(AssertionError, match="loaded"):
        HandSearch(palms, Landmarks(0.99), Guide(load), enough=2).search(an_image())


def test_what_the_published_search_finds_keeps_its_keypoints():
    for score in (0.99, 0.7):  # plain, and doubtful
        hands = Landmarks(score)
        (find,) = HandSearch(Palms(), hands).search(an_image())
        first = hands.observe(an_image(), None)
        np.testing.assert_array_equal(find.result.keypoints, first.keypoints)
        assert len(find.observations) == (2 if score > 0.9 else 4)


def test_what_is_seen_in_the_mirror_lies_where_it_is():
    hands = Landmarks(0.99)
    seen = seen_in_mirror(hands, an_image(), RotatedBox(150, 100, 90, 90, 0.3))
    np.testing.assert_allclose(seen.keypoints[0, :2], (140.5, 110.5))
    assert seen.left == pytest.approx(0.1)
    np.testing.assert_array_equal(seen.keypoints_3d[0], (-1, 1, 1))
    assert seen.appearance is None
    for cx, cy in ((-500, 100), (900, 100), (150, -500), (150, 900)):
        seen_in_mirror(hands, an_image(), RotatedBox(cx, cy, 90, 90, 0.3))  # what lies beyond the image is none of it


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hands", "face", "body"])
def test_photographs_of_several_hold_a_third_more_than_the_published_search_finds(kind):
    """The first few; `benchmarks/wild.py` scores them all."""
    name, each = ("hands", "hands") if kind == "hands" else ("people", "people")
    if not (WILD / f"{name}.json").is_file():
        pytest.skip("photographs labelled by eye are missing")
    labels = json.loads((WILD / f"{name}.json").read_text("utf-8"))
    files = [file for file, entry in labels.items() if file[0] != "_" and 3 <= len(entry[each]) <= 8][:6]
    if not files:
        pytest.skip("no photograph of several")
    with (
        sonjit.create_detector(kind, static_image=True, max_instances=20, search="fast") as fast,
        sonjit.create_detector(kind, static_image=True, max_instances=20, search="thorough") as thorough,
    ):
        found = [(len(fast.detect(WILD / file)), thorough.detect(WILD / file)) for file in files]
    assert sum(len(many) for _, many in found) >= 1.33 * sum(few for few, _ in found)
    assert all(0.5 < one.score <= 1 for _, many in found for one in many)
