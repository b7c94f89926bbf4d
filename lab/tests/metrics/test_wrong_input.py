"""Metrics refuse wrong input in one line."""

import numpy as np
import pytest

from sonjit import InputError
from sonjit_lab import metrics

RANDOM = np.random.default_rng(0)
PREDICTED, TRUTH = RANDOM.random((2, 4, 21, 3))
TWO_PREDICTED, TWO_TRUTH = RANDOM.random((2, 4, 42, 3))
ERRORS = RANDOM.random((4, 21))
BODIES = RANDOM.random((4, 33, 2))
SEEN = np.ones((4, 33))
SCORES = RANDOM.random((3, 5))
BOX = (0.0, 0.0, 4.0, 4.0)
NAN = float("nan")
COMPARISONS = (
    "joint_errors", "mpjpe", "pa_mpjpe", "end_point_error", "root_relative", "bone_aligned",
    "similarity_aligned", "scale_translation_aligned", "acceleration_error",
)  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize(
    "valid", [np.full((4, 21), NAN), np.full((4, 21), 0.9), np.full((4, 21), -1), np.full((4, 21), "no")], ids=str
)
def test_masks_have_only_0_and_1(name, valid):
    with pytest.raises(InputError, match="valid: give 0 or 1"):
        getattr(metrics, name)(PREDICTED, TRUTH, valid)


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        (PREDICTED[0, 0], TRUTH[0, 0]), (PREDICTED[..., :0], TRUTH[..., :0]), (PREDICTED + 1j, TRUTH),
        (PREDICTED, TRUTH[..., :2]), ("left", "right"), ([[1.0], [1.0, 2.0]], [[1.0], [1.0, 2.0]]),
    ],
)  # fmt: skip
def test_points_of_another_form_are_refused(name, predicted, truth):
    with pytest.raises(InputError) as error:
        getattr(metrics, name)(predicted, truth)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("mpjpe", (PREDICTED, TRUTH), {"root": 1.5}), ("mpjpe", (PREDICTED, TRUTH), {"average": "joints"}),
        ("pck", (-ERRORS, 0.5), {}), ("pck_curve", (ERRORS, ["far"]), {}), ("pck_auc", (ERRORS, 0, np.inf), {}),
        ("pck_auc", (ERRORS, 0, 1), {"steps": 2.5}), ("jitter", (PREDICTED[0],), {}),
        ("two_hand_mpjpe", (ERRORS, [NAN, 0, 1, 0]), {}), ("two_hand_mpjpe", (ERRORS[0], [1] * 21), {}),
        ("mrrpe", (PREDICTED, TRUTH), {"interacting": [1] * 4}),
        ("mrrpe", (TWO_PREDICTED, TWO_TRUTH), {"interacting": [1] * 4, "roots": (20, 20)}),
        ("handedness_accuracy", ([[5.0, -3.0]], [[1, 0]]), {}),
        ("handedness_accuracy", ([[0.9, 0.1]], [[1, 0]], [1, 1]), {}),
        ("average_precision", ([0.9, 0.1], [NAN, 0]), {}), ("classification_error", (SCORES, [1, 5, 2]), {}),
        ("classification_error", (SCORES, [[0], [1], [2]]), {}),
        ("localization_error", ([[(0, BOX)]], [(0, [BOX])]), {"overlap": 50}),
        ("localization_error", ([[(0, BOX)]], [(0, [(NAN, 0, 4, 4)])]), {}),
        ("box_from_map", (np.ones((3, 3)),), {"connectivity": 5}), ("box_from_map", (np.array([[np.inf, 1.0]]),), {}),
        ("f_score", (PREDICTED[0], TRUTH[0], -1.0), {}), ("mnae", (PREDICTED, TRUTH), {"knuckle": -1}),
        ("normalised_error", (PREDICTED[None], TRUTH[None], [1.0]), {}), ("torso_sizes", (BODIES, "side"), {}),
        ("pdj", (BODIES, BODIES), {"predicted_visible": 0.1 * SEEN, "true_visible": SEEN}),
        ("box_from_map", (np.ones((2, 2)), 1.0), {}), ("mean_interval", (ERRORS,), {"resamples": 0}),
        ("mean_interval", ([1, 2],), {"level": 95}), ("by_joints", (ERRORS, {"thumb": [0.5]}), {}),
        ("by_class", (ERRORS, ["abc"] * 4, ["a"]), {}),
    ],
)  # fmt: skip
def test_arguments_of_another_form_are_refused(name, arguments, options):
    with pytest.raises(InputError) as error:
        getattr(metrics, name)(*arguments, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change", [{"area": NAN}, {"area": -5.0}, {"labelled": np.full(17, NAN)}, {"box": (0, 0, 1)}, {"sigmas": [0] * 17}]
)
def test_similarity_of_keypoints_requires_a_size(change):
    values = {"labelled": np.ones(17), "area": 5.0, "box": BOX} | change
    with pytest.raises(InputError):
        metrics.object_keypoint_similarity(PREDICTED[0, :17, :2], TRUTH[0, :17, :2], **values)


ANNOTATION = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}
IMAGES = [{"id": 1, "width": 10, "height": 10}]
TRUE = {"images": IMAGES, "annotations": [ANNOTATION], "categories": [{"id": 1, "name": "hand"}]}
RESULT = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}


@pytest.mark.parametrize(
    "change",
    [
        {"score": NAN}, {"score": "high"}, {"bbox": [0, 0, 4]}, {"bbox": [4, 4, -4, -4]}, {"category_id": 0},
        {"image_id": "1"}, {"image_id": 2},
    ],
)  # fmt: skip
def test_results_of_another_form_are_refused(change):
    with pytest.raises(InputError) as error:
        metrics.coco_precision(TRUE, [RESULT | change], "bbox")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("truth", "options"),
    [
        ([], {}), (TRUE | {"annotations": [ANNOTATION | {"bbox": [NAN, 0, 4, 4]}]}, {}),
        (TRUE | {"annotations": [ANNOTATION, ANNOTATION]}, {}), (TRUE | {"images": IMAGES * 2}, {}),
        (TRUE, {"image_ids": [99]}),
    ],
)  # fmt: skip
def test_annotations_of_another_form_are_refused(truth, options):
    with pytest.raises(InputError):
        metrics.coco_precision(truth, [], "bbox", **options)
