"""Characters fitted to the keypoints of an actor with known joints."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.geometry.cameras import assumed_camera
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.media import open_writer
from sonjit.media.tables.characters import BONES, FINGER_LIMITS, fit
from sonjit.media.tables.characters.fit import Track, fit_motion
from sonjit.media.tables.characters.writer import (
    LiveCharacter,
    expressions_of_people,
    people_of_frame,
    track_from_people,
)
from sonjit.results import Frame, Person
from sonjit.results.skeletons import load_skeleton

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
    keypoints = body.keypoints * (-1, 1, 1) + (SIZE[0], 0, 0)
    return replace(frame, bodies=[replace(body, keypoints=keypoints, keypoints_3d=body.keypoints_3d * (-1, 1, 1))])


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
    for name, given, options in (("plain", frames, {}), ("mirror", map(mirrored, frames), {"mirrored": True})):
        with open_writer(tmp_path / f"{name}.bvh", replace(HEADER, options=options)) as writer:
            for frame in given:
                writer.write(frame)
    plain, mirror = Bvh(tmp_path / "plain.bvh"), Bvh(tmp_path / "mirror.bvh")
    for bone in JOINTS:
        assert mirror.positions(10)[bone] == pytest.approx(plain.positions(10)[bone], abs=1e-3)


def test_keypoints_of_parts_are_those_of_their_names():
    names = load_skeleton("body_blazepose33").keypoints
    parts = {
        ("wrist", "pinky", "index"): fit._PALMS,
        ("ankle", "heel", "foot_index"): fit._FEET,
        ("shoulder", "elbow", "wrist"): fit._ARMS,
        ("hip", "knee", "ankle"): fit._LEGS,
    }
    pairs = {"ear": fit._EARS, "hip": fit._HIPS, "shoulder": fit._SHOULDERS}
    for keypoints, indices in (*parts.items(), *(((name,), [[one] for one in pair]) for name, pair in pairs.items())):
        for side, own in zip(("left", "right"), indices, strict=True):
            assert [names[index] for index in own] == [f"{side}_{keypoint}" for keypoint in keypoints]
    hand = load_skeleton("hand_mediapipe21").keypoints
    assert names[fit._NOSE] == "nose"
    bases = ["wrist", "thumb_cmc", *(f"{finger}_finger_mcp" for finger in ("index", "middle", "ring", "pinky"))]
    assert [hand[index] for index in fit._PALM] == bases


def test_finger_joints_turn_and_twist_equally_to_both_sides():
    for joints in FINGER_LIMITS:
        for turn, (low, high, spread), twist in joints:
            for least, most, wide in (turn, twist):
                assert least == -most
                assert 0 <= wide <= most
            assert low < 0 < high
            assert 0 < spread < high


def test_bends_stay_in_the_limits_of_each_joint():
    """Compare with the bends of each joint over a complete turn, where the nearer limit replaces a bend outside."""
    turns = np.deg2rad(np.arange(-180, 180, 5.0))
    bends = np.zeros((len(turns), 5, 3, 3))
    bends[..., 2] = turns[:, None, None]
    limited = fit._within(bends)[..., 2]
    for finger, joints in enumerate(FINGER_LIMITS):
        for joint, (_, (low, high, _), _) in enumerate(joints):
            low = -high if finger == 0 else low  # the thumb's axes are not those of the character
            np.testing.assert_allclose(np.rad2deg(limited[:, finger, joint].min()), low, atol=1e-9)
            np.testing.assert_allclose(np.rad2deg(limited[:, finger, joint].max()), high, atol=1e-9)
            inside = (turns >= np.deg2rad(low)) & (turns <= np.deg2rad(high))
            np.testing.assert_allclose(limited[inside, finger, joint], turns[inside], atol=1e-9)
    for sign in (1, -1):
        aside = np.rad2deg(sign * fit._within(np.full((1, 5, 3, 3), sign * 3.0))[0, ..., :2])
        np.testing.assert_allclose(aside[1:], 60)
        np.testing.assert_allclose(aside[0], np.array(FINGER_LIMITS)[0, :, 1, 1:2].repeat(2, 1))  # as far as it bends


def test_the_place_of_a_person_comes_from_keypoints_in_the_image():
    camera = assumed_camera(*SIZE)
    body, place = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 33, 3)), np.array([0.3, -0.2, 3.0])
    points = body + place
    pixels = points[..., :2] / points[..., 2:] * camera[:2] + np.array(camera[2:])
    presence = np.tile([0.9, 0.5, 0.2], (2, 11))
    pixels[:, 2::3] += 300  # keypoints outside the image
    track = Track(np.arange(2), TIMES[:2], body, pixels, presence, (np.full((2, 21, 3), np.nan),) * 2)
    np.testing.assert_allclose(fit._places(track, camera), [place, place], atol=1e-6)
    unknown, frames = np.full((33, 2), np.nan), np.arange(4)
    moved = (points[1] + (0.2, 0, 0))[:, :2] / points[1][:, 2:] * camera[:2] + np.array(camera[2:])
    rows = np.stack([unknown, np.where(presence[:1].T >= 0.5, pixels[1], 0), moved, unknown])
    hands = (np.full((4, 21, 3), np.nan),) * 2
    track = Track(frames, TIMES[:4], body[[0, 1, 1, 0]], rows, presence[[0, 0, 0, 0]], hands)
    shifted = place + np.array([0.2, 0, 0])
    expected = [(0, 0, 2), place, shifted, shifted]  # the place before, or 2 m away
    np.testing.assert_allclose(fit._places(track, camera), expected, atol=1e-6)
    for count, expected in ((5, (0, 0, 2)), (6, place)):  # if fewer than six are in the image, all are used
        present = np.where(np.arange(33) < count, 0.9, 0.2)
        shown = np.where(np.arange(33)[:, None] < count, moved - (0.2 / points[1][:, 2:] * camera[0] * (1, 0)), np.nan)
        track = Track(frames[:1], TIMES[:1], body[1:], shown[None], present[None], hands)
        np.testing.assert_allclose(fit._places(track, camera), [expected], atol=1e-6)


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


def test_values_are_averages_with_gaussian_weights_in_time():
    rng = np.random.default_rng(4)
    times, values = np.cumsum(rng.uniform(0.01, 0.06, 40)), rng.normal(size=(40, 2, 3))
    values[[3, 4, 20]] = np.nan
    smoothed = fit._smooth(values, times, 0.05)
    for row, time in enumerate(times):
        near = [other for other in range(40) if abs(times[other] - time) <= 0.15 and np.isfinite(values[other]).all()]
        expected = np.average(values[near], 0, [np.exp(-(((times[other] - time) / 0.05) ** 2) / 2) for other in near])
        np.testing.assert_allclose(smoothed[row], np.nan * expected if row in (3, 4, 20) else expected)


def test_fingers_ease_to_rest_only_in_long_gaps():
    times = np.arange(90) / 30
    bends = np.ones((90, 5, 3, 3)) * np.linspace(1, 2, 90)[:, None, None, None]
    expected = bends.copy()
    bends[5:12] = np.nan
    np.testing.assert_allclose(fit._through_gaps(bends, times), expected)
    for stop, is_short in ((46, True), (50, False)):  # 17 and 21 thirtieths of a second without keypoints
        gap, row = bends.copy(), (30 + stop) // 2
        gap[30:stop] = np.nan
        shown = fit._through_gaps(gap, times)[row, 0, 0, 0]
        assert shown == pytest.approx(expected[row, 0, 0, 0] if is_short else 0, abs=1e-9)
    bends[30:80] = np.nan
    filled = fit._through_gaps(bends, times)[:, 0, 0, 0]
    np.testing.assert_allclose(filled[:30], expected[:30, 0, 0, 0])
    np.testing.assert_allclose(filled[40:70], 0, atol=1e-9)
    assert (np.diff(filled[29:38]) < 0).all()
    assert (np.diff(filled[71:80]) > 0).all()
    assert not fit._through_gaps(bends * np.nan, times).any()


def test_runs_and_latest_positions_are_those_counted_one_by_one():
    flags = np.random.default_rng(5).random(60) < 0.6
    assert [index for start, stop in fit.runs(flags) for index in range(start, stop)] == np.flatnonzero(flags).tolist()
    assert all(stop == 60 or not flags[stop] for _, stop in fit.runs(flags))
    known = np.flatnonzero(flags)
    latest = [max([place for place, index in enumerate(known) if index <= row], default=0) for row in range(60)]
    assert fit.latest_of(known, np.arange(60)).tolist() == latest


def test_a_hand_that_is_never_found_mirrors_the_other_one():
    unknown = np.full((4, 21, 3), np.nan)
    left = np.tile(hand_shape(), (4, 1, 1))
    for hands in ([unknown, unknown], [left, unknown], [unknown, left * (-1, 1, 1)]):
        palms = [fit._palm(hands, side) for side in (0, 1)]
        np.testing.assert_allclose(palms[1], palms[0] * (-1, 1, 1), atol=1e-9)
        assert palms[0].shape == (6, 3)
        assert palms[0][2, 0] > 0.05  # outwards, to the person's left
    assert fit._finger_lengths([unknown, unknown]).shape == (5, 3)
    np.testing.assert_allclose(fit._finger_lengths([left, unknown])[1], [0.04, 0.03, 0.02], atol=1e-9)


def hand_shape():
    """Return a flat left hand (21, 3) in metres, in the rest pose."""
    points = np.zeros((21, 3))
    for finger in range(5):
        points[1 + 4 * finger : 5 + 4 * finger, 0] = 0.09 + np.cumsum([0, 0.04, 0.03, 0.02])
        points[1 + 4 * finger : 5 + 4 * finger, 2] = 0.04 - 0.02 * finger
    return points


def test_only_keypoints_in_the_image_and_in_front_of_the_camera_move_to_their_rays():
    camera, root = assumed_camera(*SIZE), np.array([[0.1, 0.2, 1.0]])
    body = np.random.default_rng(6).uniform(-0.4, 0.4, (1, 33, 3))
    body[0, ::5, 2] = -1.2  # behind the camera
    pixels = np.random.default_rng(7).uniform(0, 200, (1, 33, 2))
    presence = np.tile([0.9, 0.5, 0.49], (1, 11))
    track = Track(np.arange(1), TIMES[:1], body, pixels, presence, (np.full((1, 21, 3), np.nan),) * 2)
    moved = fit._onto_rays(track, root, camera)
    is_moved = (presence >= 0.5) & (body[..., 2] > -0.9)
    np.testing.assert_allclose(moved[~is_moved], body[~is_moved])
    places = moved[is_moved] + root
    np.testing.assert_allclose(places[:, 2], body[is_moved][:, 2] + 1)
    shown = places[:, :2] / places[:, 2:] * camera[:2] + np.array(camera[2:])
    np.testing.assert_allclose(shown, pixels[is_moved], atol=1e-6)


def noisy(step_m, noise_m):
    """Return frames of people whose noisy keypoints leave the image, whose hands bend too far, turn and get lost."""
    rng, frames = np.random.default_rng(6), []
    for index, time_s in enumerate(TIMES[:48]):
        points = actor(time_s, x=step_m * index) + rng.normal(0, noise_m, (33, 3))
        person = body_of(points, presence=np.where(rng.random(33) < 0.1, 0.2, 0.9))
        hands = {}
        for side, wrist in (("left", 15), ("right", 16)):
            hand = hand_of(points[wrist], rng.uniform(-0.4, 1.4), side.title())[0]
            turned = matrix_from_rotation_vector(rng.normal(0, 0.4, 3)).T
            hand.keypoints_3d = (hand.keypoints_3d @ turned).astype(np.float32)
            hands[f"{side}_hand"] = hand if (index // 9 + (side == "left")) % 3 else None
        frames.append(Frame(index, float(time_s), people=[Person(person, **hands)] if index % 17 != 11 else []))
    return frames


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
    people = [person for _, person in people_of_frame(Frame(0, 0.0, bodies=[body_of(truth[0], presence=presence)]), 0)]
    track = track_from_people(people, np.zeros(1), None)
    np.testing.assert_array_equal(track.presence, [np.nan_to_num(presence, nan=1)])


def test_weights_of_a_face_are_repeated_before_and_after_it(truth):
    frame = Frame(0, 0.0, bodies=[body_of(truth[0])])
    ((_, person),) = people_of_frame(frame, 0)
    weights = {2: {"_neutral": 0.5, "jawOpen": 0.25}, 4: {"_neutral": 0.5, "jawOpen": 0.75}}
    people = [person._replace(row=row, blendshapes=weights.get(row)) for row in range(6)]
    found = expressions_of_people(people, 7)
    assert found.keys() == {"jawOpen"}
    np.testing.assert_array_equal(found["jawOpen"], [0.25] * 4 + [0.75] * 3)
    np.testing.assert_array_equal(expressions_of_people(people[:3], 3)["jawOpen"], [0.25] * 3)
    assert expressions_of_people(people[:2], 2) == {}


def test_a_foot_is_planted_while_it_is_low_slow_and_in_the_image_for_a_time():
    times = np.arange(60) / 30
    figure = fit._Figure(times, np.zeros((60, 33, 3)), np.zeros((60, 3)), np.ones((60, 33)))
    drift = 0.05 * times[:, None] * [1, 0, 0]  # 0.05 m/s
    always = np.ones(60, bool)
    for height, speed, count, is_planted in (
        (0.059, 1, 60, True), (0.061, 1, 60, False), (0.0, 4.99, 60, True), (0.0, 5.01, 60, False),
        (0.0, 1, 7, True), (0.0, 1, 6, False),
    ):  # fmt: skip
        ankle = speed * drift + [0, 1 + height, 0]
        is_known = always & (np.arange(60) < 20 + count) & ((np.arange(60) >= 20) | (count == 60))
        planted = figure._planted(ankle, 1.0, is_known)
        middle = slice(10, 50) if count == 60 else slice(20, 20 + count)
        is_moved = np.abs(planted[middle] - ankle[middle]).max() > 1e-3
        assert is_moved == is_planted, (height, speed, count)


def test_a_stream_that_repeats_begins_anew():
    frames = frames_of([0.0, 0.1, 0.2])
    for count, time_s, begins in ((3, 0.2, True), (3, 0.1, True), (3, 0.21, False), (1, 0.03, False), (1, 0.0, True)):
        live, fresh = LiveCharacter(), LiveCharacter()
        for frame in frames[:count]:
            live.pose(frame, SIZE)
        again = Frame(3, time_s, bodies=[body_of(actor(0.6))])
        turns = [character.pose(again, SIZE).rotations for character in (live, fresh)]
        assert np.allclose(*turns, atol=1e-9) == begins


@pytest.mark.parametrize(("size_m", "is_known"), [(0.0099, False), (0.0101, True), (99.0, True), (101.0, False)])
def test_only_bodies_of_plausible_sizes_are_people(truth, size_m, is_known):
    body = body_of(truth[0], number=None)
    body.keypoints_3d = (body.keypoints_3d / np.ptp(body.keypoints_3d) * size_m).astype(np.float32)
    found = dict(people_of_frame(Frame(0, None, bodies=[body, body_of(truth[0], None), body_of(truth[0], 7)]), 3))
    assert [*found] == [-1, -2, 7][not is_known :]
    assert {person.row for person in found.values()} == {3}


@pytest.mark.parametrize("axis", [0, 1])
def test_bodies_with_unknown_keypoints_are_no_people(truth, axis):
    for name, value in (("keypoints", np.nan), ("keypoints_3d", np.inf)):
        body = body_of(truth[0])
        getattr(body, name)[4, axis] = value
        assert not list(people_of_frame(Frame(0, 0.0, bodies=[body]), 0))
    body = body_of(truth[0])
    body.keypoints[4, 2] = np.nan
    assert len(list(people_of_frame(Frame(0, 0.0, bodies=[body]), 0))) == 1


@pytest.mark.parametrize(("score", "first", "last"), [(0.89, 3, 7), (0.9, 5, 5), (0.91, 5, 5)])
def test_weak_hands_near_a_gap_are_unknown(truth, score, first, last):
    times, people = np.arange(14) * 0.14, []
    for row in range(14):
        hand, _ = hand_of(truth[0][15], 0.5, "Left")
        hand.score = score
        hand.keypoints_3d = hand.keypoints_3d * np.float32(np.nan if row == 5 else 1)
        strong = replace(hand, score=0.95)
        given = {5: None, 9: strong, 11: hand, 13: strong}.get(row, hand)
        frame = Frame(row, times[row], people=[Person(body_of(truth[0]), left_hand=given)])
        people += [person for _, person in people_of_frame(frame, row)]
    left, right = track_from_people(people, times, None).hands
    assert np.flatnonzero(np.isnan(left).all((1, 2))).tolist() == [*range(first, last + 1)]
    assert np.isnan(left).any((1, 2)).sum() == last + 1 - first
    assert np.isnan(right).all()
