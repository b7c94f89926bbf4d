"""Poses, grasps and motions: within limits, without passing into each other, as their names state."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import FINGERS, RigPose
from sonjit.lab.hand_models.rig_ik import free_joints, joint_limits
from sonjit.lab.synthesis.contacts import DEPTH_M, Touch, penetration_depth, resolve_penetration
from sonjit.lab.synthesis.drawable import Material
from sonjit.lab.synthesis.gestures import (
    angles_from_gesture,
    gestures,
    sample_angles,
)
from sonjit.lab.synthesis.layouts import SynthSettings
from sonjit.lab.synthesis.motions import perform_sequence, retarget, sequence_names
from sonjit.lab.synthesis.objects import SCENE_OBJECTS, drawable_from_solid
from sonjit.lab.synthesis.person import coarse_faces, rig_from_shape
from sonjit.lab.synthesis.poses import grasp, pose_pair

from .solid_angle import depth_inside

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")


def someone(seed, spread=1.0):
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


class TestTwoHands:
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
        rigs_ = someone(3, 0.5)
        poses = pose_pair(name, rigs_)
        assert mutual_depth(rigs_, poses) < 0.002
        right, left = skins(rigs_, poses)
        assert min(np.linalg.norm(left - vertex, axis=1).min() for vertex in right) < 0.006


class TestOneHand:
    @pytest.mark.parametrize("name", sorted(gestures()))
    def test_gestures_hold_within_limits(self, name):
        rig = someone(5)["Left"]
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

    def test_free_hands_are_left_as_they_are(self):
        rig = someone(8)["Right"]
        angles = gestures()["spread"].angles
        (pose,) = resolve_penetration([(rig, plain(angles))])
        assert np.allclose(pose.angles[0], angles)
        assert np.allclose(pose.translation, 0)


def reach(rig, angles):
    """Return the straightness (5,) of each finger: the distance from base to tip divided by the bone lengths."""
    joints = rig.joint_frames(plain(angles))[1][0]
    ends = np.array([np.linalg.norm(joints[chain[3]] - joints[chain[0]]) for chain in FINGERS])
    return ends / rig.lengths.reshape(5, 4)[:, 1:].sum(1)


class TestGestures:
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


PLAIN = Material("plastic", (0.5, 0.5, 0.5))


def mesh(solid):
    return drawable_from_solid(solid, np.eye(3), np.zeros(3), PLAIN, 200)


class TestSolids:
    @pytest.mark.parametrize("name", SCENE_OBJECTS)
    def test_meshes_lie_on_their_solids_and_are_closed(self, name):
        made = mesh(SCENE_OBJECTS[name].solid)
        assert (
            np.abs(SCENE_OBJECTS[name].solid.distances(made.vertices)).max() < 1.5e-3
        )  # round edges stay sharp at the ends
        a, b, c = np.moveaxis(made.vertices[made.faces], 1, 0)
        crosses = np.cross(b - a, c - a)
        assert ((crosses * made.normals[made.faces].mean(1)).sum(1) > -1e-12).all()
        assert np.allclose(crosses.sum(0), 0, atol=1e-9)  # a closed surface has no side more than another
        x, y, z = SCENE_OBJECTS[name].solid.size
        volume = (a * np.cross(b, c)).sum() / 6
        full = {"ball": 4 / 3 * np.pi * x**3, "cylinder": 2 * np.pi * x * y * z, "box": 8 * x * y * z}
        assert 0.93 < volume / full[SCENE_OBJECTS[name].solid.kind] < 1.001


class TestGrasps:
    @pytest.mark.parametrize("name", SCENE_OBJECTS)
    def test_fingers_touch_and_do_not_enter(self, name):
        side = "Right" if len(name) % 2 else "Left"
        item, rng = SCENE_OBJECTS[name], np.random.default_rng(len(name))
        rig = rig_from_shape(side, rng.normal(size=36).clip(-2, 2))
        grasped = grasp(rig, item, rng)
        assert np.allclose(grasped.rotation.T @ grasped.rotation, np.eye(3))
        assert np.isclose(np.linalg.det(grasped.rotation), 1)
        pose = RigPose(np.eye(3)[None], np.zeros((1, 3)), grasped.angles[None])
        (skin,), _ = rig.skin(pose)
        distances = item.solid.distances((skin - grasped.place) @ grasped.rotation)
        assert distances.min() > -0.002
        owners = rig.weights.argmax(1)
        reached = np.array([distances[np.isin(owners, chain)].min() for chain in FINGERS])
        assert (reached < 0.004).sum() >= 2
        assert penetration_depth([(rig, pose)]) <= DEPTH_M


FPS = 12


@pytest.fixture(scope="module")
def person():
    shape = np.random.default_rng(3).normal(0, 0.7, 36)
    return {side: rig_from_shape(side, shape) for side in SIDES}


def keypoints(person, sequence):
    return {side: person[side].keypoints(pose) for side, pose in sequence.poses.items()}


class TestNames:
    def test_an_unknown_name_lists_the_known(self, person):
        with pytest.raises(InputError, match="ROM01"):
            perform_sequence("9999_no", person, FPS, np.random.default_rng(0))

    def test_no_frames_are_refused(self, person):
        with pytest.raises(InputError, match="frames per second"):
            perform_sequence(sequence_names()[0], person, 0, np.random.default_rng(0))


class TestMotion:
    @pytest.mark.slow
    @pytest.mark.parametrize("which", ["_RT_open_close", "0_neutral_relaxed", "_dh_pray", "_2H_turns"])
    def test_sequences_move_smoothly_and_hold(self, person, which):
        (name, *_) = [name for name in sequence_names() if which in name]
        sequence = perform_sequence(name, person, FPS, np.random.default_rng(2))
        assert sequence.kind == ("ROM" if name.startswith("ROM") else "PP")
        assert np.allclose(np.diff(sequence.times), 1 / FPS)
        for points in keypoints(person, sequence).values():
            steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
            assert steps.max() < 2.5 / FPS  # metres a second
            assert np.ptp(points[:, 0], axis=0).max() > 0.001
        for frame in range(0, len(sequence.times), 4):
            hands = [(person[side], pose[frame]) for side, pose in sequence.poses.items()]
            assert penetration_depth(hands) <= DEPTH_M


class TestRetarget:
    def test_a_seen_hand_is_followed(self):
        rng = np.random.default_rng(9)
        rig = rig_from_shape("Left", rng.normal(size=36).clip(-2, 2))
        (name,) = [name for name in sequence_names() if "LT_open_close" in name]
        sequence = perform_sequence(name, {"Left": rig}, 8, rng)
        seen = rig.keypoints(sequence.poses["Left"]) + rng.normal(0, 0.0005, (len(sequence.times), 21, 3))
        shape, pose = retarget("Left", seen, sequence.times)
        made = rig_from_shape("Left", shape)
        apart = np.linalg.norm(made.keypoints(pose) - seen, axis=-1)
        assert apart.mean() < 0.0025
        assert np.abs(made.lengths / rig.lengths - 1).mean() < 0.03

    def test_damaged_keypoints_are_refused(self):
        with pytest.raises(InputError, match="21, 3"):
            retarget("Right", np.zeros((2, 20, 3)))
        with pytest.raises(InputError, match="NaN"):
            retarget("Right", np.full((2, 21, 3), np.nan))
