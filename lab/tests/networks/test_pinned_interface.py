"""The interface that external checks call: names, shapes, prefixes and files of the specification."""

import csv
import math

import numpy as np
import pytest
import torch

import sonjit
from sonjit_lab.hand_models import demo_mano
from sonjit_lab.networks import checkpoints, create_network, list_networks

from ..mano_fields import checkpoint_fields  # noqa: TID252  # one set of fields for all packages

HEAT = (64, 64, 64)
SHAPES_OF = {
    "internet": {
        "heatmap": (1, 42, *HEAT), "hand_type": (1, 2), "hand_type_logits": (1, 2), "rel_root_depth": (1, 1),
        "root_heatmap1d_logits": (1, 64), "joint_coord": (1, 42, 3),
    },
    "rootnet": {"coord": (1, 3), "gamma": (1, 1), "xy_logits": (1, 1, 64, 64)},
    "handoccnet": {
        "gate": (1, 32, 32), "pose6d": (1, 96), "joints_coord_img": (1, 21, 2), "mano_pose": (1, 48),
        "mano_shape": (1, 10), "joints_coord_cam": (1, 21, 3), "mesh_coord_cam": (1, 778, 3),
        "manojoints2cam": (1, 16, 4, 4),
    },
    "deformer": {
        "mano_shape": (1, 10), "mano_pose": (1, 16, 3, 3), "mano_pose_aa": (1, 48), "confidences": (1, 7),
        "joints3d": (1, 21, 3), "verts3d": (1, 778, 3), "pose6d": (7, 96), "fw6d": (7, 96), "bw6d": (7, 96),
        "joints2d": (7, 21, 2),
    },
}  # fmt: skip
PREFIXES = {"internet": "module.", "rootnet": "module.", "handoccnet": "module.", "deformer": "honet.module."}
MANO_LAYERS = {
    "regressor.mano_regHead.mano_layer.": "right",
    "mano_branch.mano_layer_right.": "right",
    "mano_branch.mano_layer_left.": "left",
}


@pytest.fixture
def official(data):
    """Return a function that gives a seeded state_dict with the keys of a released checkpoint, or skips the test."""

    def read(file):
        path = data / "specs" / "networks" / f"{file}_keys.csv"
        if not path.is_file():
            pytest.skip(f"no {path}")
        weights = {}
        for row in csv.DictReader(path.read_text("utf-8").splitlines()):
            key = row["key"]
            shape = () if row["shape"] == "scalar" else tuple(map(int, row["shape"].split("x")))
            layer, _, buffer = key.partition("th_")
            if layer in MANO_LAYERS:
                flat = buffer == "hands_mean" and file == "deformer"
                values = (0 if flat else 1) * checkpoint_fields(demo_mano(MANO_LAYERS[layer]))[buffer].numpy()
                values = values.ravel()[: math.prod(shape)].reshape(shape)  # handoccnet's layer selects 6 components
            elif key.endswith("coord_change_mat"):
                values = np.diag([1, -1, -1])
            elif row["dtype"] == "float32":
                values = checkpoints.seeded_values(key, shape)
            else:
                values = np.zeros(shape)
            weights[key] = torch.from_numpy(np.array(values)).to(getattr(torch, row["dtype"]))
        return weights

    return read


def create(name, **options):
    """Create a network as in the specification."""
    if name == "handoccnet":
        options["mano"] = demo_mano()
    if name == "deformer":
        options = {"variant": "ho3d"} | options
        options |= {"mano": demo_mano()}
        options |= {"mano_left": demo_mano("left")}
    return create_network(name, **options)


def inputs(name):
    """Return the inputs of a network as in the specification."""
    if name == "deformer":
        box = torch.tensor([96.0, 80.0, 396.0, 360.0]).expand(1, 7, 4)
        named = {"hand_boxes": box, "side": torch.zeros(1, 7), "roots": torch.zeros(1, 7, 3)}
        return (torch.rand(1, 7, 3, 512, 512),), named
    images = torch.rand(1, 3, 256, 256)
    return ((images, torch.tensor([[2000.0]])) if name == "rootnet" else (images,)), {}


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES_OF)
def test_a_network_takes_official_weights_and_gives_the_outputs_by_name(official, name):
    assert name in list_networks()
    net = create(name)
    net.load_official({PREFIXES[name] + key: value for key, value in official(name).items()}, strict=True)
    images, named = inputs(name)
    with torch.inference_mode():
        out = net.eval()(*images, **named)
        if name == "handoccnet":
            more = net(*images, features=True)
            assert {"primary", "secondary", "FIT", "SET", "score"} <= more.keys()
    assert {key: tuple(value.shape) for key, value in out.items() if key in SHAPES_OF[name]} == SHAPES_OF[name]
    assert all(value.isfinite().all() for value in out.values())


@pytest.mark.slow
def test_deformers_other_variant_and_every_prefix(official):
    net, weights = create("deformer", variant="dexycb"), official("deformer_dexycb")
    for number, prefix in enumerate(("", "module.", "honet.", "honet.module.")):
        weights["base_net.toplayer.bias"] = torch.full((256,), float(number))
        net.load_official({prefix + key: value for key, value in weights.items()}, strict=True)
        assert torch.equal(net.state_dict()["base_net.toplayer.bias"], weights["base_net.toplayer.bias"])


@pytest.mark.slow
def test_a_released_file_is_read_and_a_missing_key_is_refused_where_strict(official, tmp_path):
    weights = official("rootnet")
    path = tmp_path / "snapshot_18.pth.tar"
    state = {f"module.{key}": value for key, value in weights.items()}
    torch.save({"epoch": 18, "network": state, "optimizer": {"state": {}, "param_groups": []}}, path)
    net = create_network("rootnet", weights=path)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in weights.items())
    del weights["root.deconv_layers.0.weight"]
    weights["backbone.bn1.bias"] += 1
    with pytest.raises(sonjit.InputError, match="missing"):
        net.load_official(weights, strict=True)
    net.load_official(weights, strict=False)
    assert torch.equal(net.state_dict()["backbone.bn1.bias"], weights["backbone.bn1.bias"])
