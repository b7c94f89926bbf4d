"""HandOccNet and Deformer on detected hands: sides, meshes over their keypoints, mirrored images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import Intrinsics
from sonjit.results import Frame, Hand
from sonjit_lab.hand_models.hand_mesh import Sight, weak_view
from sonjit_lab.networks import create_network, network_entry, save_checkpoint
from sonjit_lab.papers.deformer.meshes import DeformerHands, load_deformer
from sonjit_lab.papers.deformer.network import rotate_to_camera
from sonjit_lab.papers.handoccnet.meshes import HandOccHands

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


@pytest.fixture(scope="module")
def deformer():
    return create_network("deformer", "demo", **network_entry("deformer").tiny)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(6).integers(0, 256, (24, 240, 320, 3)).astype(np.uint8)


def seen_by_deformer(network, frames, images, **options):
    model = DeformerHands(network, lambda *_: Sight(CAMERA, assumed=True), **options)
    for frame in frames:
        model.add_frame(frame, images[frame.index])
    model.finish()
    return model


def test_every_frame_is_answered_once(deformer, hand, images):
    seen = [index for index in range(24) if index not in (5, 6, 17)]
    model = seen_by_deformer(deformer, [Frame(index, index / 30, [hand]) for index in seen], images)
    assert [index for index in range(24) if model.meshes(index)] == seen
    assert all(len(model.meshes(index)) == 1 for index in seen)
    assert {model.meshes(index)[0].name for index in seen} == {"right-3"}


@pytest.mark.parametrize("variant", ["ho3d", "dexycb"])
def test_poses_are_in_the_cameras_axes(variant):
    tiny = create_network("deformer", "demo", **network_entry("deformer").tiny, variant=variant)
    pose = torch.tensor(np.random.default_rng(2).normal(0, 0.4, (3, 48)), dtype=torch.float32)
    turned = rotate_to_camera(pose, tiny.hands.variant)
    turn = torch.tensor([1.0, -1.0, -1.0]) if variant == "ho3d" else torch.ones(3)
    before, after = (tiny.hands(one, torch.zeros(3, 10))[1] for one in (pose, turned))
    torch.testing.assert_close(after, before * turn, atol=1e-5, rtol=0)
    torch.testing.assert_close(rotate_to_camera(turned, tiny.hands.variant), pose, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_checkpoint_contains_its_variant(tmp_path):
    files = "demo", "demo"
    own = create_network("deformer", variant="dexycb", size="tiny")
    save_checkpoint(own, tmp_path / "own.safetensors")
    loaded = load_deformer(str(tmp_path / "own.safetensors"), *files, None)
    assert loaded.hands.variant.pca
    assert loaded.size == own.size
    with pytest.raises(InputError, match="was written with variant='dexycb', not 'ho3d'"):
        load_deformer(str(tmp_path / "own.safetensors"), *files, "ho3d")
    torch.save(create_network("deformer").state_dict(), tmp_path / "plain.pth")
    with pytest.raises(InputError, match=r"plain\.pth does not define its variant; set --variant ho3d"):
        load_deformer(str(tmp_path / "plain.pth"), *files, None)


@pytest.mark.parametrize(("mirrored", "side"), [(False, "right"), (True, "left")])
def test_mano_is_of_the_side_that_the_image_shows(deformer, hand, images, mirrored, side):
    model = seen_by_deformer(deformer, [Frame(0, None, [hand])], images, mirrored=mirrored)
    (mesh,) = model.meshes(0)
    assert mesh.handedness == "Right"
    pose, shape = (torch.tensor([mesh.record[name]]) for name in ("mano_pose", "mano_shape"))
    vertices, _ = deformer.hands(pose, shape, torch.tensor([float(side == "left")]))
    shift = np.array(mesh.record["translation_m"])
    assert np.allclose(mesh.vertices, vertices[0].numpy() + shift, atol=1e-3 * np.ptp(mesh.vertices))
    assert mesh.record["mirrored"] is False
