"""Poses, grasps and motions: within limits, without passing into each other, as their names state."""

import json

import av
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import assumed_camera
from sonjit.media import Header, open_writer
from sonjit.results import Frame, Hand
from sonjit_lab.hand_models.rig import FINGERS, RigPose, free_joints, joint_limits
from sonjit_lab.synthesis import contacts, gestures, job, layouts, motions, objects
from sonjit_lab.synthesis.hand_meshes import coarse_faces
from sonjit_lab.synthesis.hand_shapes import rig_from_shape
from sonjit_lab.synthesis.hands import keypoints_from_hand

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
    @pytest.mark.nightly_after(1)
    @pytest.mark.slow
    @pytest.mark.parametrize("index", [67, 126, 187])
    def test_entangled_hands_are_separated(self, index):
        """Check contacts whose separating directions lead from one finger into the next."""
        (scene,) = layouts.SynthSettings(200, seed=5, factors=("hands=interacting",)).sampler().make(index)
        rigs_ = {hand.side: rig_from_shape(hand.side, hand.shape) for hand in scene.hands}
        assert mutual_depth(rigs_, {hand.side: hand.pose for hand in scene.hands}) < 0.002

    @pytest.mark.nightly_after(1)
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["pray", "fingertips", "rightclaspleft"])
    def test_named_pairs_touch_without_passing(self, name):
        rigs_ = someone(3, 0.5)
        poses = motions.pose_pair(name, rigs_)
        assert mutual_depth(rigs_, poses) < 0.002
        right, left = skins(rigs_, poses)
        assert min(np.linalg.norm(left - vertex, axis=1).min() for vertex in right) < 0.006


class TestOneHand:
    @pytest.mark.parametrize("name", sorted(gestures.gestures()))
    def test_gestures_hold_within_limits(self, name):
        rig = someone(5)["Left"]
        low, high = joint_limits(free_joints(rig))
        gesture = gestures.gestures()[name]
        touches = [contacts.Touch((0, 0), (0, finger)) for finger in gesture.touch]
        (pose,) = contacts.resolve_penetration([(rig, plain(gesture.angles))], touches)
        assert contacts.penetration_depth([(rig, pose)]) <= contacts.DEPTH_M
        assert (pose.angles >= low - 1e-9).all()
        assert (pose.angles <= high + 1e-9).all()
        for finger in gesture.touch:
            tips = rig.keypoints(pose)[0, [4, 4 + 4 * finger]]
            assert np.linalg.norm(tips[0] - tips[1]) < 0.022


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
        reached = reach(rig, gestures.angles_from_gesture(rig, name, np.random.default_rng(2)))
        assert [finger for finger in range(1, 5) if reached[finger] > 0.96] == list(straight)


class TestGrasps:
    @pytest.mark.parametrize("name", objects.SCENE_OBJECTS)
    def test_fingers_touch_and_do_not_enter(self, name):
        side = "Right" if len(name) % 2 else "Left"
        item, rng = objects.SCENE_OBJECTS[name], np.random.default_rng(len(name))
        rig = rig_from_shape(side, rng.normal(size=36).clip(-2, 2))
        grasped = motions.grasp(rig, item, rng)
        assert np.allclose(grasped.rotation.T @ grasped.rotation, np.eye(3))
        assert np.isclose(np.linalg.det(grasped.rotation), 1)
        pose = RigPose(np.eye(3)[None], np.zeros((1, 3)), grasped.angles[None])
        (skin,), _ = rig.skin(pose)
        distances = item.solid.distances((skin - grasped.place) @ grasped.rotation)
        assert distances.min() > -0.002
        owners = rig.weights.argmax(1)
        reached = np.array([distances[np.isin(owners, chain)].min() for chain in FINGERS])
        assert (reached < 0.004).sum() >= 2
        assert contacts.penetration_depth([(rig, pose)]) <= contacts.DEPTH_M


SIZE = (320, 240)
COUNT = 8


