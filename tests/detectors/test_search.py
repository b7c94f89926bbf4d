from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sonjit
from sonjit._util.data_files import ASSETS
from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.kinds.hand_heads import TAPS, load_hand_heads, sampled_maps
from sonjit.detectors.kinds.hands import HandObservation, Hands
from sonjit.detectors.kinds.holistic import hands_of_bodies
from sonjit.detectors.observations import is_same_object
from sonjit.detectors.search import hands, stream_finders
from sonjit.detectors.search.bodies import BodySearch, other_heads, without_other_heads
from sonjit.detectors.search.faces import FaceSearch
from sonjit.detectors.search.geometry import Head, Proposal, head_of_body, is_same_instance, torso_size
from sonjit.detectors.search.hands import HandSearch, foot_nearness
from sonjit.detectors.search.load import _face_of
from sonjit.detectors.search.network import SIDE, HandBox, PersonBox, _peaks, _published_people
from sonjit.detectors.search.score import CONSTANTS, map_odds
from sonjit.detectors.search.stills import Candidate
from sonjit.detectors.search.stream_finders import BodyFinder, face_score
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox
from sonjit.geometry.windows import Window

NOWHERE = Proposal(RotatedBox(0, 0, 1, 1), 0.5, "test")


def a_find(x, head, size=100.0):
    points = np.zeros((33, 3), np.float32)
    points[:, 0] = x + np.linspace(0, size, 33)
    points[:, 1] = np.linspace(0, 2 * size, 33)
    ones = np.ones(33, np.float32)
    body = BodyObservation(0.9, points, points, ones, ones, np.zeros((2, 2), np.float32))
    return Candidate([body], NOWHERE, features={"own_head": float(head)})


is_same = partial(BodySearch.is_same, None)


def test_one_person_has_one_face_and_one_torso():
    assert is_same(a_find(0, 1), a_find(500, 1))
    assert is_same(a_find(0, 1), a_find(5, 2))
    assert not is_same(a_find(0, 1), a_find(500, 2))
    assert not is_same(a_find(0, -1), a_find(500, -1))


def test_two_faces_with_nearly_one_torso_are_one_person():
    torso = torso_size(a_find(0, 1).last)
    assert is_same(a_find(0, 1), a_find(0.4 * torso, 2))
    assert not is_same(a_find(0, 1), a_find(0.6 * torso, 2))


def test_one_inside_the_other_is_one_find_and_one_reading():
    points = np.random.default_rng(1).random((21, 3)).astype(np.float32) * 100
    inside = 50 + 0.7 * (points[::-1] - 50)
    assert is_same_instance(points, inside)
    readings = (points, 0.1), (inside, 0.2), (inside, 0.9)
    seen, again, other = (SimpleNamespace(keypoints=keypoints, left=left) for keypoints, left in readings)
    assert is_same_object(seen, again, merge_nested=True)
    assert not is_same_object(seen, other, merge_nested=True)
    assert not is_same_object(seen, again)


def test_boxes_of_faces_have_no_thorough_search_in_streams():
    with pytest.raises(sonjit.InputError, match="search='thorough' is not available for face box in streams"):
        sonjit.create_detector("face", model="box", search="thorough")


@pytest.mark.parametrize("is_tall", [False, True])
@pytest.mark.files("real/tfjs-models/face-landmarks-detection/test_data/*.jpg")
def test_faces_and_people_of_very_wide_and_tall_images_are_found(file, is_tall):
    portrait = cv2.cvtColor(cv2.resize(cv2.imread(str(file)), (256, 256)), cv2.COLOR_BGR2RGB)
    scene = np.full((11 * 256, 256, 3) if is_tall else (256, 11 * 256, 3), 128, np.uint8)
    for at in (512, 2400):
        (scene[at : at + 256] if is_tall else scene[:, at : at + 256])[:] = portrait
    for kind in ("face", "body"):
        with sonjit.create_detector(kind, static_image=True, max_instances=9) as detector:
            found = detector.detect(scene)
            assert sum(result.score > 0.8 for result in found) == 2
            assert found.complete


