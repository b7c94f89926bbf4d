"""The data that the browser module shares with Python are up to date."""

import importlib.util
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_data_of_web_are_fresh():
    spec = importlib.util.spec_from_file_location("web_data", PROJECT / "tools" / "web_data.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.FILE.read_text("utf-8") == tool.text(), "type: python tools/web_data.py"
