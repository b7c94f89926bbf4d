"""Client texts that would need gigabytes or minutes, or cause a traceback, in parsers."""

import pytest

from sonjit._util.errors import InputError
from sonjit.server import options
from sonjit.server.errors import RefusedError
from sonjit.server.options import load_json
from sonjit.server.settings import Settings

from .conftest import LITE, configure, open_stream, refusal

RULE = '[[rule]]\non = "Clap"\nkey = "right"\n'


@pytest.fixture
def no_parser(monkeypatch):
    monkeypatch.setattr("sonjit._util.data_files.tomllib", None)  # its use would be an error


@pytest.mark.parametrize(
    ("text", "status", "code", "says"),
    [
        (".".join(["a"] * 20_000) + "=1", 400, "bad_option", "more than 32 parts (at line 1)"),
        (RULE + "[" + ".".join(['"a b"'] * 100) + "]", 400, "bad_option", "more than 32 parts (at line 4)"),
        ("x = " + "[" * 50_000, 400, "bad_option", "more than 32 deep"),
        ("x = " + "{a=" * 20_000, 400, "bad_option", "more than 32 deep"),
        ("#" * 70_000, 413, "too_large", "more than 64000 characters"),
    ],
)
def test_a_map_is_bounded_before_it_is_parsed(ask, no_parser, text, status, code, says):
    assert says in refusal(ask().post("/v1/control", content=text), status, code)


def test_a_number_of_many_digits_is_refused_in_one_line(ask):
    message = refusal(ask().post("/v1/control", content=f"{RULE}x = {'9' * 5000}"), 400, "bad_option")
    assert "damaged or not TOML" in message


def test_the_map_of_a_stream_is_bounded_as_well(weights, listen, no_parser):
    with open_stream(listen()) as socket:
        error = configure(socket, LITE, control=".".join(["a"] * 20_000) + "=1")[-1]
    assert (error["type"], "more than 32 parts" in error["message"]) == ("error", True)


def test_json_of_many_small_values_is_not_parsed(ask, monkeypatch):
    monkeypatch.setattr(options, "json", None)  # its use would be an error
    body = b'{"recordings":[' + b"{}," * 600_000 + b"{}]}"
    assert "lists and objects" in refusal(ask().post("/v1/gestures/train", content=body), 413, "too_large")
    with pytest.raises(RefusedError, match="lists and objects"):
        load_json("[]" * 500_001, "text")


@pytest.mark.parametrize(
    "limit",
    [
        {"max_megapixels": float("inf")},
        {"max_body_mb": float("inf")},
        {"workers": 100_000},
        {"max_rate": float("nan")},
        {"idle_minutes": 0},
        {"queue": 10**10},
    ],
)
def test_limits_are_finite(limit):
    with pytest.raises(InputError, match="give more than 0 and at most"):
        Settings(**limit)
