"""Rigged hands fitted to keypoints: exact, within joint limits, and smooth over time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig_ik import fit_knuckles, fit_lengths, fit_pose
from sonjit.results.skeletons import load_skeleton

SIDES = ("Right", "Left")


def distances_mm(a, b):
    return np.linalg.norm(a - b, axis=-1) * 1000


@pytest.mark.parametrize("side", SIDES)
def test_demo_clip_is_reproduced(rigs, demo_clip, side):
    """Fit the clip, which other code rendered from the same rigs with other joint axes."""
    _, _, truth = demo_clip
    seen = [(frame["time"], hand) for frame in truth for hand in frame["hands"] if hand["handedness"] == side]
    keypoints = np.array([hand["xyz_m"] for _, hand in seen])
    rig = rigs[side].resized(fit_lengths(rigs[side], keypoints))
    fitted = rig.keypoints(fit_pose(rig, keypoints, np.array([time for time, _ in seen])))
    assert distances_mm(fitted, keypoints).mean() < 3
    parents = np.array(load_skeleton("hand_mediapipe21").parents[1:])
    lengths = np.linalg.norm(fitted[:, 1:] - fitted[:, parents], axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-9


@pytest.mark.parametrize("side", SIDES)
def test_own_poses_are_found_again(rigs, some_poses, side):
    rig, pose = rigs[side], some_poses(12)
    keypoints = rig.keypoints(pose)
    fitted = fit_pose(rig, keypoints)
    apart = distances_mm(rig.keypoints(fitted), keypoints)
    assert apart.mean() < 0.5
    assert apart.max() < 2  # the prior draws joints a little towards rest
    assert distances_mm(rig.skin(fitted)[0], rig.skin(pose)[0]).mean() < 1


def test_noise_is_calmed_over_time(rigs, some_poses):
    rig = rigs["Right"]
    pose = some_poses(60)
    noisy = rig.keypoints(pose) + np.random.default_rng(2).normal(0, 0.004, (60, 21, 3))
    smooth, unsmoothed = fit_pose(rig, noisy, np.arange(60) / 30), fit_pose(rig, noisy)

    def unrest(fitted):
        return np.abs(np.diff(fitted.angles, 2, axis=0)).mean()

    assert unrest(smooth) < 0.8 * unrest(unsmoothed)
    true = rig.keypoints(pose)
    assert distances_mm(rig.keypoints(smooth), true).mean() < distances_mm(noisy, true).mean()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
@pytest.mark.slow
def test_nonsense_stays_a_hand(rigs, seed):
    """Check that impossible points give finite poses, hinges without twist, and fingers that are not bent backwards."""
    rig = rigs["Right"]
    keypoints = np.random.default_rng(seed).normal(0, 0.05, (3, 21, 3))
    own = rig.resized(fit_lengths(rig, keypoints))
    pose = fit_pose(own, keypoints)
    assert np.isfinite(own.skin(pose)[0]).all()
    assert not pose.angles[:, :, 1:, 2].any()
    assert not pose.angles[:, 1:, 1:, 0].any()
    assert np.abs(pose.angles).max() < np.deg2rad(140)
    assert np.allclose(pose.rotation @ pose.rotation.transpose(0, 2, 1), np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    ("keypoints", "says"),
    [
        (np.zeros((21, 3)), "shape"),
        (np.zeros((0, 21, 3)), "at least one frame"),
        (np.zeros((2, 20, 3)), "shape"),
        (np.full((1, 21, 3), np.nan), "NaN"),
    ],
)
def test_wrong_keypoints_are_refused(rigs, keypoints, says):
    with pytest.raises(InputError, match=says):
        fit_pose(rigs["Right"], keypoints)


@pytest.mark.parametrize("side", SIDES)
def test_other_knuckles_are_followed(rigs, some_poses, side):
    offsets = np.array([[4, 0, 0], [12, 6, 0], [4, 0, 0], [-6, 4, 0], [-14, 6, 4]]) / 1000
    hand = rigs[side].with_shifted_fingers(offsets)
    assert np.allclose(hand.lengths.reshape(5, 4)[:, 1:], rigs[side].lengths.reshape(5, 4)[:, 1:])
    keypoints = hand.keypoints(some_poses(12))
    rest = rigs[side].resized(fit_lengths(rigs[side], keypoints))
    own = fit_knuckles(rest, keypoints)
    before, after = (distances_mm(rig.keypoints(fit_pose(rig, keypoints)), keypoints).mean() for rig in (rest, own))
    assert after < 0.75 * before