@pytest.fixture(scope="module")
def seen(tmp_path_factory, rigs):
    """Return a table with two detected hands, the second from the fourth frame on."""
    camera = assumed_camera(*SIZE)
    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("seen") / "hands.json"
    points = {}
    for number, side in enumerate(("Right", "Left")):
        rig = rig_from_shape(side, rng.normal(size=36) * 0.5)
        angles = np.zeros((COUNT, 5, 3, 3))
        angles[..., 1] = 0.5 + 0.3 * np.sin(np.linspace(0, 3, COUNT))[:, None, None]
        angles[:, 0, 0] = 0
        place = np.array([0.12 * (1 if number else -1), 0.02, 0.5]) + np.linspace(0, 0.03, COUNT)[:, None]
        points[side] = rig.keypoints(RigPose(np.tile(np.eye(3), (COUNT, 1, 1)), place, angles))
    with open_writer(path, Header("clip.mp4", *SIZE, 25.0, "full")) as writer:
        for index in range(COUNT):
            hands = [
                Hand(
                    handedness=side,
                    score=1.0,
                    id=number,
                    keypoints=np.column_stack([camera.project(own[index]), own[index, :, 2]]).astype(np.float32),
                    keypoints_3d=(own[index] - own[index].mean(0)).astype(np.float32),
                )
                for number, (side, own) in enumerate(points.items())
                if number == 0 or index >= 3
            ]
            writer.write(Frame(index, index / 25, hands))
    return path, points, camera


def test_hands_are_rendered_at_their_detected_positions(seen):
    path, points, camera = seen
    sampler = layouts.SynthSettings(1, size=SIZE, poses=str(path)).sampler()
    scenes = list(sampler.make(0))
    assert [len(scene.hands) for scene in scenes] == [1] * 3 + [2] * (COUNT - 3)
    np.testing.assert_allclose([scene.time_s for scene in scenes], np.arange(COUNT) / 25)
    for index, scene in enumerate(scenes):
        for hand in scene.hands:
            own = scene.cameras[0].project(keypoints_from_hand(hand))
            away = np.linalg.norm(own - camera.project(points[hand.side][index]), axis=1)
            assert np.median(away) < 4, (index, hand.side)
    assert len({scene.hands[0].shape.tobytes() for scene in scenes}) == 1


def test_a_table_without_hands_is_refused(tmp_path):
    with open_writer(tmp_path / "none.json", Header("clip.mp4", *SIZE, 25.0, "full")) as writer:
        writer.write(Frame(0, 0.0, []))
    with pytest.raises(InputError, match="has no hand"):
        motions.load_motion(str(tmp_path / "none.json"))


@pytest.mark.parametrize("kind", ["peak", "rom"])
def test_a_sequence_is_in_view_and_smooth(rigs, kind):
    sampler = layouts.SynthSettings(3, size=SIZE, sequence=kind, fps=6, factors=("cut=0",)).sampler()
    scenes = list(sampler.make(1))
    assert len(scenes) > 6
    assert {len(scene.hands) for scene in scenes} <= {1, 2}
    first = scenes[0]
    for scene in scenes:
        assert scene.factors == first.factors
        assert scene.sequence == first.sequence
        np.testing.assert_array_equal(scene.background[0], first.background[0])
    for number in range(len(first.hands)):
        points = np.stack([keypoints_from_hand(scene.hands[number]) for scene in scenes])
        pixels = first.cameras[0].project(points)
        assert ((pixels >= 0) & (pixels < SIZE)).all()
        assert np.linalg.norm(np.diff(points, axis=0), axis=-1).max() < 0.42  # 2.5 m/s


@pytest.mark.nightly
@pytest.mark.slow
def test_videos_with_truth_for_each_camera(tmp_path, seen, renderer):
    path, _, _ = seen
    settings = layouts.SynthSettings(1, size=SIZE, rig="glasses", views=2, format="video", poses=str(path))
    job.synthesize(tmp_path / "out", settings)
    videos = sorted((tmp_path / "out" / "videos").rglob("*.mp4"))
    assert len(videos) == 2
    for video in videos:
        truth = json.loads(video.with_suffix(".json").read_text("utf-8"))
        with av.open(str(video)) as container:
            frames = [(float(frame.time), frame.width, frame.height) for frame in container.decode(video=0)]
        assert len(frames) == len(truth["frames"]) == COUNT
        np.testing.assert_allclose(
            [time for time, _, _ in frames], [frame["time"] for frame in truth["frames"]], atol=1e-3
        )
        assert frames[0][1:] == (truth["width"], truth["height"]) == SIZE
        for frame in truth["frames"]:
            for hand in frame["hands"]:
                points = np.array(hand["xyz_m"])
                x = truth["fx"] * points[:, 0] / points[:, 2] + truth["cx"]
                np.testing.assert_allclose(x, np.array(hand["xy"])[:, 0], atol=0.02)
    again = tmp_path / "again"
    job.synthesize(again, settings)
    for video in videos:
        assert (again / video.relative_to(tmp_path / "out")).read_bytes() == video.read_bytes()
