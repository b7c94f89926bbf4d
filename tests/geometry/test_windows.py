"""Windows of images: they cover the image, overlap, and are as many as requested."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.geometry.boxes import RotatedBox
from sonjit.geometry.windows import Window, is_long, reach, window_around, windows

LENGTHS = st.integers(1, 2000)


def image(width, height):
    return np.zeros((height, width, 3), np.uint8)


@given(LENGTHS, LENGTHS, st.integers(1, 4), st.booleans())
def test_windows_cover_an_image_and_overlap_by_a_seventh(width, height, parts, fewer):
    found = windows(width, height, parts, fewer=fewer)
    longer = max(width, height)
    number = parts * round(longer / reach(width, height))
    if number > 1 and (longer < 96 * number or min(width, height) < number):
        assert found == []
        return
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in found:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] = True
    assert covered.all()
    for length, spans in ((width, {one[::2] for one in found}), (height, {one[1::2] for one in found})):
        spans = sorted(spans)
        assert len(spans) == number or length < longer
        for (start, end), (following, last) in pairwise(spans):
            assert abs((end - start) - (last - following)) <= 1
            assert end - following >= 0.15 / 1.15 * (end - start) - 1.5


@pytest.mark.parametrize(
    ("size", "parts", "fewer", "columns", "rows"),
    [
        ((640, 480), 1, False, [(0, 640)], [(0, 480)]),
        ((640, 480), 2, False, [(0, 342), (298, 640)], [(0, 342), (138, 480)]),
        ((640, 480), 2, True, [(0, 342), (298, 640)], [(0, 480)]),
        ((480, 640), 2, True, [(0, 480)], [(0, 342), (298, 640)]),
        ((640, 640), 3, True, [(0, 234), (203, 437), (406, 640)], [(0, 234), (203, 437), (406, 640)]),
        ((800, 200), 1, False, [(0, 428), (372, 800)], [(0, 200)]),  # as long as two images
        ((192, 100), 2, True, [(0, 103), (89, 192)], [(0, 100)]),
        ((640, 20), 1, True, [(0, 120), (104, 224), (208, 328), (312, 432), (416, 536), (520, 640)], [(0, 20)]),
    ],
)
def test_windows_of_an_image(size, parts, fewer, columns, rows):
    assert windows(*size, parts, fewer=fewer) == [Window(x, y, right, end) for y, end in rows for x, right in columns]


@pytest.mark.parametrize(
    ("width", "height", "longest"),
    [(1000, 1000, 1000), (1000, 340, 1000), (1000, 330, 500), (200, 1000, 500), (300, 10, 100), (960, 2, 480)],
)
def test_a_long_image_is_searched_in_parts_twice_as_long_as_wide(width, height, longest):
    assert reach(width, height) == longest


@pytest.mark.parametrize(
    ("width", "height", "long"), [(710, 100, True), (690, 100, False), (100, 710, True), (9, 9, False)]
)
def test_an_image_is_long_from_seven_times_its_width(width, height, long):
    assert is_long(image(width, height)) == long


@pytest.mark.parametrize("window", [Window(100, 50, 200, 150), Window(0, 0, 300, 200)])
@pytest.mark.parametrize(
    ("box", "is_near"),
    [
        ((102, 52, 198, 148), False),
        ((101.9, 60, 190, 140), True),
        ((110, 51.9, 190, 140), True),
        ((110, 60, 198.1, 140), True),
        ((110, 60, 190, 148.1), True),
    ],
)
def test_a_window_cuts_boxes_that_reach_an_edge_inside_the_image(window, box, is_near):
    is_inner = window.left > 0
    assert window.cuts(box, image(300, 200)) == (is_near and is_inner)
    assert not Window(0, 0, 300, 200).cuts((0, 0, 300, 200), image(300, 200))


def test_parts_of_an_image_and_boxes_in_them():
    window = Window(100, 50, 200, 150)
    rgb = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    np.testing.assert_array_equal(window.cut(rgb), rgb[50:150, 100:200])
    assert window.placed(RotatedBox(3, 4, 5, 6, 0.7)) == RotatedBox(103, 54, 5, 6, 0.7)
    assert window.clipped((90, 40, 210, 160)) == window
    assert window.clipped((110, 60, 190, 140)) == (110, 60, 190, 140)


@pytest.mark.parametrize(
    ("place", "side", "window"),
    [
        ((50, 40), 24, (38, 28, 62, 52)),
        ((50, 40), 23, None),
        ((5, 40), 60, (0, 10, 35, 70)),
        ((50, 5), 60, (20, 0, 80, 35)),
        ((95, 40), 60, (65, 10, 100, 70)),
        ((50, 75), 60, (20, 45, 80, 80)),
        ((50, 40), 900, (0, 0, 100, 80)),
        ((-6, 40), 60, (0, 10, 24, 70)),
        ((-7, 40), 60, None),
        ((50, 87), 60, None),
    ],
)
def test_a_window_around_a_place_is_the_part_in_the_image(place, side, window):
    assert window_around(*place, side, image(100, 80)) == window


@pytest.mark.parametrize(
    ("window", "cut"),
    [
        ((1, 0, 300, 200), (True, False, False, False)),
        ((0, 1, 300, 200), (False, True, False, False)),
        ((0, 0, 299, 200), (False, False, True, False)),
        ((0, 0, 300, 199), (False, False, False, True)),
        ((0, 0, 300, 200), (False, False, False, False)),
    ],
)
def test_a_window_that_lacks_a_pixel_of_the_image_cuts_at_that_edge(window, cut):
    inner = (50, 50, 150, 150)
    for edge in range(4):
        box = [*inner[:edge], window[edge], *inner[edge + 1 :]]
        assert Window(*window).cuts(tuple(box), image(300, 200)) == cut[edge]
    assert not Window(*window).cuts(inner, image(300, 200))


@pytest.mark.parametrize("size", [(95, 60), (191, 90), (192, 90), (287, 200), (288, 200)])
def test_windows_have_at_least_half_the_input_of_a_detector(size):
    """A side of 96 px for each part along the longer side, and a pixel for each along the shorter one."""
    for parts in (2, 3):
        assert bool(windows(*size, parts)) == (size[0] >= 96 * parts)
        assert bool(windows(*size[::-1], parts)) == (size[0] >= 96 * parts)