@pytest.mark.parametrize("model", ["box", "box-full"])
@pytest.mark.files("real/tfjs-models/face-landmarks-detection/test_data/*.jpg")
def test_boxes_of_small_faces_are_found_in_windows_once_and_the_published_ones_stay(file, model):
    """Use a scene with one large and two small portraits."""
    portrait = cv2.imread(str(file))
    scene = np.full((1200, 1600, 3), 128, np.uint8)
    scene[100:920, 60:880] = cv2.resize(portrait, (820, 820))
    for left in (950, 1300):
        scene[300:580, left : left + 280] = cv2.resize(portrait, (280, 280), interpolation=cv2.INTER_AREA)
    scene = scene[..., ::-1].copy()
    found = {}
    for search in ("fast", "thorough"):
        with sonjit.create_detector("face", model=model, search=search, static_image=True, max_instances=9) as one:
            found[search] = one.detect(scene)
    assert len(found["thorough"]) == 3
    for published in found["fast"]:
        assert any(np.array_equal(published.keypoints, one.keypoints, equal_nan=True) for one in found["thorough"])


class Palms:
    """Palm detector that finds a number of palms in the centre of every image."""

    def __init__(self, count=1):
        self.count = count

    def find_from(self, rgb, *min_scores):
        height, width = rgb.shape[:2]
        points = np.tile([width / 2, height / 2], (7, 1))
        points[2] -= 0, 10
        box = np.array([width / 2 - 10, height / 2 - 10, width / 2 + 10, height / 2 + 10])
        return [[Detection(0.9, box, points)] * self.count for _ in min_scores]

    def find(self, rgb, min_score):
        return self.find_from(rgb, min_score)[0]


class Landmarks:
    """Hand network that places the keypoints of a hand at the brightest pixel, with one score."""

    def __init__(self, score):
        self.score, self.images, self.boxes = score, [], []

    def observe(self, rgb, box):
        self.images.append(rgb)
        self.boxes.append(box)
        y, x = np.unravel_index(rgb[..., 0].argmax(), rgb.shape[:2])
        points = np.full((21, 3), (x + 0.5, y + 0.5, 0), np.float32)
        points[:, 1] -= np.arange(21)  # upright: the same in the mirror
        return HandObservation(self.score, points, np.ones((21, 3), np.float32), 0.9, appearance=points)

    observe_mirrored = Hands.observe_mirrored

    @staticmethod
    def is_same_instance(box, other):
        return box == other


def an_image():
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[110, 140] = 255
    return rgb


class Network:
    """Network that finds no people and these hands."""

    def __init__(self, *hands):
        self.hands, self.runs = [*hands], 0

    def find(self, rgb, window, min_person, min_hand=1.0):
        self.runs += 1
        return [], self.hands


def test_asking_for_a_known_proposal_changes_nothing_and_skipping_it_raises_its_score():
    search = HandSearch(an_image(), Palms(), Landmarks(0.999), lambda: Network(), lambda: None)
    (found,) = search.search()
    before = found.proposal
    stronger, weaker = (Proposal(before.box, score, "window") for score in (0.9999, 0.0001))
    assert search.is_known(stronger)
    assert found.proposal is before
    assert search.skips(weaker)
    assert found.proposal is before
    assert search.skips(stronger)
    assert found.proposal.score == 0.9999


def test_hands_of_the_published_search_keep_their_keypoints_and_doubtful_ones_are_observed_again():
    for score, views in ((0.999, 1), (0.96, 1), (0.94, 2)):
        hands = Landmarks(score)
        candidate = HandSearch(an_image(), Palms(), hands, lambda: Network(), lambda: None).search()[0]
        np.testing.assert_array_equal(candidate.result.keypoints, hands.observe(an_image(), None).keypoints)
        assert len(candidate.views) == views


class PalmsInWindows(Palms):
    """Palm detector that finds palms only in windows of the image."""

    def find_from(self, rgb, *min_scores):
        return [[] for _ in min_scores] if rgb.shape == an_image().shape else super().find_from(rgb, *min_scores)


@pytest.mark.parametrize(("palms", "width"), [(PalmsInWindows(), 52), (Palms(0), 30)])
def test_palms_around_a_hand_of_the_network_replace_its_crop(palms, width):
    hands, box = Landmarks(0.99), RotatedBox(140, 110, 30, 30, 0.2)
    HandSearch(an_image(), palms, hands, lambda: Network(HandBox(0.9, box)), lambda: None).search()
    assert round(hands.boxes[0].width) == width


