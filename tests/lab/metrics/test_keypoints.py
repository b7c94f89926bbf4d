"""Keypoint errors and alignments: properties of all points, and missing points."""

import numpy as np
import pytest

from sonjit import InputError
from sonjit.lab import metrics
from sonjit.lab.metrics import joint_errors, mean_error


@pytest.mark.parametrize("place", [(0, 0, 0), (0.1, -3.7, 612.3)])
def test_a_prediction_without_extent_is_aligned_to_the_centre_of_the_label(points, place):
    _, gt, valid = points()
    nowhere = np.broadcast_to(np.array(place, np.float64), gt.shape)
    for align in (metrics.similarity_aligned, metrics.scale_translation_aligned):
        aligned = align(nowhere, gt, valid).predicted
        middle = [hand[known].mean(0) for hand, known in zip(gt, valid, strict=True)]
        np.testing.assert_allclose(aligned, np.repeat(np.array(middle)[:, None], 21, 1))


def test_the_bone_decides_the_scale_and_a_missing_one_decides_nothing(points):
    pred, gt, _ = points()
    aligned = metrics.bone_aligned(pred, gt).predicted
    np.testing.assert_allclose(aligned[:, 0], gt[:, 0])
    np.testing.assert_allclose(*(np.linalg.norm(hand[:, 9] - hand[:, 0], axis=1) for hand in (aligned, gt)))
    pred[0, 9] = pred[0, 0]
    length = np.linalg.norm(gt[0, 9] - gt[0, 0])  # as the released code does
    np.testing.assert_allclose(metrics.bone_aligned(pred, gt).predicted[0], (pred[0] - pred[0, 0]) * length + gt[0, 0])


def test_what_truth_does_not_know_does_not_count(points):
    pred, gt, valid = points()
    unknown = np.where(valid[..., None], gt, np.nan)
    for of in (metrics.mpjpe, metrics.pa_mpjpe, metrics.end_point_error):
        assert of(pred, unknown) == of(pred, gt, valid)
    pred[~valid] = np.nan  # the prediction does not matter either
    assert np.isfinite(metrics.mpjpe(pred, gt, valid))
    assert metrics.missing_count(joint_errors(pred, gt, valid)) == 0


def test_a_sample_whose_root_is_unknown_does_not_count(points):
    pred, gt, _ = points()
    rest = metrics.mpjpe(pred[1:], gt[1:], root=0)
    gt[0, 0] = np.nan
    assert metrics.mpjpe(pred, gt, root=0) == rest
    known = np.ones(gt.shape[:2], bool)
    known[0, 0] = False
    assert metrics.mpjpe(pred, gt, known, root=0) == rest


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize(
    "align", [metrics.Points, metrics.root_relative, metrics.bone_aligned, metrics.similarity_aligned]
)
def test_missing_predictions_never_improve_a_score(points, nothing, align):
    pred, gt, valid = points()
    valid[2, [0, 5, 9]] = True
    before = joint_errors(*align(pred, gt, valid))
    pred[2, 5, 1] = nothing
    errors = joint_errors(*align(pred, gt, valid))
    assert metrics.missing_count(errors) >= 1
    assert np.isnan(mean_error(errors))
    assert np.isnan(mean_error(errors, "all"))
    assert np.isfinite(mean_error(metrics.found(errors)))
    for threshold in (1, 5, 15, 40):
        for average in ("joint", "all"):
            now = metrics.pck(errors, threshold, average=average)
            assert now <= metrics.pck(before, threshold, average=average)
    assert metrics.pck(errors, 1e6) < 1
    middles = metrics.joint_medians(errors), metrics.joint_medians(before)
    assert not (middles[0] < middles[1]).any()


def test_nothing_valid_is_unknown(points):
    pred, gt, _ = points()
    none = np.zeros(gt.shape[:2], bool)
    for of in (metrics.mpjpe, metrics.pa_mpjpe, lambda *given: metrics.mpjpe(*given, root=0)):
        assert np.isnan(of(pred, gt, none))
        assert np.isnan(of(pred[:0], gt[:0]))
        assert np.isnan(of(pred, gt * np.nan))
    assert np.isnan(metrics.end_point_error(pred, gt, none)).all()
    for errors in (joint_errors(pred, gt, none), np.zeros((0, 21)), np.zeros((0, 0)), []):
        assert np.isnan(metrics.pck(errors, 5))
        assert np.isnan(metrics.pck_auc(errors, 0, 50, average="all"))
        assert np.isnan(mean_error(errors))


def test_max_mse_of_nothing_is_unknown(points):
    pred, gt, _ = points()
    assert np.isnan(metrics.max_mse(pred, gt, np.zeros(gt.shape[:2], bool))[0])
    pred[0, 0, 0] = np.nan
    assert np.isnan(metrics.max_mse(pred, gt)[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: joint_errors(np.zeros((2, 21, 3)), np.zeros((2, 20, 3))), r"\(2, 21, 3\).*\(2, 20, 3\)"),
        (lambda: joint_errors(np.zeros(3), np.zeros(3)), "one shape"),
        (lambda: joint_errors([[[0, 0], [0]]], [[[0, 0], [0]]]), "predicted: give an array"),
        (lambda: joint_errors(np.zeros((2, 21, 3)), np.zeros((2, 21, 3)), np.ones(2)), r"valid \(2,\)"),
        (lambda: metrics.root_relative(np.zeros((2, 5, 3)), np.zeros((2, 5, 3)), root=5), "joint 5"),
        (lambda: metrics.similarity_aligned(np.zeros((5, 3)), np.zeros((5, 3))), r"\(N, K, D\)"),
        (lambda: metrics.pck_auc(np.zeros((2, 5)), 50, 0), "low below high"),
        (lambda: metrics.pck_curve(np.zeros((2, 5)), [5, 1]), "ascending"),
    ],
)
def test_mismatches_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
