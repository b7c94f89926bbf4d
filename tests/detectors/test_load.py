"""Each kind of detector loads its search with the networks and limits of its options."""

from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.kinds.face_boxes import FaceBoxes
from sonjit.detectors.kinds.hands import HandObservation
from sonjit.detectors.kinds.holistic import Holistic
from sonjit.detectors.options import BodyOptions, CommonOptions, HandOptions, HolisticOptions
from sonjit.detectors.search import load
from sonjit.detectors.search.network import INPUT_RANGE, OWN_FILE, SIDE
from sonjit.detectors.search.stills import Extent
from sonjit.geometry.boxes import RotatedBox

IMAGE = np.full((60, 80, 3), (180, 120, 90), np.uint8)
DARK = IMAGE // 4
CROP = RotatedBox(30, 20, 10, 10)


@pytest.fixture
def loaded(monkeypatch):
    """Return a list that gets the name and the arguments of all that is loaded."""
    found = []

    def note(module, name):
        def noted(*arguments, **named):
            found.append((name, arguments, named))
            return f"{name} {len(found)}"

        monkeypatch.setattr(module, name, noted)

    for name in ("load_engine", "load_number_engine", "load_bodies", "load_hands", "load_palm_detector"):
        note(load, name)
    note(load.face_networks, "load_face_detector")
    monkeypatch.setattr(load, "loaded_ahead", lambda call: call)
    monkeypatch.setattr(load.network, "PeopleNetwork", lambda *engines: ("people", *engines))
    monkeypatch.setattr(
        CommonOptions, "file", lambda self, name: found.append(("file", (name,), {})) or f"{name}.tflite"
    )
    return found


def names(loaded):
    return [name for name, *_ in loaded]


@pytest.mark.parametrize(("has_boxes", "outputs"), [(True, None), (False, ())])
def test_the_network_of_people_is_loaded_with_its_boxes_if_they_are_needed(loaded, has_boxes, outputs):
    options = BodyOptions(threads=1)
    assert load.load_network(options, has_boxes=has_boxes) == ("people", "load_engine 2", "load_number_engine 3")
    _, first, second = loaded
    expected = {"value_range": INPUT_RANGE, "outputs": outputs, "taps": (SIDE,)}
    assert first == ("load_engine", ("person-detector.tflite", options.running), expected)
    assert second == ("load_number_engine", (OWN_FILE, options.running), {})
    loaded.clear()
    load.load_network(options)
    assert loaded[1][2]["outputs"] is None


def test_people_are_proposed_in_f32_by_a_network_without_an_int8_form(monkeypatch, loaded, tmp_path):
    monkeypatch.setattr(CommonOptions, "file", lambda self, name: tmp_path / name)
    load.load_network(BodyOptions(precision="int8"))
    assert loaded[0][1][1].precision == "f32"


@pytest.mark.parametrize("mirrored", [True, False])
def test_arms_are_those_of_the_full_bodies_of_streams(loaded, mirrored):
    load.load_arms(
        HandOptions(static_image=True, mirrored=mirrored, model="lite", landmark_model="own.onnx", threads=1)
    )
    (options,), named = loaded[-1][1:]
    assert names(loaded)[-1] == "load_bodies"
    assert named == {"finds": False}
    fields = "model", "mirrored", "static_image", "smoothing", "detector_model", "landmark_model", "threads"
    expected = ["full", mirrored, False, "published", None, None, 1]
    assert [getattr(options, name) for name in fields] == expected


class Search:
    """Search that notes its arguments, and finds one instance."""

    def __init__(self, **named):
        self.named = named

    def __call__(self, rgb, **named):
        self.rgb, self.all = rgb, self.named | named
        return self

    def observations(self):
        return ["found"], True


def with_search(monkeypatch, name):
    search = Search()
    monkeypatch.setattr(load, name, search)
    return search


EXTENTS = [("auto", 0.4, Extent(0.4)), ("thorough", 0.7, Extent(0.7, thorough=True))]


