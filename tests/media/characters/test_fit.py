"""Characters fitted to the keypoints of an actor with known joints."""

import numpy as np
import pytest

from sonjit.geometry.cameras import assumed_camera
from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit.media.tables.characters import BONES, PARENTS
from sonjit.media.tables.characters.fit import (
    Track,
    aligned,
    bent_limb,
    fit_motion,
    half_twisted,
    mean_rotations,
    on_ground,
    swung,
)

from .actors import FPS, FROM_CAMERA, JOINTS, SIZE, UPPER_ARM, UPPER_LEG, actor, body_of, people_of

TIMES = np.arange(60) / FPS


def track_of(bodies, hands=None, times=TIMES):
    unknown = np.full((len(bodies), 21, 3), np.nan)
    return Track(
        np.arange(len(bodies)),
        times,
        np.array([body.keypoints_3d for body in bodies], float),
        np.array([body.keypoints[:, :2] for body in bodies], float),
        np.array([body.presence for body in bodies], float),
        (unknown, unknown) if hands is None else hands,
    )


def fitted(bodies, hands=None):
    return fit_motion("person1", track_of(bodies, hands), len(bodies), SIZE)


def at(motion, bone):
    return motion.joints()[0][:, BONES.index(bone)]


@pytest.fixture(scope="module")
def truth():
    return np.array([actor(time) for time in TIMES])


@pytest.fixture(scope="module")
def motion(truth):
    return fitted([body_of(points) for points in truth])


def test_joints_are_those_of_the_actor(motion, truth):
    for bone, keypoint in JOINTS.items():
        error = np.linalg.norm(at(motion, bone) - truth[:, keypoint], axis=1)[3:-3]  # metres
        assert error.max() < 0.025, bone
        assert error.mean() < 0.015, bone


def test_joints_project_onto_their_pixels(motion, truth):
    camera = assumed_camera(*SIZE)
    errors = [
        np.linalg.norm(
            camera.project(at(motion, bone) * FROM_CAMERA) - camera.project(truth[:, keypoint] * FROM_CAMERA), axis=1
        )
        for bone, keypoint in JOINTS.items()
    ]
    assert np.mean(errors) < 2


def test_bones_keep_their_lengths(motion):
    positions, _ = motion.joints()
    for number, bone in enumerate(BONES):
        if PARENTS[bone]:
            lengths = np.linalg.norm(positions[:, number] - positions[:, BONES.index(PARENTS[bone])], axis=1)
            assert np.ptp(lengths) < 1e-9
            assert lengths[0] == pytest.approx(np.linalg.norm(motion.offsets[number]))
    assert np.linalg.norm(motion.offsets[BONES.index("leftLowerArm")]) == pytest.approx(UPPER_ARM, abs=0.01)
    assert np.linalg.norm(motion.offsets[BONES.index("leftLowerLeg")]) == pytest.approx(UPPER_LEG, abs=0.01)


def test_rest_pose_is_a_t(motion):
    rest = dict(zip(BONES, motion.rest_joints(), strict=True))
    for side, sign in (("left", 1), ("right", -1)):
        arm = [rest[f"{side}{bone}"] for bone in ("Shoulder", "UpperArm", "LowerArm", "Hand")]
        assert (np.diff([sign * place[0] for place in arm]) > 0).all()
        assert np.ptp([place[1] for place in arm]) < 1e-9
        leg = [rest[f"{side}{bone}"] for bone in ("UpperLeg", "LowerLeg", "Foot", "Toes")]
        assert (np.diff([place[1] for place in leg]) < 0).all()
        assert leg[-1][1] == pytest.approx(0)
        assert leg[-1][2] > leg[-2][2]
        assert rest[f"{side}IndexDistal"][0] * sign > rest[f"{side}Hand"][0] * sign
        assert rest[f"{side}ThumbDistal"][2] > rest[f"{side}LittleDistal"][2]
    assert rest["head"][1] > rest["neck"][1] > rest["upperChest"][1] > rest["spine"][1] > rest["hips"][1]


def test_sides_mirror_each_other(motion):
    rest = dict(zip(BONES, motion.rest_joints(), strict=True))
    for bone in BONES:
        if bone.startswith("left"):
            assert rest[bone] * [-1, 1, 1] == pytest.approx(rest[bone.replace("left", "right")], abs=1e-9)


def test_standing_foot_stays_in_place(truth):
    rng = np.random.default_rng(7)
    noisy = truth + rng.normal(0, 0.004, truth.shape)
    motion = fitted([body_of(points) for points in noisy])
    assert np.ptp(noisy[:, 28], axis=0).max() > 0.015
    assert np.ptp(at(motion, "rightFoot"), axis=0).max() < 0.005  # a stretched leg may not reach the place
    assert np.ptp(at(motion, "leftFoot")[:, 1]) > 0.05  # the marching foot moves


