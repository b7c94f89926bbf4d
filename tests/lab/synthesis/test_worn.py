"""Gloves, rings and sleeves: above the skin, around the finger, around the arm."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import FINGERS, RigPose
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.hands import ARM, GLOVE, GLOVES, SLEEVES, SceneHand, drawables_from_hand, ring_drawable
from sonjit.lab.synthesis.person import HandAppearance, rig_from_shape

pytestmark = pytest.mark.usefixtures("rigs")
STILL = RigPose(np.eye(3)[None], np.zeros((1, 3)), np.zeros((1, 5, 3, 3)))


def dressed(**look):
    hand = SceneHand("Right", np.zeros(36), STILL, HandAppearance(**look))
    return drawables_from_hand(hand, 1)


@pytest.mark.parametrize("name", GLOVES)
def test_gloves_lie_on_the_skin(name):
    skin, *_, glove = dressed(glove=name)
    assert glove.instance == 1 + GLOVE
    apart = ((glove.vertices - skin.vertices) * skin.normals).sum(1)
    assert np.allclose(apart, GLOVES[name].thick_m)
    assert len(glove.faces) <= len(skin.faces)


def test_fingerless_gloves_leave_the_tips_bare():
    *_, glove = dressed(glove="fingerless")
    rig = rig_from_shape("Right", np.zeros(36))
    covered = np.unique(glove.faces)
    covered = covered[covered < len(rig.vertices)]
    tips = rig.weights[:, [joint for chain in FINGERS for joint in chain[2:]]].sum(1)
    assert tips[covered].max() < 0.3
    assert len(covered) > 0.3 * len(rig.vertices)


@pytest.mark.parametrize("finger", range(5))
def test_rings_go_around_their_finger(finger):
    rng = np.random.default_rng(finger)
    rig = rig_from_shape("Left", rng.normal(size=36).clip(-2, 2))
    ring = ring_drawable(rig, STILL, finger, 1.0, 151)
    (skin,), _ = rig.skin(STILL)
    middle = ring.vertices.mean(0)
    chain = FINGERS[finger]
    joint = chain[1] if finger == 0 else chain[0]
    bone = rig.joints[joint + 1] - rig.joints[joint]
    way = bone / np.linalg.norm(bone)
    radii = np.linalg.norm(np.cross(ring.vertices - middle, way), axis=1)
    near = np.abs((skin - middle) @ way) < 0.002
    near &= rig.weights[:, joint : joint + 2].sum(1) > 0.6
    thick = np.linalg.norm(np.cross(skin[near] - middle, way), axis=1)
    assert abs(radii.mean() - thick.mean()) < 0.002
    assert 0.006 < radii.mean() < 0.014


@pytest.mark.parametrize("name", SLEEVES)
def test_sleeves_hide_the_forearm_beneath(name):
    _, arm, sleeve = dressed(sleeve=name, seed=4.0)
    assert arm.instance == sleeve.instance == 1 + ARM
    rig = rig_from_shape("Right", np.zeros(36))
    back = rig.frames[0][:, 2]
    base = arm.vertices.mean(0)
    for low in (0.13, 0.2):
        rings = []
        for each in (arm, sleeve):
            behind = (each.vertices - rig.joints[0]) @ back
            ring = each.vertices[np.abs(behind - low) < 0.03]
            rings.append(np.linalg.norm(np.cross(ring - base, back), axis=1))
        assert rings[1].mean() > rings[0].mean()


def test_unknown_names_list_the_known():
    with pytest.raises(InputError, match="latex"):
        look_up("glove", GLOVES, "no")
    with pytest.raises(InputError, match="shirt"):
        look_up("sleeve", SLEEVES, "no")
