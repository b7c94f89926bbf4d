"""Parts of the search: proposals, heads, people and hands of the networks, and crops of bodies."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.hands import HandObservation
from sonjit.detectors.search import geometry
from sonjit.detectors.search import score as scores
from sonjit.detectors.search.bodies import PLACEMENTS, box_below, clipped, crop_of, only_box
from sonjit.detectors.search.geometry import Proposal, is_near, is_same_instance, merge_proposals, oks
from sonjit.detectors.search.hands import arm_side, face_height, is_near_crop, wrist_distance
from sonjit.detectors.search.network import SIDE, VALUES, PeopleNetwork, PersonBox, has_small, new_people
from sonjit.detectors.search.score import CONSTANTS, LIMITS, map_odds, probability
from sonjit.detectors.search.stream_finders import BodyFinder
from sonjit.detectors.ssd import AnchorGrid, Detection
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, letterbox
from sonjit.geometry.windows import Window

BOX = RotatedBox(200, 100, 100, 100, 0.2)


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ({"cx": 207.9}, True), ({"cx": 208}, False), ({"cy": 92.1}, True), ({"cy": 91.9}, False),
        ({"width": 114}, True), ({"width": 116}, False), ({"width": 88}, True), ({"width": 86}, False),
        ({"rotation": 0.34}, True), ({"rotation": 0.36}, False), ({"rotation": 0.3 + 2 * math.pi}, True),
    ],
    ids=str,
)  # fmt: skip
def test_boxes_are_near_that_give_nearly_the_same_crop(change, near):
    assert is_near(BOX, BOX._replace(**change)) == is_near(BOX._replace(**change), BOX) == near


def test_proposals_are_sorted_without_duplicates_and_impossible_sizes():
    sizes = {"tiny": 4, "small": 5, "wide": 399, "too wide": 400}
    found = [Proposal(RotatedBox(i * 500, 0, size, size), 0.5, name) for i, (name, size) in enumerate(sizes.items())]
    found += [Proposal(BOX, 0.6, "weak"), Proposal(BOX._replace(cx=203), 0.9, "best"), Proposal(BOX, 0.7, "published")]
    assert [one.source for one in merge_proposals(found, 400)] == ["best", "small", "wide"]
    assert [one.published for one in found[-2:]] == [False, True]


def square(x=0.0, y=0.0, width=100.0, height=100.0):
    return np.array([(x, y, 0), (x + width, y, 0), (x, y + height, 0), (x + width, y + height, 0)], float)


def test_similarity_of_keypoints_falls_with_their_distance():
    points = square()
    assert oks(points, points) == 1
    assert oks(points, square(8)) == pytest.approx(math.exp(-1 / 2))
    assert oks(points, square(8), tolerance=0.16) == pytest.approx(math.exp(-1 / 8))
    assert oks(points, square(8, 50), moved=True) == pytest.approx(1)
    assert oks(points, square(y=8, height=92), weights=np.array([1, 1, 3, 0])) == pytest.approx(
        (2 * math.exp(-1 / 2) + 3) / 5
    )
    assert oks(points, points, weights=np.zeros(4)) == 0


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (square(), square(53), True),  # IoU of 0.3
        (square(), square(55), False),
        (square(), square(87.9, 40, 20, 20), True),  # 0.6 of the smaller one
        (square(), square(88.1, 40, 20, 20), False),
        (square(width=0), square(11.9, width=0), True),  # near without any area
        (square(width=0), square(12.1, width=0), False),
    ],
)
def test_keypoints_show_one_instance_that_coincide_overlap_or_are_nested(a, b, same):
    assert is_same_instance(a, b) == is_same_instance(b, a) == same


def body_of(eyes=(100, 100), mouth=(100, 140), torso=((130, 200), (70, 200), (120, 300), (80, 300))):
    points = np.zeros((33, 3), np.float32)
    points[:11, :2] = eyes
    points[[9, 10], :2] = mouth
    points[[11, 12, 23, 24], :2] = torso
    ones = np.ones(33, np.float32)
    return BodyObservation(0.8, points, points, ones, ones, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(("mouth", "turn"), [((100, 140), 0.0), ((140, 100), -math.pi / 2), ((100, 60), math.pi)])
def test_a_head_spans_forehead_to_chin_and_turns_with_the_face(mouth, turn):
    head = geometry.head_of_body(body_of(mouth=mouth))
    assert head.score == 0.8
    assert head.height == pytest.approx(2.41 * 40)
    np.testing.assert_allclose(head.middle, (100, 100) + 0.39 * (np.array(mouth) - 100))
    assert head.crop.width == head.crop.height == pytest.approx(1.5 * 2.41 * 40)
    assert abs(head.crop.rotation) == pytest.approx(abs(turn))
    assert turn in (math.pi, head.crop.rotation)


def test_heads_of_a_window_are_in_pixels_of_the_image():
    points = np.array([(20, 30), (40, 30), (30, 40), (30, 50), (0, 0), (0, 0)], float)
    detector = SimpleNamespace(find=lambda rgb, least: [Detection(0.7, np.zeros(4), points)] * (rgb.shape[0] == 80))
    (head,) = geometry.detected_heads(detector, np.zeros((200, 200, 3), np.uint8), Window(100, 50, 150, 130), 0.5)
    np.testing.assert_allclose(head.middle, (130, 80 + 0.39 * 20))
    np.testing.assert_allclose(head.down, (0, 2.41 * 20))
    assert head.score == 0.7


def test_bodies_are_compared_by_torso_and_head_in_their_sizes():
    body = body_of()
    assert geometry.torso_size(body) == 100  # from shoulders to hips
    assert geometry.torso_size(body_of(torso=((250, 200), (50, 200), (120, 300), (80, 300)))) == 200  # shoulders
    for limit, same, part in (
        (LIMITS["same_torso"] * 100, geometry.is_same_torso, body_of),
        (LIMITS["same_head"] * 60, geometry.is_same_head, body_of),
    ):
        for step, expected in ((-0.5, True), (0.5, False)):
            x = limit + step
            moved = part(
                (100 + x, 100), (100 + x, 140), [(a + x, b) for a, b in ((130, 200), (70, 200), (120, 300), (80, 300))]
            )
            assert same(body, moved) == same(moved, body) == expected
    head = geometry.head_of_body(body)
    assert geometry.is_head_of(body, head)
    own = LIMITS["own_face"] * head.height
    offset = geometry.head_offset(body, head) * head.height
    for step, expected in ((-1.0, True), (1.0, False)):
        aside = np.array([math.sqrt((own + step) ** 2 - offset**2), 0])
        away = head._replace(middle=head.middle + aside)
        assert geometry.is_head_of(body, away) == expected


def test_the_head_of_a_body_is_at_the_middle_of_its_face_and_of_all_points_of_its_head():
    body, other = body_of(), body_of()
    for points in (body.keypoints, other.keypoints):
        points[:11, 0] = 100, 106, 110, 114, 94, 90, 86, 130, 70, 106, 94
        points[:11, 1] = 120, 99, 100, 101, 99, 100, 101, 105, 105, 140, 140
    head = geometry.Head(0.9, np.array([100.0, 120.0]), np.array([0.0, 100.0]))
    assert geometry.head_offset(body, head) == pytest.approx(0)  # nose, eyes and mouth
    other.keypoints[:11, 0] += LIMITS["same_head"] * 60 - 0.1
    assert geometry.is_same_head(body, other)
    other.keypoints[0, 0] += 11 * 0.2  # the nose
    assert not geometry.is_same_head(body, other)


def test_crops_of_people_reach_from_the_head_to_the_feet():
    assert crop_of((100, 100, 200, 400)) == pytest.approx((150, 316, 562.5, 562.5, 0))
    head = geometry.head_of_body(body_of())
    for placement, (hips, radius) in enumerate(PLACEMENTS):
        expected = 100, 115.6 + hips * 96.4, 2.5 * radius * 96.4, 2.5 * radius * 96.4, 0
        assert box_below(head, placement) == pytest.approx(expected)


def test_an_image_is_grey_outside_a_person_and_its_margin():
    rgb = np.zeros((400, 300, 3), np.uint8)
    rows, columns = np.nonzero((only_box(rgb, (100, 100, 200, 300)) == 0).all(2))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (80, 320, 90, 210)
    assert set(np.unique(only_box(rgb, (100, 100, 200, 300)))) == {0, 128}
    assert (only_box(rgb, (-50, -50, 400, 500)) == 0).all()
    assert clipped(body_of(torso=((-9, 50), (350, 450), (9, 9), (20, 20))), rgb) == (0, 0, 300, 400)


def people_network(codes=None, logits=None, *, peaks=(), boxes=True):
    """Return a network with these published boxes, and peaks (row, column, first value, values) of the own map."""
    values = np.zeros((SIDE, SIDE, VALUES), np.float32)
    values[..., [0, 6]] = -9
    for row, column, first, own in peaks:
        values[row, column, first : first + len(own)] = own
    shared = np.zeros((1, 32, SIDE, SIDE), np.float32)
    published = [np.zeros((1, 1917, 4), np.float32), np.full((1, 1917, 24), -9, np.float32)]
    for anchor, logit in (logits or {}).items():
        published[1][0, anchor, 4] = logit
    engine = SimpleNamespace(
        input=np.zeros((1, 300, 300, 3), np.uint8), run=lambda: [*(published if boxes else []), shared]
    )
    own = SimpleNamespace(input=np.zeros((1, SIDE, SIDE, 32), np.float32), run=lambda: [values[None]])
    return PeopleNetwork(engine, own)


CELL = 300 / SIDE
COMPLETE = Window(0, 0, 300, 300)
IMAGE = np.zeros((300, 300, 3), np.uint8)


def person_at(width, height, logit=2.0):
    """Return a peak of the map at the centre of the image, of a person with a size in cells."""
    return 19, 19, 6, (logit, -0.5, -0.5, math.log(width), math.log(height))


def test_people_of_both_networks_are_joined():
    network = people_network(logits={-1: 2.0}, peaks=[person_at(10, 20)])
    people, hands = network.find(IMAGE, COMPLETE, 0.2)
    assert hands == []
    assert [person.score for person in people] == pytest.approx([0.881, 0.881], abs=1e-3)
    own = min(people, key=lambda person: person.box[2] - person.box[0])
    assert own.box == pytest.approx((150 - 5 * CELL, 150 - 10 * CELL, 150 + 5 * CELL, 150 + 10 * CELL), abs=0.01)
    network = people_network(logits={-1: 3.0}, peaks=[person_at(36, 36)])
    (joined,), _ = network.find(IMAGE, COMPLETE, 0.2)
    assert joined.score == pytest.approx(1 / (1 + math.exp(-3)))
    assert joined.box == pytest.approx((150 - 18 * CELL,) * 2 + (150 + 18 * CELL,) * 2, abs=0.01)


@pytest.mark.parametrize(("height", "count"), [(8.1, 1), (7.9, 0)])
def test_boxes_that_are_wider_than_people_are_left_out(height, count):
    assert len(people_network(peaks=[person_at(10, height)]).find(IMAGE, COMPLETE, 0.2)[0]) == count


@pytest.mark.parametrize(("least", "count"), [(0.6, 1), (0.8, 0)])
def test_the_own_network_has_the_given_limit_if_it_runs_alone(least, count):
    network = people_network(peaks=[person_at(10, 20, logit=math.log(0.7 / 0.3))], boxes=False)
    assert len(network.find(IMAGE, COMPLETE, least)[0]) == count


def test_hands_have_places_sizes_and_turns_in_the_image():
    peaks = [(10, 12, 0, (1.0, 0.25, -0.25, math.log(4), 0.6, 0.8)), (30, 5, 0, (2.0, 0, 0, 9.0, 1, 0))]
    network, rgb = people_network(peaks=peaks), np.zeros((600, 600, 3), np.uint8)
    wide, small = network.find(rgb, Window(200, 100, 500, 400), 0.2, 0.3)[1]
    assert small.score == pytest.approx(1 / (1 + math.exp(-1)))
    expected = 200 + 12.75 * CELL, 100 + 10.25 * CELL, 4 * CELL, 4 * CELL, math.atan2(0.6, 0.8)
    assert small.box == pytest.approx(expected, abs=1e-3)
    assert small.bounds == pytest.approx(
        (expected[0] - 2 * CELL, expected[1] - 2 * CELL, expected[0] + 2 * CELL, expected[1] + 2 * CELL), abs=1e-3
    )
    assert wide.box.width == pytest.approx(math.exp(5) * CELL, rel=1e-4)  # no larger size is possible
    assert network.find(rgb, COMPLETE, 0.2, 0.75)[1] == [
        wide._replace(box=wide.box._replace(cx=5.5 * CELL, cy=30.5 * CELL))
    ]


def test_people_cut_by_a_window_are_left_out():
    network, rgb = people_network(peaks=[person_at(38, 38)]), np.zeros((300, 600, 3), np.uint8)
    assert network.find(rgb, COMPLETE, 0.2)[0] == []
    ((_, box),), _ = network.find(IMAGE, COMPLETE, 0.2)
    assert box == pytest.approx((0, 0, 300, 300), abs=0.01)


@pytest.mark.parametrize(("shift", "count"), [(28, 1), (30, 2)])  # IoU of 0.5625 and 0.538
def test_people_are_new_whose_boxes_overlap_no_other(shift, count):
    people = [PersonBox(0.9, (0, 0, 100, 100)), PersonBox(0.8, (shift, 0, 100 + shift, 100))]
    assert new_people(people) == people[:count]
    assert new_people(people[1:], people[:1]) == people[1:count]


@pytest.mark.parametrize(("score", "size", "small"), [(0.01, -1, True), (0.01, 1, False), (-0.01, -1, False)])
def test_an_image_has_small_people_by_their_height_and_score(score, size, small):
    height = LIMITS["small_person"] * 300 + size
    assert has_small([PersonBox(LIMITS["sure_person"] + score, (0, 10, 300, 10 + height))], IMAGE) == small


def hand_at(x, y):
    """Return a hand of 100 px with its wrist in its centre."""
    points = np.full((21, 3), (x, y, 0), np.float32)
    points[[1, 2], 0] += -50, 50
    return HandObservation(0.9, points, points, 0.5)


def arms(left=(100, 100), right=(400, 100), knuckles=0):
    """Return a body with these wrists, whose knuckles are further to the right by two distances."""
    points = np.full((33, 3), 5000, np.float32)
    for side, wrist in enumerate((left, right)):
        for number, index in enumerate((15, 17, 19)):
            points[index + side, :2] = wrist[0] + number * knuckles, wrist[1]
    ones = np.ones(33, np.float32)
    return BodyObservation(0.9, points, points, ones, ones, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("x", "knuckles", "side", "distance"),
    [
        (150, 0, None, 0.5),
        (350, 0, None, 0.5),
        (350, 0, 0, 2.5),
        (350, 0, 1, 0.5),
        (160, 30, None, 0.3),
        (90, 30, None, 0.1),
        (160, 30, 0, 0.3),
        (460, 30, 1, 0.3),
    ],
)
def test_a_hand_is_as_near_to_an_arm_as_to_its_wrist_or_its_knuckles(x, knuckles, side, distance):
    assert wrist_distance(hand_at(x, 100), [arms(knuckles=knuckles)], side) == pytest.approx(distance)
    assert wrist_distance(hand_at(x, 100), []) == math.inf


@pytest.mark.parametrize(
    ("x", "y", "right", "expected"),
    [
        (150, 100, 400, math.log(2.8 / 0.8)),
        (350, 100, 400, -math.log(2.8 / 0.8)),
        (100, 100, 400, 1.5),
        (400, 100, 400, -1.5),
        (100, 249, 100, 0.0),
        (150, 225, 9000, 1.5),
        (100, 250, 100, 0.0),
        (100, 250, 9000, 1.5),
        (100, 251, 400, 0.0),  # both arms are far
    ],
)
def test_the_side_of_a_hand_is_that_of_the_nearer_arm(x, y, right, expected):
    expected = max(min(expected, 1.5), -1.5)
    assert arm_side(hand_at(x, y), [arms(right=(right, 100))]) == pytest.approx(expected)


def test_the_height_of_a_face_follows_from_eyes_and_mouth_or_from_the_shoulders():
    assert face_height(body_of(torso=[(0, 0)] * 4)) == pytest.approx(2.6 * 40)
    assert face_height(body_of(torso=((400, 200), (100, 200), (0, 0), (0, 0)))) == pytest.approx(0.45 * 300)


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ({"cx": 229}, True), ({"cx": 231}, False), ({"cy": 129}, True), ({"cy": 131}, False),
        ({"width": 199}, True), ({"width": 200}, False), ({"width": 51}, True), ({"width": 50}, False),
        ({"rotation": 3.0}, True),
    ],
    ids=str,
)  # fmt: skip
def test_crops_near_each_other_may_show_one_hand_whatever_their_turn(change, near):
    assert is_near_crop(BOX, BOX._replace(**change)) == is_near_crop(BOX._replace(**change), BOX) == near
    assert is_near_crop(BOX, BOX._replace(cx=274), 0.75)
    assert not is_near_crop(BOX, BOX._replace(cx=276), 0.75)


class Finder:
    """Body finder whose detector, networks and scores are given."""

    def __init__(self, monkeypatch, *, heads=(), face=0.0, person=0.0):
        self.finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
        self.finder._heads = [(head, COMPLETE, 0) for head in heads]
        monkeypatch.setattr(self.finder, "_face_score", lambda *_: face)
        monkeypatch.setattr(self.finder, "_person_score", lambda *_: person)

    def accepts(self, body, *arguments):
        return self.finder.accepts_new(IMAGE, body, *arguments)


IN_WINDOW, BELOW_HEAD = Proposal(BOX, 0.5, "person"), Proposal(BOX, 0.5, "head", head=geometry.head_of_body(body_of()))


@pytest.mark.parametrize(
    ("head", "face", "person", "score", "detections", "proposal", "accepted"),
    [
        (0.76, 0, 0, 0.9, 1, None, True),  # below a certain face
        (0.75, 0, 0, 0.9, 1, None, False),
        (0.74, 0, 0.16, 0.9, 1, None, True),  # a person as in stills
        (0.74, 0, 0.15, 0.9, 1, None, False),
        (0, 0.76, 0, 0.9, 1, IN_WINDOW, True),  # a certain face is detected
        (0, 0.75, 0.9, 0.9, 1, IN_WINDOW, False),
        (0, 0.1, 0, 0.9, 2, IN_WINDOW, True),  # twice with a face
        (0, 0.1, 0.9, 0.9, 1, IN_WINDOW, False),
        (0, 0, 0.9, 0.9, 3, IN_WINDOW, True),  # three times without a face
        (0, 0, 0.9, 0.9, 2, IN_WINDOW, False),
        (0, 0, 0.14, 0.9, 3, IN_WINDOW, False),
        (0, 0, 0.9, LIMITS["faceless"], 3, IN_WINDOW, False),
        (0, 0, 0.9, 0.9, 3, BELOW_HEAD, False),
        (0.76, 0, 0.9, 0.9, 2, BELOW_HEAD, True),  # below an earlier face
        (0.76, 0, 0.9, 0.9, 1, BELOW_HEAD, False),
        (0.75, 0, 0.9, 0.9, 2, BELOW_HEAD, False),
    ],
)
def test_a_new_body_needs_a_face_or_several_detections(
    monkeypatch, head, face, person, score, detections, proposal, accepted
):
    body = replace(body_of(), score=score)
    heads = [geometry.head_of_body(body)._replace(score=head)] if head else []
    finder = Finder(monkeypatch, heads=heads, face=face, person=person)
    assert finder.accepts(body, detections, proposal) == accepted


@pytest.mark.parametrize(
    ("face", "person", "lost_at"), [(0.0, 0.15, 6), (0.1, 0.0, None), (0.0, 0.16, None), (0.0, 0.9, None)]
)
def test_a_tracked_body_is_verified_periodically(monkeypatch, face, person, lost_at):
    finder, body = Finder(monkeypatch, face=face, person=person).finder, body_of()
    track = Track(1, body, body, None, 0.0)
    kept = [finder.verify(IMAGE, track, body, [track]) is body for _ in range(12)]
    assert kept.index(False) + 1 == lost_at if lost_at else all(kept)


def test_heads_are_forgotten_below_which_a_body_is_tracked_or_that_are_old(monkeypatch):
    head = geometry.head_of_body(body_of())
    finder = Finder(monkeypatch, heads=[head]).finder
    for _ in range(39):
        finder.begin_frame([])
    assert len(finder._heads) == 1
    finder.begin_frame([])
    assert finder._heads == []
    finder = Finder(monkeypatch, heads=[head]).finder
    finder.begin_frame([body_of()])
    assert finder._heads == []


def test_bodies_are_proposed_below_the_faces_of_a_window_in_two_placements():
    points = np.array([(90, 100), (110, 100), (100, 120), (100, 140), (0, 0), (0, 0)], float)
    found = [Detection(0.8, np.zeros(4), points)]
    faces = SimpleNamespace(find=lambda rgb, least: [one for one in found if one.score >= least])
    finder = BodyFinder(faces, None, SimpleNamespace(box_after=None))
    below, _ = finder.sources
    (proposal,) = below.find(IMAGE, COMPLETE)
    head = geometry.head_of_body(body_of())
    for placement, score in ((0, 0.8), (1, 0.4)):
        assert proposal.box == pytest.approx(box_below(head, placement))
        assert (proposal.score, proposal.source, proposal.head.score) == (score, "head", 0.8)
        last, proposal = proposal, proposal.otherwise
    assert last.otherwise is None
    found[0] = replace(found[0], score=0.49)
    assert below.find(IMAGE, COMPLETE) == []


def test_people_of_a_window_are_proposed_with_their_boxes():
    network = SimpleNamespace(find=lambda rgb, window, least: ([PersonBox(0.7, (100, 100, 200, 300))], []))
    finder = BodyFinder(None, lambda: network, SimpleNamespace(box_after=None))
    _, people = finder.sources
    (proposal,) = people.find(IMAGE, COMPLETE)
    assert proposal.box == crop_of((100, 100, 200, 300))
    assert (proposal.score, proposal.person, proposal.head) == (0.7, (100, 100, 200, 300), None)
    shown = body_of(torso=((100, 100), (200, 100), (100, 300), (200, 300)))
    shown.keypoints[(shown.keypoints[:, :2] == 0).all(1)] = shown.keypoints[11]
    assert finder.is_tracked(proposal, shown)
    assert not finder.is_tracked(proposal, body_of(torso=((400, 100), (500, 100), (400, 300), (500, 300))))
    assert finder.is_tracked(replace(proposal, head=geometry.head_of_body(shown)), shown)
    assert not finder.is_tracked(replace(proposal, person=None), shown)


def test_published_people_are_decoded_from_the_anchors_of_the_grid():
    """Centre codes are tenths of an anchor and size codes fifths of the log of its size, from y to x and h to w."""
    grid = AnchorGrid(
        300, (16, 32, 64, 100, 150, 300), (1.0, 2.0, 0.5, 3.0, 1 / 3), min_scale=0.2, max_scale=0.95, fixed_size=False,
        reduce_lowest_layer=True,
    ).anchors()  # fmt: skip
    codes, logits = np.zeros((1917, 4), np.float32), np.full(1917, -9.0, np.float32)
    chosen = {
        1910: (2.0, (-1.0, 0.5, 1.0, 0.5)),
        1367: (1.5, (0, 0, 0, 0)),  # aspect 1 : 2
        1500: (1.0, (1.0, -2.0, 0.5, -0.25)),
        300: (0.5, (0, 0, 2.0, 1.0)),
        1339: (-0.5, (0, 0, 0, 0)),  # aspect 1 : 3
    }
    for anchor, (logit, code) in chosen.items():
        logits[anchor], codes[anchor] = logit, code
    window, shift = Window(40, 60, 340, 360), np.array([40, 60, 40, 60])
    engine = SimpleNamespace(
        input=np.zeros((1, 300, 300, 3), np.uint8),
        run=lambda: [codes[None], np.tile(logits[None, :, None], 24), np.zeros((1, 32, SIDE, SIDE), np.float32)],
    )
    own = SimpleNamespace(
        input=np.zeros((1, SIDE, SIDE, 32), np.float32), run=lambda: [np.full((1, SIDE, SIDE, VALUES), -9, np.float32)]
    )
    network = PeopleNetwork(engine, own)
    expected = []
    for anchor, (logit, (y, x, h, w)) in chosen.items():
        cx, cy, width, height = grid[anchor]
        cx, cy = cx + x / 10 * width, cy + y / 10 * height
        width, height = width * math.exp(w / 5), height * math.exp(h / 5)
        box = 300 * np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]) + shift
        expected.append((1 / (1 + math.exp(-logit)), box))
    rgb = np.zeros((400, 380, 3), np.uint8)
    inside = [
        (score, window.clipped(box)) for score, box in expected
        if not window.cuts(box, rgb) and box[3] - box[1] > 0.8 * (box[2] - box[0])
    ]  # fmt: skip
    found, _ = network.find(rgb, window, 0.2)
    assert len(found) == len(inside) > 2
    for person, (score, box) in zip(found, inside, strict=True):
        assert person.score == pytest.approx(score)
        np.testing.assert_allclose(person.box, box, atol=0.01)


@pytest.mark.parametrize(("least", "count"), [(0.72, 1), (0.74, 0)])
def test_published_people_have_the_given_limit(least, count):
    """The score is 0.731."""
    assert len(people_network(logits={-1: 1.0}).find(IMAGE, COMPLETE, least)[0]) == count


@pytest.mark.parametrize(("score", "count"), [(0.081, 1), (0.079, 0)])
def test_people_of_the_own_map_have_a_limit_of_their_own_with_published_ones(score, count):
    peaks = [person_at(10, 20, logit=math.log(score / (1 - score)))]
    assert len(people_network(peaks=peaks).find(IMAGE, COMPLETE, 0.9)[0]) == count


@pytest.mark.parametrize(
    ("neighbour", "count"), [((18, 18), 1), ((18, 20), 1), ((20, 19), 1), ((19, 21), 2), ((17, 19), 2)]
)
def test_a_peak_is_the_highest_of_its_neighbours(neighbour, count):
    row, column = neighbour
    peaks = [(19, 19, 0, (2.0, 0, 0, 0, 0, 1)), (row, column, 0, (1.0, 0, 0, 0, 0, 1))]
    found = people_network(peaks=peaks).find(IMAGE, COMPLETE, 0.2, 0.3)[1]
    assert [one.score for one in found] == pytest.approx([1 / (1 + math.exp(-logit)) for logit in (2, 1)][:count])


def test_the_networks_see_the_letterboxed_window_and_the_map_of_its_cells():
    shared = np.arange(32 * SIDE * SIDE, dtype=np.float32).reshape(1, 32, SIDE, SIDE)
    for boxes in (True, False):
        network = people_network(boxes=boxes)
        before = network._engine.run()
        network._engine.run = lambda before=before: [*before[:-1], shared]
        rgb = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
        window = Window(100, 20, 250, 120)
        network.find(rgb, window, 0.2)
        np.testing.assert_array_equal(network._engine.input[0], letterbox(window.cut(rgb), 300, 300))
        np.testing.assert_array_equal(network._own.input[0], np.moveaxis(shared[0], 0, -1))


def test_people_of_the_own_map_lie_in_wide_windows_and_have_a_largest_size():
    network = people_network(peaks=[(19, 10, 6, (2.0, 0.25, -0.5, math.log(4), 9.0))], boxes=False)
    rgb = np.zeros((150, 300, 3), np.uint8)
    ((score, box),), hands = network.find(rgb, Window(0, 0, 300, 150), 0.2)
    assert score == pytest.approx(1 / (1 + math.exp(-2)))
    assert box == pytest.approx(((10.75 - 2) * CELL, 0, (10.75 + 2) * CELL, 150), abs=1e-3)
    assert hands == []
    small = people_network(peaks=[(19, 19, 6, (2.0, -0.5, -0.5, math.log(2), math.log(10)))], boxes=False)
    ((_, box),) = small.find(rgb, Window(0, 0, 300, 150), 0.2)[0]
    assert box == pytest.approx((150 - CELL, 75 - 5 * CELL, 150 + CELL, 75 + 5 * CELL), abs=1e-3)


@pytest.mark.parametrize(("least", "count"), [(0.999, 1), (1.0, 0), (1.1, 0)])
def test_hands_are_decoded_if_they_have_a_limit_below_1(least, count):
    network = people_network(peaks=[(10, 12, 0, (9.0, 0, 0, 0, 0, 1))])
    assert len(network.find(IMAGE, COMPLETE, 0.2, least)[1]) == count


@pytest.mark.parametrize(("width", "joined"), [(56, True), (54, False)])
def test_a_person_of_both_networks_is_one_by_their_overlap(width, joined):
    """The own box is that part of the published one, which spans 292.4 px."""
    full = 292.4 / CELL
    network = people_network(logits={-1: 3.0}, peaks=[person_at(full * width / 100, full, logit=4.0)])
    people, _ = network.find(IMAGE, COMPLETE, 0.2)
    assert len(people) == (1 if joined else 2)
    assert people[0].score == pytest.approx(1 / (1 + math.exp(-4)))
    assert people[0].box[2] - people[0].box[0] == pytest.approx(292.4 * width / 100, abs=0.1)


@pytest.mark.parametrize("odds", [(2.0,), (2.0, -1.0)])
def test_odds_of_maps_are_the_means_of_keypoints_and_views(odds):
    weights = np.array(CONSTANTS["hand_maps"]["weights"], np.float32)
    unit = weights / (weights @ weights)
    spread = np.linspace(-1, 1, 21)[:, None]
    views = [((value + spread) * unit).astype(np.float32) for value in odds]
    assert map_odds(views) == pytest.approx(CONSTANTS["hand_maps"]["bias"] + np.mean(odds), abs=1e-4)
    assert map_odds([*views, None]) is None
    assert map_odds([views[0][:, 1:]]) is None


@pytest.mark.parametrize(("given", "odds"), [(0.7, math.log(7 / 3)), (0.0, -math.log(999)), (1.0, math.log(999))])
def test_log_odds_are_those_of_probabilities_up_to_a_thousandth(given, odds):
    assert scores.logit(given) == pytest.approx(odds)


def test_a_probability_is_the_logistic_function_of_the_weighted_features():
    features = {"presence": 1.5, "mirrored": -0.5, "unused": 99.0}
    value = -1.95 + 0.212 * 1.5 - 0.672 * 0.5
    assert probability("stream_hand", features) == pytest.approx(1 / (1 + math.exp(-value)))


def test_the_head_of_a_body_lies_between_the_middles_of_its_eyes_and_of_its_mouth():
    body = body_of()
    body.keypoints[[2, 5, 9, 10], :2] = (110, 100), (90, 104), (112, 130), (92, 150)
    head = geometry.head_of_body(body)
    np.testing.assert_allclose(head.down, 2.41 * np.array([2, 38]))
    np.testing.assert_allclose(head.middle, np.array([100, 102]) + 0.39 * np.array([2, 38]))
    assert geometry.Head(0.9, np.zeros(2), np.array([0.3, 0.4])).height == 1  # at least a pixel


def test_a_torso_is_at_least_a_pixel_and_as_long_as_from_the_middles_of_shoulders_to_hips():
    assert geometry.torso_size(body_of(torso=[(50, 50)] * 4)) == 1
    assert geometry.torso_size(body_of(torso=((10, 0), (30, 0), (50, 40), (50, 40)))) == 50


def test_keypoints_that_weigh_almost_nothing_have_no_similarity():
    points = square()
    assert oks(points, points, weights=np.full(4, 1e-8)) == pytest.approx(0.04)
    small = square(width=0.0, height=0.0)
    assert oks(small, small + 1) == 0
