"""The search of stills for bodies: its sources, the verification of proposals, and the features of the scores."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.search import bodies as search_bodies
from sonjit.detectors.search.bodies import BodySearch, body_features, body_oks, box_below, crop_of, without_other_heads
from sonjit.detectors.search.geometry import Head, Proposal, head_of_body
from sonjit.detectors.search.network import PersonBox
from sonjit.detectors.search.score import LIMITS, logit, probability
from sonjit.detectors.search.stills import AUTO, Candidate, Extent
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox

IMAGE = np.full((600, 600, 3), 250, np.uint8)
NEXT = RotatedBox(1, 2, 3, 4, 0.5)


def body(left=200.0, top=100.0, *, score=0.9, height=200.0):
    """Return a body in a box of 100 px by a height, with a head of 48.2 px whose eyes are 20 px below its upper edge.

    Its shoulders are 80 px apart, and its hips 60 px below them.
    """
    points, middle = np.zeros((33, 3), np.float32), left + 50
    points[:, :2] = middle, top + 60
    points[:11, :2], points[[9, 10], :2] = (middle, top + 20), (middle, top + 40)
    points[[11, 12], :2] = [(middle + 40, top + 60), (middle - 40, top + 60)]
    points[[23, 24], :2] = [(middle + 30, top + 120), (middle - 30, top + 120)]
    points[[31, 32], :2] = [(left, top), (left + 100, top + height)]
    ones = np.ones(33, np.float32)
    return BodyObservation(score, points, points, ones, ones, np.zeros((2, 2), np.float32), heatmap_peak=0.6)


class Network:
    """Network of people that notes its windows and limits."""

    def __init__(self, *people):
        self.people, self.windows, self.limits = list(people), [], set()

    def find(self, rgb, window, min_person):
        self.windows.append(window)
        self.limits.add(min_person)
        return self.people, []


class Faces:
    """Detector of one face with its eyes at (250, 120) and its mouth at (250, 140)."""

    def __init__(self, score=0.0):
        self.score, self.limits = score, []

    def find(self, rgb, min_score):
        self.limits.append(min_score)
        points = np.array([(240, 120), (260, 120), (250, 130), (250, 140), (0, 0), (0, 0)], float)
        return [Detection(self.score, np.zeros(4), points)] if self.score >= min_score else []


class Bodies:
    """Network that sees these bodies one after the other, and notes the images and boxes."""

    def __init__(self, *seen):
        self.seen, self.images, self.boxes = list(seen), [], []

    def observe(self, rgb, box):
        self.images.append(rgb)
        self.boxes.append(box)
        return self.seen[len(self.boxes) - 1]

    def box_after(self, seen):
        return NEXT


def new(network=None, faces=None, bodies=None, extent=AUTO):
    return BodySearch(IMAGE, lambda: network, faces or Faces(), bodies or Bodies(), extent)


@pytest.mark.parametrize(
    ("height", "extent", "parts", "complete"),
    [
        (400, AUTO, (1,), False),
        (149, AUTO, (1, 2), True),  # a quarter of the image
        (151, AUTO, (1,), False),
        (400, Extent(thorough=True), (1, 2), True),
    ],
)
def test_people_are_proposed_then_heads_in_two_placements_then_people_of_finer_windows(height, extent, parts, complete):
    person = PersonBox(0.9, (200, 100, 300, 100 + height))
    network, faces = Network(person), Faces(0.7)
    search = new(network, faces, extent=extent)
    sources = search.propose()
    (first,) = next(sources)
    assert (first.box, first.score, first.source) == (crop_of(person.box), 0.9, "person1")
    assert (first.person, first.head) == (person.box, None)
    heads = next(sources)
    network.people = [person, PersonBox(0.5, (400, 0, 500, 200))]
    assert [[(one.person, one.score, one.source) for one in rest] for rest in sources] == [
        [((400, 0, 500, 200), 0.5, "person2")]  # once, although it is in four windows
    ] * (len(parts) - 1)
    (head,) = search.heads
    assert (head.middle.tolist(), head.down.tolist()) == ([250, 127.8], [0, pytest.approx(48.2)])
    assert [(one.box, one.score, one.source, one.head) for one in heads] == [
        (box_below(head, placement), 0.7, "head", head) for placement in (0, 1)
    ]
    assert network.windows == [window for count in parts for window in search.windows(count)]
    assert (network.limits, faces.limits) == ({LIMITS["person"]}, [LIMITS["head"]])
    assert search.complete == complete


@pytest.mark.parametrize(("least", "person_limit", "heads"), [(0.25, 0.075, 2), (0.75, 0.225, 2), (0.9, 0.27, 0)])
def test_the_minimum_detection_score_scales_the_limits_of_both_sources(least, person_limit, heads):
    network, faces = Network(), Faces(0.7)
    search = new(network, faces, extent=Extent(least))
    assert sum(len(rest) for rest in search.propose()) == heads
    assert sorted(network.limits) == pytest.approx([person_limit])
    assert len(search.heads) == 1  # it covers others all the same


HEAD = head_of_body(body())
OF_HEAD = Proposal(RotatedBox(250, 250, 300, 300), 0.7, "head", head=HEAD)
OF_PERSON = Proposal(RotatedBox(250, 250, 300, 300), 0.7, "person1", person=(200, 100, 300, 300))


@pytest.mark.parametrize(
    ("proposal", "seen", "count"),
    [
        (OF_PERSON, [body(), body()], 2),
        (OF_PERSON, [body(score=0.03), body(score=0.02)], 2),
        (OF_PERSON, [body(score=0.019)], None),
        (OF_PERSON, [body(), body(score=0.019)], None),
        (OF_PERSON, [body(), body(252)], 2),  # IoU of 0.316
        (OF_PERSON, [body(), body(256)], None),  # and 0.282
        (OF_PERSON, [body(256)], None),
        (OF_HEAD, [body(), body(221)], 2),  # off by 0.436 of the head
        (OF_HEAD, [body(), body(223)], None),  # and by 0.477
        (replace(OF_PERSON, person=None), [body()], None),
    ],
)
def test_a_proposal_is_verified_by_two_observations_that_show_it(proposal, seen, count):
    network = Bodies(*seen)
    candidate = new(bodies=network).verify(proposal)
    assert network.boxes == [proposal.box, NEXT][: len(seen)]
    if count is None:
        assert candidate is None
        return
    assert (candidate.views, candidate.proposal) == (seen, proposal)
    assert candidate.agreement == body_oks(*seen, IMAGE)
    assert not candidate.published


def test_only_the_person_is_visible_in_its_observations_or_other_heads_are_covered():
    network = Bodies(*[body()] * 4)
    search = new(bodies=network)
    search.heads = [HEAD, Head(0.9, np.array([350.0, 150.0]), np.array([0.0, 40.0]))]
    search.verify(OF_PERSON)
    search.verify(OF_HEAD)
    own, other = (128, 250), (150, 350)
    assert [[int(rgb[at][0]) for at in (own, other, (500, 500))] for rgb in network.images] == [
        *[[250, 128, 128]] * 2,
        *[[250, 128, 250]] * 2,
    ]


@pytest.mark.parametrize(
    ("proposal", "left", "shown"),
    [(OF_PERSON, 224, True), (OF_PERSON, 226, False), (OF_HEAD, 221, True), (OF_HEAD, 223, False)],
)
def test_a_known_body_has_the_head_or_fills_the_box_of_a_proposal(proposal, left, shown):
    """The boxes of people overlap by 0.613 and 0.587."""
    assert new().shows(proposal, body(left)) == shown
    assert not new().shows(replace(OF_PERSON, person=None), body())


def expected_features():
    """Return the features of the body in the test below, computed by hand."""
    return {
        "own_head": 1.0,
        "lower": math.log(0.6 / 0.4),
        "upper": math.log(0.9 / 0.1),
        "agreement": math.log(0.8 / 0.2),
        "person": math.log(0.7 / 0.3),
        "overlap": 100 * 200 / (100 * 200 + 20 * 200),
        "core": (0.5 + 0.5 + 1 + 1) / 4,
        "visible": (31 + 2 * 0.5) / 33,
        "heatmap": 0.6,
        "size": math.log(200 / 500),
        "faced": 1.0,
        "face": math.log(0.75 / 0.25),
        "neck": math.exp(-((((60 - 27.8 - 10 - 1.25 * 48.2) / 48.2) / 0.35) ** 2) / 2),
        "torso": math.log(80 / 48.2),  # the shoulders are wider than the torso is long
    }


def test_the_features_of_a_body_compare_it_with_its_head_and_person():
    last = body(score=0.6)
    last.visibility[[11, 12]] = 0.5
    candidate = Candidate([body(), last], OF_PERSON, agreement=0.8)
    off, near, far = (
        HEAD._replace(score=score, middle=HEAD.middle + np.array([0, y]))
        for score, y in ((0.5, 20), (0.75, 10), (0.99, 300))
    )
    people = [
        PersonBox(0.9, (400, 100, 500, 300)),
        PersonBox(0.7, (200, 100, 320, 300)),
        PersonBox(0.8, (290, 100, 400, 300)),
    ]
    rgb = np.zeros((500, 400, 3), np.uint8)
    features = body_features(candidate, rgb, [off, near, far], people)
    assert features == pytest.approx(expected_features(), rel=1e-5)
    faceless = body_features(candidate, rgb, [far], [people[2]])
    changes = {"own_head": -1, "faced": 0, "face": 0, "neck": 0, "torso": 0, "overlap": 10 / 200}
    assert faceless == pytest.approx(expected_features() | changes | {"person": math.log(0.02 / 0.98)}, rel=1e-5)
    assert body_features(candidate, rgb, [])["overlap"] == 0
    upright = body_features(candidate, np.zeros((400, 500, 3), np.uint8), [off])
    assert (upright["own_head"], upright["size"]) == (0, pytest.approx(math.log(200 / 500)))


@pytest.mark.parametrize(("right", "counts"), [(291, True), (262, False)])
def test_a_person_counts_who_overlaps_a_body_by_more_than_a_third(right, counts):
    """The boxes overlap by 0.315 and 0.283."""
    width = {291: 31.5, 262: 28.3}[right]
    people = [PersonBox(0.7, (200, 100, 200 + width, 300))]
    features = body_features(Candidate([body()], OF_PERSON), IMAGE, [], people)
    assert features["overlap"] == pytest.approx(width / 100)
    assert features["person"] == pytest.approx(logit(0.7 if counts else 0.02))


@pytest.mark.parametrize(("height", "torso"), [(31.0, math.log(80 / 31)), (29.0, 1.0)])
def test_the_torso_of_a_body_counts_as_at_most_e_heads(height, torso):
    head = HEAD._replace(down=np.array([0.0, height]), middle=np.array([250.0, 127.8]))
    features = body_features(Candidate([body()], OF_PERSON), IMAGE, [head])
    assert features["torso"] == pytest.approx(torso, rel=1e-4)


def test_a_candidate_is_scored_by_its_features_of_heads_and_people():
    search = new()
    search.heads, search.people = [HEAD], [PersonBox(0.7, (200, 100, 300, 300))]
    candidate = Candidate([body(), body()], OF_PERSON)
    score = search.score(candidate)
    assert candidate.features == body_features(candidate, IMAGE, search.heads, search.people)
    assert score == probability("body", candidate.features)
    assert (candidate.features["own_head"], candidate.features["overlap"]) == (0, 1)


@pytest.mark.parametrize(
    ("left", "heads", "same"),
    [
        (400, (0, 0), True),  # one face
        (400, (0, 1), False),
        (400, (-1, -1), False),
        (235, (0, 1), True),  # one torso, 80 px wide
        (237, (0, 1), False),
        (227, (-1, 0), True),
        (237, (-1, 0), False),
    ],
)
def test_two_bodies_are_one_that_share_a_face_or_a_torso(left, heads, same):
    first, second = (
        Candidate([body(at)], OF_PERSON, features={"own_head": float(head)})
        for at, head in zip((200, left), heads, strict=True)
    )
    assert new().is_same(first, second) == new().is_same(second, first) == same


@pytest.mark.parametrize(("heads", "same"), [((-1, 0), True), ((0, -1), True), ((-1, -1), True), ((0, 1), False)])
def test_two_bodies_with_one_head_are_one_unless_both_have_their_own_face(heads, same):
    """The torsos differ, and the heads are 27 px apart; 28 px are the limit."""
    other = body(227)
    other.keypoints[[11, 12, 23, 24], 1] += 200
    first, second = (
        Candidate([seen], OF_PERSON, features={"own_head": float(head)})
        for seen, head in zip((body(), other), heads, strict=True)
    )
    assert new().is_same(first, second) == same


def grey_rows(masked, column):
    """Return the first and last covered row of a column."""
    rows = np.flatnonzero((masked[:, column] == 128).all(1))
    return int(rows[0]), int(rows[-1])


def test_a_covered_head_reaches_to_its_hair_and_leaves_the_own_face():
    """Covers have a radius of 0.75 heights around a point 0.15 heights above the middle."""
    own, other = (Head(0.9, np.array([float(x), 300.0]), np.array([0.0, 40.0])) for x in (200, 300))
    box = RotatedBox(200, 300, 150, 150)
    masked = without_other_heads(IMAGE, box, [own, other], own)
    assert grey_rows(masked, 300) == (300 - 6 - 30, 300 - 6 + 30)
    assert [bool((masked[294, x] == 128).all()) for x in (268, 270, 330, 332)] == [False, True, True, False]
    assert grey_rows(masked, 200) == (300 - 6 - 30, 300 - 28 - 1)
    assert (IMAGE == 250).all()


@pytest.mark.parametrize(("x", "is_covered"), [(345, True), (347, False)])
def test_heads_are_covered_that_reach_the_circle_around_a_box(x, is_covered):
    """The circle has a radius of 106 px, and the head a height of 40 px."""
    own, other = (Head(0.9, np.array([float(at), 300.0]), np.array([0.0, 40.0])) for at in (200, x))
    masked = without_other_heads(IMAGE, RotatedBox(200, 300, 150, 150), [own, other], own)
    assert (masked is not IMAGE) == is_covered


@pytest.mark.parametrize(("distance", "is_other"), [(27.9, False), (28.1, True)])
def test_another_head_is_farther_than_the_radius_of_the_own_face(distance, is_other):
    own, other = (Head(0.9, np.array([x, 300.0]), np.array([0.0, 40.0])) for x in (200, 200 + distance))
    assert search_bodies.other_heads([own, other], own) == [other] * is_other


def test_the_agreement_of_bodies_counts_visible_keypoints_inside_the_image():
    """Keypoints 10 px apart agree by exp(-1/2), at a size of 200 px and a tolerance of 0.05."""
    first, second = body(), body()
    second.keypoints[0, 0] += 10
    second.visibility[1] = 0.5
    total = 32 + 0.5
    assert body_oks(first, second, IMAGE) == pytest.approx((total - 1 + math.exp(-1 / 2)) / total)
    outside = []
    for at in ((-1, 50), (0, 50), (601, 50), (600, 50), (50, -1), (50, 0), (50, 601), (50, 600)):
        seen = replace(second, keypoints=second.keypoints.copy())
        seen.keypoints[0, :2] = at
        outside.append(body_oks(first, seen, IMAGE))
    assert outside == pytest.approx([1.0] * 8, abs=1e-3)
    seen = replace(second, keypoints=second.keypoints + np.float32([10, 0, 0]))
    assert body_oks(second, seen, IMAGE) == pytest.approx(math.exp(-1 / 2), rel=1e-4)
    assert body_oks(second, seen, IMAGE, moved=True) == pytest.approx(1)


def test_the_box_of_a_body_ends_at_each_edge_of_the_image():
    rgb = np.zeros((300, 400, 3), np.uint8)
    assert search_bodies.clipped(body(200, 50), rgb) == (200, 50, 300, 250)
    assert search_bodies.clipped(body(-9, -9), rgb) == (0, 0, 91, 191)
    assert search_bodies.clipped(body(350, 150), rgb) == (350, 150, 400, 300)


def test_bodies_below_a_head_stand_or_sit():
    """The centre is at the hips, and the side has 2.5 radii of the circle around the body."""
    head = Head(0.9, np.array([300.0, 100.0]), np.array([0.0, 40.0]))
    assert box_below(head, 0) == pytest.approx((300, 100 + 3.35 * 40, 2.5 * 4.5 * 40, 2.5 * 4.5 * 40, 0))
    assert box_below(head, 1) == pytest.approx((300, 100 + 2.8 * 40, 2.5 * 3.6 * 40, 2.5 * 3.6 * 40, 0))
    turned = box_below(head._replace(down=np.array([30.0, 0.0])), 0)
    assert turned == pytest.approx((300 + 3.35 * 30, 100, 2.5 * 4.5 * 30, 2.5 * 4.5 * 30, -math.pi / 2))


def test_a_person_who_overlaps_a_body_by_just_the_limit_does_not_count():
    assert not new().shows(replace(OF_PERSON, person=(200, 100, 260, 300)), body())  # IoU of 0.6
    features = body_features(Candidate([body()], OF_PERSON), IMAGE, [], [PersonBox(0.7, (200, 100, 230, 300))])
    assert (features["overlap"], features["person"]) == (0.3, logit(0.02))
