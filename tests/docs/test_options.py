"""The tables in the docs are those of the records."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from sonjit.detectors import create_detector
from sonjit.detectors.options import OPTIONS

pytest.importorskip("fastapi", reason="the extra serve is not installed")

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("sonjit_tools_options", PROJECT / "tools" / "options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_made_of_the_records(tool):
    for path in tool.PAGES:
        text = path.read_text("utf-8")
        assert "<!-- made: " in text
        assert tool.page(text) == text, "type: make docs"
    text = (PROJECT / "docs" / "options.md").read_text("utf-8")
    for option in OPTIONS:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{option.name}` |")]
        assert option.help in row


def test_a_page_that_is_out_of_date_is_reported_and_made_anew(tool, tmp_path, monkeypatch, capsys):
    made = tool.PAGES[0].read_text("utf-8")
    stale = tmp_path / "options.md"
    monkeypatch.setattr(tool, "PAGES", [stale])
    stale.write_text(made.replace("| `5` |", "| `6` |"), "utf-8")
    assert tool.main(["--check"]) == 1
    assert "type: make docs" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert (tool.main(["--check"]), stale.read_text("utf-8")) == (0, made)


def test_python_has_each_option_with_its_default():
    known = inspect.signature(create_detector).parameters
    assert {one.name for one in OPTIONS} == known.keys() - {"kind", "own"}
    assert {one.name: one.default for one in OPTIONS if one.default is not None} == {
        one.name: known[one.name].default for one in OPTIONS if one.default is not None
    }