@pytest.mark.parametrize(("score", "verified"), [(0.9, True), (0.16, False)])
def test_a_hand_of_the_network_is_verified_if_its_scores_are_high_enough(score, verified):
    """Without a palm around it, its own crop is verified."""
    box = RotatedBox(60, 60, 50, 50, 0.2)
    hands = Landmarks(0.02)
    search = HandSearch(an_image(), Palms(0), hands, lambda: Network(HandBox(score, box)), lambda: None)
    assert search.search() == []
    assert len(hands.images) == verified


def test_people_are_decoded_from_anchors_and_neighbours_are_suppressed():
    """Use anchors of the coarsest layers, whose boxes are known."""
    codes, logits = np.zeros((1917, 4), np.float32), np.full(1917, -9.0, np.float32)
    logits[[-1, -2, 0]] = 2.0, 1.0, -5.0
    people = _published_people(codes, logits, RotatedBox(150, 150, 300, 300), 0.2)
    assert [round(person.score, 3) for person in people] == [0.881, 0.731]
    assert people[0].box == pytest.approx((3.8, 3.8, 296.2, 296.2), abs=0.1)


@pytest.mark.parametrize(("least", "count"), [(0.0, 3), (1.0, 1)])
def test_the_limits_of_scores_may_be_0_and_1(least, count):
    logits = np.full(1917, -9.0, np.float32)
    logits[[-1, -2, 0]] = 7.0, 1.0, -5.0
    area = RotatedBox(150, 150, 300, 300)
    assert len(_published_people(np.zeros((1917, 4), np.float32), logits, area, least)) == count
    values = np.full((SIDE, SIDE, 5), -9.0, np.float32)
    values[[3, 9, 20], 7, 0] = 7.0, 1.0, -5.0
    assert len(_peaks(values, area, least)) == count


def test_a_person_at_the_inner_edge_of_a_window_is_left_out():
    window, rgb = Window(0, 0, 100, 100), np.zeros((100, 200, 3), np.uint8)
    assert window.cuts((20, 10, 99, 90), rgb)
    assert not window.cuts((0, 0, 90, 100), rgb)
    assert window.clipped((-5, 10, 90, 120)) == (0, 10, 90, 100)


class Meshes:
    """Face network with a mesh in every box, with this presence. `find` finds nothing."""

    def __init__(self, presence: float) -> None:
        self.presence, self.boxes = presence, []

    find = staticmethod(lambda rgb, min_score: [])
    is_same_instance = staticmethod(lambda box, other: False)

    def observe(self, rgb, box):
        self.boxes.append(box)
        points = np.zeros((468, 3), np.float32)
        points[:, :2] = box.cx, box.cy
        for k, x, y in ((10, 0, -20), (152, 0, 20), (234, -15, 0), (454, 15, 0), (33, -8, -8), (263, 8, -8)):
            points[k, :2] += x, y
        return FaceObservation(self.presence, points)

    def box_after(self, face):
        return RotatedBox(*face.keypoints[:, :2].mean(axis=0).tolist(), 60, 60, 0.0)


class OneFace:
    """Full-range detector that finds one face with this score in every window, upright or not."""

    def __init__(self, score: float) -> None:
        self.score = score

    def find_in(self, rgb, area, min_score):
        face = Detection(self.score, np.array([30, 30, 70, 70]), np.array([[42, 42], [58, 42], [50, 50], [50, 58]]))
        return [face] if self.score >= min_score else []


@pytest.mark.parametrize(
    ("score", "presence", "runs"), [(0.8, 0.995, 1), (0.8, 0.98, 2), (0.4, 0.995, 2), (0.8, 0.05, 1)]
)
def test_plain_faces_are_observed_once_and_doubtful_ones_again(score, presence, runs):
    meshes = Meshes(presence)
    found = FaceSearch(np.zeros((90, 90, 3), np.uint8), OneFace(score), meshes, network=People).search()
    assert len(meshes.boxes) == runs
    assert [len(face.views) for face in found] == ([runs] if presence > 0.1 else [])


class People:
    """Network that finds these people, and keeps the images that it sees."""

    def __init__(self, *people: PersonBox) -> None:
        self.people, self.seen = list(people), []

    def find(self, rgb, window, min_person):
        self.seen.append(window)
        return [person for person in self.people if person.score > min_person], []


