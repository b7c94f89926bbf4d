"""Sources of the search for hands in stills: windows of the network, its hands, ends of arms, and closer crops."""

from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.hands import HandObservation, box_around_hand
from sonjit.detectors.search.geometry import Proposal
from sonjit.detectors.search.hands import HandSearch
from sonjit.detectors.search.network import HandBox, PersonBox
from sonjit.detectors.search.stills import AUTO, Extent
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
    hands = [HandBox(0.13, box(100)), HandBox(0.8, box(300)), HandBox(0.5, box(340)), HandBox(0.4, box(350)),
             HandBox(0.3, box(500)), HandBox(0.11, box(200))]  # fmt: skip
    search._network_hands = hands
    shown = box(500)
    monkeypatch.setattr(search, "shown", lambda proposal: "certain" if proposal.box == shown else None)
    monkeypatch.setattr(search, "crops_near", lambda near, skips: looked.append(near) or iter(["crop"]))
    assert list(search._closer()) == [["crop"]] * 3
    assert looked == [box(300), box(350), box(100)]


@pytest.mark.parametrize(("score", "count"), [(0.31, 4), (0.29, 0)])
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
