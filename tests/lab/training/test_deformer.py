"""Deformer's losses: the values of the reference, and gradients for each network."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.training.augment import AugmentationSettings, draw_augmentation
from sonjit.lab.training.deformer import (
    HandGeometry,
    deformer_losses,
    discriminator_losses,
    generator_loss,
    predicted_hands,
    targets_from_mano,
)
from sonjit.lab.training.handoccnet import rotate_poses
from sonjit.lab.training.losses import maxmse, maxmse_weights
from sonjit.lab.training.recipes import load_recipe, settings_from

ENTRY = network_entry("deformer")
FRAMES = ENTRY.tiny_inputs[0].shape[0]
PUBLISHED = {
    "vertices": "mano_mesh3d_loss",
    "joints": "mano_joints3d_loss",
    "pose": "manopose_loss",
    "shape": "manoshape_loss",
    "joints2d": "hm_joints2d_loss",
    "moved_vertices": "dynamic_mano_mesh3d_loss",
    "moved_joints": "dynamic_mano_joints3d_loss",
    "moved_pose": "dynamic_mano_pose_loss",
    "fused_vertices": "dynamic_end2end_mesh3d_loss",
    "fused_joints": "dynamic_end2end_joints3d_loss",
    "fused_pose": "dynamic_end2end_manopose_loss",
}
"""Our names of the losses, and those of the released code."""


def twin(variant="ho3d"):
    return create_network("deformer", **{**ENTRY.tiny, "variant": variant})


def batch(network, count=2):
    """Return noise images with unrelated hands."""
    images, boxes = (spec.example(count) for spec in ENTRY.tiny_inputs)
    generator = torch.Generator().manual_seed(1)
    pose = 0.2 * torch.randn(count, FRAMES, 48, generator=generator)
    shape = torch.randn(count, 1, 10, generator=generator).expand(-1, FRAMES, -1)
    joints2d = torch.rand(count, FRAMES, 21, 2, generator=generator)
    side = torch.arange(count).remainder(2)[:, None].expand(-1, FRAMES).float()
    return images, boxes, targets_from_mano(network, pose, shape, side, joints2d)


@pytest.mark.golden
@pytest.mark.files("goldens/networks/deformer*.npz")
def test_losses_and_what_they_compare_are_the_references(file):
    network = twin("dexycb" if "dexycb" in file.stem else "ho3d")  # MANO alone is used of it
    with np.load(file) as golden:

        def kept(name):
            return torch.from_numpy(golden[name])

        outputs = {name: kept(name) for name in ("pose6d", "fw6d", "bw6d", "joints2d")}
        outputs |= {name: kept(f"out.{name}") for name in ("mano_shape", "mano_pose", "mano_pose_aa")}
        pose, shape = kept("train.mano_params").split((48, 10), 2)
        targets = targets_from_mano(network, pose, shape, kept("mano_side"), kept("train.joints_uv"))
        predicted = predicted_hands(network, outputs, targets.side)
        losses = deformer_losses(outputs, predicted, targets)
        assert {PUBLISHED[name] for name in losses} == {
            name.removeprefix("loss.") for name in golden if name.startswith("loss.") and "total" not in name
        }
        for name, value in losses.items():
            assert value.item() == pytest.approx(float(golden[f"loss.{PUBLISHED[name]}"]), rel=1e-4)
        prefixes = {"train.": predicted.own, "train.fw_": predicted.next, "train.bw_": predicted.before}
        for prefix, hands in {**prefixes, "train.t_": predicted.fused, "train_gt.": targets.hands}.items():
            for field, name in (("vertices", "verts3d"), ("joints", "joints3d"), ("rotations", "mano_pose")):
                value, expected = getattr(hands, field), golden[f"{prefix}{name}.slice"]
                given = value.flatten()[:: value.numel() // 64][:64]
                np.testing.assert_allclose(given, expected, rtol=0, atol=1e-3 * abs(expected).max())


@pytest.mark.golden
def test_parts_of_losses_are_the_references(data):
    path = data / "goldens/networks/protocols_mesh.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as golden:
        predicted, truth = (torch.from_numpy(golden[f"m.{name}"]).float() for name in ("pred", "gt"))
        assert maxmse(predicted, truth).item() == pytest.approx(float(golden["loss.maxmse"]), rel=1e-5)
        real, fake = (torch.from_numpy(golden[f"loss.disc_{name}"]) for name in ("real", "fake"))
        assert generator_loss(fake).item() == pytest.approx(float(golden["loss.gen"]), rel=1e-5)
        losses = [loss.item() for loss in discriminator_losses(real, fake).values()]
        np.testing.assert_allclose([*losses, sum(losses)], golden["loss.disc"], rtol=1e-5)
        root = rotate_poses(torch.tensor([[0.3, -0.5, 1.1]]), -math.degrees(0.7))
        np.testing.assert_allclose(root[0], golden["def.rotation_angle"], atol=1e-5)


def test_the_truth_has_no_loss():
    network = twin()
    targets = batch(network)[2]
    still = HandGeometry(*(values[:, :1].expand_as(values) for values in targets.hands))
    targets = targets._replace(hands=still)
    six = still.rotations[..., :2].mT.flatten(2).flatten(0, 1)
    middle = still.rotations[:, 0]
    outputs = {
        "pose6d": six,
        "fw6d": torch.zeros_like(six),
        "bw6d": torch.zeros_like(six),
        "mano_pose": middle,
        "mano_pose_aa": still.pose[:, 0],
        "mano_shape": targets.shape[:, 0],
        "joints2d": targets.joints2d.flatten(0, 1),
    }
    losses = deformer_losses(outputs, predicted_hands(network, outputs, targets.side), targets)
    assert all(0 <= loss.item() < 1e-5 for loss in losses.values())


@given(st.integers(0, 1000), st.integers(2, 6))
def test_far_points_count_most(seed, count):
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = torch.randn(2, 3, count, 3, generator=generator)
    weights, squared = maxmse_weights(predicted, truth), (predicted - truth).square().sum(-1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    assert torch.equal(weights.argsort(), squared.argsort())
    assert squared.mean() * (1 - 1e-5) <= maxmse(predicted, truth) <= squared.max() * (1 + 1e-5)


def test_points_without_error_pass_no_gradient():
    points = torch.randn(2, 4, 3, requires_grad=True)
    loss = maxmse(points, points.detach())
    loss.backward()
    assert loss == 0
    assert not points.grad.any()


def test_joints_outside_the_box_are_not_learned():
    network = twin().eval()
    images, boxes, targets = batch(network)
    with torch.inference_mode():
        outputs = network(images, boxes, targets.side)
        predicted = predicted_hands(network, outputs, targets.side)
        hidden = targets._replace(joints2d=torch.full_like(targets.joints2d, -1))
        assert deformer_losses(outputs, predicted, hidden)["joints2d"] == 0
        one = hidden.joints2d.clone()
        one[1, 2, 3, 0] = 0.25
        loss = deformer_losses(outputs, predicted, hidden._replace(joints2d=one))["joints2d"].item()
        expected = 100 * (outputs["joints2d"].unflatten(0, (2, FRAMES))[1, 2, 3, 0] - 0.25) ** 2
        assert loss == pytest.approx(expected.item(), rel=1e-4)


def test_augmentations_stay_within_what_is_published():
    rng, published = np.random.default_rng(0), load_recipe("deformer").settings["augmentation"]
    drawn = [draw_augmentation(settings_from(AugmentationSettings, published), rng) for _ in range(300)]
    assert {round(one.scale, 6) for one in drawn} >= {0.8, 1.2}
    assert all(0.8 <= one.scale <= 1.2 and abs(one.rotation_rad) <= math.pi and abs(one.hue) <= 0.15 for one in drawn)
    assert all(max(map(abs, one.shift)) <= 0.1 and 0 <= one.blur_px <= 0.5 for one in drawn)
    assert all(0.5 <= gain <= 1.5 for one in drawn for gain in (one.brightness, one.saturation, one.contrast))
