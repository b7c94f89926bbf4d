"""HandOccNet's recipe: falling losses, and poses that rotate and mirror with their images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit.lab.hand_models import demo_mano
from sonjit.lab.hand_models.mano import matrix_from_axis_angle
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.training.augment import AugmentationSettings, draw_augmentation
from sonjit.lab.training.handoccnet import handoccnet_losses, mirror_poses, rotate_poses, targets_from_mano
from sonjit.lab.training.recipes import load_recipe, settings_from

ENTRY = network_entry("handoccnet")


def truth(mano, count=4):
    generator = torch.Generator().manual_seed(1)
    pose, shape = torch.randn(count, 48, generator=generator) * 0.2, torch.randn(count, 10, generator=generator)
    return targets_from_mano(mano, pose, shape, torch.rand(count, 21, 2, generator=generator))


def test_training_steps_lower_the_published_loss():
    torch.manual_seed(0)
    network = create_network("handoccnet", **ENTRY.tiny).train()
    images, targets = ENTRY.tiny_inputs[0].example(4), truth(network.mano)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    sums = []
    for _ in range(4):
        losses = handoccnet_losses(network(images), targets)
        assert list(losses) == ["vertices", "joints", "pose", "shape", "joints_img"]
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.append(loss.item())
    assert sums[-1] < sums[0]
    without = {name for name, value in network.named_parameters() if value.grad is None}
    assert without == {"backbone.smooth2.weight", "backbone.smooth2.bias"}  # held for published weights alone


def test_the_truth_has_no_loss():
    mano = demo_mano()
    targets = truth(mano)
    outputs = {
        "mesh_coord_cam": targets.vertices,
        "joints_coord_cam": targets.joints,
        "pose6d": targets.rotations[..., :2].mT.flatten(1),
        "mano_shape": targets.shape,
        "joints_coord_img": targets.joints_img,
    }
    for name, loss in handoccnet_losses(outputs, targets).items():
        assert loss.item() == pytest.approx(0, abs=1e-9), name
    moved = outputs | {"mesh_coord_cam": targets.vertices + 0.01, "joints_coord_img": targets.joints_img + 0.1}
    assert handoccnet_losses(moved, targets)["vertices"].item() == pytest.approx(1, rel=1e-3)
    assert handoccnet_losses(moved, targets)["joints_img"].item() == pytest.approx(1, rel=1e-3)


@given(st.integers(0, 2**31), st.floats(-60, 60))
@settings(max_examples=20)
def test_a_turned_crop_turns_the_hand_the_other_way(seed, degrees):
    mano = demo_mano()
    pose = torch.randn(1, 48, generator=torch.Generator().manual_seed(seed)) * 0.5
    (before, joints), (after, same) = mano(pose), mano(rotate_poses(pose, degrees))
    around = matrix_from_axis_angle(torch.tensor([0.0, 0.0, -math.radians(degrees)]))
    torch.testing.assert_close(after - same[:, :1], (before - joints[:, :1]) @ around.T, atol=1e-5, rtol=0)


def test_mirrored_poses_turn_as_in_a_mirror():
    pose = torch.randn(3, 48, generator=torch.Generator().manual_seed(2))
    assert torch.equal(mirror_poses(mirror_poses(pose)), pose)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    given_, expected = (matrix_from_axis_angle(value.unflatten(1, (16, 3))) for value in (mirror_poses(pose), pose))
    torch.testing.assert_close(given_, mirror @ expected @ mirror, atol=1e-5, rtol=0)


def test_augmentations_stay_within_what_is_published():
    rng, published = np.random.default_rng(0), load_recipe("handoccnet").settings["augmentation"]
    drawn = [draw_augmentation(settings_from(AugmentationSettings, published), rng) for _ in range(300)]
    assert all(0.75 <= one.scale <= 1.25 and abs(one.rotation_rad) <= np.radians(60) for one in drawn)
    assert all(0.8 <= gain <= 1.2 for one in drawn for gain in one.channels)
    assert 0.3 < np.mean([one.rotation_rad == 0 for one in drawn]) < 0.5
