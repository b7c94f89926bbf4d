"""Deformer on detected hands: a mesh of the right side in every frame of images and videos."""

import numpy as np
import pytest
import torch

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import Intrinsics
from sonjit.lab.meshes.hand_mesh import Sight
from sonjit.lab.meshes.mano_networks import DeformerHands, load_deformer
from sonjit.lab.networks import create_network, network_entry, save_checkpoint
from sonjit.lab.networks.deformer import rotate_to_camera
from sonjit.results import Frame, Hand

CAMERA = Intrinsics(300, 300, 160, 120)


@pytest.fixture(scope="module")
def network():
    return create_network("deformer", "demo", **network_entry("deformer").tiny)


@pytest.fixture(scope="module")
def hand():
    rng = np.random.default_rng(4)
    keypoints = np.c_[rng.uniform((100, 60), (180, 160), (21, 2)), np.zeros(21)].astype(np.float32)
    return Hand("Right", 0.9, keypoints, rng.normal(0, 0.05, (21, 3)).astype(np.float32), id=3)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(6).integers(0, 256, (24, 240, 320, 3)).astype(np.uint8)


def looked(network, frames, images, **options):
    model = DeformerHands(network, lambda *_: Sight(CAMERA, assumed=True), **options)
    for frame in frames:
        model.add_frame(frame, images[frame.index])
    model.finish()
    return model


def test_every_frame_is_answered_once(network, hand, images):
    seen = [index for index in range(24) if index not in (5, 6, 17)]
    model = looked(network, [Frame(index, index / 30, [hand]) for index in seen], images)
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
def test_mano_is_of_the_side_that_the_image_shows(network, hand, images, mirrored, side):
    model = looked(network, [Frame(0, None, [hand])], images, mirrored=mirrored)
    (mesh,) = model.meshes(0)
    assert mesh.handedness == "Right"
    pose, shape = (torch.tensor([mesh.record[name]]) for name in ("mano_pose", "mano_shape"))
    vertices, _ = network.hands(pose, shape, torch.tensor([float(side == "left")]))
    shift = np.array(mesh.record["translation_m"])
    assert np.allclose(mesh.vertices, vertices[0].numpy() + shift, atol=1e-3 * np.ptp(mesh.vertices))
    assert mesh.record["mirrored"] is False
