"""The interface that external checks call: names, shapes, prefixes and files of the specification."""

import csv
import math
import zlib
from functools import cache

import numpy as np
import pytest
import torch

import sonjit
from sonjit.lab.hand_models import load_mano
from sonjit.lab.networks import create_network, list_networks
from sonjit.lab.networks.checkpoints import seeded_values

HEAT = (64, 64, 64)
SHAPES_OF = {
    "internet": {
        "heatmap": (1, 42, *HEAT),
        "hand_type": (1, 2),
        "hand_type_logits": (1, 2),
        "rel_root_depth": (1, 1),
        "root_heatmap1d_logits": (1, 64),
        "joint_coord": (1, 42, 3),
    },
    "rootnet": {"coord": (1, 3), "gamma": (1, 1), "xy_logits": (1, 1, 64, 64)},
    "handoccnet": {
        "gate": (1, 32, 32),
        "pose6d": (1, 96),
        "joints_coord_img": (1, 21, 2),
        "mano_pose": (1, 48),
        "mano_shape": (1, 10),
        "joints_coord_cam": (1, 21, 3),
        "mesh_coord_cam": (1, 778, 3),
        "manojoints2cam": (1, 16, 4, 4),
    },
    "deformer": {
        "mano_shape": (1, 10),
        "mano_pose": (1, 16, 3, 3),
        "mano_pose_aa": (1, 48),
        "confidences": (1, 7),
        "joints3d": (1, 21, 3),
        "verts3d": (1, 778, 3),
        "pose6d": (7, 96),
        "fw6d": (7, 96),
        "bw6d": (7, 96),
        "joints2d": (7, 21, 2),
    },
}
PREFIXES = {"internet": "module.", "rootnet": "module.", "handoccnet": "module.", "deformer": "honet.module."}
MANO_LAYERS = {
    "regressor.mano_regHead.mano_layer.": "right",
    "mano_branch.mano_layer_right.": "right",
    "mano_branch.mano_layer_left.": "left",
}
PARENTS = [2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]


@cache
def mano_fields(side):
    """Return the synthetic MANO of the specification under MANO's names."""

    def rng(field):
        return np.random.default_rng(zlib.crc32(f"mano{'' if side == 'right' else '_left'}.{field}".encode()))

    def normal(field, spread, *shape):
        return rng(field).normal(0, spread, shape).astype(np.float32)

    def shares(field, *shape):
        drawn = rng(field).uniform(0, 1, shape) ** 8
        return (drawn / drawn.sum(1, keepdims=True)).astype(np.float32)

    return {
        "v_template": normal("v_template", 0.05, 778, 3),
        "shapedirs": normal("shapedirs", 0.005, 778, 3, 10),
        "posedirs": normal("posedirs", 0.0005, 778, 3, 135),
        "J_regressor": shares("J_regressor", 16, 778),
        "weights": shares("weights", 778, 16),
        "hands_components": normal("hands_components", 0.15, 45, 45),
        "hands_mean": normal("hands_mean", 0.2, 45),
        "f": rng("f").integers(0, 778, (1538, 3)).astype(np.int32),
        "kintree_table": np.array([PARENTS, range(16)], np.uint32),
    }


def mano_buffer(side, name, flat):
    """Return a MANO buffer as manopth stores it in a network."""
    fields = mano_fields(side)
    if name in ("comps", "selected_comps"):
        return fields["hands_components"]
    if name == "betas":
        return np.zeros(10)
    if name == "hands_mean" and flat:
        return np.zeros(45)
    return fields["f" if name == "faces" else name]


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
                values = mano_buffer(MANO_LAYERS[layer], buffer, flat=file == "deformer")
                values = values.ravel()[: math.prod(shape)].reshape(shape)  # handoccnet's layer selects 6 components
            elif key.endswith("coord_change_mat"):
                values = np.diag([1, -1, -1])
            elif row["dtype"] == "float32":
                values = seeded_values(key, shape)
            else:
                values = np.zeros(shape)
            weights[key] = torch.from_numpy(np.array(values)).to(getattr(torch, row["dtype"]))
        return weights

    return read


def create(name, **options):
    """Create a network as in the specification."""
    if name == "handoccnet":
        options["mano"] = load_mano(mano_fields("right"), side="right")
    if name == "deformer":
        options = {"variant": "ho3d"} | options
        options |= {"mano": load_mano(mano_fields("right"), side="right")}
        options |= {"mano_left": load_mano(mano_fields("left"), side="left")}
    return create_network(name, **options)


def inputs(name):
    """Return the inputs of a network as in the specification."""
    if name == "deformer":
        box = torch.tensor([96.0, 80.0, 396.0, 360.0]).expand(1, 7, 4)
        named = {"hand_boxes": box, "side": torch.zeros(1, 7), "roots": torch.zeros(1, 7, 3)}
        return (torch.rand(1, 7, 3, 512, 512),), named
    images = torch.rand(1, 3, 256, 256)
    return ((images, torch.tensor([[2000.0]])) if name == "rootnet" else (images,)), {}


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


@pytest.mark.parametrize("side", ["right", "left"])
def test_mano_poses_hands_and_gives_mediapipes_joints(side, tmp_path):
    np.savez(tmp_path / "mano.npz", **mano_fields(side))
    pose, betas = torch.zeros(2, 48), torch.zeros(2, 10)
    pose[1, 5] = 0.5
    for source in (mano_fields(side), tmp_path / "mano.npz"):
        mano = load_mano(source, side=side)
        for tips in ("handoccnet", "deformer_ho3d", "deformer_dexycb"):
            vertices, joints = mano(pose, betas, translation=None, flat_hand_mean=True, tips=tips)
            assert vertices.shape == (2, 778, 3)
            assert joints.shape == (2, 21, 3)
            moved, _ = mano(pose, betas, translation=torch.ones(2, 3), flat_hand_mean=False, tips=tips)
            assert moved.shape == (2, 778, 3)
            assert not torch.allclose(vertices[0], vertices[1])
