"""Repetitions of an angle at their limits, and angles and distances of points."""

import math

import numpy as np
import pytest

from sonjit import InputError
from sonjit.results.measures import RepetitionCounter, find_repetitions, joint_angles_rad
from sonjit.results.measures.joints import Repetition, distances, unit

STEP_S = 0.125
LIMITS = {"min_duration_s": 0.5, "min_hold_s": 0.25, "max_gap_s": 1.0}


def run(*pieces, low_rad=1.0, high_rad=2.0, **options):
    """Return the repetitions of pieces of an angle and its number of samples, after a second of a straight joint."""
    angles = [2.5] * 8 + [angle for angle, count in pieces for _ in range(count)]
    times = np.arange(len(angles)) * STEP_S
    return find_repetitions(angles, times, low_rad=low_rad, high_rad=high_rad, **(LIMITS | options))


def test_a_repetition_is_from_the_last_to_the_first_straight_angle():
    found = run((1.5, 2), (0.75, 3), (0.5, 2), (0.875, 2), (1.75, 1), (2.25, 4), (0.25, 4), (3.0, 3))
    first, second = Repetition(0.875, 2.25, 0.5), Repetition(2.625, 3.25, 0.25)
    assert found == [first, second]
    assert (first.duration_s, second.duration_s) == (1.375, 0.625)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"bent": 1.0}, {"bent": 1.001}),
        ({"straight": 2.0}, {"straight": 1.999}),
        ({"bent_count": 2}, {"bent_count": 1}),  # a quarter of a second from the sample before it
        ({"straight_count": 2}, {"straight_count": 1}),
        ({"between": 0, "bent_count": 3}, {"between": 0, "bent_count": 2, "straight_count": 1}),
        ({"bent_count": 2, "min_hold_s": 0.25}, {"bent_count": 2, "min_hold_s": 0.26}),
    ],
)
def test_a_repetition_goes_beyond_both_limits_for_a_while(inside, outside):
    def count(bent=0.5, straight=2.5, between=2, bent_count=4, straight_count=4, **options):
        pieces = (1.5, between), (bent, bent_count), (1.5, between), (straight, straight_count), (1.5, 4)
        return len(run(*pieces, **options))

    assert count(**inside) == 1
    assert count(**outside) == 0


@pytest.mark.parametrize(("minimum_s", "count"), [(0.625, 1), (0.626, 0)])
def test_the_duration_is_from_the_last_straight_angle_to_the_stable_return(minimum_s, count):
    assert len(run((0.5, 3), (2.5, 4), min_duration_s=minimum_s)) == count


@pytest.mark.parametrize(("unknown", "count"), [(7, 1), (8, 0)])
def test_a_gap_of_more_than_a_second_drops_a_repetition(unknown, count):
    assert len(run((0.5, 3), (math.nan, unknown), (2.5, 4))) == count


@pytest.mark.parametrize(("bent_count", "count"), [(1, 0), (2, 1)])
def test_an_outlier_after_a_gap_does_not_count(bent_count, count):
    assert len(run((math.nan, 4), (0.5, bent_count), (2.5, 8))) == count
    assert len(run((math.nan, 4), (0.5, 1), (math.nan, 1), (0.5, bent_count - 1), (math.nan, 4), (2.5, 8))) == count
    assert run((0.5, 4), (math.nan, 4), (2.5, 1), (1.5, 8)) == []


def test_a_bent_joint_counts_only_after_a_straight_one():
    angles, times = [0.5] * 8 + [2.5] * 8, np.arange(16) * STEP_S
    assert find_repetitions(angles, times, low_rad=1, high_rad=2, **LIMITS) == []
    assert len(find_repetitions(angles * 2, np.arange(32) * STEP_S, low_rad=1, high_rad=2, **LIMITS)) == 1
    assert run((1.5, 2), (0.5, 3), (1.5, 2), (0.25, 3), (2.5, 3)) == [Repetition(0.875, 2.25, 0.25)]


def test_a_counter_starts_again_or_continues_on_another_clock():
    def once(counter, start_s):
        counts = [
            counter.update(angle, start_s + k * STEP_S) for k, angle in enumerate([2.5] * 4 + [0.5] * 4 + [2.5] * 4)
        ]
        return counts[-2:]

    counter = RepetitionCounter(1.0, 2.0, **LIMITS)
    assert (counter.count, counter.last) == (0, None)
    assert once(counter, 50.0) == [1, 1]
    counter.restart_clock()
    assert counter.last == Repetition(50.375, 51.0, 0.5)
    assert once(counter, 0.0) == [2, 2]
    assert counter.last.begin_s == 0.375
    counter.reset()
    assert (counter.count, counter.last) == (0, None)
    assert once(counter, 0.0) == [1, 1]
    counter.restart_clock()
    for k in range(4):
        counter.update(2.5, k * STEP_S)
        counter.update(2.5, k * STEP_S)  # the same time is no error
    for k in range(4, 8):
        counter.update(0.5, k * STEP_S)
    counter.restart_clock()
    assert [counter.update(2.5, k * STEP_S) for k in range(4)] == [1] * 4  # what it had begun is forgotten


def test_limits_and_times_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="below"):
        RepetitionCounter(1.0, 1.0)
    for name in LIMITS:
        with pytest.raises(InputError, match="negative"):
            RepetitionCounter(1.0, 2.0, **{name: -0.001})
    RepetitionCounter(1.0, 2.0, min_duration_s=0, min_hold_s=0, max_gap_s=0)
    counter = RepetitionCounter(1.0, 2.0)
    counter.update(1.5, 1.0)
    for time_s in (0.999, math.inf, math.nan):
        with pytest.raises(InputError, match="finite and not run backwards"):
            counter.update(1.5, time_s)
    for angles, times in (([1.0], [0.0, 1.0]), ([[1.0]], [[0.0]]), (1.0, 0.0)):
        with pytest.raises(InputError, match="must both be"):
            find_repetitions(angles, times)


def test_angles_and_distances_are_those_of_their_points():
    points = np.array([[[3, 0, 0], [0, 0, 0], [0, 0, 4], [-1, 0, 1]]], float)
    np.testing.assert_allclose(joint_angles_rad(points, [(0, 1, 2), (0, 1, 3)]), [[math.pi / 2, 3 * math.pi / 4]])
    np.testing.assert_allclose(distances(points, [(0, 2), (1, 3)]), [[5, math.sqrt(2)]])
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]])), [[0.6, 0.8], [np.nan, np.nan]])
    assert joint_angles_rad(points, []).shape == (1, 0)
    assert joint_angles_rad(points, [(3, 0, 3)]) == pytest.approx(0)
    for joints in ([(0, 1, 4)], [(0, -1, 2)]):
        with pytest.raises(InputError, match="joints name point"):
            joint_angles_rad(points, joints)
