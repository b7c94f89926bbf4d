"""Assignment of detections to labels on drawn images."""

import json

import cv2
import numpy as np
import pytest

from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation import EvaluationRequest, ModelChoice, evaluate, load_protocol, predictions, save_report
from sonjit_lab.evaluation.cards import CardRequest, card_files
from sonjit_lab.evaluation.detection import DetectionEvaluator, assign

LABEL = (100.0, 100.0, 140.0, 160.0)


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        (LABEL, True),
        ((100, 100, 140, 118.1), True),  # IoU just over 0.3
        ((100, 142, 140, 160), True),  # IoU 0.3
        ((140, 100, 180, 160), False),  # beside it
        ((60, 70, 180, 190), True),  # its centre inside, twice as long
        ((58, 68, 182, 192), False),  # and longer
        ((115, 105, 125, 135), True),  # centre inside, half as long
        ((115, 105, 125, 134), False),  # and shorter
        ((125, 130, 180, 190), False),  # as long, the centre outside
    ],
)
def test_a_find_fits_by_overlap_or_by_centre_and_size(box, fits):
    assert bool(assign([(box, 0.9)], [LABEL]).detection_of_label) is fits


def test_the_surest_find_takes_the_label_that_it_fits_best():
    near = (112.0, 100.0, 152.0, 160.0)
    other = (130.0, 100.0, 170.0, 160.0)
    found, doubled, false = assign([(near, 0.6), (LABEL, 0.9), (LABEL, 0.5)], [other, LABEL])
    assert found == {1: 1, 0: 0}  # the less sure find goes to the free label
    assert doubled == [2]
    assert not false


def photograph(*instances, value=120, width=400, height=300, **tags):
    rgb = np.random.default_rng(0).integers(value - 20, value + 20, (height, width, 3)).astype(np.uint8)
    return Sample(dataset="made", id="a", image=rgb, width=width, height=height, instances=tuple(instances), tags=tags)


def hand(box=LABEL, side="Right", **extra):
    return Instance(kind="hand", side=side, box=box, extra={"clear": True} | extra)


def find(box=LABEL, side="Right", score=0.9, skeleton="hand_mediapipe21", **more):
    x_min, y_min, x_max, y_max = box
    points = np.stack([np.linspace(x_min, x_max, 21), np.linspace(y_min, y_max, 21)], 1)
    return predictions.Prediction(skeleton=skeleton, side=side, score=score, keypoints_px=points, box=box, **more)


def detection(kind="hand", protocol="detection"):
    return DetectionEvaluator(load_protocol(protocol), kind)


def test_found_missed_doubled_false_and_sides_are_counted():
    far = (300.0, 200.0, 340.0, 260.0)
    sample = photograph(hand(), hand(box=far, side="Left"), hand(box=(200, 20, 240, 80)))
    items = detection().evaluate(
        sample,
        [find(), find(score=0.6), find(box=far, side="Right", side_score=0.6), find(box=(10, 200, 50, 260), score=0.4)],
    )
    metrics = {item.name: item.value for item in detection().summary(items, [0] * len(items)).metrics}
    assert metrics == pytest.approx(
        {"recall": 200 / 3, "precision": 50, "false": 25, "doubled": 25, "handedness": 50, "side_known": 100}
    )


def test_unclear_labels_count_neither_way():
    sample = photograph(hand(clear=False))
    assert detection().evaluate(sample, []) == []
    assert detection().evaluate(sample, [find()]) == []
    (doubled,) = detection().evaluate(sample, [find(), find(score=0.5)])
    assert doubled.numbers == {"doubled": 1.0, "score": 0.5}


def test_only_kinds_that_are_labelled_count():
    sample = photograph(hand(), labelled=["hand"])
    assert detection("body").evaluate(sample, [find(skeleton="body_blazepose33")]) == []
    (item,) = detection().evaluate(sample, [find(), find(box=(10, 10, 90, 90), skeleton="body_blazepose33")])
    assert item.numbers["found"] == 100


def test_sets_that_leave_some_without_label_have_no_false_finds():
    evaluator = detection(protocol="detection-datasets")
    items = evaluator.evaluate(photograph(hand()), [find(), find(box=(300, 200, 340, 260))])
    assert not any({"false", "doubled"} & item.numbers.keys() for item in items)
    summary = evaluator.summary(items, [0] * len(items))
    assert "precision" not in {metric.name for metric in summary.metrics}
    assert "score" not in summary.parts


@pytest.fixture
def labelled_folder(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    labels = {}
    for number, name in enumerate(("a.png", "b.png")):
        rgb = np.random.default_rng(number).integers(0, 255, (300, 400, 3)).astype(np.uint8)
        cv2.imwrite(str(root / name), rgb)
        hands = [{"box": LABEL, "side": "Right", "clear": True, "view": "palm", "note": ""}]
        hands += [{"box": [300, 200, 340, 260], "side": "Left", "clear": True, "view": "fist", "note": ""}] * number
        labels[name] = {"width": 400, "height": 300, "hands": hands}
    (root / "hands.json").write_text(json.dumps(labels))
    file = tmp_path / "found.npz"
    np.savez(
        file,
        id=np.array(["a.png", "b.png", "b.png"]),
        box=np.array([LABEL, LABEL, (10, 200, 60, 280)]),
        side=np.array(["Right", "Left", "Left"]),
        score=np.array([0.95, 0.8, 0.6]),
    )
    return root, str(file)


def test_an_evaluation_of_photographs_and_its_card(labelled_folder, tmp_path):
    root, file = labelled_folder
    out = tmp_path / "out"
    out.mkdir()
    outcome = evaluate(EvaluationRequest("detection", ModelChoice(predictions=file), root), out)
    save_report(outcome, out)
    record = predictions.load_evaluation(out / "eval.json")
    (run,) = record["runs"]
    metrics = {metric["name"]: metric["value"] for metric in run["metrics"]}
    assert metrics["recall"] == pytest.approx(200 / 3)
    assert metrics["precision"] == pytest.approx(200 / 3)
    assert metrics["handedness"] == 50
    assert run["units"]["found"] == [True, True, False, True]
    assert run["units"]["value"] == [100, 100, 0, 0]
    assert [run["units"]["instance"][one["row"]] for one in run["worst"]] == [-1, 1]  # the false find, the missed hand
    assert all((out / one["file"]).stat().st_size > 500 for one in run["worst"])
    assert "## By score: precision" in (out / "report.md").read_text()
    text = card_files([record], CardRequest())["found.md"]
    assert "| found | 2 of 3 | 66.67 %" in text
    assert "| false | 1 of 3 |" in text
    assert "| fist | 0 of 1 | 0.00 |" in text
