import copy
import json
import pickle
import re
from importlib import resources
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit import Body, Face, Frame, Hand, InputError, Person
from sonjit.results import RESULT_TYPES, Event, EventType, MotionEvent, box_around, schema
from sonjit.results.skeletons import Skeleton, load_skeleton

coordinates = st.floats(width=32, allow_nan=False, allow_infinity=False)
keypoints = arrays(np.float32, (21, 3), elements=coordinates)
scores = st.floats(0, 1)
hands = st.builds(
    Hand,
    handedness=st.sampled_from(["Left", "Right"]),
    score=scores,
    keypoints=keypoints,
    keypoints_3d=keypoints,
    id=st.none() | st.integers(1, 10**9),
    handedness_score=st.none() | scores,
    extra_keypoints=st.none() | arrays(np.float32, (2, 2), elements=coordinates),
)


def points(*shape):
    return arrays(np.float32, shape, elements=coordinates, fill=coordinates)


def mesh(score, points, one_id):
    return Face(score, points, box_around(points), one_id)


faces = st.builds(
    mesh, scores, st.sampled_from([468, 478]).flatmap(lambda count: points(count, 3)), st.none() | st.integers(1, 9)
)
bodies = st.builds(
    Body, scores, points(33, 3), points(33, 3), points(33), points(33), st.none() | st.integers(1, 10**9)
)
people = st.builds(Person, bodies, st.none() | hands, st.none() | hands, st.none() | faces)
motions = st.builds(
    MotionEvent,
    *(st.text(max_size=9), st.sampled_from(["begin", "active", "end"]), st.integers(1, 9)),
    *(st.sampled_from(["Left", "Right"]), st.integers(0, 9999).map(lambda n: n / 1e4)),
    *(st.integers(0, 1000).map(lambda n: n / 1e3), st.tuples(*2 * [st.integers(-999, 999).map(lambda n: n / 1e3)])),
    st.integers(-999, 999).map(lambda n: n / 100),
)
events = st.builds(
    Event,
    *(st.text(max_size=9), st.sampled_from(["gesture", "motion"]), st.sampled_from(["begin", "end", "cancel"])),
    *(st.integers(0, 9999).map(lambda n: n / 1e4), st.none() | st.integers(0, 9999).map(lambda n: n / 1e4)),
    *(st.integers(1, 9), st.none() | st.sampled_from(["Left", "Right"]), st.integers(0, 99_999).map(lambda n: n / 1e5)),
)
frames = st.builds(
    Frame,
    motions=st.lists(motions, max_size=2),
    events=st.lists(events, max_size=2),
    index=st.integers(0, 10**9),
    time=st.none() | st.floats(0, 1e6),
    hands=st.lists(hands, max_size=2),
    bodies=st.lists(bodies, max_size=2),
    people=st.lists(people, max_size=2),
    source=st.none() | st.text(max_size=20),
)


@pytest.fixture
def hand():
    grid = np.arange(63, dtype=np.float32).reshape(21, 3)
    return Hand("Left", 0.75, grid * 10 + 0.5, grid / 1000, id=4, handedness_score=0.9)


@pytest.fixture
def face():
    points = np.arange(478 * 3, dtype=np.float32).reshape(478, 3)
    return Face(0.75, points, box_around(points), id=4)


@pytest.fixture
def body():
    grid = np.arange(99, dtype=np.float32).reshape(33, 3)
    return Body(0.75, grid, grid / 2, np.full(33, 0.5, np.float32), np.full(33, 0.25, np.float32), id=4)


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


def test_a_result_is_shown_in_one_line_with_its_number_and_without_an_unknown_one(hand):
    assert repr(hand) == "<Hand Left 0.75 #4, 21 keypoints in 0, 10, 600, 610>"
    hand.id = None
    assert repr(hand) == "<Hand Left 0.75, 21 keypoints in 0, 10, 600, 610>"


