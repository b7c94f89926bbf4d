"""36 shape parameters of a hand: their effects, equal for both sides, with intact meshes."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import FINGERS, KEYPOINTS
from sonjit.lab.synthesis.person import SHAPE_NAMES, SHAPE_SPREADS, coarse_faces, load_hand_mesh, rig_from_shape

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")
FLIP = np.array([-1.0, 1.0, 1.0])


def one(name, value=1.0):
    shape = np.zeros(len(SHAPE_NAMES))
    shape[SHAPE_NAMES.index(name)] = value
    return shape


def face_normals(rig):
    a, b, c = np.moveaxis(rig.vertices[rig.faces], 1, 0)
    return np.cross(b - a, c - a)


class TestMesh:
    @pytest.mark.parametrize("side", SIDES)
    def test_it_is_closed_and_looks_outwards(self, side):
        rig = load_hand_mesh(side)
        for faces in (rig.faces, coarse_faces(rig)):
            ways = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
            there = {tuple(way) for way in ways.tolist()}
            assert len(there) == len(ways)
            assert there == {(b, a) for a, b in there}
            a, b, c = np.moveaxis(rig.vertices[faces], 1, 0)
            assert 2e-4 < (a * np.cross(b, c)).sum() / 6 < 6e-4  # m³, positive where faces look outwards
        assert ((face_normals(rig) * rig.normals[rig.faces].mean(1)).sum(1) > 0).all()

    def test_left_is_the_mirror_of_right(self):
        right, left = (load_hand_mesh(side) for side in SIDES)
        assert np.allclose(right.vertices * FLIP, left.vertices)
        assert np.allclose(right.joints * FLIP, left.joints)
        assert np.allclose(np.linalg.det(left.frames), 1)

    def test_dividing_keeps_the_files_surface(self, rigs):
        rig, mesh = rigs["Right"], load_hand_mesh("Right")
        hand = (rig.vertices - rig.joints[0]) @ rig.frames[0][
            :, 2
        ] < 0.005  # the cut end has an edge that is rounded off
        old = mesh.vertices[: coarse_faces(mesh).max() + 1]
        apart = np.array([np.linalg.norm(old - vertex, axis=1).min() for vertex in rig.vertices[hand]])
        assert apart.max() < 0.001
        assert np.sqrt((apart**2).mean()) < 0.0003


def test_there_are_36_names():
    assert len(SHAPE_NAMES) == len(set(SHAPE_NAMES)) == 36
    assert all(0 < spread < 0.1 for spread in SHAPE_SPREADS.values())


@pytest.mark.parametrize("name", SHAPE_NAMES)
def test_each_shape_moves_something_and_turns_no_face_over(name):
    rest = face_normals(load_hand_mesh("Right"))
    for value in (-3, 3):
        rig = rig_from_shape("Right", one(name, value))
        moved = np.linalg.norm(rig.vertices - load_hand_mesh("Right").vertices, axis=1)
        assert 0.0003 < moved.max() < 0.05
        assert ((face_normals(rig) * rest).sum(1) > 0).all()


@pytest.mark.slow
def test_people_have_complete_meshes_on_both_sides():
    rest, rng = face_normals(load_hand_mesh("Right")), np.random.default_rng(4)
    for _ in range(60):
        shape = rng.normal(size=36).clip(-3, 3)
        right, left = (rig_from_shape(side, shape) for side in SIDES)
        assert ((face_normals(right) * rest).sum(1) > 0).all()
        assert np.allclose(right.vertices * FLIP, left.vertices, atol=1e-7)
        assert np.allclose(right.joints * FLIP, left.joints)


@pytest.mark.parametrize("name", [name for name in SHAPE_NAMES if name.endswith("_length")])
def test_lengths_grow_by_their_share_and_keep_directions(name):
    before, after = load_hand_mesh("Right"), rig_from_shape("Right", one(name, 2))
    growth = after.lengths / before.lengths
    changed = ~np.isclose(growth, 1, atol=1e-3)
    share = 1 + 2 * SHAPE_SPREADS[name]
    if name == "palm_length":
        assert np.allclose(growth[[4, 8, 12, 16]], share, atol=0.02)  # it stretches along the middle finger
    else:
        assert changed.sum() == 1
        assert np.isclose(growth[changed][0], share)
    for chain in FINGERS:
        bones = [np.diff(rig.joints[list(chain)], axis=0) for rig in (before, after)]
        ways = [bone / np.linalg.norm(bone, axis=1, keepdims=True) for bone in bones]
        assert np.allclose(ways[0], ways[1], atol=1e-9)


def test_joints_stay_in_the_middle_of_their_fingers():
    rng = np.random.default_rng(8)
    for _ in range(10):
        rig = rig_from_shape("Right", rng.normal(size=36).clip(-3, 3))
        for joint in (joint for chain in FINGERS for joint in chain[1:3]):
            local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
            ring = (np.abs(local[:, 2]) < 0.003) & (np.hypot(local[:, 0], local[:, 1]) < 0.018)
            ring &= rig.weights[:, [joint, joint - 1]].sum(1) > 0.6
            middle = (local[ring, :2].min(0) + local[ring, :2].max(0)) / 2
            assert np.linalg.norm(middle) < 0.005


def test_keypoints_follow_the_size():
    small, large = (rig_from_shape("Left", one("size", value)) for value in (-2, 2))
    ratio = np.linalg.norm(np.diff(large.joints[list(KEYPOINTS)], axis=0), axis=1) / np.linalg.norm(
        np.diff(small.joints[list(KEYPOINTS)], axis=0), axis=1
    )
    assert np.allclose(ratio, (1 + 2 * SHAPE_SPREADS["size"]) / (1 - 2 * SHAPE_SPREADS["size"]))


@pytest.mark.parametrize("shape", [np.zeros(35), np.full(36, np.nan), np.zeros((1, 36))])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="36"):
        rig_from_shape("Right", shape)
