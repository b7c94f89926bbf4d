import numpy as np
import pytest

from sonjit.studio.triangulation.bones import HAND_BONES, median_lengths
from sonjit.studio.triangulation.skeleton_fit import fit_skeletons

from .projects import hands

NOISE_M = 0.004


@pytest.fixture
def truth():
    return hands(30, 3).reshape(30, 2, 21, 3)


def fitted(points, truth, times=None, noise_m=NOISE_M):
    covariance = np.broadcast_to(noise_m**2 * np.eye(3), (*points.shape, 3))
    times = np.arange(len(points)) * 1.0 if times is None else times
    return fit_skeletons(points, covariance, median_lengths(truth), times)


def test_known_bone_lengths_reduce_the_error_of_noisy_joints(truth):
    hand = truth[:, 0]
    noisy = hand + np.random.default_rng(0).normal(0, NOISE_M, hand.shape)
    before = np.linalg.norm(noisy - hand, axis=-1).mean()
    found = fitted(noisy, hand)
    assert np.linalg.norm(found.points_m - hand, axis=-1).mean() < 0.85 * before
    lengths = np.linalg.norm(found.points_m[:, HAND_BONES[:, 1]] - found.points_m[:, HAND_BONES[:, 0]], axis=-1)
    assert np.abs(lengths - median_lengths(hand)).mean() < NOISE_M / 4


def test_exact_joints_stay(truth):
    found = fitted(truth[:, 1], truth[:, 1])
    np.testing.assert_allclose(found.points_m, truth[:, 1], atol=1e-4)
    assert np.isfinite(found.covariance_m2).all()


def test_quick_frame_sets_are_smoothed_and_far_ones_are_not(truth):
    still = np.repeat(truth[:1, 0], 30, 0)
    noisy = still + np.random.default_rng(1).normal(0, NOISE_M, still.shape)
    far, near = (fitted(noisy, still, np.arange(30) * step).points_m for step in (1.0, 1 / 60))
    assert np.linalg.norm(near - still, axis=-1).mean() < 0.7 * np.linalg.norm(far - still, axis=-1).mean()


def test_a_joint_lost_for_a_moment_is_filled_and_one_never_seen_is_not(truth):
    still = np.repeat(truth[:1, 0], 10, 0)
    points = still.copy()
    points[4, 8] = np.nan
    points[:, 20] = np.nan
    found = fitted(points, still, np.arange(10) / 30).points_m
    np.testing.assert_allclose(found[4, 8], still[4, 8], atol=1e-3)
    assert np.isnan(found[:, 20]).all()
