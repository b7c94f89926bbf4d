"""Bones of characters turn no faster than those of people, and BVH angles do not jump."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.geometry.steps import row_times, turns_at, values_at
from sonjit.media.tables.characters import BONES, Motion
from sonjit.media.tables.characters.turns import MAX_SPEED, in_space, steady
from sonjit.media.tables.characters.writer import bvh_from_character
from sonjit.results import Frame, Person

from .actors import FROM_CAMERA, HEADER, Bvh, actor, body_of, hand_of, people_of
from .test_files import write

FPS = 24
TIMES = np.arange(48) / FPS
PARENTS = [None, 0, 1]
LIMIT_DEG = np.rad2deg(MAX_SPEED / FPS) + 1e-6


def swinging():
    """Return slow rotations (F, 3, 3, 3) of three bones."""
    phases = np.sin(TIMES[:, None] * [3.0, 2.0, 4.0])[..., None]
    return matrix_from_rotation_vector(phases * np.eye(3))


def steps_deg(turns):
    """Return the largest angle of each bone between neighbouring frames in degrees."""
    vectors = rotation_vector_from_matrix(np.swapaxes(turns[:-1], -1, -2) @ turns[1:])
    return np.rad2deg(np.linalg.norm(vectors, axis=-1)).max(0)


def test_motion_of_people_stays_as_it_is():
    turns = swinging()
    np.testing.assert_allclose(steady(turns, PARENTS, TIMES), turns, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_pose_that_flips_for_some_frames_is_replaced(count):
    turns, flipped = swinging(), swinging()
    flipped[20 : 20 + count, 1] = flipped[20 : 20 + count, 1] @ matrix_from_rotation_vector(np.array([0, 2.6, 0]))
    shown = steady(flipped, PARENTS, TIMES)
    away = rotation_vector_from_matrix(np.swapaxes(shown, -1, -2) @ turns)
    assert np.rad2deg(np.linalg.norm(away, axis=-1)).max() < 8
    assert steps_deg(shown).max() < 20


def test_a_pose_that_stays_is_reached_within_the_limit_in_space_too():
    turns = swinging()
    for bone in range(3):  # in one direction, so that they add
        turns[24:, bone] = turns[24:, bone] @ matrix_from_rotation_vector(np.array([0, 0, 1.0]))
    shown = steady(turns, PARENTS, TIMES)
    assert steps_deg(in_space(turns, PARENTS)).max() > 120
    assert max(steps_deg(shown).max(), steps_deg(in_space(shown, PARENTS)).max()) < LIMIT_DEG
    np.testing.assert_allclose(shown[30:], turns[30:], atol=1e-9)


@pytest.mark.parametrize(
    "times", [TIMES[::10], TIMES[[0, 1, 3, 4, 20, 21]], TIMES[[7]], np.array([0, 1, 2, 6.1]) / FPS]
)
def test_rows_with_a_constant_step_are_on_the_way_between_frames(times):
    turns = matrix_from_rotation_vector(np.arange(len(times))[:, None, None] * [[0.3, 0.0, 0.2], [0.0, -0.4, 0.0]])
    points = np.arange(len(times))[:, None] * [1.0, -2.0]
    rows_s = row_times(times, 1 / FPS).times
    shares = np.interp(rows_s, times, np.arange(len(times)))
    expected = matrix_from_rotation_vector(shares[:, None, None] * [[0.3, 0.0, 0.2], [0.0, -0.4, 0.0]])
    np.testing.assert_allclose(turns_at(turns, times, rows_s), expected, atol=1e-12)
    np.testing.assert_allclose(values_at(points, times, rows_s), shares[:, None] * [1.0, -2.0], atol=1e-12)
    assert len(rows_s) == round((times[-1] - times[0]) * FPS) + 1


def test_bones_of_a_video_of_which_few_frames_are_read_turn_no_faster_than_there(tmp_path):
    """A bone turns by 0.8 rad in each of the frames that are read."""
    angles = np.arange(5)[:, None] * [0, 0.8, 0]
    turns = np.tile(np.eye(3), (5, len(BONES), 1, 1))
    turns[:, 0] = matrix_from_rotation_vector(angles)
    motion = Motion("person1", np.zeros((len(BONES), 3)), {}, turns, np.zeros((5, 3)), np.zeros(5, bool))
    path = tmp_path / "x.bvh"
    path.write_text(bvh_from_character(motion, times := np.arange(5) * 10 / FPS, row_times(times, 1 / FPS), "vrm"))
    shown = np.array([Bvh(path).turns(row)["hips"] for row in range(41)])
    assert steps_deg(shown[:, None]) == pytest.approx(np.rad2deg(0.08), abs=0.01)


def test_hands_of_files_that_flip_turn_within_the_limit(tmp_path):
    frames, _ = people_of(TIMES, 0.4)
    for frame in frames:
        if frame.index in (15, 16) or frame.index > 35:
            hand = frame.people[0].left_hand
            points = hand.keypoints_3d.copy()
            points[:, [0, 2]] *= -1  # the back of the hand in front
            frame.people[0].left_hand = replace(hand, keypoints_3d=points)
    write(tmp_path / "x.bvh", frames)
    bvh = Bvh(tmp_path / "x.bvh")
    turns = np.array([[*bvh.turns(row).values()] for row in range(bvh.count)])
    assert steps_deg(turns).max() < 70


def test_angles_of_a_bvh_never_jump(tmp_path):
    """Turn a person around twice."""
    frames, _ = people_of(TIMES, 0.4)
    for frame in frames:
        angle = 4 * np.pi * frame.index / len(frames)
        turn = matrix_from_rotation_vector(np.array([0, angle, 0]))
        body = frame.people[0].body
        frame.people[0].body = replace(body, keypoints_3d=(body.keypoints_3d @ turn.T).astype(np.float32))
    write(tmp_path / "x.bvh", frames)
    rows = Bvh(tmp_path / "x.bvh").rows
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 180


def test_bones_of_a_person_who_spins_turn_with_the_person(tmp_path):
    """The keypoints in the image and in space turn around by the same 15 degrees in each frame."""
    frames, middle = [], np.array([0, 0, -3.0])
    for index, time in enumerate(TIMES[:24]):
        turn = matrix_from_rotation_vector(np.array([0, 2 * np.pi * time, 0]))
        points = (actor(time) - middle) @ turn.T + middle
        hand, _ = hand_of(points[15], 0.4, "Left")
        hand = replace(hand, keypoints_3d=(hand.keypoints_3d * FROM_CAMERA @ turn.T * FROM_CAMERA).astype(np.float32))
        frames.append(Frame(index, float(time), people=[Person(body_of(points), left_hand=hand)]))
    write(tmp_path / "x.bvh", frames, replace(HEADER, fps=FPS))
    bvh = Bvh(tmp_path / "x.bvh")
    turns = np.array([[*bvh.turns(row).values()] for row in range(bvh.count)])
    assert 14 < steps_deg(turns).min() <= steps_deg(turns).max() < 20
