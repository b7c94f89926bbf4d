"""The code and tests that research/requirements.md names exist."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

ROWS = [
    tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
    for line in (PROJECT / "research" / "requirements.md").read_text().splitlines()
    if re.match(r"\| S\d-\d+ ", line)
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_requirement_is_met_where_the_table_says(row):
    _, _, state, where = row
    assert re.fullmatch(r"DONE|(PART|CAN'T): .+", state)
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", where)
    paths = [(PROJECT / "research" / link) for link in links]
    named = re.findall(r"`((?:src|benchmarks|examples|tools)/[^`]+)`", where)
    paths += [PROJECT / path for path in named]
    assert [path for path in paths if not path.exists()] == []
    tests = re.findall(r"`(tests/[^`]+?\.py)::(\w+)`", where)
    for path, name in tests:
        assert re.search(rf"^\s*(async )?def {name}\(", (PROJECT / path).read_text(), re.MULTILINE), f"{path}::{name}"
    if state == "DONE":
        assert paths
        assert tests


def test_every_requirement_that_was_open_has_one_row(data):
    gaps = data / "review" / "requirements_gaps.md"
    if not gaps.is_file():
        pytest.skip(f"needs the list of open requirements: {gaps}")
    open_once = re.findall(r"^\| (S\d-\d+) \|", gaps.read_text(), re.MULTILINE)
    assert sorted(row[0] for row in ROWS) == sorted(open_once)
