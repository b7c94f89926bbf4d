import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.results import measures
from sonjit.results.skeletons import load_skeleton

bends = st.lists(st.lists(st.floats(0, 1.5), min_size=3, max_size=3), min_size=5, max_size=5)
angles = st.floats(-math.pi, math.pi)


def rotation(yaw, pitch, roll):
    axes = (((0, 2), yaw), ((1, 2), pitch), ((0, 1), roll))
    complete = np.eye(3)
    for (i, j), angle in axes:
        one = np.eye(3)
        one[[i, j], [i, j]], one[i, j], one[j, i] = math.cos(angle), -math.sin(angle), math.sin(angle)
        complete = complete @ one
    return complete


@given(bends)
def test_bends_are_those_the_hand_was_built_with(made, bends):
    points = made.build_hand(bends)
    np.testing.assert_allclose(measures.finger_bends_rad(points), bends, atol=1e-5)
    np.testing.assert_allclose(measures.finger_curl_rad(points), np.sum(bends, axis=1), atol=1e-5)


@given(bends, angles, angles, angles, st.floats(0.3, 3), st.floats(-5, 5))
@pytest.mark.slow
def test_a_rotated_scaled_moved_hand_measures_the_same(made, bends, yaw, pitch, roll, scale, offset):
    points = made.build_hand(bends)
    turn = rotation(yaw, pitch, roll)
    moved = scale * points @ turn.T + offset
    for measure in (measures.finger_bends_rad, measures.finger_reach, measures.finger_curls):
        np.testing.assert_allclose(measure(moved), measure(points), atol=1e-6)
    for measure in (measures.pinch_distance_m, measures.hand_length_m):
        np.testing.assert_allclose(measure(moved), scale * measure(points), atol=1e-6)
    np.testing.assert_allclose(
        measures.palm_normal(moved, "Right"), turn @ measures.palm_normal(points, "Right"), atol=1e-6
    )


def test_palm_to_the_camera_and_away(made):
    points = made.build_hand([made.OUT] * 5)
    np.testing.assert_allclose(measures.palm_normal(points, "Right"), (0, 0, -1), atol=1e-9)
    assert measures.palm_facing(points, "Right") == pytest.approx(1)
    assert measures.palm_facing(points @ rotation(math.pi, 0, 0).T, "Right") == pytest.approx(-1)
    assert measures.palm_facing(points @ rotation(math.pi / 2, 0, 0).T, "Right") == pytest.approx(0, abs=1e-9)


def test_spread_is_the_angle_between_stretched_fingers(made):
    points = made.build_hand([(0, 0, 0)] * 5)
    directions = np.arctan2(made.AT[1:, 0], -made.AT[1:, 1])
    np.testing.assert_allclose(measures.finger_spread_rad(points)[1:], directions[:-1] - directions[1:], atol=1e-9)
    thumb = math.atan2(0.9, 0.4)
    assert measures.finger_spread_rad(points)[0] == pytest.approx(thumb - directions[0])


def test_spread_of_a_curled_finger_is_unknown(made):
    points = made.build_hand([made.OUT, made.OUT, made.IN, made.OUT, made.OUT])
    assert np.isnan(measures.finger_spread_rad(points)).tolist() == [False, True, True, False]


def test_angles_in_the_plane_and_without_length():
    points = np.array([[1.0, 0], [0, 0], [0, 2], [0, 0]])
    np.testing.assert_allclose(measures.joint_angles_rad(points, [(0, 1, 2)]), math.pi / 2)
    assert np.isnan(measures.joint_angles_rad(points, [(0, 1, 3)])).all()


def test_row_has_the_stated_names_in_order(made):
    row = measures.measures(made.hand_with("11111"))
    assert tuple(row) == measures.measure_names("hand")
    assert all(type(value) is float for value in row.values())
    assert row["hand_length_m"] == pytest.approx(0.175, abs=1e-5)
    assert row["palm_facing"] == pytest.approx(1)


