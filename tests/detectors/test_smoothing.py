import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import OneEuro

FPS, SIZE = 30, 200.0


def run(values, filter_=None, *, fps=FPS, scale=SIZE):
    """Return the filtered values of consecutive frames."""
    filter_ = filter_ or OneEuro()
    return np.array([filter_(np.asarray(v, np.float32), time=i / fps, scale=scale) for i, v in enumerate(values)])


@pytest.fixture
def still():
    """Return a still hand of 200 px over four seconds with white noise of one pixel."""
    rng = np.random.default_rng(5)
    return np.array([100.0, 50.0, 0.0]) + rng.normal(0, 1, (4 * FPS, 21, 3))


@given(st.floats(-1e4, 1e4, width=32), st.floats(1, 240))
def test_what_is_constant_stays(value, fps):
    values = run(np.full((10, 3, 2), value, np.float32), fps=fps)
    np.testing.assert_allclose(values, value, rtol=1e-6)
    assert values.dtype == np.float32


def test_noise_of_a_still_hand_falls_to_a_third(still):
    jitter = np.diff(run(still)[FPS:], axis=0).std()
    assert jitter <= np.diff(still[FPS:], axis=0).std() / 3


def test_a_step_is_followed_at_once(still):
    moved = still.copy()
    moved[60:, :, 0] += 20
    smooth = run(moved)[:, :, 0].mean(axis=1) - 100
    assert smooth[59] < 1
    assert (smooth[60:62] >= [10, 18]).all()


def test_a_step_is_followed_by_the_share_of_a_low_pass_filter_of_the_cut_off():
    """The published filter has the share r / (r + 1) with r = 2 pi f t, and f grows with the smoothed speed."""

    def share(cutoff_hz):
        r = 2 * np.pi * cutoff_hz * 0.05
        return r / (r + 1)

    zeros, ones = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    for beta in (0.0, 0.3):
        smooth = OneEuro(min_cutoff_hz=2, beta=beta, derivative_cutoff_hz=1.5, dead_speed=0.1)
        smooth(zeros, time=1.0, scale=4.0)
        speed = share(1.5) / (4 * 0.05) - 0.1
        assert smooth(ones, time=1.05, scale=4.0) == pytest.approx(share(2 + beta * speed), rel=1e-5)


@pytest.mark.parametrize("size", [20, 2000])
def test_sizes_do_not_matter(still, size):
    grown = run(still * size / SIZE, scale=size) * SIZE / size
    np.testing.assert_allclose(grown, run(still), atol=1e-2)


def test_time_is_honoured():
    step = [[[0.0]]] * 2 + [[[1.0]]]
    slow, fast = run(step, fps=10)[-1], run(step, fps=100)[-1]
    assert slow > fast


def test_values_between_two_frames_are_not_overshot():
    ramp = np.concatenate([np.zeros(20), np.linspace(0, 300, 15), np.full(20, 300)])[:, None, None]
    smooth = run(ramp)
    assert smooth.max() <= 300 <= 300 + np.diff(smooth[:, 0, 0]).min()
    np.testing.assert_allclose(smooth[-1], 300, atol=2)


def test_reset_and_missing_keypoints_forget_and_times_that_do_not_rise_pass():
    filter_, value = OneEuro(), np.array([[77.0]], np.float32)
    run(np.zeros((5, 1, 1)), filter_)
    assert [filter_(value, time=time, scale=SIZE) for time in (4 / FPS, 0, -1, np.nan)] == [77] * 4
    assert filter_(value * 0, time=1, scale=SIZE) == 0
    assert run(np.reshape([3, 3, np.nan, 5, 5], (5, 1, 1))).ravel()[[1, 3, 4]].tolist() == [3, 5, 5]
    filter_.reset()
    assert filter_(value, time=0.0, scale=SIZE) == 77
