"""Rows with a constant step: the value of a row belongs to its time, whatever the times of the frames are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import JobError
from sonjit.geometry.steps import frame_positions, points_at, row_times, rows_of_frames, time_notes

SLOWED = np.append(np.arange(90) / 30, 3 + np.arange(40) / 5)  # 3 s at 30 frames per second, then 8 s at 5
STEPS = st.lists(st.sampled_from([1 / 60, 1 / 30, 1 / 25, 0.2]), min_size=2, max_size=80)


def shown(times):
    """Return the rows of points whose x is the time of their frame."""
    rows = rows_of_frames(times)
    return rows, points_at(np.column_stack([times, times * np.nan]), times, rows)


@given(STEPS)
def test_a_row_has_the_place_of_its_time(steps):
    times = np.cumsum([0.0, *steps])
    rows, points = shown(times)
    grid = times[0] + rows.step_s * np.arange(len(points))
    np.testing.assert_allclose(points[:, 0], grid, atol=rows.step_s * 0.51)
    assert np.isnan(points[:, 1]).all()
    assert abs(grid[-1] - times[-1]) <= rows.step_s * 0.51


def test_a_rate_that_changes_keeps_every_frame_at_its_time():
    rows, points = shown(SLOWED)
    assert 1 / rows.step_s == pytest.approx(30)
    np.testing.assert_allclose(points[:, 0], np.arange(len(points)) / 30, atol=1e-9)
    assert len(points) == 325


@pytest.mark.parametrize("digits", [3, 6, 12])
@pytest.mark.parametrize("fps", [24000 / 1001, 25, 30, 59.94, 120])
def test_frames_at_a_constant_rate_are_the_rows(fps, digits):
    times = np.round(5 + np.arange(500) / fps, digits)
    rows, points = shown(times)
    np.testing.assert_array_equal(points[:, 0], times)
    assert 1 / rows.step_s == pytest.approx(fps, rel=1e-4)


def test_frames_that_a_camera_left_out_are_interpolated_and_the_others_kept():
    times = np.delete(np.round(np.arange(300) / 30, 3), [7, 100, 101, 299])
    rows, points = shown(times)
    assert len(points) == 299
    assert 1 / rows.step_s == pytest.approx(30, rel=1e-3)
    assert set(times) <= set(points[:, 0])
    np.testing.assert_allclose(points[:, 0], np.arange(299) / 30, atol=0.002)


def test_no_place_is_made_up_in_a_pause():
    times = np.append(np.arange(30) / 30, 5 + np.arange(30) / 30)
    rows, points = shown(times)
    np.testing.assert_allclose(points[[0, 29, 150, -1], 0], [0, 29 / 30, 5, 5 + 29 / 30])
    assert np.isnan(points[31:149, 0]).all()
    (note,) = time_notes(times, rows)
    assert note == f"{len(points)} rows at 30.00 per second are between the 60 frames, whose rate is variable"


def test_a_clock_that_jumps_leaves_the_pause_out_and_says_so():
    times = np.append(np.arange(30) / 5, 10_800 + np.arange(30) / 5)
    rows = row_times(times, 1 / 5)
    assert len(rows.times) == 60
    np.testing.assert_allclose(rows.times, times)
    assert time_notes(times, rows) == ["10794.0 s without frames are left out, by which later rows are early"]
    start, pause = time_notes(times + 4, rows)
    assert start == "it begins 4.00 s after the start of the video, which the format cannot state"
    assert time_notes(times + 4, rows, has_start=True) == [pause]
    assert len(row_times(np.arange(5) * 60.0, 60.0).times) == 5  # a time-lapse has no pause
    assert len(row_times(np.arange(5) * 60.0, 1 / 30).times) == 7201
    with pytest.raises(JobError, match="more than 1000000 rows are too large a file"):
        row_times(np.array([0, 1e7]), 1, omits=False)


def test_times_that_repeat_make_no_row_of_their_own():
    rows, points = shown(np.array([0, 0.1, 0.1, 0.2, 0.3, 0.4]))
    assert rows.step_s == pytest.approx(0.1)
    assert len(points) == 5


@pytest.mark.parametrize("unit", [10**6, 10**9, 10**3])
def test_numbers_that_are_time_stamps_are_counted(unit):
    start = 1_764_504_000 * unit
    stamps = [start + round(k * unit * 5) for k in range(300)]
    assert frame_positions(stamps) == list(range(300))
    assert frame_positions(range(7, 3000, 10)) == list(range(7, 3000, 10))
    assert frame_positions([]) == []
