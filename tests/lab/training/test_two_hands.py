"""Data of InterNet and RootNet: crops with their labels, and falling losses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.boxes import RotatedBox
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.internet import LAYOUTS, SIDES, HeatmapSpace
from sonjit.lab.training.augment import Augmentation, AugmentationSettings, draw_augmentation
from sonjit.lab.training.internet import (
    PEAK,
    InterNetTargets,
    TwoHandImage,
    batch_from_examples,
    example_from_image,
    heatmap_from_joints,
    internet_losses,
    mirror_example,
    targets_from_crop,
)
from sonjit.lab.training.recipes import load_recipe, settings_from
from sonjit.lab.training.rootnet import RootNetSettings, rootnet_losses

LAYOUT = LAYOUTS["interhand"]
SPACE = HeatmapSpace(32, 8)
PUBLISHED = settings_from(AugmentationSettings, load_recipe("internet").settings["augmentation"])
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


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)


@given(st.integers(0, 3), st.sampled_from([(True, True), (True, False), (False, True)]))
def test_a_mirror_image_shows_the_other_hands_and_mirrored_twice_the_same(seed, hands):
    one = image(seed, hands)
    other = mirror_example(one)
    assert other.hand_type.tolist() == list(hands[::-1])
    assert other.valid.tolist() == np.repeat(hands[::-1], 21).tolist()
    for x, y in other.joints[other.valid, :2].astype(int):
        assert (other.rgb[y, x] == 255).all()
    right, left = (LAYOUT.root(side) for side in SIDES)
    assert other.joints[left, 2] - other.joints[right, 2] == one.joints[right, 2] - one.joints[left, 2]
    assert same(mirror_example(other), one)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_labels_move_with_the_image(seed):
    rng = np.random.default_rng(seed)
    space = HeatmapSpace()
    augmentation = draw_augmentation(PUBLISHED, rng)
    example = example_from_image(image(seed % 5), LAYOUT, augmentation, space)
    assert example.image.shape == (256, 256, 3)
    assert 0 <= example.image.min() <= example.image.max() <= 1
    for x, y in space.px_from_bins(example.joints[example.valid, :2]).round().astype(int):
        if 2 <= x < 254 and 2 <= y < 254:
            assert example.image[y, x].min() > 0.5


@given(st.integers(0, 10**6))
def test_variations_are_as_large_as_published(seed):
    one = draw_augmentation(PUBLISHED, np.random.default_rng(seed))
    assert max(map(abs, one.shift)) <= 0.15
    assert 0.75 <= one.scale <= 1.25
    assert abs(one.rotation_rad) <= math.pi / 2
    assert all(0.8 <= gain <= 1.2 for gain in one.channels)


def test_what_leaves_the_volume_or_hangs_on_an_unknown_root_is_left_out():
    one = image()
    right, left = (LAYOUT.root(side) for side in SIDES)
    example = example_from_image(one, LAYOUT, space=SPACE)
    assert example.valid.all()
    assert example.rel_valid
    one.joints[3, 2] += 500
    one.valid[left] = False
    example = example_from_image(one, LAYOUT, space=SPACE)
    assert not example.valid[3]
    assert example.valid[LAYOUT.joints("Right")].sum() == 20
    assert not example.valid[LAYOUT.joints("Left")].any()
    assert not example.rel_valid
    away = example_from_image(image(), LAYOUT, Augmentation(shift=(5, 0)), SPACE)
    assert not away.valid.any()
    assert not away.rel_valid
    assert example.joints[right, 2] == SPACE.bins / 2


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


@given(st.floats(0, 7), st.floats(0, 7), st.floats(0, 7))
def test_volumes_are_gaussians(x, y, z):
    volume = heatmap_from_joints(torch.tensor([[[x, y, z]]]), (8, 8, 8))[0, 0]
    k, j, i = (int(value) for value in np.unravel_index(int(volume.argmax()), (8, 8, 8)))
    assert max(abs(i - x), abs(j - y), abs(k - z)) <= 0.5 + 1e-5
    expected = PEAK * math.exp(-((1 - x) ** 2 + (2 - y) ** 2 + (3 - z) ** 2) / 12.5)
    assert volume[3, 2, 1].item() == pytest.approx(expected, rel=1e-3)


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


def falls(network, losses, steps=12, learning_rate=1e-3):
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    totals = []
    for _ in range(steps):
        total = sum(losses().values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    return totals[-1] < totals[0]


def test_the_losses_of_internet_fall_in_training():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = create_network("internet", **network_entry("internet").tiny).train()
    images, targets = batch_from_examples(
        [example_from_image(image(i), LAYOUT, draw_augmentation(PUBLISHED, rng), SPACE) for i in range(8)]
    )
    assert falls(network, lambda: internet_losses(network(images), targets))


def test_the_loss_of_rootnet_falls_in_training_and_takes_labels_without_depth():
    torch.manual_seed(0)
    network = create_network("rootnet", input_scale=1, **network_entry("rootnet").tiny).train()
    images = network.normalise_crops(torch.rand(8, 3, 64, 64))
    coord = torch.tensor([8.0, 4.0, 1.5]).expand(8, 3)
    seen, deep = torch.ones(8), torch.arange(8) % 2
    assert falls(network, lambda: rootnet_losses(network(images, torch.ones(8, 1)), coord, seen, deep))
    outputs = {"coord": torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 9.0], [5.0, 5.0, 5.0]])}
    loss = rootnet_losses(outputs, torch.zeros(3, 3), torch.tensor([1.0, 1, 0]), torch.tensor([1.0, 0, 1]))["root"]
    assert loss.item() == pytest.approx(((1 + 2 + 3) + (1 + 2)) / 9)


@pytest.mark.parametrize(
    ("name", "expected"), [("l2", (9 + 16 + 144) / 64), ("distance", 2 * 5 + 12), ("l1", 3 + 4 + 12)]
)
def test_the_loss_of_rootnet_is_chosen_by_name(name, expected):
    outputs, truth = {"coord": torch.tensor([[3.0, -4.0, 12.0]])}, torch.zeros(1, 3)
    loss = rootnet_losses(outputs, truth, torch.ones(1), torch.ones(1), name)["root"]
    assert loss.item() == pytest.approx(expected / 3)
    assert RootNetSettings(loss=name).loss == name
    with pytest.raises(InputError, match=r"Unknown loss 'mse'. Choose from l1, l2, smooth-l1, wing, distance"):
        RootNetSettings(loss="mse")
