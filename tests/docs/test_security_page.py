"""Each protection in SECURITY.md has a test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.*::.*) \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)
TABLES = ROOT.joinpath("SECURITY.md").read_text("utf-8").partition("## Server")[2].partition("## Removed files")[0]


def functions_of(name):
    """Return the names of the test functions in all test files of a name, including those of classes."""
    files = [path for folder in ("tests", "lab/tests", "studio/tests") for path in ROOT.glob(f"{folder}/**/{name}")]
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    return [one.name for tree in trees for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]


def test_every_protection_has_a_test():
    rows = [line for line in TABLES.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
    assert len(rows) == len(ROWS) > 35


def test_every_named_test_exists():
    named = [re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", one) for *_, cell in ROWS for one in cell.split("<br>")]
    assert all(named)
    assert [one[0] for one in named if functions_of(one[1]).count(one[2]) != 1] == []
