"""The rigged hand: its file, other bones and poses, and its fit to keypoints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.results.skeletons import load_skeleton
from sonjit.weights import find_weight
from sonjit_lab.hand_models.mesh_files import glb_from_motions
from sonjit_lab.hand_models.rig import (
    KEYPOINTS,
    RigMotion,
    RigPose,
    fit_knuckles,
    fit_lengths,
    fit_pose,
    load_rig,
    read_rig,
)

SIDES = ("Right", "Left")


def rest(rig, count=1):
    joints = np.repeat(rig.joints[:1], count, 0)
    return RigPose(np.repeat(np.eye(3)[None], count, 0), joints, np.zeros((count, 5, 3, 3)))


@pytest.mark.parametrize("side", SIDES)
class TestRest:
    def test_pose_of_no_angles_is_the_file(self, rigs, side):
        rig = rigs[side]
        (vertices,), (normals,) = rig.skin(rest(rig))
        assert np.allclose(vertices, rig.vertices, atol=1e-6)
        assert (normals * rig.normals).sum(-1).min() > 0.999
        assert np.allclose(rig.keypoints(rest(rig))[0], rig.joints[list(KEYPOINTS)], atol=1e-7)


@pytest.mark.parametrize("side", SIDES)
class TestAngles:
    def test_bending_brings_tips_to_the_palm(self, rigs, side):
        rig, pose = rigs[side], rest(rigs[side])
        palm_normal = -rig.frames[10][:, 1]  # y of the middle metacarpal points out of the back
        straight = rig.keypoints(pose)[0]
        pose.angles[:, 1:, 0, 1] = 0.5
        moved = (rig.keypoints(pose)[0] - straight) @ palm_normal
        assert (moved[[8, 12, 16, 20]] > 0.01).all()
        assert np.allclose(moved[[0, 1, 2, 3, 4, 5, 9, 13, 17]], 0, atol=1e-9)

    def test_bones_keep_their_lengths(self, rigs, side, some_poses):
        rig = rigs[side]
        points = rig.keypoints(some_poses(20))
        parents = np.array(load_skeleton("hand_mediapipe21").parents[1:])
        lengths = np.linalg.norm(points[:, 1:] - points[:, parents], axis=-1)
        assert np.allclose(lengths, rig.lengths, atol=1e-9)


def test_left_and_right_mirror_each_other(rigs, some_poses):
    flip = np.diag([-1.0, 1.0, 1.0])  # the files' hands mirror each other in x
    right, left = rigs["Right"], rigs["Left"]
    pose = some_poses(5)
    mirrored = RigPose(flip @ pose.rotation @ flip, pose.translation @ flip, pose.angles)
    apart = np.linalg.norm(right.keypoints(pose) @ flip - left.keypoints(mirrored), axis=-1)
    assert apart.max() < 0.025  # the two rigs' fingers differ by several millimetres themselves
    assert apart.mean() < 0.008


class TestResized:
    def test_bones_take_the_lengths_and_the_skin_follows(self, rigs):
        rig = rigs["Right"]
        lengths = rig.lengths * np.random.default_rng(3).uniform(0.9, 1.2, 20)
        other = rig.resized(lengths)
        assert np.allclose(other.lengths, lengths)
        assert np.linalg.norm(other.vertices - rig.vertices, axis=1).max() < 0.04
        assert np.allclose(rig.resized(rig.lengths).vertices, rig.vertices, atol=1e-9)


class TestFiles:
    def broken(self, tmp_path, data):
        name = "hand_rig_right.glb"
        size = find_weight("hand-rig-right").stat().st_size
        (tmp_path / name).write_bytes((data + bytes(size))[:size])
        with pytest.raises(InputError) as caught:
            load_rig("Right", tmp_path)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="sonjit models pull hand-rig-left"):
            load_rig("Left", tmp_path)

    @pytest.mark.parametrize("cut", [0, 11, 40, 5000])
    def test_damaged(self, tmp_path, rigs, cut):
        self.broken(tmp_path, find_weight("hand-rig-right").read_bytes()[:cut])

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            (b'"skin":0', b'"skip":0', "no skinned mesh"),
            (b"thumb-tip", b"thumb-top", "thumb-tip missing"),
            (b"JOINTS_0", b"JOINTS_9", "JOINTS_0"),
        ],
    )
    def test_a_user_rig_without_a_part(self, tmp_path, rigs, some_poses, old, new, says):
        path = tmp_path / "mine.glb"
        data = glb_from_motions([RigMotion("mine", rigs["Left"], some_poses(1), np.zeros(1, int))])
        path.write_bytes(data)
        assert read_rig(path).side == "Left"
        assert old in data
        path.write_bytes(data.replace(old, new))
        with pytest.raises(InputError, match=says) as caught:
            read_rig(path)
        assert "\n" not in str(caught.value)


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
