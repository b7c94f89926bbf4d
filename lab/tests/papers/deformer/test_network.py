"""Deformer: outputs and crops of the reference, checkpoints with two MANO models, windows, and its discriminator."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from lab.tests.mano_fields import checkpoint_fields
from lab.tests.networks.properties import assert_near, golden_noise, run, tamed, twin, watch

from sonjit import InputError
from sonjit.geometry.boxes import crop_matrix, inverse_affine
from sonjit_lab.hand_models import demo_mano
from sonjit_lab.networks import checkpoints, create_network, network_entry
from sonjit_lab.papers.deformer.network import DeformerStream, box_around, crop_square, joints_in_box

pytestmark = pytest.mark.nightly

ENTRY = network_entry("deformer")
FRAMES = ENTRY.tiny_inputs[0].shape[0]
BRANCH = "mano_branch.mano_layer_"
TAME = (
    (r"bn3\.weight$", 0.5),
    (r"downsample\.1\.weight$", 0.75),
    (r"^base_net\.(toplayer|latlayer\d|smooth3)\.weight$", 0.3),
    (r"w_dynamic_pose_reg\.weight$", 0.2),
    (r"^mano_branch\.confidence_reg\.weight$", 60),
    (r"^hand_hm_embed\.layers\.2\.weight$", 8),
    (r"self_attn\.out_proj\.weight$", 0.3),
)
"""What keeps the numbers of drawn weights small: the first that fits a key."""
twin = partial(twin, "deformer")


def windows(count, seed=0):
    """Return images (B, T, 3, 64, 64) and boxes (B, T, 4) within them."""
    generator = torch.Generator().manual_seed(seed)
    low, size = torch.rand(2, count, FRAMES, 2, generator=generator)
    low, size = 24 * low, 16 + 24 * size
    return torch.rand(count, FRAMES, 3, 64, 64, generator=generator), torch.cat([low, low + size], 2)


def assert_same(given, expected, tolerance=1e-5):
    for key, value in given.items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=tolerance, msg=lambda text, k=key: f"{k}: {text}")


@cache
def drawn_weights():
    return checkpoints.placeholder_state_dict(create_network("deformer"))


def reference_network(file):
    """Return the network of the reference outputs."""
    variant = "dexycb" if "dexycb" in file.stem else "ho3d"
    network = create_network("deformer", mano=demo_mano(), mano_left=demo_mano("left"), variant=variant).eval()
    weights = tamed(drawn_weights(), TAME if file.stem.endswith("_tame") else ())
    network.load_official({f"honet.module.{key}": value for key, value in weights.items()})
    return network


def assert_like_summary(golden, name, value, kept, axis=0):
    """Check that `value` contains the frames that the reference summarises along one axis."""
    shape = golden[f"{name}.shape"]
    places = list(np.unravel_index(np.arange(64) * (shape.prod() // 64), shape))
    among = np.isin(places[axis], kept)
    places = [place[among] for place in places]
    places[axis] = np.searchsorted(kept, places[axis])
    slices, value = golden[f"{name}.slice"], value.double().numpy()
    assert_near(value[tuple(places)], slices[among], abs(slices).max())
    if axis == 0:
        deviation = golden[f"{name}.std"][kept]
        assert_near(value.reshape(len(kept), -1).std(1), deviation)
        assert_near(value.reshape(len(kept), -1).mean(1), golden[f"{name}.mean"][kept], deviation.max())


@pytest.mark.golden
@pytest.mark.files("goldens/networks/deformer*.npz")
def test_the_features_of_a_frame_are_the_references(file):
    network = reference_network(file)
    kept = [12 if network.hands.variant.pca else 0]  # one of the 14, for each takes seconds
    seen = watch(network, {"P2": "base_net", "memory": "hand_transformer", "hm_logits": "hand_hm_embed"})
    seen |= (stages := watch(network, {f"layer{i}": f"base_net.layer{i}" for i in range(1, 5)}))
    network.hand_transformer.register_forward_hook(lambda *call: seen.update(hand_rois=call[1][0]))
    images = golden_noise(14, 512, file.stem.endswith("_tame"))
    with np.load(file) as golden:
        np.testing.assert_array_equal(images.flatten()[:8], golden["input_first8"])
        boxes = torch.from_numpy(golden["bbox_hand"]).flatten(0, 1)
        with torch.inference_mode():
            tokens, joints = network.encode(images[kept], boxes[kept])
        assert_near(tokens, golden["dec_hs_last"][kept])
        assert_near(joints, golden["joints2d"][kept])
        for name in ("P2", "hand_rois", *stages):
            assert_like_summary(golden, name, (seen | stages)[name], kept)
        assert_near(seen["hand_rois"][0, ::32, ::8, ::8], golden["hand_rois.sub"][kept[0] // 3])
        if kept == [0]:  # which is all that the reference kept of these
            for name, value in {"enc_memory": seen["memory"][1], "hm_logits": seen["hm_logits"]}.items():
                assert_like_summary(golden, name, value.transpose(0, 1), kept, axis=1)
        grid = network.hand_transformer.positions.T.unflatten(1, (32, 32))
        assert_like_summary(golden, "pos2d", grid.expand(14, -1, -1, -1), range(14))


@pytest.mark.golden
@pytest.mark.files("goldens/networks/deformer*.npz")
def test_outputs_of_a_window_equal_the_reference(file):
    network = reference_network(file)
    parts = {"encoder": "t_memory", "decoder": "t_hs"}
    seen = watch(network, {name: f"temporal_hand_transformer_{part}" for part, name in parts.items()})
    heads = watch(network, {"mano_base": "mano_branch.mano_base_layer", "conf_logit": "mano_branch.confidence_reg"})
    with np.load(file) as golden:
        names = ("dec_hs_last", "joints2d", "mano_side", "roots3d")
        tokens, joints, side, roots = (torch.from_numpy(golden[name]) for name in names)
        with torch.inference_mode():
            out = network.fuse(tokens.unflatten(0, (2, 7)), joints.unflatten(0, (2, 7)), side, roots[:, :, None])
        assert_near(network.positions.T.expand(2, -1, -1), golden["pos1d"])
        assert_near(seen["t_memory"].transpose(0, 1), golden["t_memory"])
        assert_near(seen["t_hs"].transpose(0, 1)[None], golden["t_hs"])
        assert_near(heads["conf_logit"].flatten(0, 1), golden["conf_logit"])
        assert_like_summary(golden, "mano_base", heads["mano_base"].flatten(0, 1), range(14))
        for name, value in out.items():
            key = name if name in golden else f"out.{name}"
            assert value.shape == golden[key].shape
            assert_near(value, golden[key])


def official(network, dexycb):
    """Return a tiny checkpoint with all keys of the released ones."""
    state = {**network.state_dict(), "mano_branch.coord_change_mat": torch.eye(3)}
    state |= {f"hand_hm_layer.{name}": torch.zeros(4, 4) for name in ("uu", "vv")}
    for side, mano in (("right", network.hands.right), ("left", network.hands.left)):
        fields = checkpoint_fields(mano)
        if not dexycb:
            fields["hands_mean"] = torch.zeros(1, 45)
            del fields["comps"]
        state |= {f"{BRANCH}{side}.th_{name}": value.clone() for name, value in fields.items()}
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "prefix"), [("ho3d", ""), ("ho3d", "honet."), ("dexycb", "module."), ("dexycb", "honet.module.")]
)
def test_published_checkpoints_load_with_their_mano_models(variant, prefix, tmp_path):
    network = twin(variant=variant)
    state = official(network, variant == "dexycb")
    path = tmp_path / "checkpoint_100.pth.tar"
    torch.save({"epoch": 100, "state_dict": {f"{prefix}{key}": value for key, value in state.items()}}, path)
    assert_same(run(twin(path, variant=variant), *windows(1)), run(network, *windows(1)), 0)
    assert "verts3d" not in run(twin(path, variant=variant, mano=None, mano_left=None), *windows(1))


@pytest.mark.parametrize(("variant", "other"), [("ho3d", "dexycb"), ("dexycb", "ho3d")])
def test_a_published_checkpoint_determines_its_variant(variant, other, tmp_path):
    network = twin(variant=variant)
    weights, path = official(network, variant == "dexycb"), tmp_path / "checkpoint_10.pth.tar"
    torch.save({"state_dict": {f"honet.module.{key}": value for key, value in weights.items()}}, path)
    loaded = twin(path)
    assert loaded.variant == loaded.options["variant"] == variant
    assert_same(run(loaded, *windows(1)), run(network, *windows(1)), 0)
    with pytest.raises(
        InputError, match=f"the MANO models in the checkpoint are those of variant {variant}, not {other}"
    ):
        twin(path, variant=other)
    torch.save({key: value for key, value in weights.items() if "mano_layer" not in key}, path)
    with pytest.raises(InputError, match="the checkpoint does not define its variant; set --variant ho3d"):
        twin(path)


@pytest.mark.parametrize(
    ("variant", "field", "message"),
    [
        ("ho3d", "left.th_v_template", "than the given left one: its v_template"),
        ("dexycb", "right.th_comps", "than the given right one: its comps"),
        ("dexycb", "left.th_hands_mean", "than the given left one: its hands_mean"),
    ],
)
def test_weights_trained_with_another_mano_are_refused(variant, field, message):
    network = twin(variant=variant)
    state = official(network, variant == "dexycb")
    state[f"{BRANCH}{field}"] += 0.01
    with pytest.raises(InputError, match=message):
        network.load_official(state)


@pytest.mark.parametrize("variant", ["ho3d", "dexycb"])
def test_left_and_right_hands_share_a_batch(variant):
    network = twin(variant=variant)
    images, boxes = windows(3)
    side = torch.tensor([1.0, 0, 1])[:, None].expand(-1, FRAMES)
    roots = torch.randn(3, FRAMES, 3)
    together = run(network, images, boxes, side, roots)
    for at, hand in enumerate((network.hands.left, network.hands.right, network.hands.left)):
        mesh = {key: together[key][at : at + 1] for key in ("verts3d", "joints3d")}
        separate = run(network, *(values[at : at + 1] for values in (images, boxes, side, roots)))
        assert_same(mesh, separate)
        pose, shape = (together[key][at : at + 1] for key in ("mano_pose_aa", "mano_shape"))
        dexycb = variant == "dexycb"
        expected = hand(pose, shape, flat_hand_mean=not dexycb, tips=f"deformer_{variant}", pca=dexycb)
        middle = roots[at : at + 1, FRAMES // 2, None]
        for points, own in zip(mesh.values(), expected, strict=True):
            torch.testing.assert_close(points, (own + middle) * torch.tensor([1.0, -1, -1]))
    assert_same(run(network, images), run(network, images, torch.tensor([0, 0, 64, 64]).expand(3, FRAMES, 4)), 0)
    assert_same(run(network, images, boxes, side.int(), roots), together, 0)


def test_wrong_options_and_inputs_are_named():
    for options, message in (
        ({"variant": "stb"}, "Unknown variant 'stb'. Choose from ho3d, dexycb"),
        ({"mano": "RIGHT.pkl"}, r"'RIGHT.pkl' is not a MANO model; pass load_mano\('RIGHT.pkl', side='right'\)"),
        ({"mano_left": demo_mano()}, "deformer's left MANO model is a right hand"),
    ):
        with pytest.raises(InputError, match=message):
            twin(**options)
    network, (images, boxes) = twin(), windows(1)
    left, right = torch.ones(1, FRAMES), torch.zeros(1, FRAMES)
    for given, message in (
        ((left / 2,), "must be 0 for right or 1 for left hands, the same in each window"),
        ((torch.zeros(1),), rf"side have shape \(1,\); expected \(1, {FRAMES}\)"),
        ((right, torch.zeros(1, 3)), rf"roots have shape \(1, 3\); expected \(1, {FRAMES}, 3\)"),
    ):
        with pytest.raises(InputError, match=message):
            run(network, images, boxes, *given)
    with pytest.raises(InputError, match=r"deformer requires mano_left=load_mano\(FILE, side='left'\)"):
        run(twin(mano_left=None), images, boxes, left)


@pytest.mark.golden
@pytest.mark.files("goldens/networks/protocols_mesh.npz")
def test_crops_are_the_references(file):
    with np.load(file) as golden:
        hand, thing = box_around(golden["def.joints"]), box_around(golden["def.obj"])
        np.testing.assert_allclose(hand, golden["def.hand_bbox"], atol=1e-3)
        np.testing.assert_allclose(thing, golden["def.obj_bbox"], atol=1e-3)
        for rotation, name in ((0.0, "norot"), (0.7, "rot0.7")):
            square = crop_square(hand, 640, 480, thing, -rotation)
            assert (square.cx, square.cy) == tuple(golden["def.center"])
            np.testing.assert_allclose([square.width, square.height], golden["def.scale"], rtol=1e-6)
            matrix = inverse_affine(crop_matrix(square, 512, 512))
            np.testing.assert_allclose(matrix, golden[f"def.affine_{name}"][:2], atol=1e-3)
        box = box_around(golden["def.joints_t"])
        np.testing.assert_allclose(box, golden["def.bbox_hand"], atol=1e-3)
        np.testing.assert_allclose(joints_in_box(golden["def.joints_t"], box), golden["def.joints_norm"], atol=1e-5)


MISSING = 4
WINDOWS = {  # of frames 0 to 12 without one, two from each other
    0: {"ho3d": [0, 0, 0, 2, 2], "dexycb": [0, 0, 0, 2, 2]},
    1: {"ho3d": [1, 1, 1, 3, 5], "dexycb": [1, 1, 1, 3, 5]},
    2: {"ho3d": [0, 0, 2, 2, 6], "dexycb": [0, 0, 2, 2, 2]},
    6: {"ho3d": [2, 6, 6, 8, 10], "dexycb": [6, 6, 6, 8, 10]},
    9: {"ho3d": [5, 7, 9, 11, 11], "dexycb": [5, 7, 9, 11, 11]},
    12: {"ho3d": [8, 10, 12, 12, 12], "dexycb": [8, 10, 12, 12, 12]},
}


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("variant", ["ho3d", "dexycb"])
def test_a_stream_gives_what_windows_give(variant, left):
    network = twin(variant=variant)
    images, boxes = (values.flatten(0, 1) for values in windows(3))
    stream = DeformerStream(network, gap=2, left=left)
    for _ in range(2):  # a second video begins anew
        answers = []
        for index in range(13):
            if index != MISSING:
                due = stream.push(index, images[index], boxes[index])
                assert all(answer.frame <= index - 4 for answer in due)
                answers += due
        answers += stream.finish()
        assert [answer.frame for answer in answers] == [index for index in range(13) if index != MISSING]
    given = {answer.frame: answer.outputs for answer in answers}
    side = torch.full((1, FRAMES), float(left))
    for index, window in WINDOWS.items():
        at = window[variant]
        with torch.inference_mode():
            expected = network(images[at][None], boxes[at][None], side)
        for key, value in given[index].items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-4)


def test_a_stream_wants_frames_in_order():
    stream = DeformerStream(twin())
    images, boxes = (values.flatten(0, 1) for values in windows(1))
    stream.push(7, images[0], boxes[0])
    with pytest.raises(InputError, match="frame 7 came after frame 7; push frames in order"):
        stream.push(7, images[0], boxes[0])
    with pytest.raises(InputError, match="gap=0: must be at least 1"):
        DeformerStream(twin(), gap=0)


@pytest.mark.golden
@pytest.mark.files("goldens/networks/motion_discriminator*.npz")
def test_judgements_are_the_references(file):
    network = create_network("motion-discriminator", "demo").eval()
    states = []
    network.gru.register_forward_hook(lambda *call: states.append(call[2][0]))
    with np.load(file) as golden, torch.inference_mode():
        out = network(torch.from_numpy(golden["seq"]))
        assert out.keys() <= set(golden)
        for name, value in out.items():
            np.testing.assert_allclose(value, golden[name], rtol=0, atol=1e-4 * abs(golden[name]).max())
        np.testing.assert_allclose(states[0].transpose(0, 1)[:, :, ::16], golden["gru_out"], rtol=0, atol=1e-4)
