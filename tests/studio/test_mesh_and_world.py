"""Rigged hands fitted to labelled joints, and world frames from a board or from three points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError, SonjitError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.hand_models.rig import RigPose
from sonjit.lab.hand_models.rig_files import load_rig
from sonjit.studio.cameras.world import scale_to_length, world_on_board, world_on_points
from sonjit.studio.triangulation.skeleton_fit import fit_mesh, rig_with_lengths


@pytest.fixture(scope="module")
def hand():
    try:
        return load_rig("Right")
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")


def test_a_mesh_lies_where_its_own_joints_are(hand):
    lengths = 1.1 * hand.lengths
    unknown = lengths.copy()
    unknown[3] = np.nan
    rig = rig_with_lengths("Right", unknown)
    np.testing.assert_allclose(rig.lengths, lengths, rtol=1e-6)
    rest = RigPose(np.eye(3)[None], np.array([[0.1, 0, 0.5]]), np.zeros((1, 5, 3, 3)))
    points = rig.keypoints(rest).repeat(3, axis=0)
    points[1, 5] = np.nan
    pose, complete, off = fit_mesh(rig, points)
    assert complete.tolist() == [0, 2]
    assert len(rig.keypoints(pose)) == 2
    assert np.isnan(off[1])
    assert off[[0, 2]].max() < 1e-3


def test_without_a_complete_hand_there_is_no_mesh(hand):
    pose, complete, off = fit_mesh(hand, np.full((2, 21, 3), np.nan))
    assert pose is None
    assert not len(complete)
    assert np.isnan(off).all()


vectors = st.lists(st.floats(-2, 2), min_size=3, max_size=3).map(np.array)


@given(vectors, vectors)
def test_a_board_on_the_floor_is_the_origin_and_up_is_z(turn, place):
    R, t = matrix_from_rotation_vector(turn), place
    turned, moved = world_on_board(R, t)
    on_board = np.array([[0, 0, 0], [1, 0, 0], [0, 0, -1.0]])  # its z points into the floor
    there = (on_board @ R.T + t) @ turned.T + moved
    np.testing.assert_allclose(there, [[0, 0, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9)


def test_three_points_are_the_floor():
    points = np.array([[1.0, 2, 3], [1, 4, 3], [0, 2, 3]])
    R, t = world_on_points(*points)
    np.testing.assert_allclose(points @ R.T + t, [[0, 0, 0], [2, 0, 0], [0, 1, 0]], atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)


def test_what_gives_no_world_is_one_line():
    with pytest.raises(InputError, match="lie on one line"):
        world_on_points(*np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]))
    for one, other, measured in (([0, 0, 0], [0, 0, 0], 1), ([0, 0, 0], [1, 0, 0], 0)):
        with pytest.raises(InputError, match="gives no scale"):
            scale_to_length(np.array(one), np.array(other), measured)
    assert scale_to_length(np.zeros(3), np.array([0, 2, 0]), 1) == 0.5
