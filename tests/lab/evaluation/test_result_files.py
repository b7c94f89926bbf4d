"""Result files of other programs: counted as in COCO's code, and refused if ambiguous or wrong."""

import json

import cv2
import numpy as np
import pytest

from sonjit.cli import main
from sonjit.lab.datasets import rle_from_mask

SIDE = 100
EMPTY = rle_from_mask(np.zeros((SIDE, SIDE), np.bool_))


def square(x, side=40):
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20 : 20 + side, x : x + side] = True
    return rle_from_mask(mask)


def annotation(number, image, x, **changes):
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 1600,
        "bbox": [x, 20, 40, 40], "segmentation": square(x),
    } | changes  # fmt: skip


@pytest.fixture
def evaluated(tmp_path, capsys):
    """Evaluate results; return the metrics by name, or the error."""

    def run(annotations, results, protocol="coco-instances", names=("000001.jpg", "000002.jpg"), data="coco"):
        root = tmp_path / "coco"
        images = [{"id": i, "file_name": name, "width": SIDE, "height": SIDE} for i, name in enumerate(names, 1)]
        for name in names:
            file = root / "val2017" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.zeros((SIDE, SIDE, 3), np.uint8))
        truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "hand"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / "instances_val2017.json").write_text(json.dumps(truth))
        (root / "val2017" / "dataset.json").write_text(json.dumps(truth))
        (tmp_path / "results.json").write_text(json.dumps(results))
        folder = root if data == "coco" else root / "val2017"
        given = ["--data", data, "--root", str(folder), "--out", str(tmp_path / "out")]
        status = main(["eval", "--protocol", protocol, *given, "--predictions", str(tmp_path / "results.json")])
        error = capsys.readouterr().err
        if status:
            assert status == 2
            assert error.count("\n") == 1
            return error
        report = json.loads((tmp_path / "out" / "eval.json").read_text())
        return {metric["name"]: metric["value"] for metric in report["runs"][0]["metrics"]}

    return run


TRUTH = [annotation(1, 1, 10), annotation(2, 2, 30)]
RESULTS = [
    {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": square(10)},
    {"image_id": 2, "category_id": 1, "score": 0.8, "segmentation": square(30)},
]


def test_masks_without_boxes_are_evaluated(evaluated):
    found = evaluated(TRUTH, RESULTS)
    assert found["mask_ap"] == found["box_ap"] == pytest.approx(100)


def test_an_empty_mask_is_a_false_positive(evaluated):
    found = evaluated(TRUTH, [RESULTS[0] | {"segmentation": EMPTY, "score": 1.0}, *RESULTS])
    assert found["mask_ap"] == pytest.approx(100 * 2 / 3)


def test_scores_keep_all_their_digits(evaluated):
    wrong = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": square(60, 20)}
    right = [row | {"score": 0.5 + 1e-7} for row in RESULTS]
    assert evaluated(TRUTH, [wrong, *right])["mask_ap"] == pytest.approx(100)


def test_an_object_whose_box_has_no_extent_is_not_found(evaluated):
    found = evaluated([TRUTH[0] | {"bbox": [10, 20, 0, 40]}, TRUTH[1]], RESULTS)
    assert found["box_ap"] == pytest.approx(25.2475, abs=1e-3)  # half is found, after a false positive
    assert found["mask_ap"] == pytest.approx(100)


def test_images_are_those_of_the_annotation_file_whatever_their_names_are(evaluated):
    for names in (("a/000001.jpg", "b/000001.jpg"), ("000000.jpg", "000001.jpg"), ("000002.jpg", "000001.jpg")):
        assert evaluated(TRUTH, RESULTS, names=names, data="folder")["mask_ap"] == pytest.approx(100)


def test_records_of_unknown_images_and_categories_are_counted(evaluated, tmp_path):
    more = [RESULTS[0] | {"image_id": 7}, RESULTS[0] | {"category_id": 3, "score": 0.1}]
    assert evaluated(TRUTH, [*RESULTS, *more])["mask_ap"] == pytest.approx(100)
    notes = json.loads((tmp_path / "out" / "eval.json").read_text())["skipped"]
    assert notes[0] == "1 of 4 predictions are of images that are not evaluated, such as 7"
    assert "1 of 4 predictions have a category_id that the data set lacks, such as 3; it has 1 (hand)" in notes[1]
    assert "such as 7" in (tmp_path / "out" / "report.md").read_text()


def test_no_results_find_nothing(evaluated, tmp_path):
    assert evaluated(TRUTH, [])["box_ap"] == 0
    (note,) = json.loads((tmp_path / "out" / "eval.json").read_text())["skipped"]
    assert note.endswith("results.json has no predictions")


def test_corners_in_place_of_sizes_are_noted(evaluated, tmp_path):
    boxes = [row | {"bbox": [60, 20, 100, 60]} for row in RESULTS]
    evaluated(TRUTH, boxes)
    (note,) = json.loads((tmp_path / "out" / "eval.json").read_text())["skipped"]
    assert note.startswith("2 of 2 boxes reach beyond their image")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.5, 0.5]}, "record 1 requires one number in score"),
        ({"bbox": [1, 2, 3]}, "record 1 requires x, y, width, height in bbox"),
        ({"bbox": [50, 50, -40, -40]}, "record 1 requires x, y, width, height in bbox"),
        ({"bbox": [10, 20, 40, 40]}, "record 1 or record 0 lacks bbox"),
        ({"category_id": "1"}, "record 1 requires an integer category_id"),
    ],
    ids=str,
)
def test_wrong_records_are_refused(evaluated, change, message):
    assert message in evaluated(TRUTH, [RESULTS[0], RESULTS[1] | change])


def test_results_of_another_task_are_refused(evaluated):
    people = [{"image_id": 1, "category_id": 1, "score": 0.9, "keypoints": [1, 1, 1] * 17}]
    assert "a prediction has neither box nor mask" in evaluated(TRUTH, people)


def test_boxes_are_no_keypoints(evaluated):
    error = evaluated(TRUTH, [RESULTS[0] | {"bbox": [10, 20, 40, 40]}], protocol="coco-keypoints", data="folder")
    assert "a prediction has no keypoints" in error
