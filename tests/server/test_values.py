"""Limits and values of requests at their edges."""

import pytest

from sonjit.server.errors import RefusedError
from sonjit.server.options import read_detectors, read_options


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