@pytest.mark.parametrize(
    ("box", "is_likelier"),
    [
        ((20, 20, 80, 200), True),
        ((20, 60, 80, 200), True),
        ((20, 65, 80, 200), False),
        ((20, 15, 80, 92), False),
        ((60, 20, 99, 200), False),
    ],
    ids=["head of the box", "just above the box", "above the box", "below the head", "next to the box"],
)
def test_a_face_in_the_upper_part_of_a_person_is_likelier(box, is_likelier):
    def score(*people: PersonBox) -> float:
        network = People(*people)
        search = FaceSearch(np.zeros((90, 90, 3), np.uint8), OneFace(0.4), Meshes(0.9), network=lambda: network)
        (face,) = search.search()
        assert len(network.seen) == 1
        return face.score

    assert (score(PersonBox(0.9, box)) > score()) is is_likelier
    assert score(PersonBox(0.9, box)) == score(PersonBox(0.4, box), PersonBox(0.9, box))


def test_an_image_without_faces_is_not_searched_for_people():
    network = People()
    FaceSearch(np.zeros((90, 90, 3), np.uint8), OneFace(0.4), Meshes(0.05), network=lambda: network).search()
    assert network.seen == []


@pytest.mark.parametrize("score", [0.55, 0.9])
def test_what_the_published_search_finds_is_found_whatever_the_score(score, monkeypatch):
    monkeypatch.setitem(CONSTANTS["scores"]["hand"], "bias", -99.0)
    search = HandSearch(an_image(), Palms(), Landmarks(score), lambda: Network(), lambda: None)
    candidate = search.search()[0]
    assert candidate.published
    assert candidate.score > 0.5


def test_maps_of_the_full_network_count_for_or_against_a_hand():
    weights = np.array(CONSTANTS["hand_maps"]["weights"], np.float32)

    class WithMaps(Landmarks):
        def __init__(self, maps):
            super().__init__(0.4)
            self.maps = None if maps is None else np.tile(maps, (21, 1))

        def observe(self, rgb, box):
            return replace(super().observe(rgb, box), maps=self.maps)

    def score(maps):
        search = HandSearch(an_image(), Palms(), WithMaps(maps), lambda: Network(), lambda: None)
        (candidate,) = search.search()
        return candidate.score

    unit = weights / (weights @ weights)
    assert score(5 * unit) > score(0 * unit) > score(-5 * unit)
    assert score(unit[:200]) == score(None)  # the lite network has other maps


@pytest.mark.parametrize(("model", "verified"), [("full", True), ("lite", False)])
def test_hands_in_stills_are_verified_by_the_maps_of_the_full_network(model, verified, monkeypatch):
    odds = []
    monkeypatch.setattr(hands, "map_odds", lambda views: odds.append(map_odds(views)) or odds[-1])
    photo = cv2.imread(str(ASSETS / "photo.jpg"))[..., ::-1].copy()
    with sonjit.create_detector("hands", model=model, static_image=True) as detector:
        assert detector.detect(photo)
    assert odds
    assert all((one is not None) == verified for one in odds)


def test_heads_return_the_maps_at_the_keypoints():
    rng = np.random.default_rng(0)
    channels = {28: 40, 14: 112, 7: 192}
    taps = [rng.normal(size=(1, channels[side], side, side)).astype(np.float32) for side in TAPS]
    points = rng.uniform(size=(21, 3)).astype(np.float32)
    read = load_hand_heads("full").read(points, [*taps, np.zeros((1, 1152), np.float32)])
    np.testing.assert_array_equal(read.maps, sampled_maps(taps, points))


def test_what_is_seen_in_the_mirror_lies_where_it_is():
    hands = Landmarks(0.99)
    seen = hands.observe_mirrored(an_image(), RotatedBox(150, 100, 90, 90, 0.3))
    np.testing.assert_allclose(seen.keypoints[0, :2], (140.5, 110.5))
    assert seen.left == pytest.approx(0.1)
    np.testing.assert_array_equal(seen.keypoints_3d[0], (-1, 1, 1))
    assert seen.appearance is None
    for cx, cy in ((-500, 100), (900, 100), (150, -500), (150, 900)):
        hands.observe_mirrored(an_image(), RotatedBox(cx, cy, 90, 90, 0.3))  # what lies beyond the image is none of it


