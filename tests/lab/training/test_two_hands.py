"""Data of InterNet and RootNet: crops with their labels, and falling losses."""

import numpy as np
import pytest
import torch

from sonjit.geometry.boxes import RotatedBox
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.internet import LAYOUTS, HeatmapSpace
from sonjit.lab.training.internet import (
    InterNetTargets,
    TwoHandImage,
    batch_from_examples,
    example_from_image,
    heatmap_from_joints,
    internet_losses,
    targets_from_crop,
)
from sonjit.lab.training.rootnet import rootnet_losses

LAYOUT = LAYOUTS["interhand"]
SPACE = HeatmapSpace(32, 8)
PROTOCOLS = pytest.mark.files("goldens/networks/protocols_internet*.npz")


def image(seed=0, hands=(True, True)):
    """Return a dark image with a bright dot at every joint."""
    rng = np.random.default_rng(seed)
    rgb = np.zeros((120, 160, 3), np.uint8)
    places = rng.permutation(13 * 13)[:42]  # a grid keeps the dots apart
    xy = np.stack([places % 13, places // 13], 1) * 6.0 + (40, 20)
    joints = np.column_stack([xy, 800 + rng.uniform(-60, 60, 42)])
    valid = np.repeat(hands, 21)
    for x, y in xy[valid].astype(int):
        rgb[y - 1 : y + 2, x - 1 : x + 2] = 255
    return TwoHandImage(rgb, RotatedBox(79, 59, 84, 84), joints, valid, np.array(hands))


@pytest.mark.golden
@PROTOCOLS
def test_targets_are_the_released_codes(file):
    golden = np.load(file)
    joints = golden["target.joint_in"]
    bins, valid, rel_root = targets_from_crop(joints, golden["target.valid_in"] > 0, LAYOUT)
    np.testing.assert_allclose(bins, golden["target.joint_out"], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(valid, golden["target.valid_out"] > 0)
    assert rel_root == pytest.approx(float(golden["target.rel_out"][0]), rel=1e-5)


@pytest.mark.golden
@PROTOCOLS
def test_losses_are_the_released_codes(file):
    golden = np.load(file)
    joints = torch.from_numpy(golden["target.joint_out"])[None]
    volumes = heatmap_from_joints(joints, (64, 64, 64))
    for given_, expected in (
        (volumes.sum((2, 3, 4)), golden["loss.gauss_sum_per_joint"]),
        (volumes.amax((2, 3, 4)), golden["loss.gauss_max_per_joint"]),
        (volumes[:, :, ::16, ::16, ::16], golden["loss.gauss_strided"]),
    ):
        np.testing.assert_allclose(given_, expected, atol=1e-5 * expected.max())
    targets = InterNetTargets(
        joints,
        torch.from_numpy(golden["target.valid_out"])[None],
        *(torch.from_numpy(golden[f"loss.{name}"]) for name in ("rel_gt", "rel_valid", "hand_gt", "hand_valid")),
    )
    losses = internet_losses(
        {
            "heatmap": torch.full((1, 42, 64, 64, 64), 3.0),
            "rel_root_depth": torch.from_numpy(golden["loss.rel_pred"]),
            "hand_type_logits": torch.from_numpy(golden["loss.hand_prob"]).logit(),
        },
        targets,
    )
    for name, expected in (("joints", "heatmap_const3"), ("rel_root", "rel"), ("hand_type", "hand")):
        assert losses[name].item() == pytest.approx(golden[f"loss.{expected}"].mean(), rel=1e-4), name


def test_an_absent_hand_teaches_no_joints():
    network = create_network("internet", "demo", **network_entry("internet").tiny)
    images, targets = batch_from_examples(
        [example_from_image(image(i, (True, False)), LAYOUT, space=SPACE) for i in range(2)]
    )
    losses = internet_losses(network(images), targets)
    losses["joints"].backward()
    of_left = network.pose_net.joint_conv_2[0].weight.grad
    assert not of_left.any()
    assert network.pose_net.joint_conv_1[0].weight.grad.any()
    assert losses["rel_root"].item() == 0
    assert losses["hand_type"].item() > 0


def test_the_loss_of_rootnet_takes_labels_without_depth():
    outputs = {"coord": torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 9.0], [5.0, 5.0, 5.0]])}
    loss = rootnet_losses(outputs, torch.zeros(3, 3), torch.tensor([1.0, 1, 0]), torch.tensor([1.0, 0, 1]))["root"]
    assert loss.item() == pytest.approx(((1 + 2 + 3) + (1 + 2)) / 9)
