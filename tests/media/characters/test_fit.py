"""Characters fitted to the keypoints of an actor with known joints."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.media import open_writer
from sonjit.media.tables.characters import BONES, fit
from sonjit.media.tables.characters.fit import Track, fit_motion
from sonjit.media.tables.characters.writer import (
    LiveCharacter,
    expressions_of_people,
    people_of_frame,
    track_from_people,
)
from sonjit.results import Frame

from .actors import FPS, HEADER, JOINTS, SIZE, Bvh, actor, body_of, frames_of, hand_of, people_of

TIMES = np.arange(60) / FPS
FINGERS = ("Thumb", "Index", "Middle", "Ring", "Little")


def fitted(bodies, hands=None):
    hands = hands or (np.full((60, 21, 3), np.nan),) * 2
    names = ("keypoints_3d", "keypoints", "presence")
    points, pixels, presence = (np.array([getattr(body, name) for body in bodies], float) for name in names)
    return fit_motion("person1", Track(np.arange(60), TIMES, points, pixels[..., :2], presence, hands), 60, SIZE)


def at(motion, bone):
    return motion.joints()[0][:, BONES.index(bone)]


def greatest_step(motion, bone):
    rotations = motion.rotations[:, BONES.index(bone)]
    return np.linalg.norm(rotation_vector_from_matrix(np.swapaxes(rotations[:-1], 1, 2) @ rotations[1:]), axis=1).max()


@pytest.fixture(scope="module")
def truth():
    return np.array([actor(time) for time in TIMES])


@pytest.fixture(scope="module")
def motion(truth):
    return fitted([body_of(points) for points in truth])


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
        fingers = [[bone for bone in BONES if bone.startswith(side + name)] for name in FINGERS]
        ends = [[*(rest[bone] for bone in bones), rest[bones[-1]] + motion.ends[bones[-1]]] for bones in fingers]
        lengths = np.linalg.norm(np.diff(ends, axis=1), axis=-1)
        assert (np.diff(lengths) < 0).all()  # towards the tips
        assert ((lengths >= 0.02) & (lengths <= 0.05)).all()
        assert rest[f"{side}ThumbDistal"][2] > rest[f"{side}LittleDistal"][2]
    assert rest["head"][1] > rest["neck"][1] > rest["upperChest"][1] > rest["spine"][1] > rest["hips"][1]


def test_fingers_of_the_rest_pose_are_mirrored(motion):
    offsets = dict(zip(BONES, motion.offsets, strict=True))
    for finger in FINGERS:
        bones = [bone for bone in BONES if bone.startswith(f"left{finger}")]
        assert len(bones) == 3
        for bone in bones:
            other = offsets[bone.replace("left", "right")]
            np.testing.assert_allclose(offsets[bone], other * (-1, 1, 1), atol=1e-9)
    np.testing.assert_allclose(motion.ends["leftThumbDistal"], motion.ends["rightThumbDistal"] * (-1, 1, 1), atol=1e-9)
    assert motion.ends["leftThumbDistal"][1] == pytest.approx(0)


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
    assert max(greatest_step(motion, bone) for bone in ("leftUpperArm", "rightUpperLeg")) < np.deg2rad(10)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0.7, 0.7, 0), (0, 0.7, 0.7), (0.6, 0, 0.8)])
def test_forearms_do_not_flip_when_hands_turn_around(truth, axis):
    hands = [hand_of(truth[0, 15], 0.5, side)[0].keypoints_3d for side in ("Left", "Right")]
    turns = matrix_from_rotation_vector(np.linspace(0, 9, 60)[:, None] * axis)
    motion = fitted([body_of(points) for points in truth], [hand @ turns for hand in hands])
    assert max(greatest_step(motion, f"{side}LowerArm") for side in ("left", "right")) < np.deg2rad(30)


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


def test_a_hand_that_is_lost_follows_the_body(truth):
    bodies, unknown = [body_of(points) for points in truth], np.full((60, 21, 3), np.nan)
    frames, _ = people_of(TIMES, 0.3)
    hand = np.array([frame.people[0].left_hand.keypoints_3d for frame in frames], float)
    hand[20:] = np.nan
    turns = [fitted(bodies, (one, unknown)).rotations[45:, BONES.index("leftHand")] for one in (hand, unknown)]
    np.testing.assert_allclose(*turns, atol=1e-6)


def mirrored(frame):
    """Return the frame as `mirrored=True` finds it in the mirrored image: equal names of sides, reversed x."""
    (body,) = frame.bodies
    other = copy(body)
    other.flip(SIZE[0])
    return replace(frame, bodies=[other])


def test_poses_of_a_stream_follow_the_actor():
    character = LiveCharacter()
    for frame in frames_of(TIMES[:20]):
        pose = character.pose(frame, SIZE)
        truth = actor(frame.time)
        truth = truth - truth[[23, 24]].mean(0)
        (places,), _ = pose.joints()
        found = np.array([places[BONES.index(bone)] for bone in JOINTS]) - pose.hips[0]
        if frame.index >= 3:
            np.testing.assert_allclose(found, truth[list(JOINTS.values())], atol=0.06)  # smoothing lags in a stream
    assert abs(pose.hips[0, [0, 2]]).max() < 0.05


def test_a_hand_of_a_stream_does_not_jump():
    character = LiveCharacter()
    frames, _ = people_of(np.arange(60) / FPS, 1.5)
    turns = []
    for frame in frames:
        if 10 <= frame.index < 40:
            frame.people[0].left_hand = None
        turns.append(character.pose(frame, SIZE).rotations[0, [BONES.index("leftIndexProximal")]])
    angles = np.rad2deg(np.linalg.norm(rotation_vector_from_matrix(np.array(turns)), axis=-1)[:, 0])
    assert angles[[9, 30, 59]] == pytest.approx([np.rad2deg(1.5), 0, np.rad2deg(1.5)], abs=1)
    assert abs(np.diff(angles)).max() < 60


def test_frames_without_the_person_have_no_pose_and_another_person_follows():
    character = LiveCharacter()
    assert character.pose(Frame(0, 0.0), SIZE) is None
    first = character.pose(Frame(1, 0.1, bodies=[body_of(actor(0), 1)]), SIZE)
    second = character.pose(Frame(2, 0.2, bodies=[body_of(actor(0, x=0.5), 2)]), SIZE)
    assert second.hips[0, 0] - first.hips[0, 0] == pytest.approx(0.5, abs=0.02)


def test_mirrored_images_give_the_same_character(tmp_path):
    frames = frames_of(TIMES[:20])
    for name, given in (("plain", frames), ("mirror", map(mirrored, frames))):
        with open_writer(tmp_path / f"{name}.bvh", HEADER) as writer:
            for frame in given:
                writer.write(frame)
    plain, mirror = Bvh(tmp_path / "plain.bvh"), Bvh(tmp_path / "mirror.bvh")
    for bone in JOINTS:
        assert mirror.positions(10)[bone] == pytest.approx(plain.positions(10)[bone], abs=1e-3)


def test_limbs_of_two_bones_reach_their_end_and_bend_to_the_middle():
    rng = np.random.default_rng(0)
    start, end, lengths = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), (0.3, 0.25)
    end = start + fit.unit(end - start) * rng.uniform(0.1, 0.5, (50, 1))
    middle = (start + end) / 2 + rng.normal(0, 0.2, (50, 3))
    first, second = fit.bent_limb(start, middle, end, lengths, np.eye(3)[0])
    np.testing.assert_allclose(np.linalg.norm([first, second], axis=-1), 1)
    np.testing.assert_allclose(start + lengths[0] * first + lengths[1] * second, end, atol=1e-9)
    along = fit.unit(end - start)
    out, shown = (vectors - (vectors * along).sum(1, keepdims=True) * along for vectors in (first, middle - start))
    np.testing.assert_allclose(fit.unit(out), fit.unit(shown), atol=1e-6)


def test_limbs_too_short_for_their_end_point_to_it():
    way = np.array([[0.0, 0.9, 0.0], [0.0, 0.0, -2.0]])
    first, second = fit.bent_limb(np.zeros((2, 3)), way / 2, way, (0.3, 0.25), np.eye(3)[0])
    np.testing.assert_allclose(first, fit.unit(way), atol=0.02)
    np.testing.assert_allclose(second, fit.unit(way), atol=0.02)
    assert (first[:, 0] > 0).all()  # almost straight limbs bend to the given side


def test_the_mean_of_rotations_is_the_rotation_nearest_to_their_sum_also_if_that_is_a_reflection():
    rng = np.random.default_rng(4)
    rotations = matrix_from_rotation_vector(rng.normal(0, 2, (500, 3)))
    sums = np.concatenate([rng.normal(size=(20, 3, 3)), rotations[:1] * 7])
    assert (np.linalg.det(sums) < 0).any()
    mean = fit.mean_rotations(sums)
    np.testing.assert_allclose(np.linalg.det(mean), 1)
    np.testing.assert_allclose(mean[-1], rotations[0], atol=1e-12)
    fits = np.einsum("mij,nij->mn", sums, rotations).max(1)
    assert (np.einsum("mij,mij->m", sums, mean) >= fits).all()


def test_keypoints_of_unknown_presence_count_as_in_the_image(truth):
    presence = np.where(np.arange(33) % 3, 0.25, np.nan)
    people = [
        person for _, person in people_of_frame(Frame(0, 0.0, bodies=[body_of(truth[0], presence=presence)]), 0, 640)
    ]
    track = track_from_people(people, np.zeros(1))
    np.testing.assert_array_equal(track.presence, [np.nan_to_num(presence, nan=1)])


def test_weights_of_a_face_are_repeated_before_and_after_it(truth):
    frame = Frame(0, 0.0, bodies=[body_of(truth[0])])
    ((_, person),) = people_of_frame(frame, 0, 640)
    weights = {2: {"_neutral": 0.5, "jawOpen": 0.25}, 4: {"_neutral": 0.5, "jawOpen": 0.75}}
    people = [person._replace(row=row, blendshapes=weights.get(row)) for row in range(6)]
    found = expressions_of_people(people, 7)
    assert found.keys() == {"jawOpen"}
    np.testing.assert_array_equal(found["jawOpen"], [0.25] * 4 + [0.75] * 3)
    np.testing.assert_array_equal(expressions_of_people(people[:3], 3)["jawOpen"], [0.25] * 3)
    assert expressions_of_people(people[:2], 2) == {}


def test_a_stream_that_repeats_begins_anew():
    frames = frames_of([0.0, 0.1, 0.2])
    for count, time_s, begins in ((3, 0.2, True), (3, 0.1, True), (3, 0.21, False), (1, 0.03, False), (1, 0.0, True)):
        live, fresh = LiveCharacter(), LiveCharacter()
        for frame in frames[:count]:
            live.pose(frame, SIZE)
        again = Frame(3, time_s, bodies=[body_of(actor(0.6))])
        turns = [character.pose(again, SIZE).rotations for character in (live, fresh)]
        assert np.allclose(*turns, atol=1e-9) == begins


@pytest.mark.parametrize("axis", [0, 1])
def test_bodies_with_unknown_keypoints_are_no_people(truth, axis):
    for name, value in (("keypoints", np.nan), ("keypoints_3d", np.inf)):
        body = body_of(truth[0])
        getattr(body, name)[4, axis] = value
        assert not list(people_of_frame(Frame(0, 0.0, bodies=[body]), 0, 640))
    body = body_of(truth[0])
    body.keypoints[4, 2] = np.nan
    assert len(list(people_of_frame(Frame(0, 0.0, bodies=[body]), 0, 640))) == 1
