"""The published palm detector on exact labels, and its average precision by separate code."""

import json

import pytest

from sonjit.cli import main
from sonjit.lab.datasets import open_dataset
from sonjit.lab.evaluation.coco import PalmModel
from sonjit.lab.metrics import box_iou

from .official import average_precision

PALM = [0, 5, 9, 13, 17, 1, 2]  # wrist, knuckles, the thumb's two lower joints


def square(points):
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low).max() / 2
    return (*(middle - half), *(middle + half))


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def covered(box, area):
    """Check whether at least half of a box lies in an ignored area."""
    width, height = (min(box[i + 2], area[i + 2]) - max(box[i], area[i]) for i in (0, 1))
    return max(width, 0) * max(height, 0) >= 0.5 * (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.slow
def test_the_published_palm_detector_has_its_average_precision(weights, clip_folder, tmp_path):
    arguments = ["--protocol", "mediapipe-palm", "--model", "palm-full", "--data", "folder", "--root", str(clip_folder)]
    assert main(["eval", *arguments, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "eval.json").read_text())
    found = {metric["name"]: metric["value"] for metric in record["runs"][0]["metrics"]}
    model, truth, boxes = PalmModel("palm-full", None, None, None), [], []
    for sample in open_dataset("folder", clip_folder):
        palms = [square(instance.keypoints_px[PALM]) for instance in sample.instances]
        is_inside = [0 < x < sample.width and 0 < y < sample.height for x, y in map(centre, palms)]
        truth += [(sample.id, palm, True) for palm, inside in zip(palms, is_inside, strict=True) if inside]
        cut = [palm for palm, inside in zip(palms, is_inside, strict=True) if not inside]
        found_here = model.find(sample, sample.rgb(), "reacquisition")
        boxes += [
            (sample.id, one.box, one.score) for one in found_here if not any(covered(one.box, palm) for palm in cut)
        ]
    assert found["ap"] == pytest.approx(average_precision(truth, boxes, box_iou, [0.5]), abs=1e-6)
    assert found["ap"] > 50
    assert found["ap_strict"] < found["ap"]
    assert record["model"]["files"][0]["name"] == "palm-full"
    assert "95.7" in (tmp_path / "report.md").read_text()
