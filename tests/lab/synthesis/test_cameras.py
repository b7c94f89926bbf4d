"""Rigs: valid rotations, cameras that look at the centre, and refused counts."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.synthesis.scenes import MAX_VIEWS, camera_rig, rotation_from_angles, view_name

MIDDLE = np.array([0.0, 0, 0.6])


@pytest.mark.parametrize("views", [1, 2, 7, MAX_VIEWS])
def test_a_dome_looks_at_its_middle_from_all_sides(views):
    cameras = camera_rig("dome", views, (320, 240), 60, MIDDLE)
    assert len(cameras) == views
    places = np.stack([-camera.R.T @ camera.t for camera in cameras])
    for camera in cameras:
        np.testing.assert_allclose(camera.R @ camera.R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.R) > 0
        np.testing.assert_allclose(camera.project(camera.from_world(MIDDLE)), (160, 120), atol=1e-6)
        assert camera.R[1] @ (0, 1, 0) >= 0  # no image hangs upside down
    np.testing.assert_allclose(np.linalg.norm(places - MIDDLE, axis=1), 0.6)
    np.testing.assert_allclose(places[0], 0, atol=1e-12)
    away = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(views)
    assert away.min() > 0.4 * 0.6 / np.sqrt(views)


def test_the_longer_side_has_the_requested_angle():
    for size in ((320, 240), (240, 320)):
        (camera,) = camera_rig("webcam", 1, size, 90, MIDDLE)
        edge = np.array([1.0, 0, 1]) if size[0] > size[1] else np.array([0, 1.0, 1])
        assert camera.project(edge).max() == pytest.approx(320)


def test_a_pair_of_glasses_lies_side_by_side():
    left, right = camera_rig("glasses", 2, (320, 240), 60, MIDDLE)
    assert left.project(left.from_world(MIDDLE))[0] > right.project(right.from_world(MIDDLE))[0]


@pytest.mark.parametrize(("rig", "views"), [("webcam", 2), ("glasses", 1), ("dome", 0), ("dome", MAX_VIEWS + 1)])
def test_a_rig_refuses_what_it_has_not(rig, views):
    with pytest.raises(InputError, match=f"--rig {rig} with --views {views}: requires"):
        camera_rig(rig, views, (64, 64), 60, MIDDLE)


def test_names_of_views_are_digits_that_differ():
    names = {view_name(number) for number in range(MAX_VIEWS)}
    assert len(names) == MAX_VIEWS
    assert all(name.isdecimal() for name in names)


def test_turns_are_rotations_in_their_order():
    np.testing.assert_allclose(rotation_from_angles(90, 0, 0) @ (0, 0, 1), (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(rotation_from_angles(0, 0, 90) @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(
        rotation_from_angles(20, 40, 60),
        rotation_from_angles(0, 0, 60) @ rotation_from_angles(0, 40, 0) @ rotation_from_angles(20, 0, 0),
        atol=1e-12,
    )