def test_knees_do_not_bend_backwards(truth):
    points = truth.copy()
    points[:, [25, 26], 2] -= 0.1  # behind the hips and ankles
    motion = fitted([body_of(row) for row in points])
    hip, knee, ankle = (at(motion, f"right{bone}") for bone in ("UpperLeg", "LowerLeg", "Foot"))
    assert ((knee - (hip + ankle) / 2)[:, 2] > -0.01).all()


def test_straight_limbs_do_not_twist(truth):
    rng = np.random.default_rng(3)
    motion = fitted([body_of(points, noise=rng.normal(0, 0.003, (33, 3))) for points in truth])
    for bone in ("leftUpperArm", "rightUpperLeg"):
        rotations = motion.rotations[:, BONES.index(bone)]
        steps = rotation_vector_from_matrix(np.swapaxes(rotations[:-1], 1, 2) @ rotations[1:])
        assert np.linalg.norm(steps, axis=1).max() < np.deg2rad(10), bone


def test_fingers_are_those_of_the_hand():
    frames, truth = people_of(TIMES, 0.3)
    hands = np.array([frame.people[0].left_hand.keypoints_3d for frame in frames], float)
    bodies = [frame.people[0].body for frame in frames]
    motion = fitted(bodies, (hands, np.full_like(hands, np.nan)))
    wrist = at(motion, "leftHand")
    for finger, first in (("Index", 5), ("Ring", 13)):
        for number, part in enumerate(("Proximal", "Intermediate", "Distal")):
            found = at(motion, f"left{finger}{part}") - wrist
            assert np.linalg.norm(found - truth[:, first + number], axis=1).max() < 0.002, (finger, part)
    right = motion.rotations[:, BONES.index("rightIndexProximal")]
    assert right == pytest.approx(np.broadcast_to(np.eye(3), right.shape))  # no right hand was found
    rest = dict(zip(BONES, motion.rest_joints(), strict=True))
    mirrored = (rest["leftIndexProximal"] - rest["leftHand"]) * [-1, 1, 1]
    assert rest["rightIndexProximal"] - rest["rightHand"] == pytest.approx(mirrored)


def test_fingers_do_not_follow_the_size_of_the_hand():
    """Vary the hand size by frame, as the network does."""
    frames, truth = people_of(TIMES, 0.3)
    hands = np.array([frame.people[0].left_hand.keypoints_3d for frame in frames], float)
    sizes = 1 + 0.2 * np.sin(np.arange(len(hands)))[:, None, None]
    hands = hands[:, :1] + (hands - hands[:, :1]) * sizes
    motion = fitted([frame.people[0].body for frame in frames], (hands, np.full_like(hands, np.nan)))
    for part, keypoint in (("IndexIntermediate", 6), ("RingDistal", 15)):
        found = at(motion, f"left{part}") - at(motion, "leftHand")
        ways = truth[:, keypoint]
        cosine = (found * ways).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(ways, axis=1)
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 1, part


def test_hand_that_disappears_keeps_its_fingers():
    frames, _ = people_of(TIMES, 0.3)
    hands = np.array([frame.people[0].left_hand.keypoints_3d for frame in frames], float)
    hands[30:] = np.nan
    motion = fitted([frame.people[0].body for frame in frames], (hands, np.full_like(hands, np.nan)))
    finger = motion.rotations[:, BONES.index("leftIndexIntermediate")]
    assert finger[30:] == pytest.approx(np.broadcast_to(finger[29], finger[30:].shape))
    assert not np.allclose(finger[29], np.eye(3), atol=0.1)


def test_limbs_outside_the_image_keep_the_rest_pose(truth):
    presence = np.ones(33, np.float32)
    presence[25:] = 0.1
    motion = fitted([body_of(points, presence=presence) for points in truth])
    for bone in ("leftUpperLeg", "rightLowerLeg", "leftFoot"):
        rotations = motion.rotations[:, BONES.index(bone)]
        assert rotations == pytest.approx(np.broadcast_to(np.eye(3), rotations.shape))
    error = np.linalg.norm(at(motion, "rightHand") - truth[:, 16], axis=1)
    assert error.max() < 0.03


def test_hand_in_the_image_moves_its_arm(truth):
    presence = np.ones(33, np.float32)
    presence[[13, 14]] = 0.1  # the elbows are outside
    motion = fitted([body_of(points, presence=presence) for points in truth])
    for bone, keypoint in (("leftHand", 15), ("rightHand", 16)):
        assert np.linalg.norm(at(motion, bone) - truth[:, keypoint], axis=1).max() < 0.03, bone
    presence[[15, 16]] = 0.1
    frames, hands = people_of(TIMES, 0.3)
    hands = np.array([frame.people[0].left_hand.keypoints_3d for frame in frames], float)
    motion = fitted([body_of(points, presence=presence) for points in truth], (hands, np.full_like(hands, np.nan)))
    assert np.linalg.norm(at(motion, "leftHand") - truth[:, 15], axis=1).max() < 0.05
    right = motion.rotations[:, BONES.index("rightUpperArm")]
    assert right == pytest.approx(np.broadcast_to(np.eye(3), right.shape))


