"""The floor below characters: standing feet touch it, jumps leave it, and limbs keep their lengths."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit.media.tables.characters import BONES, PARENTS
from sonjit.media.tables.characters.fit import Track, bent_limb, fit_motion, runs
from sonjit.media.tables.characters.floor import on_floor

from .actors import FPS, LOWER_LEG, SIZE, UPPER_LEG, actor, body_of

TIMES = np.arange(120) / FPS
STANDING_M = 0.02  # greatest height of a standing foot
ANKLE_M, HIPS_M = 0.07, 0.87
HEEL, TOES = np.array([0, -0.07, -0.04]), np.array([0, -0.07, 0.16])  # relative to the ankle
LEGS = {"left": (23, 25, 27), "right": (24, 26, 28)}


def standing(hips, feet):
    """Return keypoints (F, 33, 3) of an actor with hips (F, 3) and the ankles of both feet (F, 2, 3) in metres."""
    rows = []
    for at, ankles in zip(hips, feet, strict=True):
        points = actor(0) - [0, 0, -3]
        points += at
        for (hip, knee, foot), ankle in zip(LEGS.values(), ankles, strict=True):
            way = (points[hip][None], (points[hip] + ankle)[None] / 2 + [0, 0, 0.1], ankle[None])
            first, _ = bent_limb(*way, (UPPER_LEG, LOWER_LEG), np.array([[0, 0, 1.0]]))
            points[knee], points[foot] = points[hip] + UPPER_LEG * first[0], ankle
            points[foot + 2], points[foot + 4] = ankle + HEEL, ankle + TOES
        rows.append(points)
    return np.array(rows)


def seen(points, drift, scale=1.0):
    """Return the motion of keypoints as one camera sees them: 1 m above the floor, with a drift (F,) and noise.

    `scale` (F,) is the error of the network's metres, which moves the person along the camera's axis.
    """
    rng = np.random.default_rng(11)
    moved = points + [0, -1.0, -4] + drift[:, None, None] * [0, 1, 0] + rng.normal(0, 0.005, points.shape)
    bodies = [body_of(one) for one in moved]
    names = ("keypoints_3d", "keypoints", "presence")
    metric, pixels, presence = (np.array([getattr(body, name) for body in bodies], float) for name in names)
    metric *= np.reshape(scale, (-1, 1, 1))
    hands = (np.full((len(points), 21, 3), np.nan),) * 2
    track = Track(np.arange(len(points)), TIMES, metric, pixels[..., :2], presence, hands)
    return fit_motion("person1", track, len(points), SIZE)


def squatting():
    depth = 0.32 * np.sin(np.pi * TIMES / 2) ** 2
    feet = np.broadcast_to([[0.11, ANKLE_M, 0], [-0.11, ANKLE_M, 0]], (120, 2, 3))
    return standing(np.stack([0 * TIMES, HIPS_M - depth, -0.3 * depth], 1), feet), np.ones((120, 2), bool)


def walking():
    """Steps of 0.5 m to the side of the camera, one a second. The other foot stands."""
    feet, is_standing = np.zeros((120, 2, 3)), np.zeros((120, 2), bool)
    for foot in (0, 1):
        phase = TIMES + 0.5 * foot
        share = np.clip((phase % 1 - 0.5) / 0.5, 0, 1)
        feet[:, foot, 2] = 0.5 * (np.floor(phase) + share * share * (3 - 2 * share)) - 1.0
        feet[:, foot, 1] = ANKLE_M + 0.12 * np.sin(np.pi * share)
        feet[:, foot, 0] = 0.1 if foot == 0 else -0.1
        is_standing[:, foot] = (phase % 1 > 0.1) & (phase % 1 < 0.45)
    hips = np.stack([0 * TIMES, np.full(120, HIPS_M - 0.05), feet[:, :, 2].mean(1)], 1)
    return standing(hips, feet), is_standing


def jumping():
    rise = np.zeros(120)
    in_air = (TIMES > 2) & (TIMES < 2.5)
    rise[in_air] = 0.3 * np.sin(np.pi * (TIMES[in_air] - 2) / 0.5)
    feet = np.broadcast_to([[0.11, ANKLE_M, 0], [-0.11, ANKLE_M, 0]], (120, 2, 3)) + rise[:, None, None] * [0, 1, 0]
    hips = np.stack([0 * TIMES, HIPS_M - 0.03 + rise, 0 * TIMES], 1)
    return standing(hips, feet), rise


def toes(motion):
    places = motion.joints()[0]
    return np.stack([places[:, BONES.index(f"{side}Toes"), 1] for side in ("left", "right")], 1)


@pytest.mark.parametrize("move", [squatting, walking])
@pytest.mark.parametrize("drift_m", [0.0, 0.1])
def test_standing_feet_are_on_the_floor(move, drift_m):
    points, is_standing = move()
    raw = seen(points, drift_m * np.sin(1.3 * TIMES))
    motion = on_floor(raw, TIMES)
    heights = toes(motion)
    assert abs(heights[is_standing]).max() < STANDING_M
    assert heights.min() > -1e-6
    places, before = motion.joints()[0], raw.joints()[0]
    for bone, parent in PARENTS.items():
        if parent:
            pair = BONES.index(bone), BONES.index(parent)
            lengths = np.linalg.norm(places[:, pair[0]] - places[:, pair[1]], axis=1)
            assert np.ptp(lengths) < 1e-9
    np.testing.assert_allclose(np.linalg.det(motion.rotations), 1)
    steps = np.swapaxes(motion.rotations[:-1], -1, -2) @ motion.rotations[1:]
    assert np.linalg.norm(rotation_vector_from_matrix(steps), axis=-1).max() < np.deg2rad(40)
    if move is squatting:
        assert np.ptp(places[:, 0, 1]) > 0.25  # the hips go down, not the feet up
    else:
        assert heights.max() > 0.05  # the other foot is lifted
    knees = [BONES.index(f"{side}LowerLeg") for side in ("left", "right")]
    hips = before[:, :1]
    assert np.abs((places - places[:, :1])[:, knees] - (before - hips)[:, knees]).max() < 0.12


@pytest.mark.parametrize("move", [squatting, walking])
def test_planted_feet_stay_although_the_depth_drifts(move):
    points, is_standing = move()
    motion = on_floor(seen(points, 0.03 * np.sin(TIMES), 1 + 0.05 * np.sin(1.7 * TIMES)), TIMES)
    places, _ = motion.joints()
    drift = np.ptp(seen(points, 0 * TIMES, 1 + 0.05 * np.sin(1.7 * TIMES)).hips[:, 2])
    assert drift > 0.2
    for number, side in enumerate(("left", "right")):
        ball = places[:, BONES.index(f"{side}Toes")][:, [0, 2]]
        for start, stop in runs(is_standing[:, number]):
            inner = ball[start + 3 : stop - 3]  # the foot sets down and lifts
            assert len(inner) < 6 or np.ptp(inner, axis=0).max() < 0.01
    if move is squatting:
        wanted = (points[:, 23] + points[:, 24])[:, [0, 2]] / 2
        error = (places[:, 0][:, [0, 2]] - wanted) - np.median(places[:, 0][:, [0, 2]] - wanted, 0)
        assert np.abs(error).max() < 0.08


def test_a_jump_stays_above_the_floor():
    points, rise = jumping()
    heights = toes(on_floor(seen(points, 0.03 * np.sin(TIMES)), TIMES))
    assert heights[rise > 0.25].min() > 0.15
    assert abs(heights[(TIMES < 1.8) | (TIMES > 2.7)]).max() < STANDING_M


def test_one_frame_stands_on_the_floor():
    points, _ = squatting()
    whole = seen(points, np.zeros(120))
    one = replace(whole, rotations=whole.rotations[:1], hips=whole.hips[:1], is_held=whole.is_held[:1], still_feet={})
    assert abs(toes(on_floor(one, TIMES[:1]))).max() < STANDING_M
