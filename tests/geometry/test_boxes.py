import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.geometry.boxes import RotatedBox, iou, rotated_box_around, square_box, wrap_angle

pixels = st.floats(-5000, 5000)
sizes = st.floats(0.01, 5000)
angles = st.floats(-50, 50)
boxes = st.builds(RotatedBox, pixels, pixels, sizes, sizes, angles)
point_sets = st.lists(st.tuples(pixels, pixels), min_size=1, max_size=25).map(np.array)


def in_axes_of(box, points):
    """Return points relative to the centre and axes of a box."""
    cos, sin = math.cos(box.rotation), math.sin(box.rotation)
    return (points - (box.cx, box.cy)) @ np.array([[cos, -sin], [sin, cos]])


@pytest.mark.parametrize(
    ("angle", "wrapped"), [(0, 0), (math.pi, -math.pi), (-math.pi, -math.pi), (3.5 * math.pi, -0.5 * math.pi)]
)
def test_wrap_angle_of_known_angles(angle, wrapped):
    assert wrap_angle(angle) == pytest.approx(wrapped)


@given(boxes, st.floats(0.1, 5))
def test_square_box_without_shift_keeps_centre_and_rotation(box, scale):
    square = square_box(box, scale=scale)
    assert (square.cx, square.cy, square.rotation) == (box.cx, box.cy, box.rotation)
    assert square.width == square.height == pytest.approx(max(box.width, box.height) * scale)


@given(boxes, st.floats(-1, 1))
def test_square_box_shifts_along_its_own_y_by_its_own_height(box, shift):
    square = square_box(box, scale=1, shift_y=shift)
    moved = in_axes_of(box, np.array([[square.cx, square.cy]]))
    np.testing.assert_allclose(moved, [[0, shift * box.height]], atol=1e-6)


@given(point_sets, angles)
def test_rotated_box_around_contains_its_points_and_is_tight(points, rotation):
    box = rotated_box_around(points, rotation)
    inside = in_axes_of(box, points)
    assert box.rotation == rotation
    np.testing.assert_allclose(inside.max(axis=0), [box.width / 2, box.height / 2], atol=1e-6)
    np.testing.assert_allclose(inside.min(axis=0), [-box.width / 2, -box.height / 2], atol=1e-6)


@pytest.mark.parametrize(
    ("other", "value"),
    [
        (RotatedBox(1, 0, 2, 2), 1 / 3),
        (RotatedBox(0, 0, 1, 1), 1 / 4),
        (RotatedBox(2, 0, 2, 2), 0),
        (RotatedBox(9, 9, 2, 2), 0),
        (RotatedBox(0, 0, 2, 2, 1.0), 1),
        (RotatedBox(0, 0, 0, 0), 0),
    ],
    ids=["half", "within", "touching", "apart", "rotation-left-out", "empty"],
)
def test_iou_of_known_boxes(other, value):
    assert iou(RotatedBox(0, 0, 2, 2), other) == pytest.approx(value)
