"""SECURITY.md names existing tests, and only the documented code reads pickles."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| (.+?) \| .+ \| `(tests/.+?\.py)::(\w+)` \|$", (PROJECT / "SECURITY.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("threat", "path", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_a_threat_has_its_test(threat, path, name):
    assert re.search(rf"^def {name}\(", (PROJECT / path).read_text(), re.MULTILINE), threat


def test_every_line_of_the_table_names_a_test():
    table = (PROJECT / "SECURITY.md").read_text().partition("| threat |")[2].partition("\n\n")[0].strip().splitlines()
    assert len(ROWS) == sum(line.startswith("|") for line in table[2:])


def test_nothing_unpickles_but_what_the_page_names():
    sources = {path.name: path.read_text() for path in (PROJECT / "src").rglob("*.py")}
    loading = [call for text in sources.values() for call in re.findall(r"torch\.load\((.*)\)", text)]
    assert loading
    assert [call for call in loading if "weights_only=True" not in call] == []
    unpickling = {name for name, text in sources.items() if re.search(r"pickle\.(loads?|Unpickler)\b", text)}
    assert unpickling == {"pickles.py"}
    assert [name for name, text in sources.items() if re.search(r"allow_pickle=True|yaml\.load\(|joblib", text)] == []
