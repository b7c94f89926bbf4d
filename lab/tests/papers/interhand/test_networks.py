"""InterNet and RootNet: outputs and quirks of the released code, layouts, pre- and postprocessing."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torchvision
from lab.tests.networks.properties import assert_near, golden_noise, run, tamed, watch

from sonjit import InputError
from sonjit.geometry.boxes import RotatedBox, crop_matrix, inverse_affine
from sonjit_lab.networks import create_network, load_checkpoint, network_entry
from sonjit_lab.papers.interhand import internet, rootnet

pytestmark = pytest.mark.nightly

PROTOCOLS = pytest.mark.files("goldens/networks/protocols_internet*.npz")
TINY = network_entry("internet").tiny
TAME = (
    (r"bn3\.weight$", 0.5), (r"downsample\.1\.weight$", 0.75),
    (r"pose_net\.root_fc\.2\.weight$", 0.5), (r"pose_net\.hand_fc\.2\.weight$", 0.25),
)  # fmt: skip
"""By which the reference's second set of weights is smaller."""


def assert_summary(golden, name, value):
    """Check mean, deviation and 64 values of a tensor."""
    flat = value.reshape(-1)
    assert_near(flat[:: len(flat) // 64][:64], golden[f"{name}.slice"], tolerance=1e-4)
    for part, own in (("mean", value.double().mean((1, 2, 3))), ("std", value.double().std((1, 2, 3), False))):
        assert_near(own, golden[f"{name}.{part}"], tolerance=1e-4)


def released(name, file, **options):
    """Return a network with the weights of the reference, and the parts' outputs that the reference has."""
    golden, network = np.load(file), create_network(name, "demo", **options)
    weights = tamed(network.state_dict(), TAME if "tame" in file.stem else ())
    network.load_official({f"module.{key}": value for key, value in weights.items()})
    places = {key.split(".")[-1]: key for key, _ in reversed(list(network.named_modules()))}
    names = [key.removesuffix(".slice") for key in golden.files if key.endswith(".slice")]
    return golden, network.eval(), watch(network, {name: places[name] for name in names if name in places})


@pytest.mark.golden
@pytest.mark.files("goldens/networks/internet*.npz")
def test_the_released_networks_numbers(file):
    golden, network, seen = released("internet", file)
    images = golden_noise(2, 256, "tame" in file.stem)
    np.testing.assert_array_equal(images.flatten()[:8], golden["input_first8"])
    outputs = run(network, images)
    assert {"layer1", "layer4", "joint_deconv_1", "joint_deconv_2", "joint_conv_1", "joint_conv_2"} <= seen.keys()
    for name, value in seen.items():
        assert_summary(golden, name, value)
    for name in ("root_heatmap1d_logits", "hand_type_logits", "rel_root_depth", "hand_type"):
        assert_near(outputs[name], golden[name], tolerance=1e-4)
    np.testing.assert_array_equal(outputs["joint_coord"], golden["joint_coord"])
    heatmap = outputs["heatmap"]
    volumes = heatmap.flatten(2)
    two = volumes.topk(2).values
    for name, value in {
        "joint_mean": volumes.mean(2),
        "joint_std": volumes.std(2, False),
        "joint_max": two[..., 0],
        "top2_gap": two[..., 0] - two[..., 1],
        "strided_16": heatmap[:, :, ::16, ::16, ::16],
        "sum_over_depth_s8": heatmap.sum(2)[:, :, ::8, ::8],
    }.items():
        assert_near(value, golden[f"heatmap.{name}"], tolerance=1e-4)


@pytest.mark.parametrize("layout", internet.LAYOUTS)
def test_a_released_file_of_any_layout_loads(layout, tmp_path):
    """Use the format of DataParallel with the state of the optimizer."""
    own = create_network("internet", "demo", layout=layout, **TINY)
    file = tmp_path / "snapshot_20.pth.tar"
    weights = {f"module.{key}": value for key, value in own.state_dict().items()}
    optimizer = torch.optim.Adam(own.parameters()).state_dict()
    torch.save({"epoch": 20, "network": weights, "optimizer": optimizer}, file, _use_new_zipfile_serialization=False)
    assert len(load_checkpoint(file)) == len(weights)
    loaded = create_network("internet", file, layout=layout, **TINY)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in own.state_dict().items())
    assert loaded.layout is internet.LAYOUTS[layout]


@pytest.mark.slow
def test_wrong_files_and_layouts_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"Unknown layout 'mano'\. Choose from interhand, stb, rhd"):
        create_network("internet", layout="mano")
    torch.save({"network": {"module.conv.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"these weights do not fit internet: keys .* missing"):
        create_network("internet", tmp_path / "other.pth", **TINY)


def test_the_wrist_of_stb_lies_behind_the_palm():
    layout = internet.LAYOUTS["stb"]
    joints = np.zeros((42, 3))
    knuckle = layout.skeleton.index("middle_finger_mcp")
    joints[layout.joints("Right").start + knuckle] = [0, -2, 1]
    np.testing.assert_allclose(layout.mediapipe21(joints, "Right")[[0, 9]], [[0, 2, -1], [0, -2, 1]])
    np.testing.assert_allclose(layout.mediapipe21(joints, "Left"), 0)


@pytest.mark.golden
@PROTOCOLS
def test_boxes_and_crops_are_the_released_codes(file):
    golden = np.load(file)
    names = ("bbox.in", "bbox.processed", "affine.scale", "affine.rot", "affine.trans", "affine.inv")
    for box, expected, scale, degrees, into, back in zip(*(golden[name] for name in names), strict=True):
        x, y, width, height = box.astype(float).tolist()
        area = internet.area_of_box(RotatedBox(x + width / 2, y + height / 2, width, height))
        corner = area.cx - area.width / 2, area.cy - area.height / 2
        np.testing.assert_allclose([*corner, area.width, area.height], expected, rtol=1e-5, atol=1e-2)
        side = area.width * float(scale)
        matrix = crop_matrix(RotatedBox(area.cx, area.cy, side, side, math.radians(degrees)), 256, 256)
        np.testing.assert_allclose(matrix, back, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(inverse_affine(matrix), into, rtol=1e-4, atol=1e-2)


def test_the_left_hand_is_placed_relative_to_the_right_one_if_both_are_visible():
    present = np.array([[True, True], [False, True], [True, False]])
    hands = internet.TwoHands(np.zeros((3, 42, 2)), np.zeros((3, 42)), np.array([-30.0, -30.0, -30.0]), present)
    depths = internet.apply_relative_depth(np.array([[700.0, 900.0]] * 3), hands)
    np.testing.assert_array_equal(depths, [[700, 670], [700, 900], [700, 900]])


ROOT_TINY = network_entry("rootnet").tiny


@pytest.mark.golden
@pytest.mark.files("goldens/networks/rootnet*.npz")
def test_the_released_rootnets_numbers(file):
    gentle = "tame" in file.stem
    golden, network, seen = released("rootnet", file, input_scale=1 if gentle else 255)
    images = network.normalise_crops(golden_noise(2, 256, gentle))
    np.testing.assert_allclose(images.flatten()[:8], golden["input_first8"], rtol=1e-5)
    at_box = torch.tensor([[rootnet.depth_of_box((side, side), (1500, 1500))] for side in (220, 180)])
    np.testing.assert_allclose(at_box, golden["k_value"], rtol=1e-6)
    outputs = run(network, images, at_box)
    outputs["xy_logits"] = outputs["xy_logits"][:, 0, ::4, ::4]
    for name, value in outputs.items():
        assert_near(value, golden[name], tolerance=1e-4)
    assert len(seen) == sum(name.endswith(".slice") for name in golden.files)
    for name, value in seen.items():
        assert_near(value.flatten()[:: value.numel() // 64][:64], golden[f"{name}.slice"], tolerance=1e-4)


def test_the_released_input_is_255_times_as_bright():
    quirk, meant = (create_network("rootnet", input_scale=scale, **ROOT_TINY) for scale in (255, 1))
    images = torch.rand((1, 3, 2, 2))
    torch.testing.assert_close(quirk.normalise_crops(images), meant.normalise_crops(images * 255))
    with pytest.raises(InputError, match="input_scale=2: must be 255"):
        create_network("rootnet", input_scale=2)


@pytest.mark.parametrize(
    ("k_value", "message"),
    [
        (torch.ones(2), r"k_value has shape \(2,\); expected \(B, 1\) = \(2, 1\)"),
        (torch.ones(2, 2), r"k_value has shape \(2, 2\)"),
        (torch.tensor([[1000.0], [0.0]]), "must be finite and above 0 mm"),
        (torch.tensor([[1000.0], [math.nan]]), "must be finite and above 0 mm"),
    ],
)
def test_depths_of_wrong_shape_or_value_are_refused(k_value, message):
    network = create_network("rootnet", "demo", input_scale=1, **ROOT_TINY).eval()
    with pytest.raises(InputError, match=message):
        network(torch.zeros(2, 3, 64, 64), k_value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "resnet", "message"),
    [
        ("", "resnet50", ""),
        ("_orig_mod.", "resnet50", ""),
        ("encoder_q.", "resnet50", "does not fit a residual network"),
        ("", "resnet101", "does not fit a residual network"),
    ],
)
def test_a_trunk_is_loaded_completely_or_refused(prefix, resnet, message, tmp_path):
    weights = getattr(torchvision.models, resnet)().state_dict()
    torch.save({f"{prefix}{key}": value for key, value in weights.items()}, tmp_path / "trunk.pth")
    network = create_network("internet")
    with pytest.raises(InputError, match=message) if message else nullcontext():
        network.load_trunk(tmp_path / "trunk.pth")
        own = network.state_dict()
        assert all(torch.equal(own[network.resnet_prefix + k], v) for k, v in weights.items() if k[:2] != "fc")
