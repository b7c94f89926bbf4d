"""Metrics of keypoints, hands and meshes: missing points, and properties of all points."""

import numpy as np
import pytest

from sonjit import InputError
from sonjit_lab import metrics
from sonjit_lab.metrics import joint_errors, mean_error


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


def pairs(seed, n=5):
    """Return predicted and true pairs of hands (n, 42, 3), and which of them interact."""
    random = np.random.default_rng(seed)
    truth = random.normal(0, 50, (n, 42, 3)) + np.array([0, 0, 700])
    return truth + random.normal(0, 9, truth.shape), truth, random.random(n) > 0.5


def test_only_left_hands_give_no_metrics_of_two_hands():
    pred, gt, _ = pairs(0)
    valid = np.repeat([[False, True]], 21, 1).repeat(5, 0)
    found = metrics.two_hand_mpjpe(metrics.two_hand_errors(pred, gt, valid), np.zeros(5, bool))
    assert found.all == found.single == pytest.approx(metrics.mpjpe(pred[:, 21:], gt[:, 21:], root=20))
    assert np.isnan(found.interacting)
    for interacting in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isnan(metrics.mrrpe(pred, gt, valid, interacting=interacting))


def test_a_hand_with_an_unknown_root_does_not_count():
    pred, gt, _ = pairs(1)
    valid = np.ones((5, 42), bool)
    valid[2, 41] = False
    errors = metrics.two_hand_errors(pred, gt, valid)
    assert np.isnan(errors[2, 21:]).all()
    assert np.isfinite(errors[2, :21]).all()
    assert np.isnan(metrics.root_offset_errors(pred, gt, valid, interacting=np.ones(5))[2])
    pred[0, 20] = np.nan  # a root that was not predicted does count
    assert np.isnan(metrics.mrrpe(pred, gt, valid, interacting=np.ones(5)))
    assert np.isinf(metrics.two_hand_errors(pred, gt, valid)[0, :21]).all()


def test_half_is_wrong_both_ways_and_so_is_no_answer():
    for present in ([1, 0], [0, 1], [1, 1], [0, 0]):
        for predicted in ([0.5, 0.1], [0.9, 0.5], [np.nan, 0.2]):
            assert metrics.handedness_accuracy([predicted], [present]) == 0
        assert metrics.handedness_accuracy([[0.9 if one else 0.1 for one in present]], [present]) == 1
    assert np.isnan(metrics.handedness_accuracy([[0.9, 0.1]], [[1, 0]], [False]))
    assert np.isnan(metrics.handedness_accuracy(np.zeros((0, 2)), np.zeros((0, 2))))


def test_meshes_of_nothing():
    assert np.isnan([metrics.average_precision([0.3], [False]), metrics.average_precision([], [])]).all()
    assert [metrics.f_score([[3, 4, 0]], [[0, 0, 0]], limit).f_score for limit in (5, 5.001)] == [0, 1]
    mesh = np.eye(3)
    assert metrics.f_score(np.zeros((0, 3)), mesh, 5) == (0, 0, 0)
    assert metrics.f_score(mesh * np.nan, mesh, 5) == (0, 0, 0)
    assert np.isnan(metrics.f_score(mesh, np.zeros((0, 3)), 5)).all()
    part = metrics.f_score([[1, 0, 0], [0, np.nan, 0]], [[1, 0, 0], [np.nan, 0, 0]], 5)
    assert part == pytest.approx((2 / 3, 0.5, 1))
    with pytest.raises(InputError, match="truth"):
        metrics.f_score(mesh, np.zeros((2, 4, 3)), 5)


def test_a_palm_without_size_is_left_out_and_reported():
    gt = np.random.default_rng(0).normal(0, 50, (4, 21, 2))
    complete = metrics.mnae(gt + 1, gt)
    broken = gt.copy()
    broken[1, 9] = broken[1, 0]
    broken[2, 0] = np.nan
    found = metrics.mnae(gt + 1, broken)
    assert (complete.left_out, found.left_out, *np.isnan(found.per_sample)) == (0, 2, False, True, True, False)
    assert found.mean == pytest.approx(complete.per_sample[[0, 3]].mean())
    assert np.isnan(metrics.mnae(gt[:0], gt[:0]).mean)
    missing = gt + 1
    missing[0, 3] = np.nan
    assert np.isnan(metrics.mnae(missing, gt).mean)


def test_pdj_wants_both_place_and_visibility():
    gt, seen = np.random.default_rng(0).normal(0, 50, (3, 33, 2)), np.ones((3, 33), bool)
    assert metrics.pdj(gt, gt, predicted_visible=seen, true_visible=seen) == 1
    assert metrics.pdj(gt, gt, predicted_visible=~seen, true_visible=seen) == 0
    assert metrics.pdj(gt + 1e4, gt, predicted_visible=seen, true_visible=seen, torso="middle") == 0
    assert metrics.pdj(gt * np.nan, gt, predicted_visible=seen, true_visible=seen) == 0
    gt[:, 24] = gt[:, 11]  # no torso
    assert np.isnan(metrics.pdj(gt, gt, predicted_visible=seen, true_visible=seen))
    with pytest.raises(InputError, match="one per landmark"):
        metrics.pdj(gt, gt, predicted_visible=seen[:1], true_visible=seen)


@pytest.mark.parametrize("measure", [metrics.mnae, metrics.iod_mae, metrics.nme_300w])
@pytest.mark.parametrize("shape", [(21, 2), (2, 5, 2)])
def test_too_few_points_are_named(measure, shape):
    with pytest.raises(InputError, match=r"more than|give faces"):
        measure(np.zeros(shape), np.zeros(shape))