@pytest.mark.parametrize(("search", "score", "extent"), EXTENTS)
@pytest.mark.parametrize(("still", "threads", "helps"), [(True, 2, True), (True, 1, False), (False, 2, False)])
def test_the_search_for_hands_has_networks_that_load_when_they_are_needed(
    monkeypatch, loaded, search, score, extent, still, threads, helps
):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.delenv("SONJIT_THREADS", raising=False)
    made, closing = with_search(monkeypatch, "HandSearch"), []
    options = HandOptions(static_image=still, search=search, min_detection_score=score, threads=threads)
    hands = SimpleNamespace(palms="palms", at_close=SimpleNamespace(callback=closing.append))
    assert load.search_hands(options, hands)(DARK) == (["found"], True)
    assert loaded == []
    given = made.all
    assert (given["palms"], given["hands"], given["extent"]) == ("palms", hands, extent)
    assert (given["helpers"] is not None) == bool(closing) == helps
    assert (made.rgb is DARK) != still
    given["network"]()
    assert loaded[1][2]["outputs"] == ()
    given["bodies"]()
    assert names(loaded)[-1] == "load_bodies"
    if helps:
        assert closing == [given["helpers"].close]
        own = SimpleNamespace(palms="own palms")
        monkeypatch.setattr(load, "load_hands", lambda options: loaded.append(options) or own)
        done = []
        given["helpers"].submit(lambda: done.append(given["helpers"].networks(None))).result(30)
        assert done == [("own palms", own)]
        assert (loaded[-1].threads, loaded[-1].shared) == (1, True)
        closing[0]()


@pytest.mark.parametrize(("search", "score", "extent"), EXTENTS)
def test_the_search_for_faces_has_a_detector_and_people(monkeypatch, loaded, search, score, extent):
    made, meshes = with_search(monkeypatch, "FaceSearch"), object()
    options = CommonOptions(static_image=True, search=search, min_detection_score=score, kind="face")
    assert load.search_faces(options, meshes)(DARK) == (["found"], True)
    assert loaded == [("load_face_detector", (options, "face-full"), {})]
    given = made.all
    assert (given["detector"], given["meshes"], given["extent"]) == ("load_face_detector 1", meshes, extent)
    assert made.rgb is not DARK
    given["network"]()
    assert loaded[2][2]["outputs"] == ()


def test_boxes_of_faces_have_a_search_in_stills_only(monkeypatch, loaded):
    boxes, asked = FaceBoxes(None), []
    monkeypatch.setattr(load, "search_boxes", lambda rgb, **named: asked.append((rgb, named)) or ([], True))
    assert load.search_faces(CommonOptions(kind="face"), boxes) is None
    options = CommonOptions(static_image=True, kind="face")
    assert load.search_faces(options, boxes)(DARK) == ([], True)
    ((rgb, named),) = asked
    assert rgb is not DARK
    assert named == {"detector": "load_face_detector 1", "boxes": boxes, "extent": Extent(0.5)}


@pytest.mark.parametrize(("search", "score", "extent"), EXTENTS)
def test_the_search_for_bodies_has_the_published_networks_of_people_and_faces(
    monkeypatch, loaded, search, score, extent
):
    made, bodies = with_search(monkeypatch, "BodySearch"), object()
    options = BodyOptions(
        static_image=True,
        search=search,
        min_detection_score=score,
        detector_model="own.onnx",
        landmark_model="own.onnx",
    )
    assert load.search_bodies(options, bodies)(DARK) == (["found"], True)
    ((name, (published, file), _),) = loaded
    assert (name, file) == ("load_face_detector", "face-full")
    assert (published.detector_model, published.landmark_model) == (None, None)
    given = made.all
    assert (given["bodies"], given["faces"], given["extent"]) == (bodies, "load_face_detector 1", extent)
    assert made.rgb is not DARK
    given["network"]()
    assert loaded[2][2]["outputs"] is None


def test_searches_of_streams_have_lower_limits_and_load_the_network_of_people_once(monkeypatch, loaded):
    finders = {}
    for name in ("HandFinder", "FaceFinder", "BodyFinder"):
        monkeypatch.setattr(load, name, lambda *arguments, name=name: finders.setdefault(name, arguments))
    monkeypatch.setattr(load, "StreamSearch", lambda finder: ("stream", finder))
    hands = SimpleNamespace(palms="palms")
    assert load.hands_in_streams(HandOptions(min_detection_score=0.7), hands) == ("stream", finders["HandFinder"])
    assert finders["HandFinder"] == ("palms", hands, pytest.approx(0.4 * 0.7))
    options = CommonOptions(min_detection_score=0.7, kind="face")
    assert load.faces_in_streams(options, "meshes") == ("stream", finders["FaceFinder"])
    detector, meshes, people, least = finders["FaceFinder"]
    assert (detector, meshes, least) == ("load_face_detector 1", "meshes", pytest.approx(0.4 * 0.7))
    assert names(loaded) == ["load_face_detector", "file"]  # a missing file is an error before the first frame
    assert people() is people()
    assert loaded[3][2]["outputs"] == ()
    loaded.clear()
    load.bodies_in_streams(BodyOptions(), "bodies")
    faces, people, bodies = finders.pop("BodyFinder")
    assert (faces, bodies, names(loaded)) == ("load_face_detector 2", "bodies", ["file", "load_face_detector"])
    assert people() is people()
    assert loaded[3][2]["outputs"] is None
    person = object.__new__(Holistic)
    person.bodies = "bodies of people"
    load.bodies_in_streams(HolisticOptions(), person)
    assert finders["BodyFinder"][2] == "bodies of people"


