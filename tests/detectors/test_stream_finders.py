"""Scores and checks of the hands, faces and bodies of streams, with detectors and networks made of plain numbers."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.kinds.hands import box_from_palm
from sonjit.detectors.search import stream_finders
from sonjit.detectors.search.geometry import Head, Proposal, head_of_body
from sonjit.detectors.search.network import HandBox, PersonBox
from sonjit.detectors.search.score import logit, probability
from sonjit.detectors.search.stream_finders import BodyFinder, FaceFinder, HandFinder, Record
from sonjit.detectors.ssd import Detection
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, box_around
from sonjit.geometry.windows import Window

IMAGE = np.full((400, 400, 3), 200, np.uint8)
CROP = RotatedBox(200, 200, 120, 120, 0.0)
PROPOSAL = Proposal(CROP, 0.7, "test")


class Detector:
    """Detector whose detections in windows and in boxes are given, and which notes the boxes and limits."""

    def __init__(self, found=(), in_box=()):
        self.found, self.in_box, self.boxes, self.limits = list(found), list(in_box), [], []

    def find(self, rgb, min_score):
        self.limits.append(min_score)
        return [face for face in self.found if face.score >= min_score]

    def find_in(self, rgb, box, min_score):
        self.boxes.append(box)
        return [face for face in self.in_box if face.score >= min_score]


def detected(score, box=(100, 100, 200, 200)):
    return Detection(score, np.array(box, float), np.zeros((7, 2)))


@pytest.mark.parametrize(("successes", "failures"), [(0, 2), (1, 6), (2, 10), (3, 14), (4, 18), (9, 18)])
def test_a_track_with_more_successes_survives_more_failures_up_to_a_limit(successes, failures):
    record = Record()
    for _ in range(successes):
        assert record.is_kept(sure=True, passed=True)
    kept = [record.is_kept(sure=False, passed=False) for _ in range(failures)]
    assert kept == [True] * (failures - 1) + [False]


def test_a_check_that_is_passed_without_certainty_ends_failures_and_is_no_success():
    record = Record()
    kept = [record.is_kept(sure=False, passed=passed) for passed in (False, True, False, True, False, False)]
    assert kept == [True] * 5 + [False]


def test_the_score_of_a_hand_is_that_of_its_lower_presence_and_of_the_mirrored_image():
    hand = SimpleNamespace
    asked = []
    kind = SimpleNamespace(
        box_after=lambda seen: seen.box, observe_mirrored=lambda _, box: asked.append(box) or hand(score=0.8)
    )
    finder = HandFinder(Detector(), kind, 0.5)
    first, second = hand(score=0.9, box="first"), hand(score=0.6, box="second")
    expected = probability("stream_hand", {"presence": logit(0.6), "mirrored": logit(0.8)})
    assert finder.score(IMAGE, PROPOSAL, first, second) == finder.score(IMAGE, PROPOSAL, second, first) == expected
    assert asked == ["second", "first"]


def mesh():
    """Return a mesh of 100 px around (200, 200)."""
    points = np.full((468, 3), 200, np.float32)
    points[[234, 454], 0], points[[10, 152], 1], points[[33, 263], 0] = (150, 250), (150, 250), (180, 220)
    points[4, 2] = 150
    return FaceObservation(0.9, points)


class Meshes(SimpleNamespace):
    def box_after(self, face):
        return CROP

    def observe(self, rgb, box):
        return mesh()


@pytest.mark.parametrize(
    ("stream", "is_detected", "least", "most", "score", "asks"),
    [
        (0.6, True, 0.1, 0.9, 0.6, False),  # detected again
        (0.4, True, 0.1, 0.9, 0.8, True),
        (0.6, False, 0.1, 0.9, 0.8, True),
        (0.6, False, 0.1, 0.4, 0.1, False),  # no person makes it a face
        (0.6, False, 0.6, 0.9, 0.6, False),  # a face even without a person
        (0.5, True, 0.1, 0.9, 0.8, True),
        (0.6, False, 0.1, 0.5, 0.8, True),
        (0.6, False, 0.5, 0.9, 0.8, True),
    ],
)
def test_the_network_of_people_runs_only_for_a_face_that_depends_on_it(
    monkeypatch, stream, is_detected, least, most, score, asks
):
    unseen, certain, seen, asked = logit(0.02), logit(1.0), logit(0.7), []

    def given(name, features):
        return stream if name == "stream_face" else {unseen: least, certain: most, seen: 0.8}[features["person"]]

    def people():
        asked.append(True)
        return SimpleNamespace(find=lambda *_: ([PersonBox(0.7, (120, 140, 280, 390))], []))

    monkeypatch.setattr(stream_finders, "probability", given)
    finder = FaceFinder(Detector([detected(0.9)] if is_detected else []), Meshes(), people, 0.5)
    assert finder.score(IMAGE, PROPOSAL, mesh(), mesh()) == score
    assert bool(asked) == asks


@pytest.mark.parametrize(
    ("scores", "value", "accepted"), [((), 0.9, False), ((0.7, 0.6), 0.6, True), ((0.7,), 0.4, False)]
)
def test_a_mesh_that_is_detected_in_a_larger_crop_is_scored_by_its_best_detection(monkeypatch, scores, value, accepted):
    detector, scored = Detector(in_box=map(detected, scores)), []
    finder = FaceFinder(detector, Meshes(), None, 0.5)
    monkeypatch.setattr(finder, "score", lambda rgb, proposal, *_: scored.append(proposal) or value)
    assert finder.accepts_new(IMAGE, mesh()) == accepted
    assert detector.boxes == [CROP._replace(width=240, height=240)]
    assert [(one.box, one.score) for one in scored] == ([(CROP, 0.7)] if scores else [])


def test_faces_are_searched_upright_and_upside_down_and_placed_in_the_image():
    face = Detection(0.8, np.array([20, 30, 60, 70], float), np.array([(30, 40), (50, 40), *[(40, 50)] * 5], float))
    detector = Detector([face], [face])
    meshes = SimpleNamespace(box_after=None, turned_upright=lambda detector, image, face: face)
    sources = FaceFinder(detector, meshes, None, 0.5).sources
    assert sources[0].parts == sources[1].parts == (1,)  # the complete image is first
    assert sources[3].parts == (2,)
    upright, upside_down = (source.find(IMAGE, Window(100, 50, 200, 130)) for source in sources[:2])
    for (proposal,) in (upright, upside_down):
        assert proposal.box[:2] == pytest.approx((140, 100))
        assert (proposal.score, proposal.source) == (0.8, "face")
    assert detector.limits == [0.5]
    assert detector.boxes == [RotatedBox(50, 40, 100, 100, math.pi)]


def body(x=200.0, *, score=0.9):
    """Return a body from (x - 50, 100) to (x + 50, 300) with a head of 60 px, whose nose is at its left edge."""
    points = np.zeros((33, 3), np.float32)
    points[:, :2] = x, 200
    points[:11, :2] = [(x - 30, 115), *[(x + 30, 105)] * 5, *[(x - 24, 105)] * 3, *[(x, 125)] * 2]
    points[[11, 23], :2], points[[12, 24], :2] = [(x + 50, 150), (x + 50, 300)], [(x - 50, 150), (x - 50, 300)]
    points[8, :2] = x - 24, 100
    ones = np.ones(33, np.float32)
    return BodyObservation(score, points, points, ones, ones, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("face", "accepted"),
    [
        ({}, True),
        ({"dx": 23}, True), ({"dx": 25}, False), ({"dy": -23}, True), ({"dy": -25}, False),
        ({"width": 46}, True), ({"width": 44}, False), ({"width": 137}, True), ({"width": 139}, False),
        ({"score": 0.76}, True), ({"score": 0.74}, False),
    ],
    ids=str,
)  # fmt: skip
def test_a_new_body_has_a_certain_face_at_the_middle_of_its_head(monkeypatch, face, accepted):
    def box(dx=0, dy=0, width=100, score=0.9):
        x, y = 200 + (-30 + 5 * 30 - 3 * 24) / 11 + dx, (115 + 7 * 105 + 100 + 2 * 125) / 11 + dy
        left, top = int(x - dx - 90), int(y - dy - 90)  # of the window, of three head sizes
        return detected(score, (x - left - width / 2, y - top - 50, x - left + width / 2, y - top + 50))

    finder = BodyFinder(Detector([box(**face)]), None, SimpleNamespace(box_after=None))
    monkeypatch.setattr(finder, "_person_score", lambda *_: 0.0)
    assert finder.accepts_new(IMAGE, body()) == accepted


@pytest.mark.parametrize(
    ("shared", "score", "accepted"),
    [(0, 0.16, True), (0, 0.14, False), (30, 0.9, True), (34, 0.94, False), (34, 0.95, True)],
)
def test_a_new_body_without_a_face_is_a_person_and_no_hand(monkeypatch, shared, score, accepted):
    """The hand is a square of 100 px that shares some rows with the body of 100 by 200 px: 30 give an IoU of 0.11."""
    hand = HandBox(0.8, RotatedBox(200, 300 + 50 - shared, 100, 100, 0.0))
    person, seen, limits = PersonBox(0.7, (150, 100, 250, 300)), [], []

    def find(rgb, window, *least):
        assert window == (0, 0, 400, 400)
        limits.append(least)
        return [person], [hand]

    def given(name, features):
        seen.append((name, features))
        return score

    monkeypatch.setattr(stream_finders, "probability", given)
    kind = SimpleNamespace(box_after=lambda _: CROP, observe=lambda rgb, box: body(score=0.6))
    finder = BodyFinder(Detector(), lambda: SimpleNamespace(find=find), kind)
    assert finder.accepts_new(IMAGE, body()) == accepted
    assert limits[0][1] == 0.55  # of hands
    ((name, features),) = seen
    assert name == "body"
    expected = {"lower": logit(0.6), "upper": logit(0.9), "agreement": logit(1), "person": logit(0.7), "overlap": 1}
    assert {key: features[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("second", "head_at", "score"), [(0.9, 200, (0.9,)), (0.6, 200, (0.9,)), (0.6, 330, None)])
def test_a_body_below_a_face_is_scored_only_with_its_own_head(second, head_at, score):
    head = head_of_body(body(head_at))
    given = BodyFinder(None, None, SimpleNamespace(box_after=None)).score(
        IMAGE, replace(PROPOSAL, head=head), body(), body(score=second)
    )
    assert given == (0 if score is None else probability("stream_body", {"score": logit(*score)}))


def test_other_heads_are_covered_for_a_proposed_body():
    looks = []
    kind = SimpleNamespace(box_after=None, observe=lambda rgb, box: looks.append((rgb, box)))
    finder = BodyFinder(None, None, kind)
    other = Head(0.9, np.array([290.0, 150.0]), np.array([0.0, 40.0]))
    finder._heads = [(other, Window(0, 0, 400, 400), 0)]
    own = head_of_body(body())
    finder.observe(IMAGE, CROP, replace(PROPOSAL, head=own), [body(80)])
    ((rgb, box),) = looks
    assert box == CROP
    grey = [tuple(rgb[y, x]) == (128, 128, 128) for x, y in ((290, 150), (80, 110), (200, 110), (200, 250))]
    assert grey == [True, True, False, False]


@pytest.mark.parametrize(("score", "face", "changes"), [(0.5, 0.9, False), (0.49, 0.9, True), (0.49, 0.0, False)])
def test_a_faint_body_has_the_mean_score_of_its_last_frames_while_its_face_is_detected(
    monkeypatch, score, face, changes
):
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    monkeypatch.setattr(finder, "_face_score", lambda *_: face)
    track, seen = Track(1, body(), body(), None, 0.0), body(score=score)
    kept = finder.verify(IMAGE, track, seen, [track])
    mean = 0.9 + 0.15 * (score - 0.9)
    assert kept.keypoints is seen.keypoints
    assert kept.score == pytest.approx(probability("stream_body", {"score": logit(mean)}) if changes else score)


def test_a_second_observation_may_have_moved():
    moved_face, moved_body = mesh(), body(230)
    moved_face.keypoints[:, :2] += 15, 10
    faces = FaceFinder(Detector([detected(0.9)]), Meshes(), lambda: SimpleNamespace(find=lambda *_: ([], [])), 0.5)
    assert faces.score(IMAGE, PROPOSAL, mesh(), moved_face) == pytest.approx(
        faces.score(IMAGE, PROPOSAL, mesh(), mesh())
    )
    bodies, proposal = (
        BodyFinder(None, None, SimpleNamespace(box_after=None)),
        replace(PROPOSAL, head=head_of_body(moved_body)),
    )
    expected = probability("stream_body", {"score": logit(0.9)})
    assert bodies.score(IMAGE, proposal, body(), moved_body) == pytest.approx(expected)


def test_a_mesh_beyond_the_image_is_no_face():
    finder = FaceFinder(Detector([detected(0.9)]), Meshes(), None, 0.5)
    far = mesh()
    far.keypoints[:, 0] += 900
    assert not finder.accepts_new(IMAGE, far)


def test_faces_of_bodies_are_searched_more_often_than_people():
    faces, people = BodyFinder(None, None, SimpleNamespace(box_after=None)).sources
    assert faces.cost < 1 < people.cost
    assert people.parts == (1, 2)
    assert people.fewer


def test_hands_of_a_window_are_proposed_by_their_palms_from_a_score_on():
    points = np.array([(30, 60), (0, 0), (30, 50), *[(0, 0)] * 4], float)
    palms = [Detection(score, np.array([20, 40, 40, 60], float), points) for score in (0.8, 0.4)]
    finder = HandFinder(Detector(palms), SimpleNamespace(box_after=None), 0.45)
    (source,) = finder.sources
    (proposal,) = source.find(IMAGE, Window(100, 50, 200, 150))
    expected = box_from_palm(palms[0])
    assert proposal.box == expected._replace(cx=expected.cx + 100, cy=expected.cy + 50)
    assert (proposal.score, proposal.source) == (0.8, "palm")
    assert (source.parts, source.cost, source.fewer) == ((2, 3), 1, False)
    assert (finder.inferences, finder.verifies, finder.min_presence, finder.refresh_frames) == (2, False, 0.2, math.inf)


def test_faces_and_bodies_are_verified_while_they_are_tracked():
    kind = SimpleNamespace(box_after=None)
    faces, bodies = FaceFinder(None, kind, None, 0.5), BodyFinder(None, None, kind)
    assert (faces.verifies, faces.inferences, faces.min_presence, faces.refresh_frames) == (True, 1, 0.2, math.inf)
    assert (bodies.verifies, bodies.inferences, bodies.min_presence, bodies.refresh_frames) == (True, 1, 0.02, 30)
    upright, turned, windows, turned_windows = faces.sources
    assert [source.parts for source in faces.sources] == [(1,), (1,), (2, 3), (2,)]
    assert (upright.find, turned.find) == (windows.find, turned_windows.find)
    assert upright.find != turned.find
    below_faces, people = bodies.sources
    assert (below_faces.parts, below_faces.cost, below_faces.fewer) == ((2, 3), 0.25, False)
    assert (people.parts, people.cost, people.fewer) == ((1, 2), 3.0, True)


def test_people_of_a_window_have_their_own_limit():
    limits = []
    network = SimpleNamespace(find=lambda rgb, window, least: limits.append((window, least)) or ([], []))
    people = BodyFinder(None, lambda: network, SimpleNamespace(box_after=None)).sources[1]
    assert people.find(IMAGE, Window(0, 0, 200, 400)) == []
    assert limits == [((0, 0, 200, 400), 0.4)]


def test_heads_are_those_of_the_last_search_of_each_window():
    points = np.array([(90, 100), (110, 100), (100, 120), (100, 140), (0, 0), (0, 0)], float)
    detector = Detector([Detection(0.8, np.zeros(4), points)])
    finder = BodyFinder(detector, None, SimpleNamespace(box_after=None))
    first, second = Window(0, 0, 200, 400), Window(200, 0, 400, 400)
    below, _ = finder.sources
    finder.begin_frame([])
    below.find(IMAGE, first)
    below.find(IMAGE, second)
    finder.begin_frame([])
    below.find(IMAGE, first)
    assert [(window, frame) for _, window, frame in finder._heads] == [(second, 1), (first, 2)]
    assert [head.middle.tolist() for head, *_ in finder._heads] == [[300, 115.6], [100, 115.6]]
    detector.found = []
    below.find(IMAGE, second)
    assert [window for _, window, _ in finder._heads] == [first]
    assert detector.limits == [0.5] * 4
    finder.reset()
    finder.begin_frame([])
    assert (finder._heads, finder._frame) == ([], 1)


def test_a_person_without_a_head_is_observed_with_all_but_its_box_covered():
    looks = []
    kind = SimpleNamespace(box_after=None, observe=lambda rgb, box: looks.append(rgb) or "seen")
    finder = BodyFinder(None, None, kind)
    finder._heads = [(Head(0.9, np.array([200.0, 150.0]), np.array([0.0, 40.0])), Window(0, 0, 400, 400), 0)]
    assert finder.observe(IMAGE, CROP, replace(PROPOSAL, person=(150, 100, 250, 300)), [body(200)]) == "seen"
    ((covered,)) = looks
    assert [int(covered[y, x, 0]) for x, y in ((200, 150), (141, 90), (139, 90), (200, 330))] == [200, 200, 128, 128]


def test_a_person_without_a_head_is_scored_as_a_body_without_a_face():
    first, second = body(score=0.9), body(210, score=0.6)
    seen = []

    def given(name, features):
        seen.append((name, features))
        return 0.3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_finders, "probability", given)
        finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
        assert finder.score(IMAGE, PROPOSAL, first, second) == 0.3
    ((name, features),) = seen
    expected = {"lower": logit(0.6), "agreement": logit(1), "core": 1, "visible": 1, "faced": 0, "overlap": 0}
    expected["size"] = math.log(200 / 400)
    assert name == "faceless"
    assert {key: features[key] for key in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("agreement", "seen", "score"), [(1.0, 0.8, 0.9), (0.5, 0.8, 0.9 * 0.5), (0.5, 0.95, 0.95 * 0.5)]
)
def test_a_body_below_a_face_is_scored_by_its_higher_presence_and_the_agreement(monkeypatch, agreement, seen, score):
    monkeypatch.setattr(stream_finders.bodies, "body_oks", lambda *_, moved: agreement if moved else 0.0)
    given = BodyFinder(None, None, SimpleNamespace(box_after=None)).score(
        IMAGE, replace(PROPOSAL, head=head_of_body(body())), body(), body(score=seen)
    )
    assert given == probability("stream_body", {"score": logit(score)})


def test_heads_of_other_visible_people_are_covered_for_a_track():
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    tracks = [Track(number, body(x), body(x), None, 0.0) for number, x in enumerate((200, 290, 110))]
    tracks[2].occluded_s = 0.1
    tracks[0].box = RotatedBox(200, 200, 300, 300)
    covered = finder.image_for_track(IMAGE, tracks[0], tracks)
    assert [int(covered[110, x, 0]) for x in (290, 200, 110)] == [128, 200, 200]
    assert finder.image_for_track(IMAGE, tracks[0], tracks[:1]) is IMAGE


@pytest.mark.parametrize(("score", "is_covered"), [(0.76, True), (0.75, False), (0.74, False)])
def test_only_certain_faces_of_windows_are_covered_for_a_track(score, is_covered):
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    finder._heads = [(Head(score, np.array([290.0, 150.0]), np.array([0.0, 40.0])), Window(0, 0, 400, 400), 0)]
    track = Track(1, body(), body(), None, 0.0)
    track.box = RotatedBox(200, 200, 300, 300)
    assert (finder.image_for_track(IMAGE, track, [track])[150, 290, 0] == 128) == is_covered


@pytest.mark.parametrize(("person", "successes"), [(0.86, 1), (0.85, 0)])
def test_a_body_without_a_face_is_sure_from_a_higher_score(monkeypatch, person, successes):
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    monkeypatch.setattr(finder, "_face_score", lambda *_: 0.0)
    monkeypatch.setattr(finder, "_person_score", lambda *_: person)
    track = Track(1, body(), body(), None, 0.0)
    for _ in range(3):
        assert finder.verify(IMAGE, track, track.observation, [track])
    record = finder._records[track]
    assert (record.successes, record.failures) == (successes, 0)


def test_the_confidence_of_a_body_is_the_mean_of_its_scores_and_agreements(monkeypatch):
    agreements = iter([0.5, 1.0])
    monkeypatch.setattr(stream_finders.bodies, "body_oks", lambda *_: next(agreements))
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    track = Track(1, body(score=0.8), body(), None, 0.0)
    for score, confidence in ((0.6, 0.8 + 0.15 * (0.3 - 0.8)), (0.9, 0.725 + 0.15 * (0.9 - 0.725))):
        finder.verify(IMAGE, track, body(score=score), [track])
        assert finder._records[track].confidence == pytest.approx(confidence)


@pytest.mark.parametrize("face", [0.0, 0.1])
def test_a_faint_body_without_a_face_stays_until_it_is_checked(monkeypatch, face):
    """A face that is detected makes the check unnecessary."""
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    monkeypatch.setattr(finder, "_face_score", lambda *_: face)
    monkeypatch.setattr(finder, "_person_score", lambda *_: pytest.fail("checked"))
    track, faint = Track(1, body(score=0.4), body(), None, 0.0), body(score=0.4)
    for _ in range(5):
        kept = finder.verify(IMAGE, track, faint, [track])
        assert (kept is faint) == (face == 0)
    assert kept.score == pytest.approx(0.4 if face == 0 else probability("stream_body", {"score": logit(0.4)}))
    if face:
        assert finder._records[track].successes == 1


@pytest.mark.parametrize(
    ("detections", "score"),
    [
        ([(0.7, 0, 0, 60), (0.9, 0, 0, 60)], 0.7),  # the first one
        ([(0.9, 25, 0, 60), (0.6, 0, 0, 60)], 0.6),
        ([(0.9, 0, -25, 60), (0.6, 24, 0, 60)], 0.6),
        ([(0.9, 0, 0, 30), (0.6, 0, 0, 90)], 0.6),
        ([(0.39, 0, 0, 60)], 0.0),
    ],
)
def test_the_score_of_a_face_is_that_of_the_first_detection_that_fits_the_head(detections, score):
    """The head has 60 px around (200, 150). Its window starts at (110, 60)."""
    found = [
        detected(one, (90 + dx - width / 2, 90 + dy - 20, 90 + dx + width / 2, 90 + dy + 20))
        for one, dx, dy, width in detections
    ]
    detector = Detector(found)
    assert stream_finders.face_score(detector, IMAGE, (200, 150), 60, (0.41, (0.6, 1.6), 0.4)) == score
    assert detector.limits == [0.4]


def test_a_small_head_is_searched_in_a_window_of_some_pixels():
    """A head of less than 8 px counts as one of 8 px."""
    seen = []
    detector = SimpleNamespace(find=lambda rgb, least: seen.append((rgb.shape, least)) or [])
    finder = BodyFinder(detector, None, SimpleNamespace(box_after=None))
    tiny = body()
    tiny.keypoints[:11, :2] = 200, 150
    assert finder._face_score(IMAGE, tiny) == 0
    assert seen == [((24, 24, 3), 0.45)]


@pytest.mark.parametrize(("turn", "is_searched"), [(0.79, True), (0.78, False), (-0.79, True)])
def test_a_turned_mesh_is_detected_in_its_crop(turn, is_searched):
    detector, crop = Detector(in_box=[detected(0.51)]), CROP._replace(rotation=turn)
    finder = FaceFinder(detector, SimpleNamespace(box_after=lambda _: crop), None, 0.9)
    assert finder.accepts_new(IMAGE, mesh()) == is_searched  # upright, a score of 0.9 is needed
    assert detector.boxes[0] == (crop if is_searched else crop._replace(width=240, height=240))


@pytest.mark.parametrize(("width", "is_tracked"), [(41, True), (39, False)])
def test_a_person_is_tracked_whose_box_overlaps_that_of_a_body(width, is_tracked):
    """The body spans 100 by 200 px, of which the person has that part of the width."""
    finder = BodyFinder(None, None, SimpleNamespace(box_after=None))
    proposal = replace(PROPOSAL, person=(150, 100, 150 + width, 300))
    bounds = box_around(body().keypoints)
    assert bounds == (150, 100, 250, 300)
    assert finder.is_tracked(proposal, body()) == is_tracked
