"""Facts of other publications have their sources in the pages."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def rows(page, heading):
    """Return the cells of the table below a heading. Empty first cells repeat the one above."""
    section = (DOCS / page).read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    found, name, source = [], "", ""
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        name, source = cells[0].strip() or name, cells[-1].strip().replace("the same", source)
        found.append((name, " ".join(cells[1:-1]), source))
    return found


@pytest.mark.parametrize(
    ("page", "heading", "name", "fact"),
    [
        (
            "datasets.md",
            "Published facts",
            "`interhand2.6m`",
            "26 people.* 19 .*men.* 7 women.* 36 recor",
        ),
        (
            "datasets.md",
            "Published facts",
            "`interhand2.6m`",
            "4096 x 2668 .* 30 to 90 .* 350 to 450 LED",
        ),
        ("datasets.md", "Published facts", "`interhand2.6m`", "centres of rotation inside the fingers"),
        ("datasets.md", "Published facts", "`interhand2.6m`", "698,922 images"),
        ("datasets.md", "Published facts", "`rhd`", "20 characters .* 39 actions"),
        ("networks.md", "Published speeds", "InterNet", "TITAN V 48 hours"),
        ("networks.md", "Published speeds", "InterNet", "53 a second"),
    ],
)
def test_a_published_fact_is_next_to_its_source(page, heading, name, fact):
    (source,) = [source for own, what, source in rows(page, heading) if own == name and re.search(fact, what)]
    assert re.search(r"(19|20)\d\d", source), source
