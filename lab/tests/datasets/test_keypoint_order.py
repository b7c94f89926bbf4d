"""The order of keypoints: by names, by a stated order, or refused in every recipe and evaluation that needs it."""

import json

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.cli import main
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.cli.train import train
from sonjit_lab.datasets import open_dataset, reading
from sonjit_lab.datasets.sample import HAND_SKELETON, ordered_hand
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.run import EvaluationRequest, evaluate

NAMES = load_skeleton(HAND_SKELETON).keypoints
WHOLE_BODY = ["hand_root"] + [
    f"{finger}{level}"
    for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    for level in range(1, 5)
]


def in_order(own, order, names, stated=None):
    """Write the folder of `own` with its points in another order, under some names. Return the folder and the truth."""

    def change(labels):
        for label in labels["annotations"]:
            label["keypoints"] = np.reshape(label["keypoints"], (21, 3))[np.argsort(order)].ravel().tolist()
            label["keypoints3d"] = np.asarray(label["keypoints3d"])[np.argsort(order)].tolist()
        (category,) = labels["categories"]
        category["keypoints"] = list(names)
        if stated:
            category["keypoint_order"] = stated

    truth = open_dataset("folder", own())[1].instances[0]
    return own(change), truth


def same_hand(hand, truth):
    assert hand.skeleton == HAND_SKELETON
    np.testing.assert_allclose(hand.keypoints_px[truth.valid_px], truth.keypoints_px[truth.valid_px])
    np.testing.assert_allclose(hand.keypoints_m, truth.keypoints_m)
    assert hand.visible.tolist() == truth.visible.tolist()


@pytest.mark.parametrize("names", [(), [str(number) for number in range(1, 22)]])
@pytest.mark.parametrize("order", reading.ORDERS)
def test_a_stated_order_is_converted(order, names, own):
    root, truth = in_order(own, reading.ORDERS[order], names)
    same_hand(open_dataset("folder", root, order=order)[1].instances[0], truth)
    root, truth = in_order(own, reading.ORDERS[order], names, stated=order)
    same_hand(open_dataset("folder", root)[1].instances[0], truth)


@pytest.mark.parametrize("prefix", ["", "left_", "r_"])
@pytest.mark.parametrize("order", ["interhand", "openpose", "rhd"])
def test_names_in_any_order_are_converted(order, prefix, own):
    for names in (NAMES, WHOLE_BODY):
        named = [prefix + names[index] for index in np.argsort(reading.ORDERS[order])]
        root, truth = in_order(own, reading.ORDERS[order], named)
        same_hand(open_dataset("folder", root)[1].instances[0], truth)


def test_a_stated_order_that_contradicts_the_names_is_refused(own):
    root, _ = in_order(own, reading.MEDIAPIPE, NAMES)
    assert open_dataset("folder", root, order="mediapipe")[1].instances[0].skeleton == HAND_SKELETON
    for order in ("mano", "stb", "body_coco17"):
        with pytest.raises(InputError, match=r"contradicts the names|Unknown order|has 17 keypoints"):
            open_dataset("folder", root, order=order, check="all")


def test_more_keypoints_than_those_of_a_hand_are_found_by_name(own):
    def add(labels):
        (category,) = labels["categories"]
        category["keypoints"] = ["thumb_nail", *NAMES]
        for label in labels["annotations"]:
            label["keypoints"] = [1, 2, 2, *label["keypoints"]]
            label["keypoints3d"] = [[0, 0, 300], *label["keypoints3d"]]

    truth = open_dataset("folder", own())[1].instances[0]
    same_hand(ordered_hand(open_dataset("folder", own(add))[1].instances[0]), truth)


UNKNOWN = [(), [str(number) for number in range(1, 22)], ["wrist", *(f"joint {number}" for number in range(20))]]


@pytest.mark.parametrize("names", UNKNOWN)
@pytest.mark.parametrize("recipe", ["keypoint-detector", "rootnet", "internet", "hand-full", "palm", "pose-lite"])
def test_recipes_refuse_an_unknown_order(recipe, names, own, tmp_path):
    def bodies(labels):
        labels["categories"][0]["name"] = "person"
        for label in labels["annotations"]:
            del label["hand_side"]

    root, _ = in_order(own, reading.MANO, names)
    if recipe == "pose-lite":
        labels = json.loads((root / "dataset.json").read_text("utf-8"))
        bodies(labels)
        (root / "dataset.json").write_text(json.dumps(labels), "utf-8")
    settings = (
        () if recipe in ("keypoint-detector", "hand-full", "palm", "pose-lite") else ("dataset=folder", "test_split=")
    )
    known = r"order of a hand's 21 keypoints is not known|without the labels|no hand has a palm's keypoints"
    with pytest.raises(InputError, match=known):
        train(recipe, data=str(root), out=str(tmp_path / "run"), smoke=True, steps=1, settings=settings)


