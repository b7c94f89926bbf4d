import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit.geometry.boxes import (
    RotatedBox,
    box_around,
    box_from_corners,
    box_iou,
    clamped_box,
    crop,
    crop_matrix,
    crop_on_grid,
    iou,
    latest_boxes,
    letterbox,
    letterbox_box,
    mean_size_of,
    overlap_over_smaller,
    points_from_crop,
    points_into_crop,
    rotated_box_around,
    size_of,
    square_box,
    turn_matrix,
    wrap_angle,
)

pixels = st.floats(-5000, 5000)
sizes = st.floats(0.01, 5000)
angles = st.floats(-50, 50)
boxes = st.builds(RotatedBox, pixels, pixels, sizes, sizes, angles)
point_sets = st.lists(st.tuples(pixels, pixels), min_size=1, max_size=25).map(np.array)


def in_axes_of(box, points):
    """Return points relative to the centre and axes of a box."""
    cos, sin = math.cos(box.rotation), math.sin(box.rotation)
    return (points - (box.cx, box.cy)) @ np.array([[cos, -sin], [sin, cos]])


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
        (RotatedBox(1, 0, 2, 2), 1 / 3), (RotatedBox(0, 0, 1, 1), 1 / 4), (RotatedBox(2, 0, 2, 2), 0),
        (RotatedBox(9, 9, 2, 2), 0), (RotatedBox(0, 0, 2, 2, 1.0), 1), (RotatedBox(0, 0, 0, 0), 0),
    ],
)  # fmt: skip
def test_iou_of_known_boxes(other, value):
    assert iou(RotatedBox(0, 0, 2, 2), other) == pytest.approx(value)


corners = st.tuples(*4 * [st.integers(0, 9)]).map(lambda c: (min(c[::2]), min(c[1::2]), max(c[::2]), max(c[1::2])))


@given(corners, corners)
def test_overlaps_of_boxes_are_those_of_their_cells(a, b):
    first, second = (
        {(x, y) for x in range(x_min, x_max) for y in range(y_min, y_max)} for x_min, y_min, x_max, y_max in (a, b)
    )
    shared, union = len(first & second), len(first | second)
    assert box_iou(a, b) == pytest.approx(shared / max(union, 1))
    assert iou(box_from_corners(a), box_from_corners(b)) == pytest.approx(shared / max(union, 1))
    points = (np.array(one, float).reshape(2, 2) for one in (a, b))
    smaller = min(len(first), len(second))
    assert overlap_over_smaller(*points) == pytest.approx(shared / smaller if smaller else 0)


places = st.floats(-500, 500)
sides = st.floats(1, 800)
turns = st.floats(-4, 4)
crop_boxes = st.builds(RotatedBox, places, places, sides, sides, turns)
lengths = st.integers(1, 90)
BORDERS = ["replicate", "zero"]


