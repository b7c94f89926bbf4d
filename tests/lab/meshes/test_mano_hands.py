"""MANO networks on detected hands: mirrored left hands, meshes over their keypoints, mirrored images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit.geometry.cameras import Intrinsics
from sonjit.lab.meshes.hand_mesh import Sight, weak_view
from sonjit.lab.meshes.mano_networks import HandOccHands
from sonjit.lab.networks import create_network, network_entry
from sonjit.results import Frame, Hand

CAMERA = Intrinsics(300, 300, 160, 120)


@pytest.fixture(scope="module")
def network():
    return create_network("handoccnet", "demo", **network_entry("handoccnet").tiny)


@pytest.fixture
def hand():
    rng = np.random.default_rng(4)
    keypoints = np.c_[rng.uniform((100, 60), (180, 160), (21, 2)), np.zeros(21)].astype(np.float32)
    return Hand("Right", 0.9, keypoints, rng.normal(0, 0.05, (21, 3)).astype(np.float32), id=3)


@pytest.fixture(scope="module")
def rgb():
    return np.random.default_rng(6).integers(0, 256, (240, 320, 3)).astype(np.uint8)


def mirror(hand, width):
    keypoints = hand.keypoints.copy()
    keypoints[:, 0] = width - keypoints[:, 0]
    return replace(hand, keypoints=keypoints)


def looked(network, hands, rgb, **options):
    model = HandOccHands(network, lambda *_: Sight(CAMERA, assumed=True), **options)
    model.add_frame(Frame(0, None, hands), rgb)
    model.finish()
    return model


def test_mesh_is_mano_put_before_the_camera(network, hand, rgb):
    (mesh,) = looked(network, [hand], rgb).meshes(0)
    assert mesh.name == "right-3"
    pose, shape = (torch.tensor([mesh.record[name]]) for name in ("mano_pose", "mano_shape"))
    vertices, joints = (part[0].numpy() for part in network.mano(pose, shape, flat_hand_mean=False))
    shift = np.array(mesh.record["translation_m"])
    size = np.ptp(vertices)
    assert np.allclose(mesh.vertices, vertices + shift, atol=1e-3 * size)
    recorded = np.array([[p["x"], p["y"], p["z"]] for p in mesh.record["keypoints3D"]])
    assert np.allclose(recorded, joints + shift, atol=1e-3 * size)
    view = weak_view(recorded, hand.keypoints[:, :2])
    assert np.allclose(view.pixels(mesh.vertices), mesh.pixels, atol=0.5)


def test_left_hand_is_the_mirrored_right_one(network, hand):
    """Use a uniform grey image, for which the network gives the same output when it is mirrored."""
    grey = np.full((240, 320, 3), 90, np.uint8)
    (right,) = looked(network, [hand], grey).meshes(0)
    (left,) = looked(network, [replace(mirror(hand, 320), handedness="Left")], grey).meshes(0)
    assert not right.record["mirrored"]
    assert left.record["mirrored"]
    assert np.allclose(left.record["mano_pose"], right.record["mano_pose"], atol=1e-4)
    assert np.allclose(left.pixels[:, 0], 320 - right.pixels[:, 0], atol=0.1)
    assert np.allclose(left.pixels[:, 1], right.pixels[:, 1], atol=0.1)
    assert (left.faces == right.faces[:, ::-1]).all()


def test_selfie_turns_sides_round(network, hand, rgb):
    (mesh,) = looked(network, [hand], rgb, mirrored=True).meshes(0)
    assert mesh.handedness == "Right"
    assert mesh.record["mirrored"]


VIEW = Intrinsics(600, 620, 320, 240)
POINTS = np.random.default_rng(8).normal(0, 0.05, (21, 3))


@given(st.floats(0.25, 3), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_a_given_camera_puts_a_hand_back_where_it_was(depth, x, y):
    place = np.array([x, y, depth])
    sight = Sight(VIEW, assumed=False)
    xy = VIEW.project(POINTS + place)
    found = sight.translation(POINTS, xy)
    assert np.allclose(found, place, atol=1e-6)
    pixels = sight.pixels(POINTS + found, POINTS + found, xy)
    assert np.allclose(pixels[:, :2], xy, atol=1e-3)
    assert (np.argsort(pixels[:, 2]) == np.argsort(POINTS[:, 2])).all()


def test_shapes_that_no_perspective_fits_stand_before_the_camera_all_the_same():
    backwards = POINTS * (-1, -1, 1)  # seen upside down and mirrored
    shift = Sight(VIEW, assumed=True).translation(backwards * 4, POINTS[:, :2] * 900 + (200, 100))
    assert np.isfinite(shift).all()
    assert shift[2] > 0
