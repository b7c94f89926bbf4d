"""Data of hand recipes: data sets, COCO's format, the bundled clip, and the sets of InterNet and RootNet."""

import json

import cv2
import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.lab.datasets import open_dataset
from sonjit.lab.lifting.lifter import load_internet
from sonjit.lab.networks.internet import LAYOUTS, SIDES
from sonjit.lab.training import internet, rootnet
from sonjit.lab.training.augment import Augmentation
from sonjit.lab.training.hands.samples import HandSettings, draw_examples, hand_data, known_hands
from sonjit.lab.training.recipes import TrainingRequest, load_recipe, run_recipe

LAYOUT = LAYOUTS["interhand"]
TINY = {"side": 32, "depth": 10, "width": 8, "channels": 8, "batch": 2, "steps": 2, "held_out": 4, "workers": 1}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return hand_data(TrainingRequest("internet", tmp_path_factory.mktemp("run")), HandSettings(), known_hands)


def test_the_clip_is_parted_and_its_hands_stand_before_the_camera(clip):
    assert not {one.id for one in clip.training} & {one.id for one in clip.held_out}
    assert len(clip.training) == 3 * len(clip.held_out)
    for sample in clip.held_out[::20]:
        for hand in known_hands(sample):
            np.testing.assert_allclose(sample.camera.project(hand.keypoints_m), hand.keypoints_px)
            assert (hand.keypoints_m[:, 2] > 0.1).all()


def test_examples_are_of_what_has_labels_and_follow_from_the_generator():
    def make(place, rng):
        return (place, rng.random()) if place % 2 else None

    first, second = (draw_examples(range(100), make, np.random.default_rng(3), 20) for _ in range(2))
    assert first == second
    assert len({place for place, _ in first}) > 5
    assert all(place % 2 for place, _ in first)


@pytest.mark.slow
def test_a_part_of_the_images_is_spread_evenly(clip):
    some = hand_data(TrainingRequest("internet", None), HandSettings(images=9, held_out=3), known_hands)
    assert [one.id for one in some.training] == [
        clip.training[i].id for i in range(0, len(clip.training), len(clip.training) // 9)
    ]
    assert len(some.held_out) == 3


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


def test_figures_are_those_of_the_truth_where_the_network_is_right(clip):
    """Use a network that outputs the ground truth, whose errors are less than a bin."""
    settings = internet.InterNetSettings(side=256)
    samples = [one for one in clip.held_out if len(one.instances) == 2][:3]

    class Right(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.next = iter(samples)

        def forward(self, images):
            (labelled,) = internet.crops_from_sample(next(self.next), LAYOUT)
            one = internet.example_from_image(labelled.image, LAYOUT, space=settings.space)
            return {
                "joint_coord": torch.from_numpy(one.joints)[None],
                "rel_root_depth": torch.tensor([[one.rel_root]]),
                "hand_type": torch.from_numpy(one.hand_type)[None].double(),
            }

    metrics = internet.evaluate(Right(), clip.training, samples, settings, "cpu")
    assert metrics["mpjpe_mm"] < 0.1
    assert metrics["mrrpe_mm"] < 0.1
    assert metrics["handedness"] == 1
    assert metrics["mean_pose_mpjpe_mm"] > 5


@pytest.mark.parametrize("name", ["stb", "rhd"])
@pytest.mark.slow
def test_layouts_of_single_hands_are_taught_hand_by_hand(name, clip, tmp_path):
    """Check the order of single hands, with the left hand first, relative to their own root."""
    layout = LAYOUTS[name]
    settings = internet.InterNetSettings(layout=name, side=256)
    samples = [one for one in clip.held_out if len(one.instances) == 2][:3]
    crops = [one for sample in samples for one in internet.crops_from_sample(sample, layout)]
    assert len(crops) == 6
    for crop, hand in zip(crops, [hand for sample in samples for hand in sample.instances], strict=True):
        assert crop.image.hand_type.tolist() == [hand.side == side for side in SIDES]
        own = layout.joints(hand.side)
        assert crop.known[own].all()
        assert crop.known.sum() == 21
        np.testing.assert_allclose(layout.mediapipe21(crop.joints_mm, hand.side), 1000 * hand.keypoints_m, atol=1e-9)
        np.testing.assert_allclose(samples[0].camera.project(crop.joints_mm[own] / 1000), crop.image.joints[own, :2])

    class Right(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.next = iter(crops)

        def forward(self, images):
            one = internet.example_from_image(next(self.next).image, layout, space=settings.space)
            return {
                "joint_coord": torch.from_numpy(one.joints)[None],
                "rel_root_depth": torch.tensor([[one.rel_root]]),
                "hand_type": torch.from_numpy(one.hand_type)[None].double(),
            }

    metrics = internet.evaluate(Right(), clip.training[:40], samples, settings, "cpu")
    assert metrics["mpjpe_mm"] < 0.1
    assert metrics["handedness"] == 1
    assert "mrrpe_mm" not in metrics
    assert metrics["mean_pose_mpjpe_mm"] > 5
    own = {"hidden": 8, "dataset": "folder", "split": "", "test_split": ""}
    results = run_recipe(TrainingRequest(f"internet-{name}", tmp_path, settings=TINY | own))
    assert load_internet(str(results["weights"])).layout is layout  # the checkpoint says it


_IMAGES = {"internet": 1_361_062, "internet-stb": 15_000, "internet-rhd": 41_258}


@pytest.mark.parametrize(("recipe", "images"), _IMAGES.items())
def test_schedules_are_those_of_the_released_code(recipe, images):
    """Check the epochs, and those from which the rate is a tenth and a hundredth."""
    settings = load_recipe(recipe).settings
    epochs, first, second = (20, 15, 17) if recipe == "internet" else (50, 45, 47)
    assert settings["steps"] * settings["batch"] / images == pytest.approx(epochs, rel=2e-3)
    assert settings["decay_at"] == [first / epochs, second / epochs]
    assert (settings["learning_rate"], settings["decay"], settings["batch"]) == (1e-4, 0.1, 64)
    assert settings.get("layout", "interhand") == (recipe.partition("-")[2] or "interhand")


def test_depth_follows_the_size_without_rotation(clip):
    sample = clip.held_out[0]
    hand = known_hands(sample)[0]
    straight, turned = (
        rootnet.example_from_hand(sample, hand, 64, Augmentation(rotation_rad=turn)) for turn in (0.0, 0.5)
    )
    assert straight.at_box_mm == pytest.approx(turned.at_box_mm)
    assert straight.coord[2] == pytest.approx(1000 * hand.keypoints_m[0, 2])
    assert 0.3 < straight.coord[2] / straight.at_box_mm < 3
    assert straight.in_crop


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["internet", "rootnet"])
def test_a_small_run_learns(recipe, tmp_path):
    own = {"hidden": 8, "augmentation": "none"} if recipe == "internet" else {}
    more = {"steps": 40, "batch": 4, "learning_rate": 5e-3, "schedule": "constant", "optimizer": "adam"}
    run_recipe(TrainingRequest(recipe, tmp_path, settings=TINY | own | more))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    name = "joints" if recipe == "internet" else "root"
    assert np.mean([line["losses"][name] for line in lines[-5:]]) < np.mean(
        [line["losses"][name] for line in lines[:5]]
    )


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
