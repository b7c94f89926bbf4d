"""Held-out images of every recipe show people that it does not train on, and a result says so."""

import numpy as np
import pytest
from tests.support.coco_files import write_coco

from sonjit._util import InputError, data_files
from sonjit.cli import main
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

pytestmark = pytest.mark.slow

NAMES = load_skeleton("hand_mediapipe21").keypoints
TINY_MASKS = {"side": 64, "depth": 10, "width": 8, "channels": 8, "hidden": 16, "samples": 8, "batch": 1}
SETTINGS = {
    "keypoint-detector": {"backbone": "test_efficientnet", "channels": 16, "side": 64, "batch": 2},
    "hand-full": {"batch": 1, "size": 64, "scratch": True, "trunk": "tiny", "held_out": 0.3},
    "palm": {"batch": 1, "size": 64, "depth": 1, "channels": "8,8,8,8,8"},
    "mask-rcnn": TINY_MASKS,
    "cam": {"dataset": "folder", "batch": 1, "size": 32},
}


def people_folder(folder, change=lambda images: None):
    """Write four images of each of three people, with a hand in each."""
    hand = np.stack(np.meshgrid(np.arange(5), np.arange(5)), 2).reshape(-1, 2)[:21] * 12.0 + 20
    images, labels = {}, []
    rng = np.random.default_rng(0)
    for number in range(12):
        images[f"{number}.png"] = rng.integers(0, 255, (100, 100, 3), np.uint8)
        polygon = [[20, 20, 68, 20, 68, 68, 20, 68]]
        labels.append((number, hand + number, {"segmentation": polygon, "hand_side": "left", "iscrowd": 0}))
    file = write_coco(folder, images, labels, NAMES)
    data = data_files.read_json(file)
    data["categories"].append({"id": 2, "name": "other hand", "keypoints": list(NAMES)})
    for number, (image, label) in enumerate(zip(data["images"], data["annotations"], strict=True)):
        image["subject"] = f"person {number % 3}"
        label["category_id"] = 1 + number % 2
    change(data["images"])
    data_files.write_json(file, data)
    return folder


def trained(recipe, out, data):
    settings = {"steps": 1, "workers": 0, "evaluate_first": False} | SETTINGS[recipe]
    return run_recipe(TrainingRequest(recipe, out, data, settings=settings))


@pytest.mark.nightly_after(2)
@pytest.mark.parametrize("recipe", SETTINGS)
def test_people_are_held_out(recipe, tmp_path, caplog):
    results = trained(recipe, tmp_path / "run", people_folder(tmp_path / "data"))
    assert results["split"] == "by subject, 2 to train on and 1 held out"
    assert not [record for record in caplog.records if "held out" in record.message]
    saved = data_files.read_json(tmp_path / "run" / "settings.json")
    assert saved["held_out_by"] == results["split"]


def test_images_without_people_are_held_out_with_a_line(tmp_path, caplog):
    def forget(images):
        for image in images:
            del image["subject"]

    results = trained("keypoint-detector", tmp_path / "run", people_folder(tmp_path / "data", forget))
    assert "similar images may be on both sides" in results["split"]
    assert "similar images may be on both sides" in caplog.text


@pytest.mark.nightly
def test_a_run_continues_when_its_data_moved(tmp_path):
    first = people_folder(tmp_path / "data")
    before = trained("keypoint-detector", tmp_path / "run", first)
    moved = first.rename(tmp_path / "scratch")
    assert trained("keypoint-detector", tmp_path / "run", moved) == before
    data = data_files.read_json(moved / "dataset.json")
    data["annotations"][0]["keypoints"][0] += 1
    data_files.write_json(moved / "dataset.json", data)
    with pytest.raises(InputError, match="data_sha256"):
        trained("keypoint-detector", tmp_path / "run", moved)


def test_runs_are_evaluated_and_described_by_their_folder(tmp_path, capfd):
    data = people_folder(tmp_path / "data")
    run = tmp_path / "run"
    trained("keypoint-detector", run, data)
    out = tmp_path / "evaluation"
    words = ["eval", "--protocol", "mediapipe-card", "--model", str(run), "--data", "folder", "--root", str(data)]
    assert main([*words, "--out", str(out)]) == 0
    record = data_files.read_json(out / "eval.json")
    assert record["model"]["name"] == "keypoint-detector"
    assert record["runs"][0]["evaluated"] == 12
    assert main(["card", str(out / "eval.json"), "--out", str(tmp_path / "cards"), "--name", "mine"]) == 0
    card = (tmp_path / "cards" / "mine.md").read_text("utf-8")
    saved = data_files.read_json(run / "settings.json")
    for fact in (
        "recipe: keypoint-detector",
        "seed: 0",
        f"data, SHA-256: {saved['data_sha256']}",
        "losses of step 1: ",
    ):
        assert fact in card
    assert "held-out images: by subject, 2 to train on and 1 held out" in card
    assert main([*words, "--weights", str(run)]) == 2
    assert "cannot be combined with --weights" in capfd.readouterr().err
