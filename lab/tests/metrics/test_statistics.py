"""Groups, intervals, parts, streams and sequences: equal numbers for every order of computation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit_lab import metrics
from sonjit_lab.metrics import mean_error

seeds = st.integers(0, 2**32 - 1)


def some_errors(seed, n, joints=5):
    """Return errors (n, joints) with unevaluated and unpredicted joints."""
    random = np.random.default_rng(seed)
    errors = random.gamma(2, 5, (n, joints))
    errors[random.random(errors.shape) < 0.2] = np.nan
    errors[random.random(errors.shape) < 0.02] = np.inf
    return errors


@given(seeds, st.lists(st.integers(0, 20), max_size=6), st.sampled_from(["joint", "all"]), st.booleans())
def test_a_stream_gives_the_result_of_all_data(seed, cuts, average, strict):
    errors = some_errors(seed, 20)
    streams = [metrics.ErrorStream(0, 30, steps=7, average=average, strict=strict) for _ in range(2)]
    for number, batch in enumerate(np.split(errors, sorted(cuts))):
        streams[number % 2].update(batch)
    streams[0].merge(streams[1])
    found = streams[0].compute()
    assert found.mean == pytest.approx(mean_error(errors, average), nan_ok=True)
    np.testing.assert_allclose(found.per_joint, metrics.joint_means(errors))
    curve = metrics.pck_curve(errors, np.linspace(0, 30, 7), average=average, strict=strict)
    np.testing.assert_allclose(found.pck, curve)
    assert found.auc == pytest.approx(metrics.pck_auc(errors, 0, 30, steps=7, average=average, strict=strict))
    assert (found.counted, found.missing) == ((~np.isnan(errors)).sum(), np.isposinf(errors).sum())


def test_streams_that_do_not_fit_are_refused():
    stream = metrics.ErrorStream(0, 50)
    stream.update(np.ones((2, 5)))
    with pytest.raises(InputError, match="5"):
        stream.update(np.ones((2, 4)))
    with pytest.raises(InputError, match="thresholds"):
        stream.merge(metrics.ErrorStream(0, 40))


def test_groups_of_nothing_do_not_count():
    report = metrics.group_report([1, 3, np.nan, np.inf, 9], ["a", "a", "b", "a", None])
    assert report.groups == ("a", "b")
    assert (report.counts, report.left_out) == ((2, 0), (1, 1))
    assert np.isnan(report.means[1])
    assert (report.average, report.range, report.stdev_population) == (2, (2, 2), 0)
    assert np.isnan(report.stdev_sample)
    empty = metrics.group_report([], [])
    assert np.isnan([empty.average, empty.stdev_population, *empty.range]).all()
    with pytest.raises(InputError, match="one of each"):
        metrics.group_report([1, 2], ["a"])
    with pytest.raises(InputError, match="one kind"):
        metrics.group_report([1, 2], ["a", 3])


def test_intervals_hold_the_mean_and_shrink_with_the_samples():
    values = np.random.default_rng(0).gamma(2, 5, 900)
    few, many = metrics.mean_interval(values[:30]), metrics.mean_interval(values)
    for interval, mean in ((few, values[:30].mean()), (many, values.mean())):
        assert interval.low < mean < interval.high
    assert many.high - many.low < few.high - few.low
    normal = 2 * 1.96 * values.std() / 30  # the width that theory gives
    assert many.high - many.low == pytest.approx(normal, rel=0.1)
    assert metrics.mean_interval(values) == many
    assert metrics.mean_interval(values, seed=1) != many
    wider = metrics.mean_interval(values, level=0.99)
    assert wider.low < many.low < many.high < wider.high


def test_samples_of_one_subject_are_drawn_together():
    subjects = np.repeat(np.arange(10), 50)
    values = np.random.default_rng(0).normal(0, 1, 10)[subjects]
    separate, together = metrics.mean_interval(values), metrics.mean_interval(values, clusters=subjects.tolist())
    assert together.high - together.low > 3 * (separate.high - separate.low)
    with pytest.raises(InputError, match="one per sample"):
        metrics.mean_interval(values, clusters=[1])


@pytest.mark.parametrize("values", [[], [3.0], [np.nan, 2.0, np.inf], np.zeros((0, 21))])
def test_fewer_than_two_samples_have_no_interval(values):
    assert np.isnan(metrics.mean_interval(values)).all()


def test_edges_of_bins():
    bins = metrics.by_bin([[1.0], [2.0], [4.0], [8.0], [16.0]], [0.25, 0.5, 1.0, 1.1, np.nan], (0.25, 0.5, 1.0))
    assert [(part.mean, part.counted) for part in bins] == [(1, 1), (3, 2)]
    assert np.isnan(bins[0].interval).all()
    empty = metrics.by_bin(np.zeros((0, 21)), [])
    assert all(np.isnan(part.mean) and part.counted == 0 for part in empty)


def test_only_complete_runs_of_frames_count():
    gt = np.random.default_rng(0).normal(size=(6, 2, 3))
    pred = gt + np.random.default_rng(1).normal(size=gt.shape)
    valid = np.array([1, 1, 1, 0, 1, 1], bool)
    assert metrics.acceleration_error(pred, gt, valid) == metrics.acceleration_error(pred[:3], gt[:3])
    for frames in range(3):
        assert np.isnan(metrics.acceleration_error(pred[:frames], gt[:frames]))
    assert np.isnan(metrics.acceleration_error(pred, gt, np.array([1, 1, 0, 1, 1, 0], bool)))
    assert np.isnan(metrics.jitter(pred[:3]))
    pred[5] = np.nan
    assert np.isnan(metrics.acceleration_error(pred, gt))
    assert metrics.jitter(pred) == metrics.jitter(pred[:5])
    assert metrics.missing_count(metrics.acceleration_errors(pred, gt)) == 2


def test_a_gap_is_no_switch_but_another_id_is():
    frames = [], [{"a": 1}, {}, {"a": 1}], [{"a": 1}, {}, {"a": 2}, {"a": 2}, {"a": 1}]
    assert list(map(metrics.id_switches, frames)) == [0, 0, 2]
