"""Documents: pages that show any text, and plots that are readable, repeatable and fit their values."""

import re
from xml.etree import ElementTree

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit.report import documents

NUMBERS = st.floats(-1e6, 1e6)


def texts(svg):
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    return [part for item in root.iter() if item.tag.endswith(("text", "title")) for part in item.itertext()]


def test_a_page_shows_text_as_it_is_and_plots_within_it():
    blocks = [
        documents.Heading("By <size>"),
        documents.Text("1 < 2 & so on", strong=True),
        documents.BulletList(("a", "b")),
        documents.Table(("name", "mm"), (("a|b", "1"), ("<c>", "2"))),
        documents.Plot("curve", "<svg>drawn</svg>", "curve", captioned=True),
        documents.Image("worst.jpg", 'an "image"'),
    ]
    page = documents.html_from("T & U", blocks)
    body = page.partition("<main>")[2]
    assert "<h1>T &amp; U</h1>" in body
    assert "<h2>By &lt;size&gt;</h2>" in body
    assert "<strong>1 &lt; 2 &amp; so on</strong>" in body
    assert "<td>a|b</td>" in body
    assert "<td>&lt;c&gt;</td>" in body
    assert "<figure><svg>drawn</svg><figcaption>curve</figcaption></figure>" in body
    assert 'alt="an &quot;image&quot;"' in body
    assert ".wide:has(> svg) { padding-left" in page  # for the numbers of an axis, which narrow screens show larger
    text = documents.markdown_from("T", blocks)
    assert "| a\\|b | 1 |" in text
    assert "![curve](curve.svg)" in text


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=700), min_size=1, max_size=4))
def test_lines_of_any_values_can_be_drawn(values):
    svg = documents.lines_svg(
        [documents.Line("a", range(len(value)), value) for value in values], "step", "losses <of> a run"
    )
    assert "step" in texts(svg)
    assert 'aria-label="losses &lt;of&gt; a run"' in svg


def test_every_plot_is_valid_names_its_parts_and_repeats_its_bytes():
    nan = float("nan")
    curve = documents.Curve("PCK", [0.0, 10.0], [0.0, nan], "mm")
    drawn = {
        documents.curves_svg: ([("tracking", curve), ("b", curve)],),
        documents.bars_svg: (["wrist", "tip"], np.array([[2.0, 1.0, 3.0], [nan] * 3]), "mm", "bars"),
        documents.maps_svg: (
            [("x", np.eye(3)), ("y", np.zeros((3, 3)))],
            np.array([[0.1, 0.1], [0.9, 0.5]]),
            [(0, 1)],
            "maps",
        ),
        documents.heat_map_svg: (["camera 1"], {(0, 0): (0.2, "0.2 px")}, 1, "errors"),
        documents.arrows_svg: ((640, 480), np.zeros((2, 2)), np.ones((2, 2)), "arrows"),
    }
    svgs = {function: function(*arguments) for function, arguments in drawn.items()}
    assert {"tracking", "threshold, mm"} <= set(texts(svgs[documents.curves_svg]))
    assert [text.strip() for text in texts(svgs[documents.bars_svg])][-2:] == ["2 mm", "no data"]
    assert {"x", "y"} <= set(texts(svgs[documents.maps_svg]))
    assert {"camera 1", "0.2 px"} <= set(texts(svgs[documents.heat_map_svg]))
    assert "no data" not in texts(documents.bars_svg([], [], "mm", "nothing"))
    assert all(function(*arguments) == svgs[function] for function, arguments in drawn.items())
    assert not re.search(r"\d{4}-\d\d-\d\d", "".join(svgs.values()))