def test_a_hand_that_is_one_point_is_unknown_not_zero(made):
    hand = made.hand_with("11111")
    hand.keypoints_3d = np.zeros((21, 3), np.float32)
    row = measures.measure_hand(hand)
    assert math.isnan(row["index_curl_rad"])
    assert math.isnan(row["index_reach"])
    assert math.isnan(row["palm_normal_x"])


def test_wrong_calls_are_refused():
    with pytest.raises(InputError, match="21, 3"):
        measures.finger_curl_rad(np.zeros((20, 3)))
    with pytest.raises(InputError, match="handedness"):
        measures.palm_normal(np.zeros((21, 3)), "left")
    with pytest.raises(InputError, match="point 9"):
        measures.joint_angles_rad(np.zeros((5, 3)), [(0, 1, 9)])
    with pytest.raises(InputError, match="dict"):
        measures.measures({})


def test_pinch_distances_are_those_from_the_thumb_to_each_fingertip():
    points = np.random.default_rng(0).normal(size=(21, 3))
    names = load_skeleton("hand_mediapipe21").keypoints
    tips = [points[index] for index, name in enumerate(names) if name.endswith("_tip")]
    assert len(tips) == 5
    np.testing.assert_allclose(measures.pinch_distance_m(points), [math.dist(tips[0], tip) for tip in tips[1:]])


@pytest.mark.parametrize(("bend_deg", "is_known"), [(59, True), (61, False), (119, False), (121, True)])
def test_a_spread_is_known_up_to_60_degrees_from_the_palm(made, bend_deg, is_known):
    bends = np.zeros((5, 3))
    bends[1, 0] = math.radians(bend_deg)
    spreads = measures.finger_spread_rad(made.build_hand(bends))
    assert np.isfinite(spreads).tolist() == [True, is_known, True, True]


@pytest.mark.parametrize(("share", "is_up"), [(0.76, True), (0.74, False)])
def test_a_finger_is_up_from_three_quarters_of_its_reach(made, share, is_up):
    hand = made.hand_with("11111")
    points = hand.keypoints_3d.astype(float)
    for mcp in (5, 9, 13, 17):  # the bones stay on a line from the wrist, there and back
        along = points[mcp] / np.linalg.norm(points[mcp])
        for number, place in enumerate((0.08, 0.12, 0.12 + (share - 1) * 0.12 / (1 + share))):
            points[mcp + number + 1] = along * place
        points[mcp] = along * 0.04
    hand.keypoints_3d = points
    assert measures.finger_reach(points)[1:] == pytest.approx([share] * 4)
    assert list(measures.fingers_up(hand).values())[1:] == [is_up] * 4


@pytest.mark.parametrize(("spread_rad", "is_up"), [(-0.29, True), (-0.31, False)])
def test_a_thumb_is_up_from_a_spread(made, spread_rad, is_up):
    index = math.atan2(made.AT[1, 0], -made.AT[1, 1])
    angle = index + spread_rad
    points = made.build_hand(np.zeros((5, 3)), (math.sin(angle), -math.cos(angle), 0))
    assert measures.thumb_spread_rad(points) == pytest.approx(spread_rad)
    hand = made.hand_with("11111")
    hand.keypoints_3d = points
    assert measures.fingers_up(hand)["thumb"] is is_up


def test_a_curl_is_a_share_of_that_of_a_fist(made):
    bends = np.tile([[0.9], [1.3], [1.3], [2.0], [0.0]], 3) / 3 * [1, 1, 1]
    bends[0] = 0.3
    curls = measures.finger_curls(made.build_hand(bends))
    np.testing.assert_allclose(curls, np.clip(bends.sum(1) / [1.8, 3.9, 3.9, 3.9, 3.9], 0, 1), atol=1e-6)
    assert measures.finger_curls(made.build_hand(np.full((5, 3), 1.4)))[0] == 1


def test_axes_of_the_palm_are_towards_the_thumb_the_fingers_and_the_palm(made):
    frame = measures.hands.palm_frame(made.build_hand([made.OUT] * 5))
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-9)
    across, along, normal = frame.T
    assert across[0] > 0.9
    assert along[1] < -0.9
    np.testing.assert_allclose(normal, (0, 0, -1), atol=1e-9)
