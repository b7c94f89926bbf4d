"""Limits and values of requests at their edges."""

import pytest

from sonjit.server import middleware
from sonjit.server.errors import RefusedError
from sonjit.server.middleware import Rates
from sonjit.server.options import read_detectors, read_options


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.5, 0.9, 3.0])
def test_any_rate_accepts_requests_at_that_rate_and_refuses_faster_ones(monkeypatch, rate):
    now = [100.0]
    monkeypatch.setattr(middleware.time, "monotonic", lambda: now[0])
    rates, caller = Rates(rate), {"client": ("10.0.0.1", 5)}
    for _ in range(20):
        rates.take(caller)
        now[0] += 1.001 / rate
    refused = 0
    for _ in range(40):
        now[0] += 0.5 / rate
        try:
            rates.take(caller)
        except RefusedError:
            refused += 1
    assert 15 <= refused <= 20


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_instances", True), ("max_instances", "2"), ("max_instances", 2.5), ("max_instances", None),
     ("mirrored", "yes"), ("mirrored", 1), ("mirrored", "true"), ("min_detection_score", "0.5"),
     ("min_detection_score", True), ("model", 3)],
)  # fmt: skip
def test_values_of_json_have_their_types(name, value):
    with pytest.raises(RefusedError, match=name):
        read_detectors([{"kind": "hands", name: value}])


def test_values_of_json_and_of_queries_are_read():
    given = {"max_instances": 3, "mirrored": True, "min_detection_score": 1, "model": "lite"}
    ((_, options),) = read_detectors([{"kind": "hands", **given}])
    assert options == given
    assert read_options("hands", {name: str(value) for name, value in given.items()}, is_query=True) == given
