"""Hands of a scene as meshes: shapes, skin, seamless forearm, and what they wear."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit_lab.hand_models.rig import RigPose
from sonjit_lab.synthesis import gestures, hand_appearance, hand_meshes, hand_shapes, hands

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")


def some_hand(side="Right", seed=0, **look):
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=36).clip(-2, 2)
    angles = gestures.sample_angles(hand_shapes.rig_from_shape(side, shape), rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= np.linalg.det(turn)
    pose = RigPose(turn[None], rng.normal((0, 0, 0.6), 0.1, (1, 3)), angles[None])
    return hands.SceneHand(
        side, shape, pose, hand_appearance.HandAppearance(**look), bend=(rng.normal(0, 0.3), rng.normal(0, 0.15))
    )


@pytest.mark.parametrize("side", SIDES)
class TestSkin:
    def test_meshes_are_sound(self, side):
        for seed in range(5):
            for each in hands.drawables_from_hand(some_hand(side, seed, glove="knit", sleeve="shirt", rings=(0, 3)), 2):
                assert np.isfinite(each.vertices).all()
                assert np.allclose(np.linalg.norm(each.normals, axis=1), 1, atol=1e-6)
                assert each.faces.min() >= 0
                assert each.faces.max() < len(each.vertices)
                for values in (each.rest, each.parts, each.marks):
                    assert values is None or len(values) == len(each.vertices)
                a, b, c = np.moveaxis(each.vertices[each.faces], 1, 0)
                outwards = (np.cross(b - a, c - a) * each.normals[each.faces].mean(1)).sum(1) > 0
                assert outwards.mean() > 0.97


def test_the_left_hand_mirrors_the_right():
    right = some_hand("Right", 5, glove="work", sleeve="jacket", rings=(2,))
    flip = np.diag([-1.0, 1, 1])
    pose = RigPose(flip @ right.pose.rotation @ flip, right.pose.translation @ flip, right.pose.angles)
    left = replace(right, side="Left", pose=pose)
    count = len(hand_shapes.rig_from_shape("Right", right.shape).vertices)
    one, other = (hands.drawables_from_hand(hand, 1)[0].vertices[:count] for hand in (right, left))
    assert np.allclose(one @ flip, other, atol=1e-6)
    one, other = (hands.drawables_from_hand(hand, 1)[1].vertices.mean(0) for hand in (right, left))
    assert np.allclose(one @ flip, other, atol=1e-3)
    assert np.allclose(hands.keypoints_from_hand(right) @ flip, hands.keypoints_from_hand(left))


@pytest.mark.parametrize("look", [{"glove": "mitten"}, {"sleeve": "toga"}, {"rings": (7,)}, {"tone": 0}])
def test_what_there_is_not_is_refused_in_one_line(look):
    with pytest.raises(InputError) as caught:
        hands.drawables_from_hand(some_hand(**look), 1)
    assert "\n" not in str(caught.value)


def one(name, value=1.0):
    shape = np.zeros(len(hand_shapes.SHAPE_NAMES))
    shape[hand_shapes.SHAPE_NAMES.index(name)] = value
    return shape


def face_normals(rig):
    a, b, c = np.moveaxis(rig.vertices[rig.faces], 1, 0)
    return np.cross(b - a, c - a)


class TestMesh:
    @pytest.mark.parametrize("side", SIDES)
    def test_it_is_closed_and_looks_outwards(self, side):
        rig = hand_meshes.load_hand_mesh(side)
        for faces in (rig.faces, hand_meshes.coarse_faces(rig)):
            ways = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
            there = {tuple(way) for way in ways.tolist()}
            assert len(there) == len(ways)
            assert there == {(b, a) for a, b in there}
            a, b, c = np.moveaxis(rig.vertices[faces], 1, 0)
            assert 2e-4 < (a * np.cross(b, c)).sum() / 6 < 6e-4  # m³, positive where faces look outwards
        assert ((face_normals(rig) * rig.normals[rig.faces].mean(1)).sum(1) > 0).all()


@pytest.mark.nightly_after(6)
@pytest.mark.parametrize("name", hand_shapes.SHAPE_NAMES)
def test_each_shape_moves_something_and_turns_no_face_over(name):
    rest = face_normals(hand_meshes.load_hand_mesh("Right"))
    for value in (-3, 3):
        rig = hand_shapes.rig_from_shape("Right", one(name, value))
        moved = np.linalg.norm(rig.vertices - hand_meshes.load_hand_mesh("Right").vertices, axis=1)
        assert 0.0003 < moved.max() < 0.05
        assert ((face_normals(rig) * rest).sum(1) > 0).all()


STILL = RigPose(np.eye(3)[None], np.zeros((1, 3)), np.zeros((1, 5, 3, 3)))


def dressed(**look):
    hand = hands.SceneHand("Right", np.zeros(36), STILL, hand_appearance.HandAppearance(**look))
    return hands.drawables_from_hand(hand, 1)


@pytest.mark.parametrize("name", hands.GLOVES)
def test_gloves_lie_on_the_skin(name):
    skin, *_, glove = dressed(glove=name)
    assert glove.instance == 1 + hands.GLOVE
    apart = ((glove.vertices - skin.vertices) * skin.normals).sum(1)
    assert np.allclose(apart, hands.GLOVES[name].thick_m)
    assert len(glove.faces) <= len(skin.faces)