def body_at(x, score=0.9):
    points = np.zeros((33, 3), np.float32)
    points[:] = x, 20, 0
    points[[15, 17, 19], :2], points[[16, 18, 20], :2] = (x + 40, 100), (x - 40, 100)
    ones = np.ones(33, np.float32)
    return BodyObservation(score, points, points, ones, ones, np.zeros((2, 2), np.float32))


def hand_at(x, score, left):
    points = np.full((21, 3), (x, 100, 0), np.float32)
    points[1:, 1] -= np.arange(20)
    return HandObservation(score, points, points, left)


def face_at(x, size=30.0):
    points = np.random.default_rng(0).uniform(-size / 2, size / 2, (468, 3)).astype(np.float32)
    return FaceObservation(0.9, points + np.float32([x, 20, 0]))


def people_found(monkeypatch, loaded, bodies, faces, hands, **options):
    """Return the people whom a search finds, and the arguments of its search for hands."""
    asked = {}

    class HandSearch:
        def __init__(self, rgb, **named):
            asked.update(named)

        def around(self, bodies, crops):
            asked.update(bodies=list(bodies), crops=crops)
            return [SimpleNamespace(result=hand, score=hand.score) for hand in hands]

    monkeypatch.setattr(load, "HandSearch", HandSearch)
    search = SimpleNamespace(
        search=lambda: [SimpleNamespace(result=body, score=body.score) for body in bodies], heads=[], complete="maybe"
    )
    monkeypatch.setattr(load, "BodySearch", lambda rgb, **_: search)
    people = SimpleNamespace(
        bodies="bodies", hands="hands", face_in=lambda rgb, body: faces.get(body.keypoints[0, 0]),
        hand_crop=lambda rgb, body, side: CROP._replace(cx=side) if body.keypoints[0, 0] == 100 or side else None,
    )  # fmt: skip
    given = HolisticOptions(static_image=True, min_detection_score=0.7, search="thorough", **options)
    found, complete = load.search_people(given, people)(IMAGE)
    assert complete == "maybe"
    return found, asked


def test_people_have_the_nearest_hands_and_the_faces_of_their_heads(monkeypatch, loaded):
    bodies = [body_at(100), body_at(300, 0.8), body_at(500, 0.51), body_at(700, 0.5)]
    left, right, faint = hand_at(140, 0.51, 0.9), hand_at(60, 0.9, 0.1), hand_at(340, 0.5, 0.9)
    faces = {100.0: face_at(100), 300.0: face_at(302), 500.0: face_at(500)}
    found, asked = people_found(monkeypatch, loaded, bodies, faces, [right, left, faint], max_instances=2)
    assert [one.score for one in found] == [0.9, 0.8, 0.51]
    np.testing.assert_array_equal(found[0].keypoints, bodies[0].keypoints)
    assert found[0].hands == (left, right)
    assert found[1].hands == (None, None)
    assert [one.face for one in found[:2]] == [faces[100.0], faces[300.0]]
    assert found[2] is bodies[2]  # beyond the maximum without hands and face
    assert asked["bodies"] == bodies[:2]
    assert asked["crops"] == [CROP._replace(cx=0), CROP._replace(cx=1), CROP._replace(cx=1)]
    assert (asked["hands"], asked["extent"]) == ("hands", Extent(0.7))
    assert [arguments[1] for name, arguments, _ in loaded if name == "load_palm_detector"] == ["palm-full"]
    assert asked["palms"].startswith("load_palm_detector")


def test_a_face_belongs_to_one_person(monkeypatch, loaded):
    faces = {100.0: face_at(100), 110.0: face_at(101), 500.0: face_at(500)}
    found, _ = people_found(monkeypatch, loaded, [body_at(x) for x in (100, 110, 500)], faces, [], max_instances=3)
    assert [one.face for one in found] == [faces[100.0], None, faces[500.0]]


def test_the_search_for_people_in_streams_is_that_for_their_bodies(monkeypatch, loaded):
    made = with_search(monkeypatch, "BodySearch")
    search = load.search_people(HolisticOptions(), SimpleNamespace(bodies="bodies"))
    assert search(DARK) == (["found"], True)
    assert (made.all["bodies"], made.rgb is DARK) == ("bodies", True)
