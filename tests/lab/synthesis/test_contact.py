"""Hands that touch: properties of the solver, measured independently."""

import numpy as np
import pytest

from sonjit.lab.hand_models.rig import FINGERS, RigPose
from sonjit.lab.hand_models.rig_ik import free_joints, joint_limits
from sonjit.lab.synthesis.contacts import DEPTH_M, Touch, penetration_depth, regions_of, resolve_penetration
from sonjit.lab.synthesis.gestures import gestures, pair_names
from sonjit.lab.synthesis.layouts import SynthSettings
from sonjit.lab.synthesis.person import coarse_faces, rig_from_shape
from sonjit.lab.synthesis.poses import pose_pair

from .solid_angle import depth_inside

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")


def person(seed, spread=1.0):
    shape = np.random.default_rng(seed).normal(0, spread, 36).clip(-3, 3)
    return {side: rig_from_shape(side, shape) for side in SIDES}


def plain(angles=None):
    angles = np.zeros((5, 3, 3)) if angles is None else angles
    return RigPose(np.eye(3)[None], np.zeros((1, 3)), angles[None])


def skins(rigs_, poses):
    return [rigs_[side].skin(poses[side])[0][0] for side in SIDES]


def mutual_depth(rigs_, poses):
    """Return the depth in metres of every third vertex of each hand in the other's full mesh."""
    right, left = skins(rigs_, poses)
    return max(
        depth_inside(right[::3], left, coarse_faces(rigs_["Left"])),
        depth_inside(left[::3], right, coarse_faces(rigs_["Right"])),
    )


def random_pair(rigs_, rng):
    """Return both hands in a named pose, each with a random deviation."""
    return pose_pair(pair_names()[rng.integers(len(pair_names()))], rigs_, rng)


class TestTwoHands:
    @pytest.mark.slow
    def test_random_pairs_do_not_pass_into_each_other(self):
        rng, gaps = np.random.default_rng(21), []
        for seed in range(8):
            rigs_ = person(seed)
            poses = random_pair(rigs_, rng)
            assert mutual_depth(rigs_, poses) < 0.002
            right, left = skins(rigs_, poses)
            gaps.append(min(np.linalg.norm(left - vertex, axis=1).min() for vertex in right[::3]))
        assert max(gaps) < 0.012  # they touch, between the vertices looked at

    @pytest.mark.slow
    @pytest.mark.parametrize("index", [67, 126, 187])
    def test_entangled_hands_are_separated(self, index):
        """Check contacts whose separating directions lead from one finger into the next."""
        (scene,) = SynthSettings(200, seed=5, factors=("hands=interacting",)).sampler().make(index)
        rigs_ = {hand.side: rig_from_shape(hand.side, hand.shape) for hand in scene.hands}
        assert mutual_depth(rigs_, {hand.side: hand.pose for hand in scene.hands}) < 0.002

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["pray", "fingertips", "rightclaspleft"])
    def test_named_pairs_touch_without_passing(self, name):
        rigs_ = person(3, 0.5)
        poses = pose_pair(name, rigs_)
        assert mutual_depth(rigs_, poses) < 0.002
        right, left = skins(rigs_, poses)
        assert min(np.linalg.norm(left - vertex, axis=1).min() for vertex in right) < 0.006

    @pytest.mark.slow
    def test_overlapping_hands_are_separated(self):
        rigs_ = person(1)
        hands = [(rigs_[side], plain()) for side in SIDES]
        start = {side: plain() for side in SIDES}
        middle = {side: rigs_[side].keypoints(start[side])[0].mean(0) for side in SIDES}
        hands = [(rigs_[side], start[side].shifted(-middle[side][None])) for side in SIDES]
        assert penetration_depth(hands) > 0.005
        poses = dict(zip(SIDES, resolve_penetration(hands), strict=True))
        assert mutual_depth(rigs_, poses) < 0.002

    @pytest.mark.slow
    def test_tips_meet(self):
        rigs_ = person(2, 0.5)
        poses = pose_pair("fingertips", rigs_)
        tips = [rigs_[side].keypoints(poses[side])[0, 4::4] for side in SIDES]
        assert np.linalg.norm(tips[0] - tips[1], axis=1).max() < 0.02


class TestOneHand:
    @pytest.mark.parametrize("name", sorted(gestures()))
    def test_gestures_hold_within_limits(self, name):
        rig = person(5)["Left"]
        low, high = joint_limits(free_joints(rig))
        gesture = gestures()[name]
        touches = [Touch((0, 0), (0, finger)) for finger in gesture.touch]
        (pose,) = resolve_penetration([(rig, plain(gesture.angles))], touches)
        assert penetration_depth([(rig, pose)]) <= DEPTH_M
        assert (pose.angles >= low - 1e-9).all()
        assert (pose.angles <= high + 1e-9).all()
        for finger in gesture.touch:
            tips = rig.keypoints(pose)[0, [4, 4 + 4 * finger]]
            assert np.linalg.norm(tips[0] - tips[1]) < 0.022

    def test_crossed_fingers_are_separated_by_an_independent_measure(self):
        """Treat the last two bones of each finger as thick lines, which keep their distance from other fingers."""
        rig, rng = person(7)["Right"], np.random.default_rng(3)
        radius = _radius(rig)
        for _ in range(20):
            angles = np.zeros((5, 3, 3))
            angles[1:, 0, 0] = rng.normal(0, 0.35, 4)
            angles[1:, 0, 1] = rng.uniform(-0.2, 0.6) + rng.normal(0, 0.1, 4)
            (pose,) = resolve_penetration([(rig, plain(angles))])
            lines = _lines(rig, pose)
            for one in range(1, 5):
                for other in range(one + 1, 5):
                    apart = np.linalg.norm(lines[one][:, None] - lines[other], axis=-1).min()
                    assert apart > radius[one] + radius[other] - 0.004

    def test_free_hands_are_left_as_they_are(self):
        rig = person(8)["Right"]
        angles = gestures()["spread"].angles
        (pose,) = resolve_penetration([(rig, plain(angles))])
        assert np.allclose(pose.angles[0], angles)
        assert np.allclose(pose.translation, 0)


def test_it_is_the_same_every_time():
    rigs_ = person(4)
    one, other = (random_pair(rigs_, np.random.default_rng(9)) for _ in range(2))
    for side in SIDES:
        assert np.array_equal(one[side].angles, other[side].angles)
        assert np.array_equal(one[side].translation, other[side].translation)


def test_pair_names_are_thirteen():
    assert len(set(pair_names())) == 13


def _lines(rig, pose):
    """Return points (40, 3) on the last two bones of each finger."""
    joints = rig.joint_frames(pose)[1][0]
    share = np.linspace(0, 1, 20)[:, None]
    return [
        np.concatenate([joints[a] + share * (joints[b] - joints[a]) for a, b in ((chain[1], chain[2]), chain[2:4])])
        for chain in FINGERS
    ]


def _radius(rig):
    regions = regions_of(rig)
    made = []
    for chain in FINGERS:
        own = regions.joints == chain[2]
        local = (rig.vertices[own] - rig.joints[chain[2]]) @ rig.frames[chain[2]]
        ring = np.abs(local[:, 2] + 0.006) < 0.006
        made.append(np.hypot(local[ring, 0], local[ring, 1]).mean())
    return made
