"""One reader reads settings from Python, TOML, JSON, query strings and `--set`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from sonjit._util import InputError
from sonjit._util.settings import Option, Range, check_settings, plain_value, read_settings


@dataclass(frozen=True)
class Job:
    """Settings with all kinds of limits."""

    size: Annotated[int, Range(32, 256, step=32)] = 64
    share: Annotated[float, Range(0, 1, is_open=True)] = 0.5
    mode: Literal["fast", "slow"] = "fast"
    width: Annotated[float, Option("Width of lines.", minimum=0.5, maximum=3)] = 1.0
    shown: Annotated[bool, Option("Show it.")] = True
    colour: Annotated[str, Option("Colour.", pattern="#[0-9a-f]{6}", form="#rrggbb")] = "#ffffff"

    def __post_init__(self):
        check_settings(self)


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        (" Yes ", bool, True),
        ("0", bool, False),
        ("maybe", bool, None),
        ("7", int, 7),
        ("7.5", int, None),
        ("7.5", float, 7.5),
        ("text", float, None),
        ("text", str, "text"),
        ("a/b", Path, Path("a/b")),
    ],
)
def test_text_is_parsed_only_where_it_comes_from_text(value, kind, read):
    assert plain_value(value, kind, parses=True) == read
    if kind not in (str, Path):
        assert plain_value(value, kind) is None


@pytest.mark.parametrize(
    ("value", "kind"), [(1, bool), (True, int), (1.5, int), (3, str), (None, float), (10**400, float)]
)
def test_values_of_another_type_are_refused(value, kind):
    assert plain_value(value, kind) is None
    assert plain_value(value, kind, parses=True) is None


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"size": 40}, "size=40: must be a multiple of 32 up to 256"),
        ({"share": "1"}, "share=1.0: must be at least 0 and below 1"),
        ({"mode": "quick"}, "Unknown mode 'quick'. Choose from fast, slow"),
        ({"width": 9}, "width=9.0: give a number from 0.5 to 3"),
        ({"width": "wide"}, "width=wide: must be a number"),
        ({"shown": 1}, "shown=1: must be true or false"),
        ({"colour": "red"}, "colour='red': give #rrggbb"),
        ({"sizes": 32}, "Unknown setting 'sizes'. Choose from size, share"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_may_be(table, problem):
    with pytest.raises(InputError) as refusal:
        read_settings(Job, table, "setting")
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_python_code_meets_the_same_limits():
    assert Job(size=96, width=2) == read_settings(Job, {"size": "96", "width": 2.0})
    with pytest.raises(InputError, match=r"width=nan: give a number from 0\.5 to 3"):
        Job(width=math.nan)


@pytest.mark.parametrize("value", [math.inf, math.nan, 10**400])
def test_numbers_are_finite_also_without_limits(value):
    option = Option("Free.", name="x", type="number")
    with pytest.raises(InputError, match=r"x=.*: give a number"):
        option.check(value)
    assert option.check(3) == 3.0