@pytest.mark.parametrize(("names", "shape"), [(("tip", "base"), (3,)), (("tip", "tip"), (2, 3))])
def test_a_name_gives_its_keypoint_or_all_that_share_it(names, shape):
    class Two(Hand):
        skeletons = {2: Skeleton("", names, (-1, -1), (), {})}  # noqa: RUF012  # a class variable of Hand

    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = Two("Left", 0.5, points, points)["tip"]
    assert found.shape == shape
    np.testing.assert_array_equal(found, points[: len(found)] if len(shape) > 1 else points[0])


def test_points_of_a_mesh_are_found_by_the_name_of_their_contour(face):
    for name in ("lips", "leftIris", "rightEye"):
        np.testing.assert_array_equal(face[name], face.keypoints[np.array(face.names) == name])
    with pytest.raises(InputError):
        face["beard"]


def test_the_plain_shape_is_that_of_tfjs_models(hand):
    names = hand.skeleton.keypoints
    assert hand.to_dict() == {
        "score": 0.75,
        "handedness": "Left",
        "keypoints": [{"x": 30.0 * i + 0.5, "y": 30.0 * i + 10.5, "name": name} for i, name in enumerate(names)],
        "keypoints3D": [
            {"x": 3 * i / 1000, "y": (3 * i + 1) / 1000, "z": (3 * i + 2) / 1000, "name": name}
            for i, name in enumerate(names)
        ],
    }
    assert list(hand.to_dict()) == ["score", "handedness", "keypoints", "keypoints3D"]


def test_the_full_shape_adds_what_is_ours(hand):
    full = hand.to_dict(full=True)
    assert set(full) - set(hand.to_dict()) == {"id", "handednessScore", "box"}
    assert (full["id"], full["handednessScore"]) == (4, 0.9)
    assert full["box"] == {"xMin": 0.5, "yMin": 10.5, "xMax": 600.5, "yMax": 610.5, "width": 600.0, "height": 600.0}
    assert full["keypoints"][2] == {"x": 60.5, "y": 70.5, "z": 80.5, "name": "thumb_mcp"}


@given(hands)
def test_the_plain_shape_reads_too_with_depth_unknown(hand):
    again = Hand.from_dict(through_json(hand.to_dict()))
    np.testing.assert_array_equal(again.keypoints[:, :2], hand.keypoints[:, :2])
    assert np.isnan(again.keypoints[:, 2]).all()
    assert (again.id, again.handedness_score) == (None, None)


@settings(max_examples=25)
@given(frames)
@pytest.mark.slow
def test_a_frame_survives_a_round_trip(frame):
    data = through_json(frame.to_dict())
    assert Frame.from_dict(data) == frame
    assert ("source" in data) == (frame.source is not None)


def test_the_plain_shapes_of_faces_and_bodies_are_those_of_tfjs_models(face, body):
    data = face.to_dict()
    assert list(data) == ["keypoints", "box"]
    assert data["box"] == {"xMin": 0.0, "yMin": 1.0, "xMax": 1431.0, "yMax": 1432.0, "width": 1431.0, "height": 1431.0}
    assert data["keypoints"][0] == {"x": 0.0, "y": 1.0, "z": 2.0, "name": "lips"}
    assert data["keypoints"][1] == {"x": 3.0, "y": 4.0, "z": 5.0}
    assert set(face.to_dict(full=True)) - set(data) == {"score", "id"}
    data = body.to_dict()
    assert list(data) == ["score", "keypoints", "keypoints3D"]
    assert data["keypoints"][2] == {"x": 6.0, "y": 7.0, "z": 8.0, "score": 0.5, "name": "left_eye"}
    assert data["keypoints3D"][2] == {"x": 3.0, "y": 3.5, "z": 4.0, "score": 0.5, "name": "left_eye"}
    full = body.to_dict(full=True)
    assert set(full) - set(data) == {"id", "box"}
    assert full["keypoints"][2]["presence"] == 0.25
    assert "mask" not in full


