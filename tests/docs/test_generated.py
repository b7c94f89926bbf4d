"""Generated files are up to date, and the reference of options, columns and environment variables is complete."""

import inspect
import re
from pathlib import Path

import pytest

from sonjit.detectors import create_detector
from sonjit.detectors.kinds import KINDS, options_of

pytest.importorskip("fastapi", reason="the extra serve is not installed")

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"


@pytest.fixture(scope="module")
def tool(load_module):
    return load_module(PROJECT / "tools" / "options.py")


def test_python_has_and_describes_each_option_with_its_default(tool):
    known, options = inspect.signature(create_detector).parameters, tool.every_option()
    assert options.keys() == known.keys() - {"kind", "others"}
    described = re.split(r"\n        (\w+): ", inspect.getsource(create_detector).partition("Args:")[2])
    for name, text in zip(described[1::2], described[2::2], strict=True):
        if name in options and (default := re.search(r"Default: (\S+)\.$", " ".join(text.split()))):
            values = {getattr(entry.options, name) for entry in KINDS.values() if name in options_of(entry)}
            assert {str(value) for value in values} == {default[1]}, name
    assert options.keys() <= {*described}


def test_the_site_lists_every_command_and_option(tool):
    from sonjit.cli import build_app

    sections = dict(re.findall(r"^## sonjit ([^\n]*)\n(.*?)(?=^## |\Z)", tool.cli(), re.MULTILINE | re.DOTALL))
    for name in build_app():
        if not name.startswith("-"):
            assert any(command.split()[0] == name for command in sections), name
    for argument in build_app()["hands"].assemble_argument_collection():
        if argument.show:
            assert f"`{argument.names[0]}" in sections["hands"], argument.names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["keypoint", "instance"])
def test_every_column_of_a_table_is_described(kind, rows, tmp_path):
    from sonjit.media import Header, open_writer
    from sonjit.results import Frame
    from sonjit.runs.annotations import table_columns

    model = f"{kind}-{next(iter(KINDS[kind].models))}"
    of_kind = {"face": {"blendshapes": True, "transform": True}, "hands": {"distance": True}}
    options = KINDS[kind].options(**of_kind.get(kind, {}))
    extra = table_columns(model, measures=True, gestures=True, counts=["repetitions"], options=options)
    header = Header(source="photographs", width=8, height=8, model=model)
    with open_writer(tmp_path / "table.csv", header, extra, rows=rows) as writer:
        writer.write(Frame(0, None, source="photo.jpg"))
    columns = (tmp_path / "table.csv").read_text("utf-8-sig").splitlines()[0].split(",")
    text = (DOCS / "columns.md").read_text("utf-8")
    assert len(columns) > len(extra)
    assert [name for name in columns if f"`{name}`" not in text] == []
