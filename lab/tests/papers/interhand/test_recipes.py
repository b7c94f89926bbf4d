"""Data of hand recipes: data sets, the bundled clip, targets and losses of InterNet and RootNet."""

import json
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit_lab.datasets import open_dataset
from sonjit_lab.papers.interhand import internet_recipe as internet
from sonjit_lab.papers.interhand.internet import LAYOUTS, SIDES
from sonjit_lab.papers.interhand.internet_recipe import (
    InterNetTargets,
    heatmap_from_joints,
    internet_losses,
    targets_from_crop,
)
from sonjit_lab.papers.interhand.rootnet_recipe import rootnet_losses
from sonjit_lab.training.array_rows import ArrayRows
from sonjit_lab.training.hands.samples import HandSettings, allow_any_order, complete_hands, hand_data
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

LAYOUT = LAYOUTS["interhand"]
TINY = {"side": 32, "depth": 10, "width": 8, "channels": 8, "batch": 2, "steps": 2, "held_out": 4, "workers": 1}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return hand_data(TrainingRequest("internet", tmp_path_factory.mktemp("run")), HandSettings(), complete_hands)


def test_frames_of_a_video_have_the_labels_of_this_call(tmp_path, write_video):
    video = write_video(tmp_path / "clip.mp4", [np.full((32, 32, 3), 60 * k, np.uint8) for k in range(3)])
    annotation = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 9, 9]}
    images = [{"id": k, "file_name": f"frame_{k:06d}.png", "width": 32, "height": 32} for k in range(3)]
    seen = []
    for name in ("face", "hand", "face"):
        labels = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": name}]}
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        data = open_dataset("folder", tmp_path / "labels.json", images=str(video))
        samples = allow_any_order(data, tmp_path / "frames")
        assert [round(float(sample.rgb().mean()), -1) for sample in samples] == [0, 60, 120]
        seen.append(samples[0].instances[0].kind)
    assert seen == ["face", "hand", "face"]
    assert len(list((tmp_path / "frames").glob("*.json"))) == 2


@dataclass
class Rows(ArrayRows):
    image: np.ndarray


def test_rows_of_changed_data_are_computed_again(tmp_path):
    request, computed = TrainingRequest("hand-heads", tmp_path / "run", data=tmp_path / "data"), []

    def compute(folder, progress):
        computed.append((folder / "labels.json").read_text())
        return Rows(np.arange(len(computed)))

    (tmp_path / "data" / "one").mkdir(parents=True)
    counts = []
    for text in ("a", "a", "b"):
        (tmp_path / "data" / "one" / "labels.json").write_text(text)
        counts.append(len(Rows.from_folders(request, ["one"], "rows/{}.npz", compute)))
    assert (computed, counts) == (["a", "b"], [1, 1, 2])


def test_the_clip_is_parted_and_its_hands_stand_before_the_camera(clip):
    assert not {one.id for one in clip.training} & {one.id for one in clip.held_out}
    assert len(clip.training) == 3 * len(clip.held_out)
    for sample in clip.held_out[::20]:
        for hand in complete_hands(sample):
            np.testing.assert_allclose(sample.camera.project(hand.keypoints_m), hand.keypoints_px)
            assert (hand.keypoints_m[:, 2] > 0.1).all()


@pytest.mark.nightly
@pytest.mark.slow
def test_interhand_teaches_both_networks(data, tmp_path):
    root = data / "fixtures" / "interhand_multiview"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    given = TINY | {"dataset": "interhand2.6m", "test_split": ""}
    for recipe, metric in (("internet", "mpjpe_mm"), ("rootnet", "depth_error_mm")):
        own = {"hidden": 8} if recipe == "internet" else {}
        results = run_recipe(TrainingRequest(recipe, tmp_path / recipe, root, settings=given | own))
        assert np.isfinite(results[metric])
        assert results["weights"].is_file()


def test_images_are_given_in_the_networks_order_and_unknown_joints_left_out(data, clip):
    samples = [clip.held_out[5]]
    root = data / "fixtures" / "interhand_multiview"
    if root.is_dir():
        samples.append(open_dataset("interhand2.6m", root, "train")[0])
    for sample in samples:
        (labelled,) = internet.crops_from_sample(sample, LAYOUT)
        image = labelled.image
        for hand in sample.instances:
            known = LAYOUT.mediapipe21(image.valid[:, None], hand.side)[:, 0]
            points = LAYOUT.mediapipe21(image.joints, hand.side)
            assert known.tolist() == np.isfinite(hand.keypoints_m).all(1).tolist()
            np.testing.assert_allclose(points[known, :2], hand.keypoints_px[known])
            np.testing.assert_allclose(points[known, 2], 1000 * hand.keypoints_m[known, 2])
        sides = {hand.side for hand in sample.instances}
        assert image.hand_type.tolist() == [side in sides for side in SIDES]


