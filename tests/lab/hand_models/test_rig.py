"""The rigged hand: its file, rest pose, other bones and other poses."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.mesh_files import glb_from_motions
from sonjit.lab.hand_models.rig import JOINTS, KEYPOINTS, PARENTS, RigMotion, RigPose, load_rig, read_rig
from sonjit.results.skeletons import load_skeleton
from sonjit.weights import find_weight

SIDES = ("Right", "Left")


def rest(rig, count=1):
    joints = np.repeat(rig.joints[:1], count, 0)
    return RigPose(np.repeat(np.eye(3)[None], count, 0), joints, np.zeros((count, 5, 3, 3)))


def test_joints_are_the_keypoints_of_their_names():
    names = load_skeleton("hand_mediapipe21").keypoints
    for name, joint in zip(names, KEYPOINTS, strict=True):
        finger = name.partition("_")[0]
        assert JOINTS[joint].startswith(finger)
        assert JOINTS[joint].endswith("tip") == name.endswith("tip")
    assert all(PARENTS[joint] < joint for joint in range(1, len(JOINTS)))


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
