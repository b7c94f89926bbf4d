"""Maps, boxes and their errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.lab.metrics import box_from_map, box_iou, boxes_from_maps, classification_error, localization_error

sizes = st.integers(1, 9)


def block(x, y, width, height, value=1.0):
    """Return a map with one rectangle."""
    values = np.zeros((24, 24), np.float32)
    values[y : y + height, x : x + width] = value
    return values


@given(sizes, sizes, sizes, sizes, st.floats(1e-3, 1e3))
def test_the_box_of_a_block_is_the_block(x, y, width, height, value):
    assert box_from_map(block(x, y, width, height, value)) == (x, y, x + width, y + height)


def test_only_the_largest_part_counts_however_bright_the_others():
    values = block(1, 1, 2, 2, 1.0) + block(10, 8, 5, 6, 0.4)
    assert box_from_map(values) == (10, 8, 15, 14)
    assert box_from_map(values, 0.5) == (1, 1, 3, 3)


def test_a_map_without_anything_for_the_class_has_no_box():
    assert box_from_map(np.full((4, 4), -1.0)) is None


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(InputError, match="threshold"):
        box_from_map(np.ones((2, 2)), threshold)


def test_the_heuristic_takes_tight_and_loose_boxes_of_two_classes_and_a_loose_one_of_the_third():
    peaked = block(2, 2, 10, 10, 0.3) + block(4, 4, 3, 3, 0.7)
    found = boxes_from_maps([peaked] * 4)
    assert [place for place, _ in found] == [0, 0, 1, 1, 2]
    assert found[0][1] == (4, 4, 7, 7)
    assert found[1][1] == found[4][1] == (2, 2, 12, 12)


@given(st.tuples(sizes, sizes, sizes, sizes), st.tuples(sizes, sizes, sizes, sizes))
def test_overlap_counts_the_cells(a, b):
    cells = [block(*one) > 0 for one in (a, b)]
    boxes = [(x, y, x + width, y + height) for x, y, width, height in (a, b)]
    expected = (cells[0] & cells[1]).sum() / (cells[0] | cells[1]).sum()
    assert box_iou(*boxes) == box_iou(*boxes[::-1]) == pytest.approx(expected)


@given(st.integers(0, 99), st.integers(1, 6))
def test_more_predictions_never_err_more(seed, top):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(20, 7)), rng.integers(7, size=20).tolist()
    assert classification_error(scores, labels, top + 1) <= classification_error(scores, labels, top)
    assert classification_error(scores, labels, 7) == 0


def test_a_place_counts_only_with_the_right_class_and_half_of_the_box():
    truth = [(3, [(0, 0, 10, 10)])]
    right, wrong, apart = (3, (0, 0, 10, 6)), (2, (0, 0, 10, 10)), (3, (0, 0, 10, 4))
    assert localization_error([[right]], truth) == 0
    assert localization_error([[wrong]], truth) == localization_error([[apart]], truth) == 1
    assert localization_error([[wrong, right]], truth, top=1) == 1
    assert localization_error([[wrong, right]], truth, top=5) == 0


def test_a_map_of_nothing_gives_no_box_and_no_box_is_never_right():
    assert box_from_map(np.zeros((8, 8))) is None
    assert localization_error([[(3, None)], [(3, (0, 0, 2, 2))]], [(3, [(0, 0, 2, 2)])] * 2, top=1) == 0.5


def test_what_is_nan_in_a_map_is_in_no_box():
    values = block(2, 3, 4, 5)
    values[0, :] = np.nan
    assert box_from_map(values) == (2, 3, 6, 8)


def test_corners_join_parts_only_on_request():
    corner_to_corner = block(0, 0, 2, 2) + block(2, 2, 3, 3)
    assert box_from_map(corner_to_corner) == (0, 0, 5, 5)
    assert box_from_map(corner_to_corner, connectivity=4) == (2, 2, 5, 5)


def test_a_score_that_is_nan_is_not_a_prediction():
    assert classification_error(np.array([[np.nan, 0.2], [0.5, np.nan]]), [0, 0], top=2) == 0.5


def test_errors_of_nothing_are_unknown():
    assert np.isnan(classification_error(np.zeros((0, 3)), []))
    assert np.isnan(localization_error([], []))


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="one per image"):
        classification_error(np.zeros((2, 3)), [1])
    with pytest.raises(InputError, match="as many"):
        localization_error([[]], [])
    with pytest.raises(InputError, match=r"\(H, W\)"):
        box_from_map(np.zeros(3))
