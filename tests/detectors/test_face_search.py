"""The search of stills for faces: windows and turns, verification of proposals, and features of the scores."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.kinds.face_boxes import FaceBoxes
from sonjit.detectors.search.faces import FaceSearch, face_features, find_people, search_boxes, shows_face
from sonjit.detectors.search.geometry import Proposal, oks
from sonjit.detectors.search.network import PersonBox
from sonjit.detectors.search.score import LIMITS, probability
from sonjit.detectors.search.stills import AUTO, Candidate, Extent
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox

IMAGE = np.zeros((600, 600, 3), np.uint8)
THOROUGH = Extent(thorough=True)


def mesh(x=300.0, y=300.0, *, size=100.0, score=0.9, turn=0.0):
    """Return a mesh of a size with distinct proportions: 1.0 high, 0.8 wide, 0.5 between the eyes, and 0.3 deep."""
    points = np.zeros((468, 3))
    points[10, 1], points[152, 1] = -0.5, 0.5
    points[234], points[454] = (-0.4, 0, 0.1), (0.4, 0, 0.1)
    points[33], points[263] = (-0.24, -0.2, -0.07), (0.24, -0.2, 0.07)
    points[4] = 0.0, 0.0, -0.2
    cos, sin = math.cos(turn), math.sin(turn)
    points[:, :2] = points[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    return FaceObservation(score, (points * size + (x, y, 0)).astype(np.float32))


class Meshes:
    """Face network that sees these meshes one after the other; the box after one has its place and rotation."""

    def __init__(self, *seen, published=(), turn=0.0):
        self.seen, self.published, self.turn, self.boxes, self.limits = list(seen), published, turn, [], []

    def find(self, rgb, min_score):
        self.limits.append(min_score)
        return self.published

    def observe(self, rgb, box):
        self.boxes.append(box)
        return self.seen[len(self.boxes) - 1]

    def box_after(self, face):
        x, y = face.keypoints[[10, 152], :2].mean(axis=0).tolist()
        return RotatedBox(x, y, 150, 150, self.turn)

    @staticmethod
    def is_same_instance(box, other):
        return abs(box.cx - other.cx) < 20


class Detector:
    """Full-range detector that finds one face in the first window, and notes sizes, turns and limits."""

    def __init__(self, score=0.0):
        self.score, self.windows, self.limits = score, [], set()

    def find_in(self, rgb, area, min_score):
        self.windows.append((rgb.shape[:2], area.rotation))
        self.limits.add(min_score)
        assert area[:4] == (rgb.shape[1] / 2, rgb.shape[0] / 2, max(rgb.shape), max(rgb.shape))
        points = np.array([(40, 40), (60, 40), (50, 50), (50, 60), (30, 50), (70, 50)], float)
        found = Detection(self.score, np.array([20, 20, 80, 80], float), points)
        return [found] if self.score >= min_score and len(self.windows) == 1 else []


def new(meshes=None, detector=None, extent=AUTO, *people, hides=False):
    network = SimpleNamespace(find=lambda rgb, window, least: ([one for one in people if one.score > least], []))
    return FaceSearch(IMAGE, detector or Detector(), meshes or Meshes(), extent, network=lambda: network, hides=hides)


BOX = RotatedBox(300, 300, 150, 150)


def test_published_faces_come_first_the_later_one_of_two_that_are_the_same():
    near, other = BOX._replace(cx=310), BOX._replace(cx=100)
    search = new(meshes := Meshes(published=[BOX, near, other]), extent=Extent(0.7))
    first = next(search.propose())
    assert [(one.box, one.source) for one in first] == [(near, "published"), (other, "published")]
    assert [one.score for one in first] == pytest.approx([0.4 * 0.7] * 2)
    assert meshes.limits == [0.7]


@pytest.mark.parametrize(
    ("sizes", "extent", "parts"),
    [
        ([], AUTO, (1, 2)),
        ([91], AUTO, (1,)),  # 0.15 of the image
        ([89], AUTO, (1, 2)),
        ([200, 89], AUTO, (1, 2)),
        ([200, 26], AUTO, (1, 2, 3)),  # below 0.045
        ([200, 28], AUTO, (1, 2)),
        ([200], THOROUGH, (1, 2, 3)),
    ],
)
def test_windows_are_searched_the_coarsest_ones_upright_and_upside_down(sizes, extent, parts):
    detector = Detector()
    search = new(Meshes(), detector, extent)
    search.candidates = [Candidate([mesh(size=size)], Proposal(BOX, 0.9, "test")) for size in sizes]
    assert list(search.propose())[1:] == [[]] * (len(detector.windows) - 1)
    assert [turn for _, turn in detector.windows] == [0.0, math.pi] + [0.0] * (len(detector.windows) - 2)
    sides = [height for (height, _), _ in detector.windows]
    assert [sides.count(600), sides.count(321), sides.count(219) + sides.count(220)] == [
        count if part in parts else 0 for part, count in ((1, 2), (2, 4), (3, 9))
    ]
    assert detector.limits == {0.2}
    assert search.complete == (parts[-1] == 3)


@pytest.mark.parametrize(
    ("turns", "searched"),
    [
        ([], {0.0}),
        ([0.0], {0.0}),
        ([1.5], {0.0}),
        ([1.6], {math.pi}),
        ([-3.0], {math.pi}),
        ([0.0, 3.0], {0.0, math.pi}),
    ],
)
def test_finer_windows_are_searched_in_the_turns_of_probable_faces(monkeypatch, turns, searched):
    detector, meshes = Detector(), Meshes()
    search = new(meshes, detector, THOROUGH)
    search.candidates = [Candidate([mesh(turn=turn)], Proposal(BOX, 0.9, "test")) for turn in turns]
    search.candidates.append(Candidate([mesh(turn=3.1 if 0.0 in searched else 0.0)], Proposal(BOX, 0.1, "test")))
    monkeypatch.setattr(search, "score", lambda candidate: 0.5 if candidate.proposal.score == 0.1 else 0.51)
    meshes.box_after = lambda face: BOX._replace(rotation=turn_of(face))
    list(search.propose())
    assert {turn for (height, _), turn in detector.windows if height < 600} == searched


def turn_of(face):
    across = face.keypoints[263] - face.keypoints[33]
    return math.atan2(across[1], across[0])


def test_a_face_in_a_window_is_placed_in_the_image():
    detector = Detector(0.4)
    search = new(Meshes(), detector)
    sources = list(search.propose())
    assert [len(source) for source in sources[:3]] == [0, 1, 0]
    ((proposal,),) = sources[1:2]
    assert (proposal.source, proposal.score, proposal.head, proposal.person) == ("window", 0.4, None, None)
    assert proposal.box == pytest.approx((50, 50, 90, 90, 0))


@pytest.mark.parametrize(("width", "shown"), [(59, False), (61, True)])
def test_a_proposal_shows_a_face_whose_box_overlaps_it(width, shown):
    """A part of the box with 0.393 or 0.407 of its area."""
    assert new().shows(Proposal(BOX._replace(width=width), 0.9, "window"), mesh()) == shown


PUBLISHED, IN_WINDOW = Proposal(BOX, 0.2, "published"), Proposal(BOX, 0.5, "window")


@pytest.mark.parametrize(
    ("proposal", "presence", "views"),
    [
        (IN_WINDOW, 0.101, [0, 1]),
        (IN_WINDOW, 0.1, [0, 1]),
        (IN_WINDOW, 0.099, None),
        (IN_WINDOW, 0.99, [0, 1]),
        (IN_WINDOW, 0.991, [0]),
        (IN_WINDOW, 0.989, [0, 1]),
        (Proposal(BOX, 0.49, "window"), 0.991, [0, 1]),
        (PUBLISHED, 0.991, [0]),
        (PUBLISHED, 0.989, [1, 0]),
        (PUBLISHED, 0.4, [1, 0]),
        (PUBLISHED, 0.5, [1, 0]),
    ],
)
def test_a_doubtful_face_is_observed_again_in_the_box_that_it_has(proposal, presence, views):
    seen = [mesh(score=presence), mesh(304, score=0.7)]
    network = Meshes(*seen)
    candidate = new(network).verify(proposal)
    assert network.boxes == [proposal.box, network.box_after(seen[0])][: len(views or [0])]
    if views is None:
        assert candidate is None
        return
    assert candidate.views == [seen[view] for view in views]
    assert candidate.proposal is proposal
    assert candidate.published == (proposal.published and presence > 0.5)
    assert candidate.agreement == (1 if len(views) == 1 else oks(seen[0].keypoints, seen[1].keypoints))


def test_the_features_of_a_face_are_its_scores_and_proportions():
    candidate = Candidate([mesh(score=0.8), mesh(score=0.6)], Proposal(BOX, 0.7, "window"), agreement=0.75)
    people = [
        PersonBox(0.9, (0, 0, 100, 100)),
        PersonBox(0.3, (200, 200, 400, 600)),
        PersonBox(0.4, (200, 200, 400, 600)),
    ]
    expected = {
        "detection": math.log(0.7 / 0.3), "presence": math.log(0.6 / 0.4), "agreement": math.log(3),
        "long": math.log(1 / 0.8), "depth": math.log(0.3), "turned": math.log(0.48 / 0.5 + 0.05),
        "person": math.log(0.4 / 0.6),
    }  # fmt: skip
    assert face_features(candidate, people) == pytest.approx(expected, abs=1e-3)
    assert face_features(candidate, people[:1])["person"] == pytest.approx(math.log(0.02 / 0.98))
    tiny = Candidate([mesh(size=1e-3)], Proposal(BOX, 0.7, "window"))  # no distance is below a pixel
    assert [face_features(tiny, ())[name] for name in ("long", "depth")] == [0, 0]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"left": 299}, True), ({"left": 301}, False), ({"right": 301}, True), ({"right": 299}, False),
        ({"top": 329}, True), ({"top": 331}, False),  # 30 px above the box
        ({"top": 210, "bottom": 411}, True), ({"top": 210, "bottom": 409}, False),  # 0.45 of its height
    ],
    ids=str,
)  # fmt: skip
def test_the_face_of_a_person_is_in_the_upper_part_of_the_box_or_just_above(change, shown):
    """The mesh is symmetric around its centre, where the other keypoints are."""
    box = {"left": 200, "top": 250, "right": 400, "bottom": 600} | change
    points = mesh().keypoints
    points[:] += np.array([300, 300, 0], np.float32) - points.mean(axis=0)
    assert shows_face(PersonBox(0.9, tuple(box.values())), FaceObservation(0.9, points)) == shown


@pytest.mark.parametrize("hides", [False, True])
def test_a_face_without_a_person_counts_as_much_as_one_with_a_person_to_hide_it(hides):
    person = PersonBox(0.9, (200, 250, 400, 600))
    found = []
    for people in ((), (person,)):
        search, candidate = new(None, None, AUTO, *people, hides=hides), Candidate([mesh()], IN_WINDOW)
        found.append(search.score(candidate))
        assert candidate.features == face_features(candidate, people)
        scores = [probability(name, candidate.features) for name in ("face", "hidden_face")]
        assert found[-1] == (max(scores) if hides else scores[0])
    assert (found[0] < scores[1]) != hides


def test_people_are_found_in_the_complete_image_even_doubtful_ones():
    asked = []
    person = PersonBox(0.03, (0, 0, 9, 9))
    network = SimpleNamespace(find=lambda rgb, window, least: asked.append((window, least)) or ([person], []))
    assert find_people(IMAGE, network) == [person]
    assert asked == [((0, 0, 600, 600), 0.02)]


@pytest.mark.parametrize(("extent", "scores"), [(Extent(0.5), [0.7, 0.61]), (Extent(0.65), [0.7])])
def test_boxes_of_windows_have_the_published_score_of_their_detector_or_a_higher_one(extent, scores):
    class Faces:
        def __init__(self, *found):
            self.found = found

        def find(self, rgb, min_score):
            found, self.found = self.found, ()
            return [face for face in found if face.score >= min_score]

        def find_from(self, rgb, *min_scores):
            return [[], []]

    def face(score, x, y=100.0, size=40.0):
        points = np.full((6, 2), (x + size / 2, y + size / 2))
        return Detection(score, np.array([x, y, x + size, y + size]), points)

    detector = Faces(face(0.61, 100), face(0.7, 200), face(0.59, 300), face(0.7, 400, 559))
    found, _ = search_boxes(IMAGE, detector, FaceBoxes(Faces()), extent)
    assert [one.score for one in found if one.keypoints[0, 1] < 500] == scores


def test_the_search_of_long_images_does_not_end_at_large_faces():
    rgb, detector = np.zeros((100, 800, 3), np.uint8), Detector()
    search = FaceSearch(rgb, detector, Meshes(), AUTO, network=None)
    search.candidates = [Candidate([mesh(size=90)], Proposal(BOX, 0.9, "test"))]
    search.score = lambda _: 0.9
    list(search.propose())
    assert search.complete
    assert len(detector.windows) > 8
    assert LIMITS["face_part2"] * 800 < 600
