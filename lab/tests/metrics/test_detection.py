"""COCO's average precision on generated objects, maps, boxes and their errors."""

import json

import numpy as np
import pytest

from sonjit import InputError
from sonjit_lab.metrics import box_from_map, classification_error, coco_precision, localization_error


@pytest.fixture
def truth():
    """Return two images with one box each, of two categories; a third category never occurs."""
    boxes = [[10, 10, 40, 40], [20, 5, 100, 120]]
    return {
        "images": [{"id": one, "width": 200, "height": 200} for one in (1, 2)],
        "annotations": [
            {"id": 1 + n, "image_id": 1 + n, "category_id": 1 + n, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(boxes)
        ],
        "categories": [{"id": one, "name": str(one)} for one in (1, 2, 3)],
    }


def results_of(truth, score=0.9):
    keys = ("image_id", "category_id", "bbox")
    return [{**{key: annotation[key] for key in keys}, "score": score} for annotation in truth["annotations"]]


def test_what_is_all_found_is_all_precise(truth, tmp_path):
    found = coco_precision(truth, results_of(truth), "bbox")
    assert found.stats["AP"] == pytest.approx(1)
    assert found.ap50_per_category == pytest.approx({1: 1, 2: 1, 3: np.nan}, nan_ok=True)
    assert np.isnan(found.stats["AP_small"])
    (tmp_path / "truth.json").write_text(json.dumps(truth), "utf-8")
    from_file = coco_precision(tmp_path / "truth.json", results_of(truth), "bbox")
    assert from_file.stats == pytest.approx(found.stats, nan_ok=True)


def test_nothing_found_is_zero_and_nothing_annotated_is_unknown(truth):
    nothing = coco_precision(truth, [], "bbox").stats
    assert nothing["AP"] == nothing["AR100"] == 0
    assert np.isnan(nothing["AP_small"])
    results = results_of(truth)
    truth["annotations"] = []
    assert np.isnan(list(coco_precision(truth, results, "bbox").stats.values())).all()


@pytest.mark.parametrize("ids", [(1, 2), ("b", "a")])
def test_only_requested_images_are_evaluated(truth, ids):
    for part, name in (("images", "id"), ("annotations", "image_id")):
        truth[part] = [row | {name: ids[row[name] - 1]} for row in truth[part]]
    first = results_of(truth)[:1]
    assert coco_precision(truth, first, "bbox").stats["AP"] == pytest.approx(0.5)
    assert coco_precision(truth, first, "bbox", image_ids=ids[:1]).stats["AP"] == pytest.approx(1)
    with pytest.raises(InputError, match=f"image {ids[1]!r}"):
        coco_precision(truth, results_of(truth), "bbox", image_ids=ids[:1])


def test_invalid_coco_files_are_named(truth, tmp_path):
    with pytest.raises(InputError, match="categories"):
        coco_precision({"images": [], "annotations": []}, [], "bbox")
    with pytest.raises(InputError, match=r"absent\.json"):
        coco_precision(tmp_path / "absent.json", [], "bbox")
    with pytest.raises(InputError, match="cannot read"):
        coco_precision(truth, [{"image_id": 1, "score": 1}], "bbox")


@pytest.mark.parametrize("kind", ["keypoints", "bbox"])
@pytest.mark.parametrize("images", [[1], [1, 2]])
def test_results_without_any_annotation_have_unknown_precision(kind, images):
    truth = {"images": [{"id": i, "width": 9, "height": 9} for i in images], "annotations": []}
    result = {"image_id": 1, "category_id": 1, "score": 0.5}
    result |= {"keypoints": [1, 1, 1] * 17} if kind == "keypoints" else {"bbox": [0, 0, 4, 4]}
    precision = coco_precision(truth | {"categories": [{"id": 1, "name": "a"}]}, [result], kind)
    assert np.isnan(precision.stats["AP"])
    assert np.isnan(precision.ap50_per_category[1])


def test_nan_and_nothing_are_in_no_box_and_no_error():
    assert box_from_map(np.zeros((8, 8))) is None
    values = np.pad(np.ones((5, 4)), ((3, 16), (2, 18)))
    values[0] = np.nan
    assert box_from_map(values) == (2, 3, 6, 8)
    assert localization_error([[(3, None)], [(3, (0, 0, 2, 2))]], [(3, [(0, 0, 2, 2)])] * 2, top=1) == 0.5
    near, far = np.array([[0, 0, 2, 2], [5, 5, 9, 9]], np.uint16)  # whose differences wrap around
    assert localization_error([[(3, near)]], [(3, [far])]) == 1
    assert classification_error(np.array([[np.nan, 0.2], [0.5, np.nan]]), [0, 0], top=2) == 0.5
    assert np.isnan([classification_error(np.zeros((0, 3)), []), localization_error([], [])]).all()
