"""Maps over images."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.boxes import RotatedBox
from sonjit.media.drawing.heat_maps import (
    PREDICTED_COLOUR,
    draw_boxes,
    draw_colour_bar,
    draw_feature_maps,
    overlay,
    place,
)

GREY = np.full((60, 80, 3), 128, np.uint8)


@given(st.floats(-math.pi, math.pi), st.integers(0, 6), st.integers(0, 6))
def test_a_cell_lies_where_its_box_puts_it(rotation, column, row):
    values = np.zeros((7, 7), np.float32)
    values[row, column] = 1
    box = RotatedBox(200, 160, 140, 140, rotation)
    placed = place(values, box, 400, 320)
    along, across = (column + 0.5) / 7 - 0.5, (row + 0.5) / 7 - 0.5
    x = 200 + 140 * (along * math.cos(rotation) - across * math.sin(rotation))
    y = 160 + 140 * (along * math.sin(rotation) + across * math.cos(rotation))
    peak = np.argwhere(placed > 0.9).mean(0)
    assert math.hypot(*(peak - (y, x))) < 7  # of a cell of 20 px; at the border the plateau is lopsided


def test_outside_its_box_a_map_is_unknown_and_the_image_stays():
    placed = place(np.ones((7, 7), np.float32), RotatedBox(40, 30, 20, 20), 80, 60)
    inside = np.isfinite(placed)
    assert abs(inside.sum() - 400) <= 80
    np.testing.assert_allclose(placed[inside], 1)
    over = overlay(GREY, placed)
    assert (over[~inside] == 128).all()
    assert (over[inside] != 128).any()


def test_each_map_has_a_panel():
    rgb = np.full((80, 120, 3), 90, np.uint8)
    ramp = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    image = draw_feature_maps({"one": ramp, "two": np.stack([ramp, -ramp])}, rgb, columns=2)
    assert image.shape == (160, 240, 3)
    assert image.dtype == np.uint8
    assert (image[40:80, :120] == 90).all()  # the input as it is, below its name
    np.testing.assert_array_equal(image[120:, :120], image[40:80, 120:])  # the mean size of the channels
    assert (image[80:, 120:] == image[80, 120]).all()  # nothing there
    red, _, blue = image[78, 238].tolist()
    assert red > blue  # where the map is greatest


@pytest.mark.parametrize("size", [(90, 120), (600, 720), (1210, 1000)])
def test_the_bar_of_colours_lies_in_the_middle_above_the_lower_edge(size):
    height, width = size
    canvas = np.full((height, width, 3), 128, np.uint8)
    labels = draw_colour_bar(canvas, np.array([[2.0, 7.0, np.nan]], np.float32), (0, 0, width, height))
    rows, columns = np.nonzero((canvas != 128).any(2))
    thick = max(3, min(size) // 60)
    assert (rows.min(), rows.max()) == (height - 2 * thick, height - thick - 1)
    assert columns.max() - columns.min() == width // 2 - 1
    assert abs(columns.min() + columns.max() - width) <= 2
    assert [label.text for label in labels] == ["2", "7"]
    assert [label.anchor[0] for label in labels] == [columns.min(), columns.max() + 1]


@pytest.mark.parametrize(
    ("area", "left", "top"),
    [((20, -90, 80, -40), 35, 0), ((20, 0, 80, 50), 35, 53), ((-90, 0, -30, 500), 0, 54), ((190, 0, 260, 56), 170, 54)],
)
def test_the_bar_of_colours_stays_in_the_image(area, left, top):
    canvas = np.full((60, 205, 3), 128, np.uint8)
    draw_colour_bar(canvas, np.array([[2.0, 7.0]], np.float32), area)
    rows, columns = np.nonzero((canvas != 128).any(2))
    assert (columns.min(), rows.min(), rows.max()) == (left, top, top + 2)


@pytest.mark.parametrize("values", [np.ones(4), np.ones((2, 2, 2, 2)), np.ones((0, 3)), np.array([[1, np.nan]])])
def test_maps_of_other_shapes_and_unknown_numbers_are_refused(values):
    with pytest.raises(InputError, match="map one of shape"):
        draw_feature_maps({"one": values}, GREY)


@pytest.mark.parametrize(("size", "width"), [((300, 1000), 5), ((1000, 300), 5), ((60, 80), 2)])
def test_lines_of_boxes_grow_with_the_longer_side_of_the_image(size, width):
    canvas = np.zeros((*size, 3), np.uint8)
    draw_boxes(canvas, predicted=[(20, 20, 60, 50)])
    assert (canvas[35] == PREDICTED_COLOUR).all(1).sum() == pytest.approx(2 * width, abs=2)