def make_image(width, height, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sample(image, x, y, border):
    """Return bilinear samples (h, w, 3) of an image at points (h, w), computed in floating point."""
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    right, down = (x - x0)[..., None], (y - y0)[..., None]

    def pixel(row, column):
        inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
        value = image[row.clip(0, image.shape[0] - 1), column.clip(0, image.shape[1] - 1)].astype(float)
        return value * inside[..., None] if border == "zero" else value

    top = pixel(y0, x0) * (1 - right) + pixel(y0, x0 + 1) * right
    bottom = pixel(y0 + 1, x0) * (1 - right) + pixel(y0 + 1, x0 + 1) * right
    return top * (1 - down) + bottom * down


def sampled_points(box, width, height):
    """Return the image points x (h, w) and y (h, w) of the pixels of a crop."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return crop_matrix(box, width, height) @ np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)


@settings(max_examples=40)
@given(crop_boxes, lengths, lengths, lengths, lengths, st.sampled_from(BORDERS))
def test_crop_is_a_bilinear_sample(box, image_width, image_height, width, height, border):
    image = make_image(image_width, image_height)
    x, y = sampled_points(box, width, height).reshape(2, height, width)
    cut = crop(image, box, width, height, border=border)
    assert (cut.dtype, cut.shape) == (np.uint8, (height, width, 3))
    # Outside a zero border a rounding of the coordinate by 1e-5 px is worth less than a level, too; OpenCV 4 rounds to
    # 1/32 px, which is worth up to eight levels between black and white.
    assert np.abs(cut - sample(image, x, y, border)).max() <= (8 if cv2.__version__ < "5" else 1)


def test_a_crop_of_the_complete_image_is_the_image():
    image = make_image(31, 17)
    np.testing.assert_array_equal(crop(image, RotatedBox(15.5, 8.5, 31, 17), 31, 17), image)


@pytest.mark.parametrize(("border", "level"), [("replicate", 200), ("zero", 0)])
def test_the_border_is_outside_the_image(border, level):
    image = np.full((8, 8, 3), 200, np.uint8)
    assert (crop(image, RotatedBox(100, 100, 4, 4), 5, 5, border=border) == level).all()


@pytest.mark.parametrize("fit", [crop, letterbox], ids=lambda function: function.__name__)
def test_out_is_written_in_place(fit):
    image, out = make_image(40, 30), np.full((1, 12, 16, 3), 7, np.uint8)
    place = (RotatedBox(20, 15, 20, 20, 0.3),) if fit is crop else ()
    made = fit(image, *place, 16, 12, out=out[0])
    np.testing.assert_array_equal(made, fit(image, *place, 16, 12))
    np.testing.assert_array_equal(out[0], made)
    assert np.shares_memory(made, out)


@settings(max_examples=40)
@given(lengths, lengths, lengths, lengths)
def test_letterbox_is_a_bilinear_sample_on_a_grid_of_a_32nd_pixel(image_width, image_height, width, height):
    image = make_image(image_width, image_height)
    box = letterbox_box(image_width, image_height, width, height)
    x, y = (np.rint(sampled_points(box, width, height) * 32) / 32).reshape(2, height, width)
    fitted = letterbox(image, width, height)
    assert (fitted.dtype, fitted.shape) == (np.uint8, (height, width, 3))
    assert np.abs(fitted - sample(image, x, y, "zero")).max() <= 0.51


# MediaPipe's own tests of its image-to-tensor step: part of the image (centre x, y, width, height) and output size.
SUB_RECTS = {
    "medium_sub_rect": ((0.65, 0.4, 0.5, 0.5), (256, 256)),
    "large_sub_rect": ((0.5, 0.5, 1.5, 1.1), (128, 128)),
    "noop_except_range": ((0.5, 0.5, 1.0, 1.0), (64, 128)),
}
DEGREES = {"medium_sub_rect_keep_aspect": 90, "medium_sub_rect": -45, "large_sub_rect_keep_aspect": -15}


def read_case(name, image):
    """Return box in pixels, output size and border that a file name contains."""
    border = "zero" if "_border_zero" in name else "replicate"
    plain = name.replace("_border_zero", "").replace("_with_rotation", "")
    degrees = DEGREES.get(plain) if "_with_rotation" in name else 0
    part = SUB_RECTS.get(plain.replace("_keep_aspect", ""))
    if part is None or degrees is None:
        pytest.skip(f"{name}: the box of this case is not known")
    (cx, cy, width, height), (out_width, out_height) = part
    width, height = width * image.shape[1], height * image.shape[0]
    if "_keep_aspect" in plain:
        scale = max(width / out_width, height / out_height)
        width, height = out_width * scale, out_height * scale
    box = RotatedBox(cx * image.shape[1], cy * image.shape[0], width, height, math.radians(degrees))
    return box, (out_width, out_height), border


@pytest.mark.golden
@pytest.mark.files("real/tfjs-models/shared/test_data/*.png")
def test_crop_matches_mediapipes_image_to_tensor(file, read_rgb):
    image = read_rgb(file.with_name("image_to_tensor_input.jpg"))
    box, size, border = read_case(file.stem, image)
    cut = crop(image, box, *size, border=border)
    difference = np.abs(cut.astype(float) - read_rgb(file))
    # Measured: mean up to 0.30, maximum up to 7 levels, which is the 1/32-pixel grid that the goldens were sampled on;
    # sampling at pixel centres instead of corners would be off by up to 13 in the mean and 178 at most.
    assert difference.mean() < 0.5
    assert difference.max() <= 10


def test_points_of_a_crop_turn_and_grow_with_its_box():
    points = np.random.default_rng(1).uniform(0, 1, (9, 3))
    turned = ((points[:, 0] - 0.5) + 1j * (points[:, 1] - 0.5)) * 40 * np.exp(0.7j) + 100 + 50j
    placed = points_from_crop(points, RotatedBox(100, 50, 40, 40, 0.7))
    np.testing.assert_allclose(placed, np.stack([turned.real, turned.imag, 40 * points[:, 2]], 1), atol=1e-4)


@given(st.floats(-30, 130), st.floats(-30, 90), st.floats(-5, 150), st.floats(-5, 150))
def test_clamped_box_has_the_first_and_last_pixel_in_the_image(cx, cy, width, height):
    inside = clamped_box(RotatedBox(cx, cy, width, height), 100, 60)
    ends = []
    for middle, length, most in ((cx, width, 99), (cy, height, 59)):
        start = max(0, middle - length / 2)
        ends.append((start, min(most, start + max(0, length - 1))))
    if width * height <= 0 or any(start > end for start, end in ends):
        assert inside is None
        return
    assert inside is not None
    (left, right), (top, bottom) = ends
    assert inside.rotation == 0
    np.testing.assert_allclose(
        (inside.cx, inside.cy, inside.width, inside.height),
        ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    )


@given(boxes, st.floats(0.1, 4), st.floats(-1, 1))
def test_a_square_box_has_the_long_side_and_moves_along_its_own_y_axis(box, scale, shift):
    square = square_box(box, scale=scale, shift_y=shift)
    assert square.width == square.height == pytest.approx(scale * max(box.width, box.height))
    assert square.rotation == box.rotation
    moved = in_axes_of(box, np.array([[square.cx, square.cy]]))
    np.testing.assert_allclose(moved, [[0, shift * box.height]], atol=1e-6)


def test_sizes_and_overlaps_of_boxes_of_points():
    wide = np.array([[1, 5, 9], [7, 6, 0], [3, 8, -4]], np.float32)  # from 1 to 7 and from 5 to 8
    assert box_around(wide) == (1, 5, 7, 8)
    assert box_from_corners((1, 5, 7, 8), 0.3) == (4, 6.5, 6, 3, 0.3)
    assert (size_of(wide[:, :2]), mean_size_of(wide[:, :2])) == (6, 4.5)
    assert size_of(wide[:1]) == mean_size_of(wide[:1]) == pytest.approx(1e-6)
    near = wide + np.array([4, 1, 0])  # shares 2 by 2 pixels
    assert box_iou((1, 5, 7, 8), (5, 6, 11, 9)) == pytest.approx(4 / 32)
    assert overlap_over_smaller(wide, near) == overlap_over_smaller(near, wide) == pytest.approx(4 / 18)
    assert overlap_over_smaller(wide, np.array([[2, 6], [4, 7]])) == 1
    for far in ((8, 5, 9, 8), (1, 9, 7, 11), (8, 9, 9, 11)):
        assert box_iou((1, 5, 7, 8), far) == box_iou(far, (1, 5, 7, 8)) == 0
        assert overlap_over_smaller(wide, np.reshape(far, (2, 2))) == 0
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0


@given(st.floats(-40, 40))
def test_a_wrapped_angle_is_the_same_in_one_turn(angle):
    wrapped = wrap_angle(angle)
    assert -math.pi <= wrapped <= math.pi
    assert (math.cos(wrapped), math.sin(wrapped)) == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-9)


@pytest.mark.parametrize(("far", "has_map"), [(0, True), (9000, True), (35_770, True), (35_795, False)])
@pytest.mark.parametrize("border", BORDERS)
def test_a_crop_on_a_grid_samples_as_opencv_4(far, has_map, border):
    """Compare with its integers of 1/1024 pixel: near the image, where float32 rounds, and where no map reaches.

    Maps reach to 32,766 px, to which a corner of the third box is near.
    """
    image, out = make_image(50, 40), np.empty((16, 20, 3), np.uint8)
    box = RotatedBox(25 + far / 2, 20, 30 + far, 24, 0.4)
    crop_on_grid(image, box, out, border=border)
    if not has_map:
        np.testing.assert_array_equal(out, crop(image, box, 20, 16, border=border))
        return
    matrix = crop_matrix(box, 20, 16) * 1024
    ends = matrix[:, 1:2] * np.arange(16) + matrix[:, 2:]  # (2, h)
    grid = np.rint(ends).astype(int)[:, :, None] + np.rint(matrix[:, :1] * np.arange(20)).astype(int)[:, None]
    x, y = (grid + 16 >> 5) / 32
    assert np.abs(out - sample(image, x, y, border)).max() <= 0.51


@given(boxes, st.floats(-2, 2), st.floats(-2, 2))
def test_points_enter_a_crop_as_they_leave_it(box, x, y):
    box = box._replace(height=box.width)
    placed = points_from_crop(np.array([[x, y, 0.5]]), box)
    inside = points_into_crop(placed[:, :2].astype(float), box, 64)
    np.testing.assert_allclose(inside, [[64 * x, 64 * y]], atol=0.1 * max(1, 64 / box.width))


def test_axes_of_a_crop_turn_to_those_of_the_image():
    box, points = RotatedBox(10, 20, 40, 40, 0.7), np.random.default_rng(2).uniform(0, 1, (5, 3))
    centred = (points - (0.5, 0.5, 0)) * 40
    np.testing.assert_allclose(centred @ turn_matrix(box) + (10, 20, 0), points_from_crop(points, box), atol=1e-4)


def test_the_later_of_two_boxes_of_an_instance_stays():
    first, other, later = (RotatedBox(x, 0, 10, 10) for x in (0, 50, 1))
    assert latest_boxes([first, other, later], lambda a, b: iou(a, b) > 0.5) == [other, later]


def test_an_image_of_float32_is_not_rounded_to_levels():
    image = make_image(60, 40).astype(np.float32) / 255
    box = RotatedBox(30, 20, 20.0, 16.0, 0.5)
    cut = crop(image, box, 24, 20)
    x, y = sampled_points(box, 24, 20).reshape(2, 20, 24)
    np.testing.assert_allclose(cut, sample(image, x, y, "replicate"), atol=0.035 if cv2.__version__ < "5" else 1e-4)


def test_boxes_that_are_less_than_a_pixel_apart_or_large_have_exact_overlaps():
    a = RotatedBox(0, 0, 2, 2)
    assert iou(a, RotatedBox(2.5, 0, 2, 2)) == iou(a, RotatedBox(0, 2.5, 2, 2)) == 0
    assert iou(a, RotatedBox(0, 1.5, 2, 2)) == iou(RotatedBox(0, 1.5, 2, 2), a) == pytest.approx(1 / 7)
    assert box_iou((0, 0, 0.5, 0.5), (0.25, 0, 0.75, 0.5)) == pytest.approx(1 / 3)
    small = np.array([[0, 0], [0.5, 0.5]])
    assert overlap_over_smaller(small, small + np.array([0.25, 0])) == pytest.approx(1 / 2)
    assert overlap_over_smaller(small, 8 * small) == 1


def test_a_square_box_stays_in_its_place_by_default():
    assert square_box(RotatedBox(5, 6, 3, 4, 0.5), scale=2) == RotatedBox(5, 6, 8, 8, 0.5)


@pytest.mark.parametrize("cx", [300.37, 3900.1, 4300.61, 6100.22, 9000.83])
def test_a_crop_on_a_grid_rounds_halves_up_everywhere_in_a_wide_image(cx):
    """Pixels of 1/1024 are rounded to 1/32, of which every 32nd is a half. Beyond 4,096 px float32 has no quarter."""
    image, out = make_image(9300, 40), np.empty((40, 500, 3), np.uint8)
    box = RotatedBox(cx, 20, 500.5, 33.3, 0.01)
    crop_on_grid(image, box, out)
    matrix = crop_matrix(box, 500, 40) * 1024
    ends = matrix[:, 1:2] * np.arange(40) + matrix[:, 2:]  # (2, h)
    grid = np.rint(ends).astype(int)[:, :, None] + np.rint(matrix[:, :1] * np.arange(500)).astype(int)[:, None]
    assert (grid % 32 == 16).sum() > 200
    x, y = (grid + 16 >> 5) / 32
    assert np.abs(out - sample(image, x, y, "replicate")).max() <= 0.51
