"""Maps over images."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonjit.geometry.boxes import RotatedBox
from sonjit.lab.explain import draw_boxes, enlarge, grid, overlay, panel, place
from sonjit.lab.explain.overlay import PREDICTED_COLOUR, TRUE_COLOUR, draw_colour_bar

GREY = np.full((60, 80, 3), 128, np.uint8)


def test_an_enlarged_map_keeps_its_cells_in_place():
    values = np.zeros((7, 7), np.float32)
    values[2, 5] = 1
    large = enlarge(values, 140, 70)
    y, x = np.unravel_index(large.argmax(), large.shape)
    assert max(abs(x - 109.5), abs(y - 24.5)) <= 1  # the middle of the cell


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


def test_red_speaks_for_and_blue_against():
    values = np.tile(np.linspace(-1, 1, 80, dtype=np.float32), (60, 1))
    over = overlay(GREY, values).astype(int)
    assert over[30, -8, 0] > over[30, -8, 2]
    assert over[30, 8, 2] > over[30, 8, 0]
    assert (GREY == 128).all()


def test_a_map_of_one_value_is_drawn_too():
    assert overlay(GREY, np.zeros((60, 80), np.float32)).shape == GREY.shape


def test_the_colours_of_a_map_are_drawn_at_its_lower_edge_with_its_range():
    canvas, values = np.full((200, 300, 3), 128, np.uint8), np.array([[-2, np.nan], [0.5, 7]], np.float32)
    low, high = draw_colour_bar(canvas, values, (100, 40, 200, 120))
    rows, columns = np.nonzero((canvas != 128).any(2))
    assert (columns.min(), columns.max()) == (125, 174)
    assert rows.min() >= 120
    (start, *_, end) = canvas[rows.min(), 125:175].astype(int)
    assert start[2] > start[0]
    assert end[0] > end[2]
    assert (low.text, high.text) == ("-2", "7")
    assert low.anchor[0] == 125
    assert high.anchor[0] == 175
    before = canvas.copy()
    assert draw_colour_bar(canvas, np.full((2, 2), np.nan, np.float32), (0, 0, 300, 200)) == []
    assert (canvas == before).all()
    draw_colour_bar(canvas, values, (-50, 100, 500, 900))  # the bar stays in the image
    assert (canvas[190:] != before[190:]).any()


def test_truth_is_green_and_prediction_red():
    canvas = GREY.copy()
    draw_boxes(canvas, true=[(10, 10, 30, 30)], predicted=[(40, 10, 70, 50)])
    colours = {tuple(colour) for colour in canvas.reshape(-1, 3).tolist()}
    assert {TRUE_COLOUR, PREDICTED_COLOUR} <= colours


def test_panels_stand_in_rows_and_columns():
    one = panel(GREY, np.eye(60, 80, dtype=np.float32), "dome 0.93")
    assert (one[:20, :60] != overlay(GREY, np.eye(60, 80, dtype=np.float32))[:20, :60]).any()
    assert grid([[one, one], [one, one], [one, one]]).shape == (180, 160, 3)
