"""People with their hands and face: each part belongs to the right person."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit import create_detector
from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.kinds.hands import HandObservation
from sonjit.detectors.kinds.holistic import (
    _HAND_AGREEMENT,
    _HAND_SHIFT,
    Holistic,
    PersonObservation,
    head_box,
    recropped_box,
)
from sonjit.detectors.options import GraphThresholds
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, wrap_angle
from sonjit.media import open_source, rgb_from
from sonjit.results import Face

STILLS = pytest.mark.files("goldens/mediapipe/pose.*.static.full.json")
VIDEOS = pytest.mark.files("goldens/mediapipe/pose.*.track.full.json")


def medium(file):
    """Return the image or clip of a golden, or skip synthetic ones that are not stored."""
    golden = json.loads(file.read_text("utf-8"))
    path = file.parents[2] / golden["source"]
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the test data")
    return golden, path


@pytest.fixture(scope="module")
def holistic(weights):
    with create_detector("holistic", static_image=True, search="fast", max_instances=2) as detector:
        yield detector


@pytest.fixture(scope="module")
def bodies(weights):
    with create_detector("body", static_image=True, search="fast", max_instances=2) as detector:
        yield detector


@pytest.mark.golden
@STILLS
def test_bodies_are_those_of_the_body_detector(file, holistic, bodies):
    _, path = medium(file)
    rgb = rgb_from(path)
    for person, body in zip(holistic.detect(rgb), bodies.detect(rgb), strict=True):
        np.testing.assert_array_equal(person.body.keypoints, body.keypoints)


@pytest.mark.golden
@STILLS
def test_hands_and_face_are_where_the_body_has_them(file, holistic):
    _, path = medium(file)
    for person in holistic.detect(path):
        body = person.body
        for hand, wrist in ((person.left_hand, 15), (person.right_hand, 16)):
            if hand is not None:
                assert hand.handedness == ("Left" if wrist == 15 else "Right")
                size = np.ptp(hand.keypoints[:, :2], axis=0).max()
                assert np.linalg.norm(hand.keypoints[0, :2] - body.keypoints[wrist, :2]) < size
        if person.face is not None:
            x_min, y_min, x_max, y_max = person.face.box
            nose = body.keypoints[0, :2]
            assert x_min - (x_max - x_min) < nose[0] < x_max + (x_max - x_min)
            assert y_min < nose[1] < y_max


@pytest.mark.golden
@STILLS
def test_two_people_have_the_results_of_single_images(file, holistic):
    """Show the same image twice, one below the other, and detect in the boxes of the single image."""
    _, path = medium(file)
    rgb = rgb_from(path)
    separate = holistic.detect(rgb)[:1]
    if not separate:
        pytest.skip(f"nobody is found in {path.name}")
    height = rgb.shape[0]
    box = holistic._kind.find(rgb, 0.5)[0]
    both = holistic.detect(np.vstack([rgb, rgb]), boxes=[box, box._replace(cy=box.cy + height)])
    reach = box.height / 2 * (abs(np.cos(box.rotation)) + abs(np.sin(box.rotation)))
    if not 0 < box.cy - reach < box.cy + reach < height:
        pytest.skip(f"the box of {path.name} reaches over the seam")
    assert len(both) == 2
    for person, shift in zip(both, (0, height), strict=True):
        for mine, theirs in zip(person.parts, separate[0].parts, strict=True):
            moved = mine.keypoints[:, :2] - (0, shift)
            assert np.linalg.norm(moved - theirs.keypoints[:, :2], axis=1).mean() < 1


@pytest.mark.golden
@VIDEOS
def test_everything_of_a_person_keeps_one_id(file, weights):
    _, path = medium(file)
    with create_detector("holistic", max_instances=1) as detector, open_source(path) as source:
        frames = [detector.detect(rgb, time=time) for _, time, rgb in source]
    assert all(len(people) == 1 for people in frames[1:])
    assert {part.id for people in frames for person in people for part in person.parts} == {1}


@pytest.mark.golden
@STILLS
def test_all_parts_of_flipped_people_are_flipped(file, weights, holistic):
    _, path = medium(file)
    rgb = rgb_from(path)
    options = {"static_image": True, "search": "fast", "max_instances": 2}
    with create_detector("holistic", **options, flip_horizontal=True) as flipping:
        for mine, theirs in zip(flipping.detect(rgb), holistic.detect(rgb), strict=True):
            for a, b in zip(mine.parts, theirs.parts, strict=True):
                np.testing.assert_allclose(a.keypoints[:, 0], rgb.shape[1] - b.keypoints[:, 0], rtol=1e-5, atol=1e-2)
                assert a.keypoints.dtype == np.float32


def test_forced_boxes_without_a_person_give_no_person(holistic):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert holistic.detect(noise, boxes=[RotatedBox(100, 100, 120, 120, 0.0)]) == []


@pytest.mark.parametrize("turn", [0.0, 0.4, -1.2, 2.9])
@pytest.mark.parametrize("box_turn", [0.0, 0.7])
def test_the_box_of_a_hand_points_from_its_lower_edge_to_its_centre(turn, box_turn):
    """The network gives the centre, and the middle of the lower edge, in pixels of its input."""
    rough, size, side = RotatedBox(300, 200, 120, 120, box_turn), 256, 80.0
    found = np.array([[128.0, 128], [128 - side / 2 * math.sin(turn), 128 + side / 2 * math.cos(turn)]], np.float32)
    network = SimpleNamespace(input=np.zeros((1, size, size, 3), np.uint8), run=lambda: [found.ravel()])
    box = recropped_box(np.zeros((400, 600, 3), np.uint8), rough, network)
    px = side * rough.width / size
    assert wrap_angle(box.rotation - turn - box_turn) == pytest.approx(0, abs=1e-5)
    assert box.width == box.height == pytest.approx(px, rel=1e-5)
    shift = -_HAND_SHIFT * px
    place = 300 + shift * math.sin(box.rotation), 200 - shift * math.cos(box.rotation)
    assert (box.cx, box.cy) == pytest.approx(place, abs=1e-3)


def test_the_box_of_a_head_is_centred_on_its_keypoints_with_level_eyes():
    points = np.full((33, 3), 500, np.float32)
    points[:11, :2] = 100, 100
    points[2, :2], points[5, :2] = (120, 90), (70, 110)  # the person's left and right eye
    seen = np.ones(33, np.float32)
    body = BodyObservation(0.9, points, points, seen, seen, np.zeros((2, 2), np.float32))
    box = head_box(body)
    assert (box.cx, box.cy) == pytest.approx((95, 100))
    assert box.rotation == pytest.approx(math.atan2(-20, 50))
    assert box.width == box.height == pytest.approx(3 * 50)
    seen[:11] = 0.05
    assert head_box(body) is None


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"rotation": math.radians(39.5)}, {"rotation": math.radians(40.5)}),
        ({"rotation": math.radians(-39.5)}, {"rotation": math.radians(-40.5)}),
        ({"cx": 219}, {"cx": 221}),
        ({"cy": 81}, {"cy": 79}),
        ({"width": 139}, {"width": 141}),
        ({"width": 61}, {"width": 59}),
        ({"x": 244}, {"x": 246}),
        ({"y": 56}, {"y": 54}),
    ],
    ids=str,
)
def test_a_tracked_hand_is_kept_while_it_agrees_with_the_hand_of_the_body(inside, outside):
    found = RotatedBox(200, 100, 100, 100)

    def accepts(x=200, y=100, **changes):
        keypoints = np.float32([[200, 100], [x, y]])
        return _HAND_AGREEMENT.accepts(found._replace(**changes), keypoints, found)

    assert accepts(**inside)
    assert not accepts(**outside)


WRISTS = (100, 300), (500, 300)
BLANK = np.zeros((600, 700, 3), np.uint8)


def body_at(*wrists, visibility=1.0):
    """Return a body with these wrists (left, right), whose hands point down, and a head."""
    points = np.full((33, 3), 300, np.float32)
    points[:11, :2] = 300, 100
    points[2, :2], points[5, :2] = (320, 100), (280, 100)
    for side, wrist in enumerate(wrists):
        points[15 + side, :2], points[[17 + side, 19 + side], :2] = wrist, np.add(wrist, (0, 40))
    seen = np.full(33, visibility, np.float32)
    return BodyObservation(0.9, points, points, seen, seen, np.zeros((2, 2), np.float32))


class FakeHands:
    """Hand network that sees the hand whose centre, 40 px below its wrist, is within 60 px of the box."""

    def __init__(self):
        self.wrists, self.boxes, self.drift = [], [], 0.0

    def observe(self, rgb, box):
        self.boxes.append(box)
        distances = [math.dist((x, y + 40), box[:2]) for x, y in self.wrists]
        side = int(np.argmin(distances)) if distances else 0
        x, y = self.wrists[side] if distances else box[:2]
        points = np.zeros((21, 3), np.float32)
        points[:, :2] = x, y
        points[1:, :2] += np.linspace((-20, 0), (20, 80), 20)
        return HandObservation(0.9 if min(distances, default=99) < 60 else 0.1, points, points, 0.9 - 0.8 * side)

    def box_after(self, hand):
        x, y = hand.keypoints[0, :2].tolist()
        return RotatedBox(x + self.drift, y + 40, 120, 120)

    def refine(self, hand):
        return hand


class FakeFaces:
    """Face network that sees a face in each head."""

    mirrored = False

    def __init__(self):
        self.boxes, self.heads = [], []

    def observe(self, rgb, box):
        self.boxes.append(box)
        return FaceObservation(0.9, np.full((468, 3), 100, np.float32))

    def find_in(self, rgb, head, min_score):
        self.heads.append((head, min_score))
        return head

    def box_after(self, face):
        return RotatedBox(300, 100, 100, 100)

    def result(self, rgb, face, track):
        return Face(face.score, face.keypoints, face.box, None)


class Follower:
    """A tracked person, whose hands are observed frame by frame."""

    def __init__(self, **options):
        output = np.array([128, 128, 128, 168], np.float32)  # of the re-crop network
        recrop = SimpleNamespace(input=np.zeros((1, 256, 256, 3), np.uint8), run=lambda: [output])
        bodies = SimpleNamespace(result=lambda rgb, body, track: body)
        self.hands, self.faces = FakeHands(), FakeFaces()
        options = {"min_presence_score": 0.5, "search_interval": 2} | options
        no_smoother = {"new_hand_smoother": lambda: None, "new_face_smoother": lambda: None}
        self.kind = Holistic(bodies, self.hands, self.faces, recrop, **no_smoother, **options)
        self.track = Track(1, body_at(*WRISTS), body_at(*WRISTS), None, 0.0)

    def see(self, body, *wrists):
        """Return the sides of the hands that are found in a frame, and the number of looks."""
        self.hands.wrists, self.hands.boxes, self.faces.boxes = list(wrists), [], []
        self.track.observation = body
        person = self.kind.result(BLANK, body, self.track)
        found = [name for name, hand in (("left", person.left_hand), ("right", person.right_hand)) if hand is not None]
        return found, len(self.hands.boxes)


@pytest.fixture
def follower():
    """Return a function that makes a `Follower`, and end its threads."""
    made = []

    def new(**options):
        made.append(Follower(**options))
        return made[-1]

    yield new
    for one in made:
        one.kind.at_close.close()


@pytest.mark.parametrize(("interval", "looks"), [(1, [2, 2, 2, 2, 2]), (2, [2, 0, 2, 0, 2]), (3, [2, 0, 0, 2, 0])])
def test_a_missing_hand_is_searched_in_every_few_frames(follower, interval, looks):
    one = follower(search_interval=interval)
    assert [one.see(body_at(*WRISTS)) for _ in range(5)] == [([], look) for look in looks]


def test_a_tracked_hand_takes_one_look_and_a_lost_one_is_searched_in_the_same_frame(follower):
    one = follower()
    assert [one.see(body_at(*WRISTS), *WRISTS) for _ in range(3)] == [(["left", "right"], 2)] * 3
    assert [box.cx for box in one.hands.boxes] == [100, 500]
    one.hands.drift = 100.0  # the next box misses the hand
    one.see(body_at(*WRISTS), *WRISTS)
    one.hands.drift = 0.0
    assert one.see(body_at(*WRISTS), *WRISTS) == (["left", "right"], 4)
    assert one.see(body_at(*WRISTS)) == ([], 4)  # tracked and searched
    assert one.see(body_at(*WRISTS), *WRISTS) == ([], 0)
    assert one.see(body_at(*WRISTS), *WRISTS) == (["left", "right"], 2)


@pytest.mark.parametrize(("shift", "moved"), [(11, 0), (13, 13), (-300, -300)])
def test_the_box_of_a_hand_moves_with_the_body_except_for_noise(follower, shift, moved):
    """The limit is a tenth of the box, 12 px."""
    one = follower()
    one.see(body_at(*WRISTS), *WRISTS)
    wrists = WRISTS[0], (500 + shift, 300)
    assert one.see(body_at(*wrists), *wrists) == (["left", "right"], 2)
    assert [box.cx for box in one.hands.boxes] == [100, 500 + moved]


@pytest.mark.parametrize(("away", "found"), [(78, ["left", "right"]), (82, ["right"])])
def test_a_hand_farther_than_its_size_from_the_wrist_of_its_body_is_dropped(follower, away, found):
    one = follower()
    one.see(body_at(*WRISTS), *WRISTS)
    one.track.observation = body_at(*WRISTS)
    one.hands.drift = float(-away)
    one.see(body_at(*WRISTS), *WRISTS)
    one.hands.drift = 0.0
    assert one.see(body_at(*WRISTS), (100 - away, 300), WRISTS[1])[0] == found
    assert one.see(body_at(*WRISTS), WRISTS[1])[1] == len(found) + (len(found) == 2)  # a lost one is searched


def test_two_parts_on_one_hand_leave_the_nearer_one(follower):
    one = follower()
    wrists = (300, 300), (310, 300)
    assert one.see(body_at(*wrists), (308, 300)) == (["right"], 2)


@pytest.mark.parametrize(
    ("hand", "face", "sides"), [(None, None, 2), (0.95, None, 0), (None, 0.95, 2), (0.85, 0.95, 2), (0.95, 0.85, 0)]
)
def test_hands_and_faces_have_limits_of_their_own(follower, hand, face, sides):
    """Both have a score of 0.9."""
    limits = GraphThresholds(hand_presence=hand, face_presence=face, face_detection=0.7)
    one = follower(thresholds=limits)
    assert len(one.see(body_at(*WRISTS), *WRISTS)[0]) == sides
    found = one.kind.result(BLANK, body_at(*WRISTS), one.track).face
    assert (None if found is None else found.id) == (None if face == 0.95 else 1)
    assert {score for _, score in one.faces.heads} == {0.7}


def test_a_face_in_a_head_has_a_limit_of_its_own(follower):
    one = follower()
    assert one.see(body_at(*WRISTS))[0] == []
    assert {score for _, score in one.faces.heads} == {0.5}


def test_hands_of_hidden_wrists_and_parts_of_occluded_people_are_not_sought(follower):
    one = follower()
    assert one.see(body_at(*WRISTS, visibility=0.05), *WRISTS) == ([], 0)
    assert one.faces.boxes == []
    one.track.occluded_s = 0.1
    assert one.see(body_at(*WRISTS), *WRISTS) == ([], 0)


def test_with_the_search_of_mediapipes_graph_hands_are_searched_in_each_frame(follower):
    """A tracked box is used only if it agrees with the found one."""
    one = follower(thresholds=GraphThresholds(searches_parts=True))
    assert [one.see(body_at(*WRISTS), *WRISTS) for _ in range(3)] == [(["left", "right"], 2)] * 3
    assert len(one.faces.heads) == 3
    one.hands.drift = 100.0
    one.see(body_at(*WRISTS), *WRISTS)
    assert one.see(body_at(*WRISTS), *WRISTS) == (["left", "right"], 2)
    assert abs(one.hands.boxes[0].cx - 100) < 30  # the found box, not the tracked one


@pytest.mark.parametrize(("least", "sides"), [(0.9, 0), (0.89, 2)])
@pytest.mark.parametrize("searches_parts", [False, True])
def test_parts_have_more_than_the_minimum_score(follower, searches_parts, least, sides):
    """The hands have a score of 0.9."""
    one = follower(min_presence_score=least, thresholds=GraphThresholds(searches_parts=searches_parts))
    for _ in range(3):
        assert len(one.see(body_at(*WRISTS), *WRISTS)[0]) == sides


@pytest.mark.parametrize("refined", [False, True])
def test_a_person_has_the_results_of_its_parts(follower, refined):
    one = follower()
    one.hands.wrists = list(WRISTS)
    if refined:
        one.hands.refine = lambda hand: replace(
            hand, keypoints=hand.keypoints + 1, error_px=np.full(21, 2, np.float32), published=hand
        )
    for track in (None, one.track):
        person = one.kind.result(BLANK, body_at(*WRISTS), track)
        assert (person.left_hand.handedness, person.right_hand.handedness) == ("Left", "Right")
        assert (person.left_hand.handedness_score, person.right_hand.handedness_score) == pytest.approx((0.9, 0.9))
        assert [part.id for part in (person.left_hand, person.right_hand, person.face)] == [track and 1] * 3
        np.testing.assert_array_equal(person.left_hand.keypoints[0, :2], np.add(WRISTS[0], refined))
        np.testing.assert_array_equal(person.right_hand.keypoints_3d[0, :2], WRISTS[1])
        assert (person.left_hand.error_px is None) == (person.left_hand.published is None) == (not refined)
    still = PersonObservation(
        **vars(body_at(*WRISTS)), hands=(None, one.hands.observe(BLANK, RotatedBox(500, 340, 9, 9))), face=None
    )
    person = one.kind.result(BLANK, still, None)
    assert (person.left_hand, person.face) == (None, None)
    assert person.right_hand.score == 0.9


@pytest.mark.parametrize(("score", "found"), [(0.51, True), (0.5, False)])
def test_a_face_in_the_head_of_a_body_has_a_minimum_score(follower, score, found):
    one = follower()
    one.faces.observe = lambda rgb, box: FaceObservation(score, np.full((468, 3), 100, np.float32))
    assert (one.kind.face_in(BLANK, body_at(*WRISTS)) is not None) == found
    assert one.kind.face_in(BLANK, body_at(*WRISTS, visibility=0.05)) is None
    one.faces.mirrored = True
    one.kind.face_in(BLANK, body_at(*WRISTS))
    (upright, _), (turned, _) = one.faces.heads
    assert wrap_angle(turned.rotation - upright.rotation) == pytest.approx(-math.pi)