@pytest.mark.parametrize("names", UNKNOWN)
@pytest.mark.parametrize("protocol", ["mediapipe-card", "coco-hand-keypoints", "freihand", "interhand2.6m"])
def test_evaluations_refuse_an_unknown_order(protocol, names, own, tmp_path):
    root, truth = in_order(own, reading.MANO, names)
    samples = open_dataset("folder", root)
    file = tmp_path / "predictions.npz"
    points = np.repeat(truth.keypoints_px[None], len(samples), 0)
    np.savez(
        file, id=[sample.id for sample in samples], keypoints_px=points, keypoints_m=np.ones((len(samples), 21, 3))
    )
    request = EvaluationRequest(protocol, ModelChoice(predictions=file), root, ("folder",))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="order of a hand's 21 keypoints is not known"):
        evaluate(request, tmp_path / "out")


def test_predictions_of_a_stated_order_are_perfect(own, tmp_path):
    root = own()
    samples = [sample for sample in open_dataset("folder", root) if sample.instances]
    points = np.stack([np.nan_to_num(sample.instances[0].keypoints_px) for sample in samples])
    np.savez(
        tmp_path / "found.npz",
        id=[sample.id for sample in samples],
        keypoints_px=points[:, np.argsort(reading.INTERHAND)],
        order="interhand",
    )
    choice = ModelChoice(predictions=tmp_path / "found.npz")
    request = EvaluationRequest("mediapipe-card", choice, root, ("folder",))
    (tmp_path / "out").mkdir()
    (run,) = evaluate(request, tmp_path / "out").record["runs"]
    errors = {metric["name"]: metric["value"] for metric in run["metrics"]}
    assert errors["mnae"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("order", ["mano", "interhand"])
def test_an_evaluation_states_the_order_of_files_without_names(order, own, tmp_path, monkeypatch, capfd):
    root, _ = in_order(own, reading.ORDERS[order], ())
    samples = [sample for sample in open_dataset("folder", root, order=order) if sample.instances]
    np.savez(
        tmp_path / "found.npz",
        id=[sample.id for sample in samples],
        keypoints_px=np.stack([np.nan_to_num(sample.instances[0].keypoints_px) for sample in samples]),
    )
    monkeypatch.chdir(tmp_path)
    words = ["eval", "--protocol", "mediapipe-card", "--data", "folder", "--root", str(root)]
    words += ["--predictions", "found.npz", "--option", f"order={order}", "--out"]
    assert main([*words, "one"]) == 0
    record = json.loads((tmp_path / "one" / "eval.json").read_text("utf-8"))
    errors = {metric["name"]: metric["value"] for metric in record["runs"][0]["metrics"]}
    assert errors["mnae"] == pytest.approx(0, abs=1e-9)
    assert record["data"][0]["options"] == {"order": order}
    assert main([*words, "two"]) == 0
    assert main(["compare", "one", "two", "--root", str(root), "--save", "both.png"]) == 0
    assert main([*words[:-1], "--option", "ordr=mano", "--out", "three"]) == 2
    assert "ordr" in capfd.readouterr().err


@pytest.mark.parametrize("stated", [False, True])
def test_results_in_coco_format_have_the_order_of_the_annotation_file(stated, own, tmp_path):
    names = [str(number) for number in range(21)] if stated else [NAMES[k] for k in np.argsort(reading.INTERHAND)]
    root, _ = in_order(own, reading.INTERHAND, names, stated="interhand" if stated else None)
    labels = json.loads((root / "dataset.json").read_text("utf-8"))
    records = [
        {key: label[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for label in labels["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(records))
    choice = ModelChoice(predictions=str(tmp_path / "results.json"))
    (tmp_path / "out").mkdir()
    (run,) = evaluate(EvaluationRequest("mediapipe-card", choice, root, ("folder",)), tmp_path / "out").record["runs"]
    assert {metric["name"]: metric["value"] for metric in run["metrics"]}["mnae"] == pytest.approx(0, abs=1e-9)
