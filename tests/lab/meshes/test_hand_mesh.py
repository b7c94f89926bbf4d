"""Position of a mesh in front of the camera and in the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.geometry.cameras import Intrinsics
from sonjit.lab.meshes.hand_mesh import Sight, weak_view

CAMERA = Intrinsics(600, 620, 320, 240)
POINTS = np.random.default_rng(8).normal(0, 0.05, (21, 3))


@given(st.floats(0.25, 3), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_a_given_camera_puts_a_hand_back_where_it_was(depth, x, y):
    place = np.array([x, y, depth])
    sight = Sight(CAMERA, assumed=False)
    xy = CAMERA.project(POINTS + place)
    found = sight.translation(POINTS, xy)
    assert np.allclose(found, place, atol=1e-6)
    pixels = sight.pixels(POINTS + found, POINTS + found, xy)
    assert np.allclose(pixels[:, :2], xy, atol=1e-3)
    assert (np.argsort(pixels[:, 2]) == np.argsort(POINTS[:, 2])).all()


@given(st.floats(50, 5000), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_weak_perspective_is_found(scale, x, y):
    xy = POINTS[:, :2] * scale + (x, y)
    view = weak_view(POINTS, xy)
    assert view.scale == pytest.approx(scale)
    assert np.allclose(view.pixels(POINTS)[:, :2], xy, atol=1e-6)
    assert np.allclose(view.pixels(POINTS)[:, 2], POINTS[:, 2] * scale)


def test_an_assumed_camera_draws_a_hand_over_its_keypoints():
    sight = Sight(CAMERA, assumed=True)
    xy = POINTS[:, :2] * 900 + (200, 100)
    placed = POINTS + sight.translation(POINTS, xy)
    assert (placed[:, 2] > 0).all()
    assert np.allclose(sight.pixels(placed, placed, xy)[:, :2], xy, atol=1e-6)


def test_shapes_that_no_perspective_fits_stand_before_the_camera_all_the_same():
    backwards = POINTS * (-1, -1, 1)  # seen upside down and mirrored
    shift = Sight(CAMERA, assumed=True).translation(backwards * 4, POINTS[:, :2] * 900 + (200, 100))
    assert np.isfinite(shift).all()
    assert shift[2] > 0


def test_one_point_is_no_reason_to_fail():
    flat = np.zeros((21, 3))
    shift = Sight(CAMERA, assumed=True).translation(flat, np.full((21, 2), 7.0))
    assert np.isfinite(shift).all()
    assert np.isfinite(weak_view(flat, np.full((21, 2), 7.0)).pixels(flat)).all()
