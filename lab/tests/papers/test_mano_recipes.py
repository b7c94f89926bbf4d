"""Recipes on MANO: a placeholder model, synthetic clips, fits of data sets in camera space, HandOccNet, Deformer."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_lab.datasets import Instance, ManoParameters
from sonjit_lab.datasets.sample import fit_with_mean
from sonjit_lab.hand_models import demo_mano
from sonjit_lab.hand_models.mano import matrix_from_axis_angle
from sonjit_lab.hand_models.placeholders import placeholder_mano
from sonjit_lab.networks import create_network, network_entry
from sonjit_lab.papers.deformer import recipe as deformer
from sonjit_lab.papers.handoccnet.recipe import STEP, mirror_poses, pose_in_camera, rotate_poses, synthetic_clips
from sonjit_lab.training.losses import maxmse
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

TINY = {
    "mano": "stand-in", "size": "tiny", "clips": 4, "held_out_clips": 2, "batch": 2, "steps": 2, "workers": 1,
    "schedule": "constant", "clip_norm": 1000.0,
}  # fmt: skip
DEFORMER = TINY | {"variant": "ho3d", "discriminator_channels": 8, "learning_rate_factors": {}}


@pytest.fixture(scope="module")
def clips():
    return synthetic_clips(placeholder_mano(), 3, 7, seed=0)


@given(st.integers(0, 1000))
@settings(max_examples=20)
@pytest.mark.slow
def test_fits_mean_the_same_hand_before_the_camera(seed):
    mano, rng = demo_mano(), np.random.default_rng(seed)
    pose, betas = rng.normal(0, 0.5, 48), np.zeros(10)
    turn = matrix_from_axis_angle(torch.from_numpy(rng.normal(0, 1, 3))[None])[0].numpy()
    camera = CalibratedCamera(np.eye(3), turn, np.zeros(3))
    _, here = mano(torch.from_numpy(pose)[None].float())
    wrist = here[0] - here[0, :1]
    for frame, axes in (("camera", np.eye(3)), ("opengl", np.diag([1.0, -1, -1])), ("world", turn)):
        fit = ManoParameters(pose, betas, None, frame, flat_mean=True)
        moved = torch.from_numpy(pose_in_camera(fit, camera, mano, flat_mean=True))[None].float()
        _, there = mano(moved)
        torch.testing.assert_close(there[0] - there[0, :1], wrist @ torch.from_numpy(axes).float().T, atol=1e-4, rtol=0)
        from_mean = torch.from_numpy(pose_in_camera(fit, camera, mano, flat_mean=False))[None].float()
        torch.testing.assert_close(mano(from_mean, flat_hand_mean=False)[1], there, atol=1e-4, rtol=0)
    parts = ManoParameters(pose, betas, None, "camera", pca=True, flat_mean=False)
    complete = torch.from_numpy(pose_in_camera(parts, None, mano, flat_mean=False))[None].float()
    expected = mano(torch.from_numpy(pose)[None].float(), flat_hand_mean=False, pca=True)[1]
    torch.testing.assert_close(mano(complete, flat_hand_mean=False)[1], expected, atol=1e-4, rtol=0)


def test_windows_stand_around_their_frame_and_repeat_at_ends(clips):
    assert [one.frame // STEP for one, _ in deformer.window_around(clips, 10, 5, stops_at_gap=False)] == [1, 2, 3, 4, 5]
    assert [one.id for one, _ in deformer.window_around(clips, 7, 5, stops_at_gap=False)] == ["clip1/0"] * 3 + [
        "clip1/1",
        "clip1/2",
    ]
    gap = [clip for clip in clips if clip.id != "clip0/4"]
    assert [one.frame // STEP for one, _ in deformer.window_around(gap, 3, 5, stops_at_gap=False)] == [1, 2, 3, 3, 5]
    assert [one.frame // STEP for one, _ in deformer.window_around(gap, 3, 5, stops_at_gap=True)] == [1, 2, 3, 3, 3]


def _deformer():
    options = network_entry("deformer").tiny | {"mano": placeholder_mano(), "mano_left": placeholder_mano("left")}
    return create_network("deformer", **options)


@pytest.mark.nightly
@pytest.mark.slow
def test_deformer_runs_without_its_losses(tmp_path):
    given_ = DEFORMER | {"maxmse": False, "discriminator": False}
    results = run_recipe(TrainingRequest("deformer", tmp_path, settings=given_))
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert line["losses"].keys().isdisjoint({"motion", "real", "fake"})
    assert results["finger_to_palm"] == pytest.approx(results["finger_mm"] / results["palm_mm"])
    assert 0 < results["jerk_mm"] < math.inf
    again = create_network("deformer", results["weights"], **network_entry("deformer").tiny)
    assert again.state_dict().keys() == _deformer().state_dict().keys()


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture", "name", "recipe", "more"),
    [
        ("ho3d_v2", "ho3d-v2", "handoccnet", {}),
        ("ho3d_v2", "ho3d-v2", "deformer", {"variant": "ho3d", "split": "train"}),
        ("freihand_official", "freihand", "handoccnet", {}),
        ("dexycb", "dexycb", "handoccnet", {"split": "all"}),
        ("dexycb", "dexycb", "deformer", {"variant": "dexycb", "split": "all"}),
    ],
)
def test_data_sets_teach_them(fixture, name, recipe, more, data, tmp_path):
    root = data / "fixtures" / fixture
    if not root.is_dir():
        pytest.skip(f"no {root}")
    own = DEFORMER | {"mano_left": "stand-in"} if recipe == "deformer" else TINY
    given_ = own | {"dataset": name, "test_split": ""} | more
    results = run_recipe(TrainingRequest(recipe, tmp_path, root, settings=given_))
    assert np.isfinite(results["mpjpe_mm"])
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert ({"motion", "real", "fake"} <= line["losses"].keys()) == (recipe == "deformer")


@pytest.mark.parametrize("flat_mean", [True, False])
def test_an_unknown_mean_pose_follows_from_the_joints(flat_mean):
    mano = demo_mano()
    assert mano.mean_pose.abs().max() > 0
    pose, betas = np.random.default_rng(1).normal(0, 0.3, 48), np.zeros(10)
    with torch.no_grad():
        values = (torch.tensor(own[None]).to(mano.template) for own in (pose, betas))
        _, joints = mano(*values, flat_hand_mean=flat_mean, tips="handoccnet")
    metres = joints[0].double().numpy() + np.array([0, 0, 0.5])
    hand = Instance(kind="hand", side="Right", keypoints_m=metres, mesh=ManoParameters(pose, betas, None, "camera"))
    assert fit_with_mean(hand, None, mano).flat_mean == flat_mean


def test_missing_files_are_reported_in_one_line(tmp_path):
    for recipe in ("handoccnet", "deformer"):
        with pytest.raises(InputError, match=f"{recipe} requires MANO's right hand, --set mano=FILE: MANO_RIGHT.pkl"):
            run_recipe(TrainingRequest(recipe, tmp_path / "run"))
        with pytest.raises(InputError, match=r"none.pkl: no such file; MANO_RIGHT.pkl and"):
            run_recipe(TrainingRequest(recipe, tmp_path / "run", settings={"mano": "none.pkl"}))
        with pytest.raises(InputError, match=r"is missing in .*; get it from"):
            run_recipe(TrainingRequest(recipe, tmp_path / "run", tmp_path, settings={"mano": "stand-in"}))
    assert not (tmp_path / "run").exists()
    unsaid = ManoParameters(np.zeros(48), np.zeros(10), None, "camera")
    with pytest.raises(InputError, match="does not define the mean pose of its MANO fits"):
        pose_in_camera(unsaid, None, demo_mano(), flat_mean=True)


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


ENTRY = network_entry("deformer")
RELEASED = {
    "vertices": "mano_mesh3d_loss", "joints": "mano_joints3d_loss", "pose": "manopose_loss", "shape": "manoshape_loss",
    "joints2d": "hm_joints2d_loss", "moved_vertices": "dynamic_mano_mesh3d_loss",
    "moved_joints": "dynamic_mano_joints3d_loss", "moved_pose": "dynamic_mano_pose_loss",
    "fused_vertices": "dynamic_end2end_mesh3d_loss", "fused_joints": "dynamic_end2end_joints3d_loss",
    "fused_pose": "dynamic_end2end_manopose_loss",
}  # fmt: skip
"""Our names of the losses, and those of the released code."""


def twin(variant="ho3d"):
    return create_network("deformer", **{**ENTRY.tiny, "variant": variant})


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
        targets = deformer.targets_from_mano(network, pose, shape, kept("mano_side"), kept("train.joints_uv"))
        predicted = deformer.predicted_hands(network, outputs, targets.side)
        losses = deformer.deformer_losses(outputs, predicted, targets, maxmse)
        assert {RELEASED[name] for name in losses} == {
            name.removeprefix("loss.") for name in golden if name.startswith("loss.") and "total" not in name
        }
        for name, value in losses.items():
            assert value.item() == pytest.approx(float(golden[f"loss.{RELEASED[name]}"]), rel=1e-4)
        prefixes = {"train.": predicted.current, "train.fw_": predicted.next, "train.bw_": predicted.before}
        for prefix, hands in {**prefixes, "train.t_": predicted.fused, "train_gt.": targets.hands}.items():
            for field, name in (("vertices", "verts3d"), ("joints", "joints3d"), ("rotations", "mano_pose")):
                value, expected = getattr(hands, field), golden[f"{prefix}{name}.slice"]
                given = value.flatten()[:: value.numel() // 64][:64]
                np.testing.assert_allclose(given, expected, rtol=0, atol=1e-3 * abs(expected).max())


@pytest.mark.golden
@pytest.mark.files("goldens/networks/protocols_mesh.npz")
def test_parts_of_losses_are_the_references(file):
    with np.load(file) as golden:
        predicted, truth = (torch.from_numpy(golden[f"m.{name}"]).float() for name in ("pred", "gt"))
        assert maxmse(predicted, truth).item() == pytest.approx(float(golden["loss.maxmse"]), rel=1e-5)
        real, fake = (torch.from_numpy(golden[f"loss.disc_{name}"]) for name in ("real", "fake"))
        assert deformer.generator_loss(fake).item() == pytest.approx(float(golden["loss.gen"]), rel=1e-5)
        losses = [loss.item() for loss in deformer.discriminator_losses(real, fake).values()]
        np.testing.assert_allclose([*losses, sum(losses)], golden["loss.disc"], rtol=1e-5)
        root = rotate_poses(torch.tensor([[0.3, -0.5, 1.1]]), -math.degrees(0.7))
        np.testing.assert_allclose(root[0], golden["def.rotation_angle"], atol=1e-5)


def test_points_without_error_pass_no_gradient():
    points = torch.randn(2, 4, 3, requires_grad=True)
    loss = maxmse(points, points.detach())
    loss.backward()
    assert loss == 0
    assert not points.grad.any()