@pytest.mark.parametrize("least", [0.2, 0.5, 0.7])
def test_peaks_are_maxima_above_the_least_score(least):
    scores = np.full((SIDE, SIDE), 0.01, np.float32)
    scores[3, 5], scores[3, 6], scores[10, 8], scores[14, 2] = 0.9, 0.8, least + 0.02, least - 0.02
    values = np.zeros((SIDE, SIDE, 6), np.float32)
    values[..., 0] = np.log(scores / (1 - scores))
    values[3, 5, 1:4] = 0.25, -0.25, 7
    area = RotatedBox(200, 100, 10 * SIDE, 10 * SIDE)
    first, second = _peaks(values, area, least)
    assert first[:3] == pytest.approx((0.9, 200 + 10 * (5.75 - SIDE / 2), 100 + 10 * (3.25 - SIDE / 2)), rel=1e-4)
    assert first[3] == [7, 0, 0]
    assert second[:3] == pytest.approx(
        (least + 0.02, 200 + 10 * (8.5 - SIDE / 2), 100 + 10 * (10.5 - SIDE / 2)), rel=1e-4
    )


def test_heads_near_a_box_are_covered_except_its_own():
    rgb = np.full((400, 600, 3), 250, np.uint8)
    own, other, far = (Head(0.9, np.array([x, 200.0]), np.array([0.0, 40.0])) for x in (200, 300, 560))
    box = RotatedBox(200, 200, 150, 150)
    masked = without_other_heads(rgb, box, [own, other, far], own)
    assert (masked[200, [200, 560]] == 250).all()
    assert (masked[200, 300] != 250).all()
    assert without_other_heads(rgb, box, [own, far], own) is rgb
    again = Head(0.8, np.array([215.0, 210.0]), np.array([0.0, 36.0]))
    assert other_heads([again, other], own) == [other]
    assert (without_other_heads(rgb, box, [own, again], own) != rgb).any()


@pytest.mark.parametrize(("score", "is_covered"), [(0.6, False), (0.9, True)])
def test_only_certain_faces_are_covered_for_a_tracked_body(score, is_covered):
    rgb = np.full((400, 600, 3), 250, np.uint8)
    points = np.zeros((33, 3), np.float32)
    points[[2, 5], :2], points[[9, 10], :2] = (200, 80), (200, 110)
    seen = BodyObservation(1.0, points, points, np.ones(33), np.ones(33), np.zeros((2, 2)))
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    foot = Head(score, np.array([260.0, 300.0]), np.array([0.0, 40.0]))
    finder._heads = [(foot, None, 0)]
    track = SimpleNamespace(box=RotatedBox(200, 200, 300, 300), observation=seen, occluded_s=None)
    masked = finder.image_for_track(rgb, track, [track])
    assert (masked[300, 260] != 250).all() == is_covered


@pytest.mark.parametrize(
    ("detections", "face", "person", "is_body"),
    [(1, 0.6, 0.0, False), (2, 0.6, 0.0, True), (1, 0.0, 0.9, False), (2, 0.0, 0.9, True), (3, 0.0, 0.0, False)],
)
def test_a_body_of_windows_below_a_certain_face_is_added_if_the_face_is_still_detected_or_it_is_a_person(
    monkeypatch, detections, face, person, is_body
):
    points = np.zeros((33, 3), np.float32)
    points[:7, :2], points[7:11, :2] = (200, 80), (200, 110)
    seen = BodyObservation(1.0, points, points, np.ones(33), np.ones(33), np.zeros((2, 2)))
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    head = head_of_body(seen)._replace(score=0.9)
    finder._heads = [(head, None, 0)]
    monkeypatch.setattr(finder, "_face_score", lambda rgb, body: face)
    monkeypatch.setattr(finder, "_person_score", lambda rgb, body: person)
    proposal = Proposal(RotatedBox(200, 200, 300, 300), 0.9, "head", head)
    assert finder.accepts_new(None, seen, detections, proposal) == is_body


