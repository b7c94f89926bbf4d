"""Schedules: a linear rise, then a decrease that never reaches negative values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.lab.training.settings import TrainingSettings, schedule_factor


@pytest.mark.parametrize("schedule", ["constant", "step", "1/t", "cosine"])
@given(steps=st.integers(1, 60), warmup=st.integers(0, 20))
def test_every_rate_rises_to_its_highest_and_falls(schedule, steps, warmup):
    options = TrainingSettings(steps=steps, warmup=warmup, schedule=schedule)
    rates = [schedule_factor(step, options) for step in range(max(steps, warmup))]
    assert rates[:warmup] == [pytest.approx((step + 1) / warmup) for step in range(warmup)]
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[warmup : warmup + 1] in ([1], [])


def test_each_schedule_follows_its_formula():
    def rate(part, **options):
        return schedule_factor(round(1000 * part), TrainingSettings(steps=1000, warmup=0, **options))

    assert rate(0.6, schedule="step", decay_at=(0.5,), decay=0.3) == pytest.approx(0.3)
    assert rate(0.2, schedule="1/t", decay_at=(0.2,)) == pytest.approx(1 / 2)
    assert rate(0.4, schedule="1/t", decay_at=(0.2,)) == pytest.approx(1 / 3)
    assert rate(0.5, schedule="cosine") == pytest.approx(1 / 2)
    assert rate(0.999, schedule="cosine") < 1e-4
