import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import Face, Frame, InputError, Person
from sonjit.results import Gesture
from sonjit.results.measures import (
    BODY_ANGLES,
    BODY_ANGLES_2D,
    in_degrees,
    instance_values,
    measure_names,
    measures,
    with_owners,
)
from sonjit.results.measures.bodies import body_angles_2d_rad, body_angles_rad
from sonjit.results.measures.faces import STABLE_POINTS, eye_openness, head_pose_rad, mouth_openness

angles = st.floats(-1.2, 1.2)


def from_pose(yaw, pitch, roll):
    """Return the rotation with this yaw, pitch and roll, applied in the order roll, pitch, yaw."""
    cy, sy, cp, sp, cr, sr = *cs(-yaw), *cs(-pitch), *cs(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def cs(angle):
    return math.cos(angle), math.sin(angle)


def mesh():
    """Return a mesh (468, 3) with the stable points of the upright face and other points at random."""
    points = np.random.default_rng(0).normal(size=(468, 3))
    points[list(STABLE_POINTS)] = list(STABLE_POINTS.values())
    return points


@given(angles, angles, angles, st.floats(1, 300), st.floats(-500, 500))
def test_head_pose_is_the_one_the_mesh_was_turned_by(yaw, pitch, roll, scale, offset):
    turned = scale * mesh() @ from_pose(yaw, pitch, roll).T + offset
    np.testing.assert_allclose(head_pose_rad(turned), (yaw, pitch, roll), atol=1e-6)


def test_portrait_looks_at_the_camera_and_smiles(data):
    file = data / "goldens" / "mediapipe" / "facemesh.portrait.static4.plain.json"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    points = np.array(json.loads(file.read_text("utf-8"))["frames"][0]["instances"][0]["keypoints"])[:, :3]
    row = measures(Face(1.0, points.astype(np.float32), (0.0, 0.0, 1.0, 1.0)))
    assert tuple(row) == measure_names("face")
    assert max(abs(row[name]) for name in ("head_yaw_rad", "head_pitch_rad", "head_roll_rad")) < math.radians(6)
    assert row["mouth_openness"] > 0.15
    assert 0.15 < row["left_eye_openness"] < 0.4


def test_closing_lids_and_lips():
    points = mesh()
    points[[387, 386, 385]] = points[[373, 374, 380]]
    points[[82, 13, 312]] = points[[87, 14, 317]]
    assert eye_openness(points)[0] == 0
    assert eye_openness(points)[1] > 0
    assert mouth_openness(points) == 0


def test_a_face_without_mesh_or_extent_is_unknown():
    box = Face(1.0, np.full((6, 3), np.nan, np.float32), (0.0, 0.0, 1.0, 1.0))
    assert all(math.isnan(value) for value in measures(box).values())
    point = Face(1.0, np.zeros((478, 3), np.float32), (0.0, 0.0, 1.0, 1.0))
    assert all(math.isnan(value) for value in measures(point).values())


def test_standing_body(body):
    row = measures(body)
    assert tuple(row) == measure_names("body")
    for name in ("left_elbow_angle_rad", "right_knee_angle_rad", "left_hip_angle_rad"):
        assert row[name] == pytest.approx(math.pi, abs=1e-3)
    assert row["left_shoulder_angle_rad"] == pytest.approx(0, abs=1e-3)
    assert row["right_ankle_angle_rad"] == pytest.approx(math.pi / 2, abs=1e-3)
    assert row["left_thigh_m"] == pytest.approx(0.45, abs=1e-6)
    assert row["shoulder_width_m"] == pytest.approx(0.4, abs=1e-6)
    assert row["torso_length_m"] == pytest.approx(0.5, abs=1e-6)
    assert row["torso_lean_rad"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("lean", [-1.0, 0.3, 1.5])
def test_lean_to_the_image_s_right_is_positive(body, lean):
    cos, sin = math.cos(lean), math.sin(lean)
    body.keypoints_3d = (body.keypoints_3d @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T).astype(np.float32)
    row = measures(body)
    assert row["torso_side_lean_rad"] == pytest.approx(lean, abs=1e-5)
    assert row["torso_lean_rad"] == pytest.approx(abs(lean), abs=1e-5)


def test_measures_of_invisible_keypoints_are_unknown(body):
    before = {name for name, value in measures(body).items() if math.isnan(value)}
    body.visibility = body.visibility.copy()
    body.visibility[25] = 0.49
    unknown = {name for name, value in measures(body).items() if math.isnan(value)} - before
    angles = {f"left_{joint}_angle{plane}_rad" for joint in ("hip", "knee", "ankle") for plane in ("", "_2d")}
    angles |= {f"symmetry_{joint}_rad" for joint in ("hip", "knee", "ankle")}
    assert unknown == angles - {"left_ankle_angle_2d_rad"} | {"left_thigh_m", "left_shin_m"}


def test_wrists_neck_trunk_and_symmetry(body, made):
    (points := body.keypoints_3d)[[7, 8]] = (0.1, -0.7, -0.1), (-0.1, -0.7, -0.1)
    points[[14, 13]] = points[[16, 15]] + np.float32([[0, 0.2, -0.2], [0.2, 0.2, 0]])
    hands = [made.hand_with("11111", side) for side in ("Left", "Right")]
    for one in (body, *hands):
        one.keypoints_3d = one.keypoints_3d @ from_pose(0, 0.3, 0).T.astype(np.float32)
    row = {name: math.degrees(value) for name, value in measures(Person(body, *hands)).items()}
    assert row["right_wrist_flexion_rad"] == pytest.approx(45, abs=1)
    assert row["left_wrist_deviation_rad"] == pytest.approx(45, abs=6)
    assert row["neck_flexion_rad"] == pytest.approx(math.degrees(math.atan2(0.1, 0.2)), abs=0.1)
    assert row["trunk_lean_rad"] == pytest.approx(-math.degrees(0.3), abs=0.1)
    assert row["symmetry_elbow_rad"] == pytest.approx(row["left_elbow_angle_rad"] - row["right_elbow_angle_rad"])
    assert all(math.isnan(value) for name, value in measures(body).items() if "wrist" in name)


def test_angles_in_the_image_ignore_depth(body):
    flat = body.keypoints.copy()
    flat[:, 2] = 0
    expected = dict(zip(BODY_ANGLES, body_angles_rad(flat), strict=True))
    found = dict(zip(BODY_ANGLES_2D, body_angles_2d_rad(body.keypoints), strict=True))
    for name, angle in expected.items():
        assert found[name.replace("_rad", "_2d_rad")] == pytest.approx(angle, abs=1e-5, nan_ok=True)
    np.testing.assert_allclose(body_angles_2d_rad(body.keypoints[:, :2]), list(found.values()), atol=1e-6)
    with pytest.raises(InputError, match="33, 2 or 3"):
        body_angles_2d_rad(np.zeros((33, 4)))


@pytest.mark.parametrize(
    ("measure", "gaps", "corners"),
    [
        (lambda points: eye_openness(points)[0], [(387, 373), (386, 374), (385, 380)], (362, 263)),
        (lambda points: eye_openness(points)[1], [(160, 144), (159, 145), (158, 153)], (133, 33)),
        (mouth_openness, [(82, 87), (13, 14), (312, 317)], (78, 308)),
    ],
)
def test_an_opening_is_the_mean_of_three_gaps_over_the_width(measure, gaps, corners):
    points = np.zeros((478, 3))
    points[corners[1]] = 3, 0, 4
    for number, (upper, lower) in enumerate(gaps):
        points[upper], points[lower] = (1, -number, 0), (1, 1, 0)  # gaps of 1, 2 and 3
    assert measure(points) == pytest.approx(2 / 5)


@pytest.mark.parametrize(("visibility", "is_known"), [(0.5, True), (0.4999, False)])
def test_a_keypoint_is_visible_from_one_half(body, visibility, is_known):
    body.visibility = np.full(33, visibility, np.float32)
    assert math.isfinite(measures(body)["left_knee_angle_rad"]) is is_known


def test_a_mesh_has_at_least_468_points():
    for count, is_known in ((478, True), (468, True), (467, False)):
        points = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
        values = measures(Face(1.0, points, (0.0, 0.0, 1.0, 1.0)))
        assert {math.isfinite(value) for value in values.values()} == {is_known}


def test_angles_are_given_in_degrees():
    values = {"a_rad": math.pi, "b_m": 2.0, "rad_c": 1.0, "gesture": "fist", "d_rad": None}
    assert in_degrees(values) == {"a_deg": 180.0, "b_m": 2.0, "rad_c": 1.0, "gesture": "fist", "d_deg": None}


def test_values_of_an_instance_have_its_gesture_distance_and_transform(body, made):
    hand = made.hand_with("11111")
    assert instance_values(hand).items() >= {"gesture": None, "gesture_score": None}.items()
    assert "distance_m" not in instance_values(hand)
    hand.gesture, hand.distance_m = Gesture("fist", 0.5), 0.75
    found = instance_values(hand)
    assert [found[name] for name in ("gesture", "gesture_score", "distance_m", "distance_error_m")] == [
        "fist",
        0.5,
        0.75,
        None,
    ]
    face = Face(1.0, np.ones((478, 3), np.float32), (0.0, 0.0, 1.0, 1.0), transform=np.arange(16.0).reshape(4, 4))
    found = instance_values(face)
    assert [found[f"transform_{row}{column}"] for row in range(4) for column in range(4)] == list(range(16))
    frame = Frame(0, None, [hand], faces=[face], people=[Person(body, hand)])
    owners = [(part.kind, owner.kind) for part, owner in with_owners(frame)]
    assert owners == [("hand", "hand"), ("face", "face"), ("body", "person"), ("hand", "hand")]
    assert math.isfinite(instance_values(body, frame.people[0])["left_wrist_flexion_rad"])
    assert math.isnan(instance_values(body)["left_wrist_flexion_rad"])
    assert measure_names("hand") == measure_names("hand")
    assert measure_names("nothing") == ()