def test_palms_are_searched_at_the_wrists_in_the_image_where_no_hand_is():
    points = np.zeros((33, 3), np.float32)
    points[[2, 5]], points[[9, 10]] = (200, 80, 0), (200, 110, 0)
    points[[11, 12]], points[[13, 14]] = [(260, 160, 0), (140, 160, 0)], [(290, 260, 0), (110, 260, 0)]
    points[[15, 16]] = [(300, 330, 0), (100, 330, 0)]
    ones = np.ones(33, np.float32)
    hand = SimpleNamespace(last=SimpleNamespace(keypoints=np.zeros((21, 3), np.float32)))
    hand.last.keypoints[1:] = np.random.default_rng(0).uniform(10, 60, (20, 3))

    def searched(move, wrist=None):
        rows, candidates = points + np.float32(move), []
        if wrist is not None:
            candidates = [SimpleNamespace(last=SimpleNamespace(keypoints=hand.last.keypoints + rows[wrist]))]
        body = BodyObservation(0.9, rows, rows, ones, ones, np.zeros((2, 2), np.float32))
        search = SimpleNamespace(rgb=np.zeros((480, 400, 3), np.uint8), candidates=candidates)
        windows = HandSearch._ends_of(search, [body])
        return [(window.left + window.right) / 2 > 200 + move[0] for window in windows]

    assert searched((0, 0, 0)) == [True, False]
    assert searched((0, 0, 0), wrist=15) == [False]
    assert searched((0, 0, 0), wrist=16) == [True]
    assert searched((180, 0, 0)) == [False]  # the left wrist is outside
    assert searched((0, 400, 0)) == []


def test_the_window_at_the_end_of_an_arm_lies_beyond_the_wrist_in_face_heights():
    points = np.zeros((33, 3), np.float32)
    points[[2, 5], :2], points[[9, 10], :2] = (500, 100), (500, 120)  # a face height of 52 px
    points[[13, 14], :2], points[[15, 16], :2] = [(600, 400), (0, 0)], [(660, 480), (-900, 0)]
    ones = np.ones(33, np.float32)
    body = BodyObservation(0.9, points, points, ones, ones, np.zeros((2, 2), np.float32))
    search = SimpleNamespace(rgb=np.zeros((900, 1000, 3), np.uint8), candidates=[])
    (window,) = HandSearch._ends_of(search, [body])
    side = hands._ARM_WINDOW * 52
    assert (window.right - window.left, window.bottom - window.top) == pytest.approx((side, side), abs=1)
    reach = hands._ARM_REACH * 52  # along the arm, which has a slope of 3 to 4
    middle = (window.left + window.right) / 2, (window.top + window.bottom) / 2
    assert middle == pytest.approx((660 + 0.6 * reach, 480 + 0.8 * reach), abs=1)


@pytest.mark.parametrize(
    ("presence", "mirrored", "changes", "seen"),
    [
        (0.97, 0.9, {}, ["first"]), (0.97, 0.9, {"score": 0.1}, ["first", "mirrored"]),
        (0.97, 0.9, {"score": 0.1, "odds": 0}, ["first"]), (0.04, 0.9, {"published": True}, None),
        (0.6, 0.9, {}, ["first", "mirrored"]), (0.6, 0.04, {}, None), (0.3, 0.04, {"published": True}, None),
        (0.6, 0.04, {"published": True}, ["mirrored", "first"]), (0.6, 0.9, {"source": "crop"}, ["mirrored", "first"]),
    ],
)  # fmt: skip
def test_doubtful_hands_are_observed_in_the_mirrored_image(monkeypatch, presence, mirrored, changes, seen):
    points = np.random.default_rng(0).uniform(0, 90, (21, 3)).astype(np.float32)
    first, second = (SimpleNamespace(score=score, keypoints=points) for score in (presence, mirrored))
    odds, given = changes.pop("odds", -9), {"score": 0.6, "source": "palm", "published": False} | changes
    network = SimpleNamespace(observe=lambda *_: first, observe_mirrored=lambda *_: second, is_same_instance=None)
    search = HandSearch(an_image(), Palms(), network)
    monkeypatch.setattr(search, "_network_odds", lambda _: odds)
    proposal = SimpleNamespace(box=RotatedBox(50, 50, 90, 90), **given)
    candidate = search.verify(proposal)
    assert search._verified_boxes == [proposal.box]
    if seen is None:
        assert candidate is None
        return
    assert [{id(first): "first", id(second): "mirrored"}[id(view)] for view in candidate.views] == seen
    assert candidate.published == given["published"]


def test_a_face_counts_near_a_head_if_its_width_fits():
    rgb, fit = np.zeros((200, 300, 3), np.uint8), (0.5, (0.3, 0.9), 0.1)
    score = partial(face_score, Palms(), rgb)
    assert score((150, 100), 40, fit) == 0.9  # the face has 20 px, in the centre of the window
    assert score((10, 10), 40, fit) == 0.0  # the window ends at the image, so that its centre is far
    assert score((150, 100), 20, fit) == 0.0  # too wide
    assert score((150, 100), 80, fit) == 0.0  # too narrow


