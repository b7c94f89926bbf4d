"""Recipes on MANO: a placeholder model, synthetic clips, fits of data sets in camera space, HandOccNet, Deformer."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets import ManoParameters
from sonjit.lab.hand_models import demo_mano
from sonjit.lab.hand_models.mano import matrix_from_axis_angle
from sonjit.lab.hand_models.placeholders import placeholder_mano
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.training import deformer as deformer_recipe
from sonjit.lab.training import handoccnet as handoccnet_recipe
from sonjit.lab.training.augment import Augmentation, AugmentationSettings, draw_augmentation
from sonjit.lab.training.deformer import (
    ADVERSARIAL,
    FINGERS,
    PALM,
    AdversarialPair,
    deformer_losses,
    discriminator_losses,
    generator_loss,
    motions,
    pose_of,
    predicted_hands,
    window_around,
    window_from_samples,
)
from sonjit.lab.training.handoccnet import STEP, pose_in_camera, synthetic_clips
from sonjit.lab.training.losses import maxmse
from sonjit.lab.training.recipes import TrainingRequest, load_recipe, run_recipe, settings_from
from sonjit.lab.training.settings import TrainingSettings, create_optimizer

TINY = {
    "mano": "stand-in", "size": "tiny", "clips": 4, "held_out_clips": 2, "batch": 2, "steps": 2, "workers": 1,
    "schedule": "constant", "clip_norm": 1000.0,
}  # fmt: skip
PUBLISHED = settings_from(AugmentationSettings, load_recipe("deformer").settings["augmentation"])
DEFORMER = TINY | {"variant": "ho3d", "discriminator_channels": 8, "learning_rate_factors": {}}


@pytest.fixture(scope="module")
def clips():
    return synthetic_clips(placeholder_mano(), 3, 7, seed=0)


@given(st.sampled_from(["right", "left"]), st.integers(0, 100))
@settings(max_examples=10)
def test_the_stand_in_bends_as_a_hand(side, seed):
    mano = placeholder_mano(side)
    rest, bent = torch.zeros(1, 48), torch.zeros(1, 48)
    joint = np.random.default_rng(seed).integers(15)  # one of the fingers' 15
    bent[0, 3 + 3 * joint] = 0.8
    for tips in ("handoccnet", "deformer_ho3d"):
        (_, before), (_, after) = mano(rest, tips=tips), mano(bent, tips=tips)
        moved = (after - before).norm(dim=2)[0] > 1e-4
        assert 1 <= moved.sum() <= 3  # what hangs on the joint, in its finger
        assert moved[4::4].sum() == 1
        lengths = [
            (points[0, 1:] - points[0, :-1]).norm(dim=1)[torch.arange(20) % 4 != 0] for points in (before, after)
        ]
        torch.testing.assert_close(*lengths, atol=1e-5, rtol=0)
    assert (before[0, 8, 0] - before[0, 20, 0] < 0) == (side == "right")  # the index finger's side


def test_clips_agree_with_their_labels(clips):
    assert len({clip.sequence for clip in clips}) == 3
    mano = placeholder_mano()
    for sample in clips:
        (hand,) = sample.instances
        np.testing.assert_allclose(sample.camera.project(hand.keypoints_m), hand.keypoints_px)
        fit = (torch.from_numpy(values)[None].float() for values in (hand.mesh.pose, hand.mesh.betas, hand.mesh.trans))
        np.testing.assert_allclose(mano(*fit, tips="deformer_ho3d")[1][0], hand.keypoints_m, atol=1e-5)
    hidden = np.mean([~clip.instances[0].visible for clip in clips])
    assert 0.02 < hidden < 0.5
    again = synthetic_clips(mano, 3, 7, seed=0)
    assert all(np.array_equal(clip.image, other.image) for clip, other in zip(clips, again, strict=True))


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
    assert [one.frame // STEP for one, _ in window_around(clips, 10, 5, False)] == [1, 2, 3, 4, 5]
    assert [one.id for one, _ in window_around(clips, 7, 5, False)] == ["clip1/0"] * 3 + ["clip1/1", "clip1/2"]
    gap = [clip for clip in clips if clip.id != "clip0/4"]
    assert [one.frame // STEP for one, _ in window_around(gap, 3, 5, False)] == [1, 2, 3, 3, 5]
    assert [one.frame // STEP for one, _ in window_around(gap, 3, 5, True)] == [1, 2, 3, 3, 3]


@given(st.integers(0, 1000))
@settings(max_examples=10)
@pytest.mark.slow
def test_a_windows_labels_move_with_its_images(seed):
    clips, hands = synthetic_clips(placeholder_mano(), 1, 7, seed=seed % 3), _deformer().hands
    change = draw_augmentation(PUBLISHED, np.random.default_rng(seed))
    window = window_from_samples(window_around(clips, 3, 5, False), hands, 64, change)
    if window is None:  # it was moved out of its image
        return
    assert window.images.shape == (5, 3, 64, 64)
    assert 0 <= window.images.min() <= window.images.max() <= 1
    plain = window_from_samples(window_around(clips, 3, 5, False), hands, 64)
    around = torch.from_numpy(window.pose).float()
    _, turned = hands(around, torch.from_numpy(window.shape).float())
    _, straight = hands(torch.from_numpy(plain.pose).float(), torch.from_numpy(plain.shape).float())
    back = matrix_from_axis_angle(torch.tensor([0.0, 0.0, -change.rotation_rad]))
    camera = torch.tensor([1.0, -1.0, -1.0])  # the variant's axes are OpenGL's
    torch.testing.assert_close(turned * camera, straight * camera @ back.T, atol=1e-5, rtol=0)
    known = (window.joints >= 0).all(2)
    size = window.boxes[:, None, 2:] - window.boxes[:, None, :2]
    px = (window.joints * size + window.boxes[:, None, :2])[known]
    assert ((px >= -1) & (px <= 65)).all()


def test_a_window_is_played_backward(clips):
    around, hands = window_around(clips, 3, 5, False), _deformer().hands
    plain, back = (window_from_samples(around, hands, 64, Augmentation(reverse=way)) for way in (False, True))
    for name in ("images", "boxes", "pose", "shape", "joints"):
        one, other = (np.asarray(getattr(window, name)) for window in (plain, back))
        np.testing.assert_array_equal(one[::-1], other, err_msg=name)
    assert not np.array_equal(plain.pose, back.pose)


def _deformer():
    options = network_entry("deformer").tiny | {"mano": placeholder_mano(), "mano_left": placeholder_mano("left")}
    return create_network("deformer", **options)


def test_one_sum_gives_each_network_its_own_gradients(clips):
    """Check that the gradients equal those of alternating updates, as published."""
    torch.manual_seed(0)
    network, discriminator = _deformer().eval(), create_network("motion-discriminator", channels=8).eval()
    windows = [window_from_samples(window_around(clips, at, 5, False), network.hands, 64) for at in (3, 9)]
    pose = torch.from_numpy(np.stack([pose_of(clip, clip.instances[0], network.hands) for clip in clips[:5]]))[
        None
    ].float()
    real = motions(torch.zeros(1, 5), pose)
    batch = deformer_recipe._tensors(windows, real)
    losses = AdversarialPair(network, discriminator).losses(batch, maxmse)
    torch.stack(list(losses.values())).sum().backward()
    together = [value.grad.clone() for value in [*network.parameters(), *discriminator.parameters()]]

    network.zero_grad()
    outputs = network(batch.images, batch.boxes, batch.side)
    predicted = predicted_hands(network, outputs, batch.side)
    fake = motions(batch.side, predicted.own.pose)
    own = deformer_losses(outputs, predicted, batch.targets(network))
    own["motion"] = ADVERSARIAL * generator_loss(discriminator(fake)["out"])
    torch.stack(list(own.values())).sum().backward()
    discriminator.zero_grad()  # its own gradients so far are not its losses'
    others = discriminator_losses(discriminator(real)["out"], discriminator(fake.detach())["out"])
    torch.stack(list(others.values())).sum().backward()
    by_turns = own | others
    assert losses.keys() == by_turns.keys()
    for name, value in losses.items():
        assert value.item() == pytest.approx(by_turns[name].item(), rel=1e-4), name
    for one, value in zip(together, [*network.parameters(), *discriminator.parameters()], strict=True):
        torch.testing.assert_close(one, value.grad, rtol=1e-3, atol=1e-4 * float(one.abs().max()) + 1e-5)


def test_parts_learn_at_rates_of_their_own():
    pair = AdversarialPair(_deformer(), create_network("motion-discriminator", channels=8))
    optimizer = create_optimizer(pair, TrainingSettings(learning_rate_factors={"discriminator.": 100.0}))
    factors = {group["factor"]: len(group["params"]) for group in optimizer.param_groups}
    assert factors == {1.0: len(list(pair.deformer.parameters())), 100.0: len(list(pair.discriminator.parameters()))}
    with pytest.raises(
        InputError, match=r"learning_rate_factors: no trainable weight has a name that starts with 'nobody.'"
    ):
        create_optimizer(pair, TrainingSettings(learning_rate_factors={"nobody.": 2.0}))


@pytest.mark.slow
@pytest.mark.parametrize("maxmse", [True, False])
@pytest.mark.parametrize("discriminator", [True, False])
def test_deformer_runs_with_and_without_its_losses(maxmse, discriminator, tmp_path):
    given_ = DEFORMER | {"maxmse": maxmse, "discriminator": discriminator}
    results = run_recipe(TrainingRequest("deformer", tmp_path, settings=given_))
    (line, *_) = (json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines())
    assert ({"motion", "real", "fake"} <= line["losses"].keys()) == discriminator
    assert results["finger_to_palm"] == pytest.approx(results["finger_mm"] / results["palm_mm"])
    assert 0 < results["jerk_mm"] < math.inf
    again = create_network("deformer", results["weights"], **network_entry("deformer").tiny)
    assert again.state_dict().keys() == _deformer().state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "loss"), [("handoccnet", "joints_img"), ("deformer", "pose")])
def test_a_small_run_learns(recipe, loss, tmp_path):
    own = (DEFORMER | {"augmentation": "none", "discriminator": False}) if recipe == "deformer" else TINY
    results = run_recipe(
        TrainingRequest(recipe, tmp_path, settings=own | {"steps": 40, "learning_rate": 3e-3, "batch": 4})
    )
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.mean([line["losses"][loss] for line in lines[-8:]]) < np.mean(
        [line["losses"][loss] for line in lines[:8]]
    )
    assert results["mean_pose_mpjpe_mm"] > 5
    assert results["mpjpe_mm"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture", "name", "recipe", "more"),
    [
        ("ho3d_v2", "ho3d-v2", "handoccnet", {}),
        ("ho3d_v2", "ho3d-v2", "deformer", {"variant": "ho3d", "split": "train"}),
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


def test_left_hands_are_learnt_as_right_ones_in_a_mirror(clips):
    mano, sample = placeholder_mano(), clips[3]
    (hand,) = sample.instances
    one = handoccnet_recipe._example(sample, hand, mano, 64, handoccnet_recipe._UNCHANGED)
    px, pose = hand.keypoints_px.copy(), hand.mesh.pose.reshape(16, 3) * (1, -1, -1)
    px[:, 0] = sample.width - 1 - px[:, 0]
    left = replace(hand, side="Left", keypoints_px=px, mesh=replace(hand.mesh, pose=pose.ravel()))
    other = replace(sample, image=np.ascontiguousarray(sample.image[:, ::-1]), instances=(left,))
    same = handoccnet_recipe._example(other, left, mano, 64, handoccnet_recipe._UNCHANGED)
    for first, second in zip(one, same, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


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


def test_the_ablation_is_the_published_grid():
    assert sorted((0, *PALM, *FINGERS)) == list(range(21))  # the wrist is the origin
    rows = load_recipe("deformer").ablation["losses"].rows
    assert {(row.set["maxmse"], row.set["discriminator"]) for row in rows} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert all(row.published for row in rows)
