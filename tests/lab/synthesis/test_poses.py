"""Gestures and free poses: within limits, without self-intersection, as their names state."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import FINGERS, RigPose
from sonjit.lab.hand_models.rig_ik import free_joints, joint_limits
from sonjit.lab.synthesis.contacts import DEPTH_M, penetration_depth
from sonjit.lab.synthesis.gestures import angles_from_gesture, gestures, sample_angles
from sonjit.lab.synthesis.person import rig_from_shape

pytestmark = pytest.mark.usefixtures("rigs")


def plain(angles):
    return RigPose(np.eye(3)[None], np.zeros((1, 3)), angles[None])


def reach(rig, angles):
    """Return the straightness (5,) of each finger: the distance from base to tip divided by the bone lengths."""
    joints = rig.joint_frames(plain(angles))[1][0]
    ends = np.array([np.linalg.norm(joints[chain[3]] - joints[chain[0]]) for chain in FINGERS])
    return ends / rig.lengths.reshape(5, 4)[:, 1:].sum(1)


class TestGestures:
    def test_there_are_many(self):
        assert len(gestures()) >= 40

    @pytest.mark.parametrize(
        ("name", "straight"),
        [
            ("open", (1, 2, 3, 4)),
            ("fist", ()),
            ("point", (1,)),
            ("victory", (1, 2)),
            ("three", (1, 2, 3)),
            ("four", (1, 2, 3, 4)),
            ("ily", (1, 4)),
            ("call", (4,)),
        ],
    )
    def test_fingers_are_straight_as_the_gesture_requires(self, name, straight):
        rig = rig_from_shape("Left", np.random.default_rng(1).normal(size=36).clip(-2, 2))
        reached = reach(rig, angles_from_gesture(rig, name, np.random.default_rng(2)))
        assert [finger for finger in range(1, 5) if reached[finger] > 0.96] == list(straight)

    def test_without_a_generator_nothing_is_random(self):
        rig = rig_from_shape("Right", np.zeros(36))
        assert np.array_equal(angles_from_gesture(rig, "half"), angles_from_gesture(rig, "half"))
        assert np.allclose(angles_from_gesture(rig, "spread"), gestures()["spread"].angles)

    def test_an_unknown_name_lists_the_known(self):
        with pytest.raises(InputError, match="victory"):
            angles_from_gesture(rig_from_shape("Right", np.zeros(36)), "wictory")


class TestSampled:
    @pytest.mark.parametrize("side", ["Right", "Left"])
    def test_poses_are_within_limits_and_without_knots(self, side):
        rng = np.random.default_rng(31)
        for _ in range(15):
            rig = rig_from_shape(side, rng.normal(size=36).clip(-3, 3))
            low, high = joint_limits(free_joints(rig))
            angles = sample_angles(rig, rng)
            assert (angles >= low - 1e-9).all()
            assert (angles <= high + 1e-9).all()
            assert penetration_depth([(rig, plain(angles))]) <= DEPTH_M

    @pytest.mark.slow
    def test_neighbouring_joints_bend_together_and_tips_follow(self):
        rig, rng = rig_from_shape("Right", np.zeros(36)), np.random.default_rng(5)
        bends = np.stack([sample_angles(rig, rng)[1:, :, 1] for _ in range(120)])  # (N, 4, 3)
        middle = np.corrcoef(bends[:, :, 1].T)
        assert middle[1, 2] > 0.4
        assert middle[1, 2] > middle[0, 3]
        assert np.corrcoef(bends[:, 2, 1], bends[:, 2, 2])[0, 1] > 0.8

    def test_poses_vary(self):
        rig, rng = rig_from_shape("Right", np.zeros(36)), np.random.default_rng(6)
        reached = np.stack([reach(rig, sample_angles(rig, rng)) for _ in range(60)])
        assert (np.ptp(reached, axis=0)[1:] > 0.4).all()

    def test_one_seed_gives_one_pose(self):
        rig = rig_from_shape("Left", np.zeros(36))
        for seed in range(4):
            one, other = (sample_angles(rig, np.random.default_rng(seed)) for _ in range(2))
            assert np.array_equal(one, other)
