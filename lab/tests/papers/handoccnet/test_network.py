"""HandOccNet: outputs of the reference, published checkpoints with MANO, and its maps."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from lab.tests.mano_fields import checkpoint_fields
from lab.tests.networks.properties import assert_near, golden_noise, run, tamed, twin, watch

from sonjit import InputError
from sonjit.geometry.boxes import RotatedBox, clamped_box, square_box
from sonjit_lab.hand_models import demo_mano
from sonjit_lab.networks import checkpoints, create_network, network_entry
from sonjit_lab.papers.handoccnet import network as handoccnet

MANO = "regressor.mano_regHead.mano_layer."
LARGEST_DIFFERENCE = {"handoccnet": 1e-3, "handoccnet_tame": 1e-4}  # as part of an array's greatest value
TAME = (
    (r"bn3\.weight$", 0.5),
    (r"downsample\.1\.weight$", 0.75),
    (r"[qk]_embedding$", 100),
    (r"^backbone\.(latlayer\d|toplayer|smooth3)\.weight$", 0.3),
    (r"^backbone\.attention_module\.spatial\.conv\.weight$", 0.3),
    (r"encode_query2\.weight$", 0.05),
    (r"^regressor\..*conv3\.weight$", 0.5),
    (r"^regressor\.hand_regHead\.score\.0\.weight$", 0.3),
    (r"^regressor\.mano_regHead\.shape_reg\.weight$", 0.01),
)
"""What keeps the numbers of drawn weights small: the first that fits a key."""
twin = partial(twin, "handoccnet")


def crops(count=2, seed=0):
    return network_entry("handoccnet").tiny_inputs[0].example(count, seed)


PLACES = {
    **{f"layer{i}": f"backbone.layer{i}" for i in range(5)},
    **{name: f"backbone.{name}" for name in ("toplayer", "smooth3")},
    **{name: f"regressor.hand_regHead.{part}.0" for name, part in (("hourglass", "hg"), ("res", "res"), ("fc", "fc"))},
    "spatial_gate_logit": "backbone.attention_module.spatial",
    "hand_Encoder": "regressor.hand_Encoder",
    "mano_base": "regressor.mano_regHead.mano_base_layer",
}
"""Parts of the network by the names of the reference."""


@pytest.mark.golden
@pytest.mark.files("goldens/networks/handoccnet*.npz")
def test_outputs_and_maps_are_the_references(file):
    tame = file.stem.endswith("_tame")
    network = create_network("handoccnet", mano=demo_mano()).eval()
    weights = tamed(checkpoints.placeholder_state_dict(network), TAME if tame else ())
    network.load_official({f"module.{key}": value for key, value in weights.items()})
    found = watch(network, PLACES)
    images = golden_noise(2, 256, tame)
    with np.load(file) as golden:
        np.testing.assert_array_equal(images.flatten()[:8], golden["input_first8"])
        found |= run(network, images, features=True)
        assert {"gate", "mesh_coord_cam", "mano_pose", "hourglass", "FIT.block1"} <= found.keys()
        for name, value in found.items():
            kept = {}
            if name in golden:
                kept[name] = value
            if f"{name}.sub" in golden:
                channels = 1 if name == "score" else 16
                kept[f"{name}.sub"] = value[:, ::channels, ::4, ::4]
            if f"{name}.slice" in golden:
                assert tuple(golden[f"{name}.shape"]) == tuple(value.shape)
                kept[f"{name}.slice"] = value.flatten()[:: value.numel() // 64][:64]
                kept[f"{name}.std"] = value.double().flatten(1).std(1, correction=0)
            for key, given in kept.items():
                assert_near(given, golden[key], tolerance=LARGEST_DIFFERENCE[file.stem])


@pytest.mark.golden
@pytest.mark.files("goldens/networks/protocols_mesh.npz")
def test_boxes_are_the_references(file):
    with np.load(file) as golden:
        for scale in (1.0, 1.5):
            for (x, y, width, height), expected in zip(golden["occ.bbox_in"], golden[f"occ.bbox_{scale}"], strict=True):
                seen = clamped_box(RotatedBox(x + width / 2, y + height / 2, width, height), 640, 480)
                assert (seen is None) == np.isnan(expected).all()
                if seen is not None:
                    cx, cy, side, again, _ = square_box(seen, scale=scale)
                    np.testing.assert_allclose([cx - side / 2, cy - side / 2, side, again], expected, atol=1e-3)


def official(network):
    """Return a tiny checkpoint with all keys of the published ones."""
    fields = checkpoint_fields(network.mano)
    fields["selected_comps"] = fields["selected_comps"][:6]
    del fields["comps"]
    state = network.state_dict() | {f"{MANO}th_{name}": value.clone() for name, value in fields.items()}
    state |= {f"regressor.hand_regHead.{name}": torch.zeros(8, 8) for name in ("uu", "vv")}
    state |= {"fitting_loss.data_weight": torch.tensor(1.0), "fitting_loss.init_joints_idxs": torch.arange(21)}
    return {f"module.{key}": value for key, value in state.items()}


@pytest.mark.nightly
@pytest.mark.slow
def test_published_checkpoints_load_with_the_mano_in_them(tmp_path):
    network = twin()
    torch.save({"epoch": 1, "network": official(network), "optimizer": {}}, tmp_path / "snapshot_1.pth.tar")
    again = twin(tmp_path / "snapshot_1.pth.tar")
    for name, value in run(network, crops()).items():
        assert torch.equal(run(again, crops())[name], value)
    assert not any("mano_layer" in key for key in again.state_dict())
    twin(tmp_path / "snapshot_1.pth.tar", mano=None)


@pytest.mark.parametrize("field", ["v_template", "hands_mean", "faces"])
def test_weights_of_another_mano_are_refused(field):
    network = twin()
    weights = official(network)
    weights[f"module.{MANO}th_{field}"].view(-1)[-1] += 1
    with pytest.raises(InputError, match=f"another MANO model than the given right one: its {field} differs") as caught:
        network.load_official(weights)
    assert "\n" not in str(caught.value)
    weights[f"module.{MANO}th_{field}"] = torch.zeros(3)
    with pytest.raises(InputError, match=f"MANO model of these weights has another {field}"):
        network.load_official(weights)


def test_wrong_calls_are_refused():
    with pytest.raises(InputError, match="requires MANO's right hand"):
        twin(mano=demo_mano("left"))
    with pytest.raises(InputError, match=r"mano='x.pkl' is not a MANO model; pass load_mano\('x.pkl'\)"):
        twin(mano="x.pkl")


def test_without_mano_it_stops_at_pose_and_shape():
    complete, bare = run(twin(), crops()), run(twin(mano=None), crops())
    assert complete.keys() - bare.keys() == {"joints_coord_cam", "mesh_coord_cam", "manojoints2cam"}
    for name, value in bare.items():
        assert torch.equal(complete[name], value)
    vertices, joints = demo_mano()(bare["mano_pose"], bare["mano_shape"], flat_hand_mean=False)
    torch.testing.assert_close(vertices, complete["mesh_coord_cam"])
    torch.testing.assert_close(joints, complete["joints_coord_cam"])
    torch.testing.assert_close(complete["manojoints2cam"][:, 0, :3, 3], joints[:, 0])


def test_the_trunk_begins_from_torchvisions_weights():
    torchvision = pytest.importorskip("torchvision")
    resnet = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1])
    trunk = handoccnet.LeakyPyramid(16, 64, (1, 1, 1, 1))
    top = trunk.toplayer.weight.clone()
    trunk.load_imagenet(resnet.state_dict())
    own = trunk.state_dict()
    assert torch.equal(own["layer0.0.weight"], resnet.conv1.weight)
    assert torch.equal(own["layer0.1.running_var"], resnet.bn1.running_var)
    assert torch.equal(own["layer3.0.0.downsample.0.weight"], resnet.layer3[0].downsample[0].weight)
    assert torch.equal(trunk.toplayer.weight, top)
    with pytest.raises(InputError, match="not torchvision's ResNet-50: layer"):
        handoccnet.LeakyPyramid(16, 32, (1, 1, 1, 1)).load_imagenet(resnet.state_dict())


@pytest.mark.slow
def test_parts_can_be_left_out():
    options = network_entry("handoccnet").tiny
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    poses = []
    for fit, refine, parts in (
        ("full", True, {"FIT", "SET"}), ("full", False, {"FIT"}), ("softmax", False, {"FIT"}), ("gate", False, set()),
        ("none", False, set()), ("none", True, {"SET"}),
    ):  # fmt: skip
        network = create_network("handoccnet", "demo", **options, fit=fit, refine=refine).eval()
        out = network(image, features=True)
        assert {name for name in ("FIT", "SET") if name in out} == parts
        assert ("FIT.block0.sigmoid" in out) == (fit == "full")
        poses.append(out["pose6d"])
    assert all((a - b).abs().max() > 1e-6 for a, b in combinations(poses, 2))
    with pytest.raises(InputError, match=r"Unknown fit 'half'\. Choose from full, softmax, gate, none"):
        create_network("handoccnet", **options, fit="half")