def test_a_box_of_a_face_has_six_points_without_depth():
    points = np.full((6, 3), np.nan, np.float32)
    points[:, :2] = np.arange(12).reshape(6, 2)
    face = Face(0.9, points, (0.0, 1.5, 20.0, 30.25))
    data = through_json(face.to_dict(full=True))
    assert data["keypoints"][0] == {"x": 0.0, "y": 1.0, "name": "rightEye"}
    assert Face.from_dict(data) == face


def test_a_person_is_its_parts(hand, face, body):
    person = Person(body, left_hand=hand, face=face)
    assert person.parts == [body, hand, face]
    assert person.id == body.id
    data = person.to_dict()
    assert list(data) == ["body", "leftHand", "rightHand", "face"]
    assert data["rightHand"] is None
    assert Person.from_dict(through_json(person.to_dict(full=True))) == person


def test_json_of_results_has_skeletons_and_additions_of_the_parts(hand, face, body):
    face.keypoints[3, 2] = np.nan
    person, additions = Person(body, left_hand=hand, face=face), [{"extra": part} for part in ("body", "hand", "face")]
    (shown,) = json.loads(schema.results_to_json([person], additions, full=True))
    parts = {"body": body, "leftHand": hand, "face": face}
    expected = {key: {"skeleton": part.skeleton.name} | part.to_dict(full=True) for key, part in parts.items()}
    expected["face"]["keypoints"][3]["z"] = None
    for key, addition in zip(parts, additions, strict=True):
        expected[key] |= addition
    assert shown == {"id": 4, "rightHand": None} | expected
    (shown,) = json.loads(schema.results_to_json([person], full=False))
    assert (shown["rightHand"], shown["leftHand"]) == (None, hand.to_dict())
    assert json.loads(schema.results_to_json([hand, hand], additions[:2], full=False)) == [
        hand.to_dict() | addition for addition in additions[:2]
    ]


@pytest.mark.parametrize("kind", RESULT_TYPES)
def test_a_frame_always_has_the_requested_list(kind, body):
    assert Frame(0, None).to_dict((kind,)) == {"index": 0, "time": None, kind: []}
    assert set(Frame(0, None, bodies=[body]).to_dict((kind,))) == {"index", "time", kind, "bodies"}


@pytest.mark.parametrize(("score", "side"), [(None, "Left"), (0.8, "Left"), (0.79, None)])
def test_a_side_of_little_probability_is_unknown(score, side):
    keypoints = np.zeros((21, 3), np.float32)
    hand = Hand("Left", 0.9, keypoints, keypoints, handedness_score=score)
    assert hand.side == side
    assert ("Left" in repr(hand)) == (side == "Left")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_results_are_copied_and_pickled_completely(hand, face, body, again):
    body.mask = np.full((4, 6), 0.25, np.float32)
    hand.extra_keypoints = np.ones((2, 2), np.float32)
    frame = Frame(3, 0.1, [hand], "a.png", [face], [body], [Person(body, hand, None, face)])
    for one in (hand, face, body, frame.people[0], frame):
        twin = again(one)
        assert type(twin) is type(one)
        assert twin == one
    twin = again(frame)
    np.testing.assert_array_equal(twin.bodies[0].mask, body.mask)
    twin.hands[0].keypoints[:] = 0
    assert hand.keypoints.any()


def test_a_result_of_a_region_moves_with_all_that_has_positions(body, face):
    before, mask = body.keypoints.copy(), np.arange(12, dtype=np.float32).reshape(3, 4)
    body.mask = mask
    body.move(2, 5, 9, 10)
    np.testing.assert_array_equal(body.keypoints, before + np.float32([2, 5, 0]))
    expected = np.zeros((10, 9), np.float32)
    expected[5:8, 2:6] = mask
    np.testing.assert_array_equal(body.mask, expected)
    box = face.box
    face.move(2, 5, 9, 10)
    assert face.box == (box[0] + 2, box[1] + 5, box[2] + 2, box[3] + 5)


