"""The reference of commands, columns and environment variables is complete and up to date."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("sonjit_tools_reference", PROJECT / "tools" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(tool):
    """Run in a separate process, because other tests register kinds of extensions."""
    done = subprocess.run([sys.executable, tool.__file__, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all("<!-- made: " in path.read_text("utf-8") for path in tool.PAGES)


def test_a_stale_page_is_reported_and_written_again(tool, tmp_path, monkeypatch, capsys):
    current = tool.PAGES[1].read_text("utf-8")
    stale = tmp_path / "columns.md"
    stale.write_text(current.replace("| `frame` |", "| `image` |"), "utf-8")
    monkeypatch.setattr(tool, "PAGES", [stale])
    assert tool.main(["--check"]) == 1
    assert "Run: make docs" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert (tool.main(["--check"]), stale.read_text("utf-8")) == (0, current)


def test_every_command_and_option_is_listed():
    from sonjit.cli import build_app

    text = (DOCS / "cli.md").read_text("utf-8")
    sections = dict(re.findall(r"^## sonjit ([^\n]*)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for name in build_app():
        if not name.startswith("-"):
            assert any(command.split()[0] == name for command in sections), name
    command = build_app()["hands"]
    for argument in command.assemble_argument_collection():
        if argument.show:
            assert f"`{argument.names[0]}" in sections["hands"], argument.names


@pytest.mark.parametrize("kind", ["hands", "face", "body", "holistic"])
@pytest.mark.parametrize("rows", ["keypoint", "instance"])
def test_every_column_of_a_table_is_described(kind, rows, tmp_path):
    from sonjit.detectors.kinds import KINDS
    from sonjit.media import Header, open_writer
    from sonjit.results import Frame
    from sonjit.runs.annotations import table_columns

    model = f"{kind}-{next(iter(KINDS[kind].models))}"
    of_kind = {"face": {"blendshapes": True, "transform": True}, "hands": {"distance": True}}
    extra = table_columns(model, measures=True, gestures=True, counts=True, **of_kind.get(kind, {}))
    header = Header(source="photographs", width=8, height=8, model=model)
    with open_writer(tmp_path / "table.csv", header, extra, rows=rows) as writer:
        writer.write(Frame(0, None, source="photo.jpg"))
    columns = (tmp_path / "table.csv").read_text("utf-8-sig").splitlines()[0].split(",")
    text = (DOCS / "columns.md").read_text("utf-8")
    assert len(columns) > len(extra)
    assert [name for name in columns if f"`{name}`" not in text] == []


def read_variables(path):
    """Return the names of the environment variables that a module reads or sets."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }

    def names(node):
        node = constants.get(node.id, node) if isinstance(node, ast.Name) else node
        return {node.value} if isinstance(node, ast.Constant) else set()

    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get" | "setdefault" | "pop")):
                found |= names(node.args[0])
            case ast.Call(func=ast.Attribute(attr="getenv")):
                found |= names(node.args[0])
            case ast.Subscript(value=ast.Attribute(attr="environ")):
                found |= names(node.slice)
            case ast.Compare(comparators=[ast.Attribute(attr="environ")]):
                found |= names(node.left)
    return found


def test_every_environment_variable_is_described():
    text = (DOCS / "environment.md").read_text("utf-8")
    described = set(re.findall(r"`([A-Z][A-Z_]+)`", text))
    read = set().union(*(read_variables(path) for path in (PROJECT / "src").rglob("*.py")))
    assert "SONJIT_EXTENSIONS" in read
    assert read - described == set()
    assert described - read <= {
        "OPENCV_FOR_THREADS_NUM",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
    }  # set in a loop