def test_person_behind_the_camera_is_placed_where_the_person_was_before(truth):
    bodies = [body_of(points) for points in truth[:10]]
    track = track_of(bodies, times=TIMES[:10])
    track.pixels[5] = np.nan
    track.presence[5] = 0  # of pixels that are unknown
    motion = fit_motion("person1", track, 10, SIZE)
    assert np.isfinite(motion.hips).all()
    assert motion.hips[5] == pytest.approx(truth[5, [23, 24]].mean(0), abs=0.1)


def test_first_frame_without_a_view_is_two_metres_away(truth):
    track = track_of([body_of(truth[0])], times=TIMES[:1])
    track.pixels[:] = np.nan
    track.presence[:] = 0
    motion = fit_motion("person1", track, 1, SIZE)
    assert motion.hips[0] == pytest.approx([0, 0, -2], abs=1e-6)


def test_frames_without_the_person_repeat_the_latest_pose(truth):
    bodies = [body_of(points) for points in truth[:20]]
    track = track_of(bodies, times=TIMES[:20])
    frames = np.r_[2:12, 20:30]
    track = Track(frames, frames / FPS, track.body, track.pixels, track.presence, track.hands)
    motion = fit_motion("person1", track, 32, SIZE)
    assert np.flatnonzero(motion.is_held).tolist() == [0, 1, *range(12, 20), 30, 31]
    for repeated, source in ((0, 2), (1, 2), (12, 11), (19, 11), (31, 29)):
        assert (motion.rotations[repeated] == motion.rotations[source]).all()
        assert (motion.hips[repeated] == motion.hips[source]).all()


def test_lowest_joint_is_on_the_ground(motion):
    grounded = on_ground(motion)
    lowest = grounded.joints()[0][..., 1].min(1)
    assert abs(np.percentile(lowest, 5)) < 1e-9
    assert (grounded.hips[:, [0, 2]] == motion.hips[:, [0, 2]]).all()


X, Y, Z = np.eye(3)


class TestLimbs:
    def test_aligned_turns_both_directions(self):
        rotations = aligned(np.array([Y]), np.array([-X + 0.2 * Y]), X, Y)
        assert rotations[0] @ X == pytest.approx(Y)
        assert rotations[0] @ Y == pytest.approx(-X)
        assert np.linalg.det(rotations[0]) == pytest.approx(1)

    def test_swung_takes_the_shortest_way(self):
        rotations = swung(np.eye(3)[None], X, np.array([X + Y]))
        assert rotation_vector_from_matrix(rotations)[0] == pytest.approx([0, 0, np.pi / 4])

    @pytest.mark.parametrize("side", [1, -1])
    def test_bent_limb_reaches_its_end(self, side):
        first, second = bent_limb(
            np.zeros((1, 3)), np.array([[0.3, side * 0.1, 0.0]]), np.array([[0.5, 0, 0.0]]), (0.3, 0.28), np.array([Z])
        )
        assert (0.3 * first + 0.28 * second)[0] == pytest.approx([0.5, 0, 0])
        assert first[0, 1] * side > 0.1
        assert abs(first[0, 2]) < 1e-9

    def test_limb_that_is_too_short_points_to_its_end(self):
        first, second = bent_limb(np.zeros((1, 3)), np.array([0.3 * X]), np.array([2 * X]), (0.3, 0.3), np.array([Z]))
        assert first[0] == pytest.approx(X, abs=0.01)
        assert second[0] == pytest.approx(X, abs=0.01)

    def test_straight_limb_bends_as_requested(self):
        first, _ = bent_limb(np.zeros((1, 3)), np.array([0.2 * X]), np.array([0.4 * X]), (0.3, 0.3), np.array([Z]))
        assert first[0, 2] > 0.5

    @pytest.mark.parametrize("degrees", [-170, -60, 0, 60])
    def test_forearm_takes_half_of_the_twist(self, degrees):
        angle = np.deg2rad(degrees)
        hand = np.array([[[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]])
        turned = rotation_vector_from_matrix(half_twisted(np.eye(3)[None], hand))[0]
        assert turned == pytest.approx([angle / 2, 0, 0])

    def test_twist_beyond_pronation_turns_the_other_way(self):
        angle = np.deg2rad(170)
        hand = np.array([[[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]])
        turned = rotation_vector_from_matrix(half_twisted(np.eye(3)[None], hand))[0]
        assert turned == pytest.approx([np.deg2rad(-95), 0, 0])

    def test_mean_rotation_lies_between(self):
        sums = np.eye(3) + np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
        assert rotation_vector_from_matrix(mean_rotations(sums[None]))[0] == pytest.approx([0, 0, np.pi / 4])
