import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonjit.studio.automatic.labelling import swapped_frame_sets

from .projects import hands


def moving(count, seed=0):
    """Return both hands (count, 2, 21, 3), which drift at a distance of at least a hand width, and frame numbers."""
    still = hands(1)[0].reshape(2, 21, 3)
    way = np.cumsum(np.random.default_rng(seed).normal(0, 0.006, (count, 2, 1, 3)), 0)
    return 10 * np.arange(count), still + way


def marks_of(points, certain):
    """Return the joints of the frame sets that people marked."""
    return np.where(certain[:, None, None, None], points, np.nan)


@given(st.integers(0, 100), st.integers(1, 5), st.integers(1, 4))
def test_a_short_swap_next_to_manual_marks_is_found(seed, first, length):
    frames, points = moving(14, seed)
    swapped = np.zeros(14, np.bool_)
    swapped[first : first + length] = True
    certain = np.zeros(14, np.bool_)
    certain[[first - 1, first + length]] = True
    human = marks_of(points, certain)
    points[swapped] = points[swapped][:, ::-1]
    np.testing.assert_array_equal(swapped_frame_sets(frames, points, human), swapped)


@given(st.integers(0, 100), st.integers(1, 4))
def test_what_people_exchanged_shows_it_of_those_around(seed, length):
    frames, points = moving(14, seed)
    human = marks_of(points, np.arange(14) == 4)
    swapped = np.isin(np.arange(14), np.arange(4 - length // 2, 4 - length // 2 + length))
    points[swapped] = points[swapped][:, ::-1]
    np.testing.assert_array_equal(swapped_frame_sets(frames, points, human), swapped)
    human[4, :, 3:] = np.nan  # some joints are enough
    points[4] = np.nan  # and where the machine knows nothing, its neighbours are judged by people's
    np.testing.assert_array_equal(swapped_frame_sets(frames, points, human)[4], False)


@given(st.integers(0, 100))
def test_manual_marks_stay_and_without_marks_all_labels_stay(seed):
    frames, points = moving(9, seed)
    points[4] = points[4, ::-1]
    assert not swapped_frame_sets(frames, points, marks_of(points, np.zeros(9, np.bool_))).any()
    assert not swapped_frame_sets(frames, points, marks_of(points, np.arange(9) == 4))[4]


def test_hands_that_really_change_places_and_pauses_are_left():
    frames, points = moving(12)
    certain = np.arange(12) == 0
    crossed = points.copy()
    crossed[6:] = crossed[6:, ::-1]  # to the end: nothing says that it is not so
    assert not swapped_frame_sets(frames, crossed, marks_of(crossed, certain)).any()
    later = np.where(np.arange(12) < 6, frames, frames + 5000)
    back = points.copy()
    back[6] = back[6, ::-1]  # first after a pause: what was before tells nothing
    assert not swapped_frame_sets(later, back, marks_of(back, certain))[6]


def test_few_frame_sets():
    frames, points = moving(1)
    assert swapped_frame_sets(frames, points, points).tolist() == [False]