def test_keypoints_count_from_the_middle_of_a_stage():
    points = np.zeros((21, 3), np.float32)
    points[:2] = (320, 240, 5), (0, 480, -1)
    hand = Hand(handedness="Right", score=0.9, keypoints=points, keypoints_3d=points)
    assert hand.centred_keypoints(640, 480)[:3].tolist() == [[0, 0, 5], [-320, 240, -1], [-320, -240, 0]]


KNOWN = sorted(
    entry.name.removesuffix(".json")
    for entry in resources.files("sonjit.results.skeletons").iterdir()
    if entry.name.endswith(".json") and entry.name.removesuffix(".json")[-1].isdigit()
)


@pytest.fixture(params=KNOWN)
def skeleton(request):
    return load_skeleton(request.param)


@pytest.mark.parametrize("name", ["nope", "", "../hand_mediapipe21", "__init__"])
def test_an_unknown_skeleton_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"Unknown skeleton .*Choose from .*hand_mediapipe21"):
        load_skeleton(name)


def test_an_unknown_keypoint_lists_the_known_ones(skeleton):
    with pytest.raises(
        InputError, match=f"{skeleton.name} has no keypoint 'elbow'. Choose from {skeleton.keypoints[0]}"
    ):
        skeleton.index("elbow")


def test_the_drawn_hand_has_every_keypoint_by_number_and_name():
    drawn = (Path(__file__).parents[2] / "docs/images/hand_keypoints.svg").read_text("utf-8")
    texts = re.findall(r">([^<>\n]+)</text>", drawn)
    names = load_skeleton("hand_mediapipe21").keypoints
    assert [text for text in texts if not text.isdecimal()] == list(names)
    assert sorted(text for text in texts if text.isdecimal()) == sorted(2 * [str(number) for number in range(21)])


def test_a_mirrored_result_is_what_a_mirrored_image_shows():
    rng, mirror = np.random.default_rng(4), np.diag([-1.0, 1, 1, 1])
    mesh = rng.uniform(0, 100, (478, 3)).astype(np.float32)
    pose = np.vstack([rng.normal(size=(3, 4)), [0, 0, 0, 1]]).astype(np.float32)
    face = Face(0.9, mesh.copy(), (10, 20, 40, 60), transform=pose.copy())
    face.flip(100)
    np.testing.assert_allclose(face.keypoints, mesh * (-1, 1, 1) + (100, 0, 0), rtol=1e-6)
    np.testing.assert_allclose(face.transform, mirror @ pose @ mirror)  # the face is mirrored, and so is its camera
    assert face.box == (60, 20, 90, 60)
    points, mask = mesh[:33], rng.random((5, 8)).astype(np.float32)
    body = Body(0.9, points.copy(), points.copy(), points[:, 0], points[:, 1], mask=mask.copy())
    hand = Hand("Left", 0.9, points[:21].copy(), points[:21].copy(), extra_keypoints=points[:2, :2].copy())
    person = Person(body, hand)
    person.flip(100)
    np.testing.assert_array_equal(body.mask, mask[:, ::-1])
    np.testing.assert_allclose(body.keypoints_3d, points * (-1, 1, 1))
    np.testing.assert_allclose(hand.extra_keypoints, points[:2, :2] * (-1, 1) + (100, 0), rtol=1e-6)
    assert person.left_hand.handedness == "Left"


@pytest.mark.parametrize("name", ["docs/columns.md", "docs/gestures.md", "web/src/results.ts"])
def test_docs_and_pages_name_every_type_of_event(name):
    text = (Path(__file__).parents[2] / name).read_text("utf-8")
    assert [kind for kind in get_args(EventType) if not re.search(f"""[`"]{kind}[`"]""", text)] == []