class Right(torch.nn.Module):
    """Network that outputs the truth of each crop in turn, with errors of less than a bin."""

    device = torch.device("cpu")

    def __init__(self, crops, layout, space):
        super().__init__()
        self.examples = (internet.example_from_image(crop.image, layout, space=space) for crop in crops)

    def forward(self, images):
        one = next(self.examples)
        return {
            "joint_coord": torch.from_numpy(one.joints)[None],
            "rel_root_depth": torch.tensor([[one.rel_root]]),
            "hand_type": torch.from_numpy(one.hand_type)[None].double(),
        }


@pytest.mark.nightly
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.slow
def test_each_layout_is_taught_and_judged(name, clip):
    """Check the order of single hands, with the left hand first, relative to their own root."""
    layout = LAYOUTS[name]
    settings = internet.InterNetSettings(layout=name, side=256)
    samples = [one for one in clip.held_out if len(one.instances) == 2][:3]
    crops = [one for sample in samples for one in internet.crops_from_sample(sample, layout)]
    if name != "interhand":
        for crop, hand in zip(crops, [hand for sample in samples for hand in sample.instances], strict=True):
            assert crop.image.hand_type.tolist() == [hand.side == side for side in SIDES]
            own = layout.joints(hand.side)
            assert crop.known[own].all()
            assert crop.known.sum() == 21
            found = layout.mediapipe21(crop.joints_mm, hand.side)
            np.testing.assert_allclose(found, 1000 * hand.keypoints_m, atol=1e-9)
            pixels = samples[0].camera.project(crop.joints_mm[own] / 1000)
            np.testing.assert_allclose(pixels, crop.image.joints[own, :2])
    metrics = internet.evaluate(Right(crops, layout, settings.space), clip.training[:40], samples, settings)
    assert metrics["mpjpe_mm"] < 0.1
    assert metrics.get("mrrpe_mm", 1) < 0.1 or name != "interhand"
    assert metrics["handedness"] == 1
    assert metrics["mean_pose_mpjpe_mm"] > 5


@pytest.mark.slow
def test_unusable_data_is_reported_in_one_line(tmp_path):
    with pytest.raises(InputError, match="held_out=0: must be at least 1"):
        HandSettings(held_out=0)
    with pytest.raises(InputError, match="Unknown data set 'nobody'"):
        run_recipe(TrainingRequest("internet", tmp_path, tmp_path, settings={"dataset": "nobody"}))
    with pytest.raises(InputError, match=r"interhand2\.6m: Unknown split 'night'"):
        run_recipe(TrainingRequest("rootnet", tmp_path, tmp_path, settings={"split": "night"}))
    with pytest.raises(InputError, match="Unknown setting 'sides'"):
        run_recipe(TrainingRequest("rootnet", tmp_path, settings={"sides": 32}))
    with pytest.raises(InputError, match="side=40: must be a multiple of 32"):
        internet.InterNetSettings(side=40)
    for name in "ab":
        (tmp_path / "bare" / name).mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(tmp_path / "bare" / name / f"{number}.png"), np.zeros((9, 9, 3), np.uint8))
    for recipe in ("internet", "rootnet", "keypoint-detector"):
        own = {} if recipe == "keypoint-detector" else {"dataset": "folder", "test_split": ""}
        with pytest.raises(InputError, match=f"images to train on without the labels that {recipe} requires"):
            run_recipe(TrainingRequest(recipe, tmp_path / "run", tmp_path / "bare", settings=own))
    assert not (tmp_path / "run").exists()


PROTOCOLS = pytest.mark.files("goldens/networks/protocols_internet*.npz")


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


def test_the_loss_of_rootnet_counts_roots_in_the_crop():
    outputs = {"coord": torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 9.0], [5.0, 5.0, 5.0]])}
    loss = rootnet_losses(outputs, torch.zeros(3, 3), torch.tensor([1.0, 1, 0]), "l1")["root"]
    assert loss.item() == pytest.approx(((1 + 2 + 3) + (1 + 2 + 9)) / 9)
