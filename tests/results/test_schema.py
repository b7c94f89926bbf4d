"""Results as JSON, as table rows, and in other axes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from sonjit import Body, Face, Hand, Person
from sonjit.results import Gesture, HandPoints, Result, box_around, register_result, schema
from sonjit.results.schema import Points, Value, box_to_dict, results_to_json, shortest_floats


def points(count, start=0.0, axes=3):
    return (np.arange(axes * count, dtype=np.float32).reshape(count, axes) + start).astype(np.float32)


def complete_hand():
    return Hand(
        "Right", 0.875, points(21), points(21, 0.5), 6, 0.9375, points(3, axes=2), points(21, axes=1)[:, 0] / 32,
        Gesture("Victory", 0.5), error_px=points(21, axes=1)[:, 0] / 16, distance_m=0.75, distance_error_m=0.125,
    )  # fmt: skip


def test_a_hand_with_all_that_is_known_is_read_back():
    hand = complete_hand()
    data = hand.to_dict(full=True)
    assert list(data) == [
        "score", "handedness", "keypoints", "keypoints3D", "extraKeypoints", "gesture", "id", "handednessScore", "box",
        "distanceM", "distanceErrorM",
    ]  # fmt: skip
    assert data["keypoints"][2] == {
        "x": 6.0, "y": 7.0, "z": 8.0, "score": 0.0625, "errorPx": 0.125, "name": "thumb_mcp",
    }  # fmt: skip
    assert data["keypoints3D"][2] == {"x": 6.5, "y": 7.5, "z": 8.5, "score": 0.0625, "name": "thumb_mcp"}
    assert data["extraKeypoints"] == [{"x": 0.0, "y": 1.0}, {"x": 2.0, "y": 3.0}, {"x": 4.0, "y": 5.0}]
    assert (data["gesture"], data["distanceM"]) == ({"name": "Victory", "score": 0.5}, 0.75)
    assert Hand.from_dict(data) == hand
    plain = hand.to_dict()
    assert plain["keypoints"][2] == {"x": 6.0, "y": 7.0, "score": 0.0625, "name": "thumb_mcp"}
    assert list(plain) == ["score", "handedness", "keypoints", "keypoints3D", "extraKeypoints", "gesture"]
    again = Hand.from_dict(plain | {"extraKeypoints": None})
    assert (again.extra_keypoints, again.id, again.distance_m, again.gesture) == (None, None, None, hand.gesture)


def test_a_face_with_all_that_is_known_is_read_back():
    face = Face(0.5, points(478), (0.5, 1.5, 3.25, 4.0), 2, {"jawOpen": 0.25}, points(4, axes=4))
    data = face.to_dict(full=True)
    assert data["transform"] == points(4, axes=4).tolist()
    assert data["box"] == {"xMin": 0.5, "yMin": 1.5, "xMax": 3.25, "yMax": 4.0, "width": 2.75, "height": 2.5}
    again = Face.from_dict(data)
    assert again == face
    assert (again.box, again.blendshapes) == (face.box, {"jawOpen": 0.25})
    assert "blendshapes" not in Face(0.5, points(478), (0, 0, 1, 1)).to_dict(full=True)


@pytest.mark.parametrize(
    ("keypoints", "full", "axes"),
    [
        (points(6), True, "xy"), (points(6), False, "xy"), (points(5), True, "xyz"), (points(5), False, "xy"),
        (points(5, axes=2), True, "xy"), (points(5, axes=2), False, "xy"),
    ],
)  # fmt: skip
def test_json_has_the_axes_that_are_known(keypoints, full, axes):
    assert Points("p", "p", strict_axes=2, flat_counts=(6,)).axes(keypoints, full=full) == axes
    assert Points("p", "p").axes(points(5), full=False) == "xyz"


def test_values_are_written_as_plain_json():
    assert Value("a", "b").to_dict(None) == {"b": None}
    assert Value("a", "b", is_optional=True).to_dict(None) == {}
    assert Value("a", "b", is_optional=True).to_dict(0) == {"b": 0}
    assert Value("a", "b", record=Gesture).to_dict(None) == {"b": None}
    assert Value("a", "b", record=Gesture).to_dict(Gesture("x", 0.5)) == {"b": {"name": "x", "score": 0.5}}
    assert Value("a", "b").to_dict(np.float32([0.1, 0.7])) == {"b": [0.1, 0.7]}
    assert Value("a", "b", is_box=True).to_dict((1, 2, 4, 8))["b"]["height"] == 6


def test_floats_are_as_short_as_they_read_back():
    assert shortest_floats(np.float32([0.1, 1 / 3])) == [0.1, 0.33333334]
    assert shortest_floats(np.float32([[0.1, 2, 3], [4, 5, 6.5]])) == [[0.1, 2.0, 3.0], [4.0, 5.0, 6.5]]
    assert shortest_floats(np.zeros((0, 3), np.float32)) == []


def test_the_size_of_a_huge_box_is_a_number():
    huge = float(np.finfo(np.float32).max)
    box = box_to_dict((-huge, huge, huge, -huge))
    assert (box["width"], box["height"]) == (pytest.approx(huge), pytest.approx(-huge))


def test_keypoints_are_given_as_shares_of_the_image():
    hand = Hand("Left", 0.5, points(21), points(21))
    np.testing.assert_allclose(hand.normalized_keypoints(200, 50), points(21) / (200, 50, 200), rtol=1e-6)
    np.testing.assert_allclose(hand.centred_keypoints(200, 50), points(21) - (100, 25, 0))


def test_all_positions_of_a_hand_move_and_mirror():
    hand = complete_hand()
    hand.published = HandPoints(points(21, 2), points(21, 3))
    hand.move(10, 20, 640, 480)
    np.testing.assert_array_equal(hand.keypoints, np.add(points(21), (10, 20, 0)))
    np.testing.assert_array_equal(hand.extra_keypoints, np.add(points(3, axes=2), (10, 20)))
    np.testing.assert_array_equal(hand.published.keypoints, np.add(points(21, 2), (10, 20, 0)))
    np.testing.assert_array_equal(hand.published.keypoints_3d, points(21, 3))
    np.testing.assert_array_equal(hand.keypoints_3d, points(21, 0.5))
    hand.flip(640)
    np.testing.assert_array_equal(
        hand.published.keypoints, np.add(points(21, 2), (10, 20, 0)) * (-1, 1, 1) + (640, 0, 0)
    )
    np.testing.assert_array_equal(hand.published.keypoints_3d, points(21, 3) * (-1, 1, 1))
    np.testing.assert_array_equal(hand.keypoints_3d, points(21, 0.5) * (-1, 1, 1))
    np.testing.assert_array_equal(hand.extra_keypoints, np.add(points(3, axes=2), (10, 20)) * (-1, 1) + (640, 0))
    face = Face(0.5, points(478), (1.0, 2.0, 5.0, 9.0))
    face.move(10, 20, 640, 480)
    assert face.box == (11, 22, 15, 29)
    face.flip(640)
    assert face.box == (625, 22, 629, 29)


def columns_of(count, **changes):
    names = ("x", "y", "z", "x_m", "y_m", "z_m", "visibility", "error_px")
    return {name: np.arange(count, dtype=np.float32) + 100 * k for k, name in enumerate(names)} | changes


def test_a_hand_is_read_from_the_columns_of_a_table():
    columns = columns_of(21)
    hand = Hand.from_columns({"score": 0.5, "id": 3, "handedness": "Left"}, columns)
    np.testing.assert_array_equal(hand.keypoints, np.stack([columns[name] for name in ("x", "y", "z")], 1))
    np.testing.assert_array_equal(hand.keypoints_3d, np.stack([columns[name] for name in ("x_m", "y_m", "z_m")], 1))
    np.testing.assert_array_equal(hand.visibility, columns["visibility"])
    np.testing.assert_array_equal(hand.error_px, columns["error_px"])
    assert (hand.score, hand.id, hand.handedness) == (0.5, 3, "Left")
    unknown = np.full(21, np.nan, np.float32)
    columns = columns_of(21, visibility=unknown, error_px=np.where(np.arange(21) == 4, 1, unknown))
    hand = Hand.from_columns({"score": None, "id": None, "handedness": "Left"}, columns)
    assert hand.visibility is None
    assert hand.error_px[4] == 1
    assert np.isnan(hand.score)
    with pytest.raises(ValueError, match="read-only"):
        hand.keypoints[0] = 0


def test_a_body_and_a_face_are_read_from_the_columns_of_a_table():
    body = Body.from_columns({"score": 0.5, "id": 3}, columns_of(33, visibility=np.full(33, np.nan, np.float32)))
    assert np.isnan(body.visibility).all()  # a body always has it
    assert np.isnan(body.presence).all()
    assert body.presence.shape == (33,)
    face = Face.from_columns({"score": 0.5, "id": 3}, columns_of(478))
    assert face.box == box_around(face.keypoints)
    box = Face.from_columns({"score": 0.5, "id": 3}, columns_of(6)).box
    assert np.isnan(box).tolist() == [True] * 4


def test_results_are_read_only_with_what_they_contain():
    values = {"a": np.ones(3), "b": [np.ones(2)], "c": (np.ones(2), 1), "d": "text"}
    person = Person(Body(0.5, points(33), points(33), np.ones(33), np.ones(33)), complete_hand())
    person.freeze()
    for part in person.parts:
        assert not part.keypoints.flags.writeable
    face = Face(0.5, points(478), (0, 0, 1, 1), blendshapes=values).freeze()
    assert not any(
        array.flags.writeable for array in (face.blendshapes["a"], face.blendshapes["b"][0], face.blendshapes["c"][0])
    )
    assert (face.blendshapes["d"], face.blendshapes["c"][1]) == ("text", 1)
    assert values["a"].flags.writeable


def test_json_has_skeletons_only_in_full_and_additions_in_order():
    hand = complete_hand()
    shown = results_to_json([hand], [{"more": 1}], full=True)
    assert '"skeleton":"hand_mediapipe21"' in shown
    assert '"more":1' in shown
    assert "skeleton" not in results_to_json([hand], full=False)
    assert results_to_json([], full=True) == "[]"


def test_a_type_that_is_defined_again_replaces_its_predecessor():
    def defined(qualname):
        @dataclass(eq=False)
        class Paw(Result):
            keypoints: np.ndarray
            score: float = 1.0
            id: int | None = None
            kind: ClassVar[str] = "paw"
            list_name: ClassVar[str] = "paws"

        Paw.__qualname__ = qualname
        return Paw

    first, second = defined("Paw"), defined("Paw")
    assert register_result(first) is first
    register_result(second)
    assert schema.RESULT_TYPES.get("paws") is second
    with pytest.raises(Exception, match="paws"):
        register_result(defined("Other"))
    paw = second(points(2))
    assert (paw.title, paw.measure(), list(paw.parts)) == ("paw", {}, [paw])


def test_points_of_a_registered_type_move_by_their_declaration_whatever_their_names():
    @dataclass(eq=False)
    class Bird(Result):
        keypoints: np.ndarray
        wings: np.ndarray
        bones: np.ndarray
        score: float = 1.0
        id: int | None = None
        kind: ClassVar[str] = "bird"
        schema: ClassVar[tuple] = (
            Points("keypoints", "keypoints", ("x", "y", "z")),
            Points("wings", "wings"),
            Points("bones", "bones", ("x_m", "y_m", "z_m")),
        )

    bird = Bird(points(2), points(3), points(2, start=1))
    bird.move(10, 20, 640, 480)
    np.testing.assert_array_equal(bird.wings, np.add(points(3), (10, 20, 0)))
    np.testing.assert_array_equal(bird.bones, points(2, start=1))
    bird.flip(640)
    np.testing.assert_array_equal(bird.wings[:, 0], 640 - (points(3)[:, 0] + 10))
    np.testing.assert_array_equal(bird.bones, points(2, start=1) * (-1, 1, 1))