def test_each_arm_has_the_nearest_hand_of_its_side():
    rows = np.full((33, 3), 500, np.float32)
    rows[[15, 17, 19]], rows[[16, 18, 20]] = (100, 100, 0), (130, 100, 0)
    ones = np.ones(33, np.float32)
    body = BodyObservation(0.9, rows, rows, ones, ones, np.zeros((2, 2), np.float32))

    def hand(x, left):
        points = np.full((21, 3), (x, 100, 0), np.float32)
        points[1:, 1] -= np.arange(20) * 3
        return HandObservation(0.9, points, points, left)

    first, second, third = hand(112, 0.0), hand(118, 1.0), hand(900, 1.0)
    assert hands_of_bodies([body], [first, second, third]) == {(0, 0): second, (0, 1): first}
    assert hands_of_bodies([body], [second]) == {(0, 0): second}
    assert hands_of_bodies([body], [third]) == {}


@pytest.mark.parametrize(("place", "nearness"), [(300, 1.0), (310, 1 - 10 / 30), (500, 0.0), (120, 0.0)])
def test_a_hand_is_near_a_foot_by_its_distance_in_sizes_of_the_hand(place, nearness):
    rows = np.full((33, 3), 900, np.float32)
    rows[[15, 17, 19]], rows[[27, 29, 31]] = (100, 100, 0), (300, 100, 0)
    ones = np.ones(33, np.float32)
    body = BodyObservation(0.9, rows, rows, ones, ones, np.zeros((2, 2), np.float32))
    points = np.array(
        [(place + 30 * (i % 2) - 15, 100 + 20 * (i // 2 % 2) - 10, 0) for i in range(20)] + [(place, 100, 0)]
    )
    hand = HandObservation(0.9, points.astype(np.float32), points, 0.5)
    assert foot_nearness(hand, [body]) == pytest.approx(nearness, abs=1e-3)


@pytest.mark.parametrize(("scores", "is_face"), [((0.9, 0.8), True), ((0.9, 0.4), False), ((0.4, 0.9), False)])
def test_a_face_at_the_head_of_a_body_is_present_twice(scores, is_face):
    points = np.zeros((33, 3), np.float32)
    points[:7, :2], points[7:11, :2] = (200, 80), (200, 110)
    body = BodyObservation(1.0, points, points, np.ones(33), np.ones(33), np.zeros((2, 2)))
    faces = [SimpleNamespace(score=score) for score in scores]
    left, boxes = iter(faces), []

    def observe(rgb, box):
        boxes.append(box)
        return next(left)

    people = SimpleNamespace(
        face_in=lambda *_: None, faces=SimpleNamespace(observe=observe, box_after=lambda face: face.score)
    )
    head, far = head_of_body(body), Head(0.9, np.array([900.0, 900.0]), np.array([0.0, 40.0]))
    found = _face_of(None, people, body, [far, head])
    assert found is (faces[1] if is_face else None)
    assert boxes == [head.crop, scores[0]]
    assert _face_of(None, people, body, [far]) is None


@pytest.mark.parametrize(("x", "face", "stays"), [(200, 0.0, True), (500, 0.9, True), (500, 0.0, False)])
def test_a_track_whose_box_shows_another_person_stays_only_while_its_face_is_detected(monkeypatch, x, face, stays):
    monkeypatch.setattr(stream_finders.bodies, "body_oks", lambda *_: 1.0)
    monkeypatch.setattr(stream_finders, "face_score", lambda *_: face)

    def seen_at(x):
        points = np.zeros((33, 3), np.float32)
        points[:7, :2], points[7:11, :2] = (x, 80), (x, 110)
        return BodyObservation(0.8, points, points, np.ones(33), np.ones(33), np.zeros((2, 2)))

    class Track(SimpleNamespace):
        __hash__ = object.__hash__

    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    track, other = (Track(observation=seen_at(at), occluded_s=None) for at in (200, 500))
    observation = seen_at(x)
    kept = finder.verify(None, track, observation, [track, other])
    confidence = finder._records[track].confidence
    if x == 200:
        assert kept is observation
        assert confidence == pytest.approx(0.8)
    else:
        assert confidence == pytest.approx(0.8 * (1 - stream_finders._MEMORY))
        assert (kept is not None) == stays
        assert kept is None or kept.keypoints is track.observation.keypoints
