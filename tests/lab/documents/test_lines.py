"""Line plots: points inside the frame, axes that fit the values, and averaged long lines."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.lab.documents.plots import Line, lines_svg

numbers = st.floats(-1e6, 1e6)


def points(svg):
    return [
        np.array([[float(number) for number in point.split(",")] for point in path.split()])
        for path in re.findall(r'polyline points="([^"]*)"', svg)
    ]


def ticks(svg):
    return re.findall(r'text-anchor="end"[^>]*>([^<]*)<', svg)


@given(st.lists(st.lists(numbers, min_size=1, max_size=700), min_size=1, max_size=4))
def test_every_point_lies_in_the_frame_and_higher_is_higher(values):
    svg = lines_svg([Line("a", range(len(value)), value) for value in values], "step", "title")
    for drawn, one in zip(points(svg), values, strict=True):
        assert (drawn[:, 0] >= 63.9).all()
        assert (drawn[:, 0] <= 624.1).all()
        assert (drawn[:, 1] >= 27.9).all()
        assert (drawn[:, 1] <= 256.1).all()
        if len(one) <= 320:
            rises, drawn_rises = np.diff(one), -np.diff(drawn[:, 1])
            assert (drawn_rises[rises > 0] >= 0).all()
            assert (drawn_rises[rises < 0] <= 0).all()


def test_an_axis_over_decades_is_logarithmic():
    svg = lines_svg([Line("loss", [1, 2, 3], [1e-4, 1e-2, 1.0])], "step", "t")
    assert ticks(svg) == ["0.0001", "0.001", "0.01", "0.1", "1"]
    drawn = points(svg)[0][:, 1]
    assert drawn[0] - drawn[1] == pytest.approx(drawn[1] - drawn[2], abs=0.2)
    assert ticks(lines_svg([Line("loss", [1, 2], [1.0, 4.0])], "step", "t")) == ["0", "1", "2", "3", "4"]


def test_long_lines_keep_their_mean_and_gaps_are_left_out():
    noise = np.random.default_rng(0).normal(5, 0.1, 9600)
    drawn = points(lines_svg([Line("a", range(9600), noise.tolist()), Line("top", [0, 1], [0.0, 8.0])], "step", "t"))
    assert len(drawn[0]) == 320
    assert drawn[0][:, 1].mean() == pytest.approx(256 - 228 * 5 / 8, abs=0.5)
    assert len(points(lines_svg([Line("a", [1, 2, 3], [1.0, float("nan"), 2.0])], "s", "t"))[0]) == 2
