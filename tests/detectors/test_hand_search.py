"""Sources of the search for hands in stills: windows of the network, its hands, ends of arms, and closer crops."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.hands import HandObservation, box_around_hand
from sonjit.detectors.search import hands
from sonjit.detectors.search.ahead import Helpers
from sonjit.detectors.search.geometry import Proposal
from sonjit.detectors.search.hands import HandNetworks, HandSearch, foot_nearness
from sonjit.detectors.search.network import HandBox, PersonBox
from sonjit.detectors.search.score import LIMITS, probability
from sonjit.detectors.search.stills import AUTO, Candidate, Extent
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox
from sonjit.geometry.windows import Window

IMAGE = np.zeros((600, 600, 3), np.uint8)
THOROUGH = Extent(thorough=True)


def box(cx, cy=300.0, width=60.0):
    return RotatedBox(cx, cy, width, width, 0.0)


class Palms:
    """Palm detector with the same detections in every window, and the windows that it has seen by their sizes."""

    def __init__(self, *scores):
        self.scores, self.sizes = scores, []

    def find_from(self, rgb, *min_scores):
        return [self.find(rgb, least) for least in min_scores]

    def find(self, rgb, min_score):
        """Return palms of 20 px in a row, 80 px apart."""
        self.sizes.append(rgb.shape[:2])
        found = []
        for number, score in enumerate(self.scores):
            x, y = 30 + 80 * number, 60
            points = np.tile([x, y], (7, 1)).astype(float)
            points[2] -= 0, 10
            found.append(Detection(score, np.array([x - 10, y - 10, x + 10, y + 10], float), points))
        return [palm for palm in found if palm.score >= min_score]


def hand_at(box, score):
    points = np.full((21, 3), (box.cx, box.cy, 0), np.float32)
    points[:, 1] -= np.arange(21)
    return HandObservation(score, points, points, 0.5)


class Network:
    """Network of people and hands that notes its windows."""

    def __init__(self, people=(), hands=()):
        self.people, self.hands, self.windows = list(people), list(hands), []

    def find(self, rgb, window, least_person, least_hand):
        self.windows.append(window)
        return self.people, self.hands


def new(palms=(), score=0.01, extent=AUTO, network=None, bodies=None):
    hands = SimpleNamespace(
        observe=lambda rgb, box: hand_at(box, score),
        observe_mirrored=lambda rgb, box: hand_at(box, score),
        is_same_instance=lambda *_: False,
    )
    return HandSearch(IMAGE, Palms(*palms), hands, lambda: network or Network(), lambda: bodies, extent)


@pytest.mark.parametrize(
    ("height", "extent", "parts", "complete"),
    [
        (None, AUTO, (1,), False),
        (400, AUTO, (1,), False),  # a large person
        (100, AUTO, (1, 2), True),
        (None, THOROUGH, (1, 2), True),
    ],
)
def test_finer_windows_are_searched_for_small_people_and_in_thorough_searches(height, extent, parts, complete):
    people = [] if height is None else [PersonBox(0.9, (200, 100, 300, 100 + height))]
    far = SimpleNamespace(observe=lambda rgb, box: body(score=0.1))
    network = Network(people)
    search = new(extent=extent, network=network, bodies=far)
    assert search.search() == []
    assert set(network.windows) == {window for count in parts for window in search.windows(count)}
    assert search.complete == complete


@pytest.mark.parametrize(
    ("palm", "hands", "extent", "likely"),
    [
        (0.5, None, AUTO, True),  # the network has not run
        (0.2, None, AUTO, False),
        (0.5, [], AUTO, False),
        (0.9, [], AUTO, True),
        (0.5, [], THOROUGH, True),
        (0.2, [], THOROUGH, False),
        (0.5, [HandBox(0.2, box(310))], AUTO, True),
        (0.5, [HandBox(0.1, box(310))], AUTO, False),
        (0.5, [HandBox(0.9, box(330))], AUTO, False),  # of another place
        (0.5, [HandBox(0.9, box(310, width=130))], AUTO, False),  # of another size
        (0.5, [HandBox(0.1, box(300)), HandBox(0.2, box(310))], AUTO, True),
    ],
)
def test_a_palm_needs_its_own_score_or_a_hand_of_the_network(palm, hands, extent, likely):
    """Half of the log odds of the network are added, and -3.9 without a hand: the limit is -1, or -3."""
    search, proposal = new(extent=extent), Proposal(box(300), palm, "palm")
    search._network_hands = hands
    assert search._likely([proposal]) == [proposal] * likely


def test_the_search_looks_closer_at_loose_hands_best_first_and_once_where_they_are_near(monkeypatch):
    search, looked = new(), []
    hands = [HandBox(0.12, box(100)), HandBox(0.8, box(300)), HandBox(0.5, box(340)), HandBox(0.4, box(350)),
             HandBox(0.3, box(500)), HandBox(0.11, box(200))]  # fmt: skip
    search._network_hands = hands
    shown = box(500)
    monkeypatch.setattr(search, "shown", lambda proposal: "certain" if proposal.box == shown else None)
    monkeypatch.setattr(search, "crops_near", lambda near, skips: looked.append(near) or iter(["crop"]))
    assert list(search._closer()) == [["crop"]] * 3
    assert looked == [box(300), box(350), box(100)]


@pytest.mark.parametrize(("score", "count"), [(0.31, 4), (0.3, 0), (0.29, 0)])
def test_closer_crops_are_those_of_the_keypoints_in_four_palms_at_most(score, count):
    search = new((0.9, 0.8, 0.7, 0.6, 0.5, 0.1), score)
    search._ahead._networks.palms.sizes.clear()
    crops = list(search.crops_near(box(300, width=150), lambda palm: False))
    assert search._ahead._networks.palms.sizes == [(450, 450)]
    assert [crop.score for crop in crops] == [0.9, 0.8, 0.7, 0.6][:count]
    width = box_around_hand(hand_at(box(0), score).keypoints).width
    for number, crop in enumerate(crops):
        assert crop.source == "closer"
        assert crop.box.width == pytest.approx(width)
        assert crop.box.cx == pytest.approx(crops[0].box.cx + 80 * number)
    assert list(search.crops_near(box(300, width=150), lambda palm: True)) == []
    assert list(search.crops_near(box(-900), lambda palm: False)) == []


def body(left=200.0, *, score=0.9, size=200.0):
    """Return a body in a box of a width of half its height, from (left, 100)."""
    points = np.zeros((33, 3), np.float32)
    points[:, :2] = left + size / 4, 100 + size / 2
    points[[0, 32], :2] = (left, 100), (left + size / 2, 100 + size)
    points[[11, 12, 23, 24], :2] = [(left + size / 2, 150), (left, 150), (left + size / 2, 250), (left, 250)]
    ones = np.ones(33, np.float32)
    return BodyObservation(score, points, points, ones, ones, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("seen", "known", "guides"),
    [
        (body(), [], True),
        (body(score=0.61), [], True),
        (body(score=0.59), [], False),
        (body(250), [], True),  # IoU of 1/3
        (body(260), [], False),
        (body(), [body(230)], False),  # one torso
        (body(), [body(400)], True),
    ],
)
def test_people_of_the_network_guide_by_certain_bodies_that_fill_their_boxes(seen, known, guides):
    network = SimpleNamespace(observe=lambda rgb, crop: seen)
    search = new(bodies=network)
    search._people, search.bodies = [PersonBox(0.9, (200, 100, 300, 300))], known.copy()
    list(search._arms())
    assert search.bodies == known + [seen] * guides
    search._load_bodies = None  # each person is examined once
    list(search._arms())
    assert search.bodies == known + [seen] * guides


@pytest.mark.parametrize(("palms", "source"), [((0.9,), "palm"), ((), "hand")])
def test_a_hand_of_the_network_is_replaced_by_palms_around_it(palms, source):
    search, hand = new(palms), Proposal(box(300), 0.9, "hand1")
    search._network_hands = [HandBox(0.9, hand.box), HandBox(0.9, RotatedBox(270, 300, 52, 52, 0.0))]
    found = search._around(hand)
    assert search._ahead._networks.palms.sizes == [(120, 120)]  # two crops wide
    assert [one.source for one in found] == ["hand1"]
    assert (found == [hand]) == (source == "hand")
    assert found[0].score == 0.9


def test_windows_of_palms_are_placed_in_the_image():
    search = new((0.9,))
    (proposal,) = search._palms_in(Window(100, 200, 300, 400), "arm")
    assert proposal.box[0] == pytest.approx(130)
    assert 245 < proposal.box[1] < 260
    assert proposal.source == "arm"


def test_the_published_search_has_no_palms_of_low_scores():
    search = new((0.9, 0.6, 0.4))
    assert [(one.score, one.source) for one in search._published()] == [(0.9, "published"), (0.6, "published")]


def test_sources_are_searched_from_the_published_palms_to_the_places_near_loose_hands():
    """Two hands of the network are likely enough, and a third one is loose. A small person leads to finer windows."""

    class Finding(Network):
        limits: ClassVar = set()

        def find(self, rgb, window, *limits):
            self.limits.add(limits)
            return super().find(rgb, window, *limits)

    seen = [HandBox(0.9, box(330, 400)), HandBox(0.26, box(200)), HandBox(0.2, box(120, 500)), HandBox(0.1, box(500))]
    network = Finding([PersonBox(0.9, (200, 100, 250, 200))], seen)
    search = new(
        (0.9, 0.6, 0.11, 0.09), score=0.4, network=network, bodies=SimpleNamespace(observe=lambda *_: body(size=100))
    )
    sources = [[(one.source, one.score) for one in source] for source in search.propose()]
    assert sources[0] == [("published", 0.9), ("published", 0.6)]
    names = ["hand1"] * 2 + ["palm"] + ["arm"] * 2 + ["hand2"] * 4 * 2  # 0.6 is too low where the network has no hand
    assert sources[1:14] == [[(name, 0.9)] for name in names]
    assert sources[14:] == [[("closer", 0.9)], [("closer", 0.6)]] * 3
    assert network.limits == {(LIMITS["arm_person"], LIMITS["faint_hand"])}


@pytest.mark.parametrize(("extent", "count"), [(AUTO, 1), (THOROUGH, 2)])
def test_hands_of_the_network_have_a_lower_limit_in_thorough_searches(extent, count):
    network = Network(hands=[HandBox(0.26, box(100)), HandBox(0.25, box(300)), HandBox(0.1, box(500))])
    search = new((0.9,), network=network, extent=extent)
    assert len(list(search._network_in(1))) == count
    assert search._network_hands == network.hands


@pytest.mark.parametrize(("width", "shown"), [(39, False), (41, True)])
def test_a_proposal_shows_a_hand_whose_crop_overlaps_it(width, shown):
    """A part of the crop with 39 or 41 hundredths of its area."""
    search, hand = new(), hand_at(box(300), 0.9)
    crop = box_around_hand(hand.keypoints)
    assert search.shows(Proposal(crop._replace(width=crop.width * width / 100), 0.9, "palm"), hand) == shown


def test_a_box_is_verified_once():
    search, proposal = new((0.9,), score=0.4), Proposal(box(300), 0.9, "palm")
    assert not search.is_known(proposal)
    assert search.verify(proposal)
    assert search.is_known(proposal)
    assert search.is_known(replace(proposal, box=box(304)))
    assert not search.is_known(replace(proposal, box=box(306)))


def arms_of(left, right, elbows=((300, 300), (300, 300))):
    """Return a body with these wrists and elbows, and a face of 52 px."""
    points = np.full((33, 3), 5000, np.float32)
    points[[2, 5], :2], points[[9, 10], :2] = (300, 100), (300, 120)
    points[[11, 12], :2] = (320, 200), (280, 200)
    points[[13, 14], :2], points[[15, 16], :2] = elbows, (left, right)
    ones = np.ones(33, np.float32)
    return BodyObservation(0.9, points, points, ones, ones, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("wrist", "inside"),
    [
        ((-29, 300), True), ((-31, 300), False), ((629, 300), True), ((631, 300), False),
        ((300, -29), True), ((300, -31), False), ((300, 629), True), ((300, 631), False),
    ],
)  # fmt: skip
def test_hands_are_searched_at_wrists_that_are_hardly_outside_the_image(wrist, inside):
    elbow = tuple(300 + (at - 300) * 2 for at in wrist)  # so that the hand is in the image
    assert len(list(new()._ends_of([arms_of(wrist, (9000, 0), (elbow, elbow))]))) == inside


@pytest.mark.parametrize(("away", "searched"), [(19, False), (21, True)])
def test_an_arm_whose_wrist_is_at_a_hand_is_not_searched(away, searched):
    """The hand has a size of 20 px, from its wrist."""
    search = new()
    search.candidates = [Candidate([hand_at(box(400), 0.9)], Proposal(box(0), 0.5, "palm"))]
    arms = arms_of((400 + away, 300), (9000, 0))
    assert len(list(search._ends_of([arms]))) == searched


def test_a_window_at_an_arm_has_three_faces_beyond_the_wrist():
    left, right = new()._ends_of([arms_of((420, 300), (300, 450))])
    face = 2.6 * 20
    for window, centre in ((left, (420 + 0.3 * face, 300)), (right, (300, 450 + 0.3 * face))):
        assert ((window.left + window.right) / 2, (window.top + window.bottom) / 2) == pytest.approx(centre, abs=1)
        assert window.right - window.left == pytest.approx(3 * face, abs=1)
    (still,) = new()._ends_of([arms_of((300, 300), (9000, 0))])  # an arm without a length
    assert (still.left + still.right) / 2 == pytest.approx(300, abs=1)


def candidate_of(*views, score=0.3, published=False):
    return Candidate(list(views), Proposal(box(300), score, "palm"), agreement=0.6, published=published)


def test_the_features_of_a_hand_are_those_of_its_views_and_surroundings():
    first, second = hand_at(box(300), 0.6), replace(hand_at(box(300), 0.8), left=0.75)
    crop = box_around_hand(second.keypoints)
    search, candidate = new(), candidate_of(first, second)
    search._network_hands = [HandBox(0.4, crop), HandBox(0.9, box(30))]
    search.score(candidate)
    expected = {
        "maps": 0, "lower": math.log(0.6 / 0.4), "presence": (math.log(0.6 / 0.4) + math.log(0.8 / 0.2)) / 2,
        "agreement": math.log(0.6 / 0.4), "detection": math.log(0.3 / 0.7), "network": math.log(0.4 / 0.6),
        "wrist": 0, "people": 0, "foot": 0, "published": 0, "seen": 0.5, "small": math.log(20 / 48),
        "side": math.log(3) / 2, "arm": 0,
    }  # fmt: skip
    assert candidate.features == pytest.approx(expected)

    seen = replace(second, visibility=np.linspace(0, 1, 21, dtype=np.float32) ** 2, keypoints=second.keypoints * 4)
    candidate, search.bodies = candidate_of(seen, published=True), [arms_of((1216, 1200), (9000, 0))]
    search._network_hands = None
    score = search.score(candidate)
    changes = {
        "lower": math.log(4), "presence": math.log(4), "network": 0, "wrist": 1 - 16 / 80, "people": 1, "published": 1,
        "seen": float(np.mean(np.linspace(0, 1, 21) ** 2)), "small": 0, "side": math.log(3), "arm": 1.5,
    }  # fmt: skip
    assert candidate.features == pytest.approx(expected | changes, abs=1e-6)
    assert score == probability("hand", candidate.features)


@pytest.mark.parametrize("odds", [0.0, 2.0])
def test_the_maps_of_a_hand_are_a_feature_of_another_score(monkeypatch, odds):
    monkeypatch.setattr(hands, "map_odds", lambda views: odds if len(list(views)) == 2 else None)
    candidate = candidate_of(hand_at(box(300), 0.6), hand_at(box(300), 0.8))
    assert new().score(candidate) == probability("verified_hand", candidate.features)
    assert candidate.features["maps"] == odds


def test_the_side_of_a_hand_is_calibrated_from_its_views_and_arm():
    search, hand = new(score=0.8), replace(hand_at(box(300), 0.8), left=0.75)
    search._ahead._networks.hands.observe = search._ahead._networks.hands.observe_mirrored = lambda rgb, box: hand
    (found,) = search.run([[Proposal(box(300), 0.9, "published")]])
    assert found.result.left == pytest.approx(1 / (1 + 3**-0.72))
    assert search._ahead.ended
    with pytest.raises(ZeroDivisionError):
        search.run(1 / 0 for _ in range(1))


def test_hands_around_bodies_are_those_of_their_crops_and_ends_of_arms():
    search, bodies = new((0.9,), score=0.8), [arms_of((100, 300), (500, 450))]
    found = search.around(bodies, [box(200), box(400)])
    assert search.bodies == bodies
    assert sorted((one.proposal.source, one.proposal.score) for one in found)[-2:] == [("crop", 0.5)] * 2
    assert {one.proposal.source for one in found} == {"arm", "crop"}
    boxes = [one.proposal.box for one in found if one.proposal.source == "crop"]
    assert sorted(boxes) == [box(200), box(400)]


@pytest.mark.parametrize(
    ("presence", "score", "network", "views"),
    [
        (0.951, 0.51, 0.02, 1), (0.949, 0.51, 0.02, 2), (0.951, 0.49, 0.02, 2), (0.951, 0.49, 0.28, 1),
        (0.951, 0.49, 0.26, 2), (0.95, 0.51, 0.02, 2), (0.951, 0.5, 0.02, 1),
        (0.05, 0.9, 0.02, 2), (0.049, 0.9, 0.02, None),
    ],
)  # fmt: skip
def test_a_hand_is_sure_by_its_presence_and_by_its_detection_or_the_network(presence, score, network, views):
    search = new(score=presence)
    search._network_hands = [HandBox(network, box_around_hand(hand_at(box(300), 0.9).keypoints))]
    candidate = search.verify(Proposal(box(300), score, "palm"))
    assert (candidate and len(candidate.views)) == views


@pytest.mark.parametrize(("visibility", "nearness"), [(0.31, 0.5), (0.29, 0.0)])
@pytest.mark.parametrize("foot", [(27, 29, 31), (28, 30, 32)])
def test_a_hand_is_near_each_part_of_a_visible_foot(foot, visibility, nearness):
    """The hand has 20 px around (300, 300)."""
    for places in ([310, 400, 400], [400, 310, 400], [400, 400, 310], [350, 330, 250]):
        points = np.full((33, 3), 5000, np.float32)
        points[list(foot), 0], points[list(foot), 1] = places, 300
        seen = np.ones(33, np.float32)
        seen[foot[0]] = visibility
        feet = BodyObservation(0.9, points, points, seen, seen, np.zeros((2, 2), np.float32))
        hand = hand_at(box(300, 310), 0.9)
        assert foot_nearness(hand, [feet]) == pytest.approx(nearness)


def test_people_and_their_bodies_are_found_before_the_palms_around_hands():
    """Helpers observe palms meanwhile."""
    order = []

    class Noted(Network):
        def find(self, *arguments):
            order.append("people")
            return super().find(*arguments)

    network = Noted([PersonBox(0.9, (200, 100, 400, 500))], [HandBox(0.9, box(330, 400))])
    search = new((0.9,), network=network, bodies=SimpleNamespace(observe=lambda *_: order.append("body") or body()))
    find = search._ahead._networks.palms.find
    search._ahead._networks.palms.find = lambda *arguments: order.append("palms") or find(*arguments)
    list(search.propose())
    assert order[:5] == ["people", "palms", "palms", "body", "palms"]  # two limits of the palms in the image
    assert order.count("people") == order.count("body") == 1


def test_helpers_observe_new_proposals_only():
    seen = []
    helpers = Helpers(
        lambda: HandNetworks(None, SimpleNamespace(observe=lambda rgb, box: seen.append(box) or hand_at(box, 0.01))), 1
    )
    search = HandSearch(IMAGE, Palms(), SimpleNamespace(is_same_instance=None), None, None, AUTO, helpers)
    search._verified_boxes = [box(100)]
    proposals = [Proposal(box(x), 0.9, "palm") for x in (100, 300, 500)]
    search._start(lambda proposal: [proposal], proposals)
    search._start(lambda proposal: [proposal], [Proposal(box(200), 0.9, "palm")])  # a single one waits for the search
    search._start(lambda proposal: [proposal], [Proposal(box(400), 0.9, "palm")], single=True)
    for call in search._ahead._started:
        call.result(60)
    search._ahead.end()
    search._start(lambda proposal: [proposal], [Proposal(box(x), 0.9, "palm") for x in (10, 590)])
    helpers.close()
    assert seen == [box(300), box(500), box(400)]


def test_an_arm_of_a_pixel_and_a_half_has_a_direction():
    (window,) = new()._ends_of([arms_of((301.5, 300), (9000, 0))])
    assert (window.left + window.right) / 2 == pytest.approx(301.5 + 0.3 * 52, abs=1)


@pytest.mark.parametrize(
    ("presence", "mirrored", "source", "seen"),
    [(0.5, 0.9, "published", False), (0.51, 0.9, "published", True), (0.6, 0.05, "palm", False)],
)
def test_a_hand_is_published_that_the_published_search_accepts(presence, mirrored, source, seen):
    search = new(score=presence)
    search._ahead._networks.hands.observe_mirrored = lambda rgb, box: hand_at(box, mirrored)
    candidate = search.verify(Proposal(box(300), 0.4, source))
    assert candidate.published == seen
    assert [view.score for view in candidate.views] == ([mirrored, presence] if seen else [presence, mirrored])
