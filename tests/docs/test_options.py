"""Generated files are up to date."""

import importlib.util
import inspect
import json
from pathlib import Path

import pytest

from sonjit.detectors import create_detector
from sonjit.detectors.kinds import KINDS, options_of
from sonjit.detectors.options import declared_options

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
    for name, option in tool.every_option().items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert option.help in row
    for path, generate in tool.GENERATED.items():
        assert path.read_text("utf-8") == generate(), "type: make docs"


def test_a_page_that_is_out_of_date_is_reported_and_made_anew(tool, tmp_path, monkeypatch, capsys):
    made = tool.PAGES[0].read_text("utf-8")
    stale = tmp_path / "options.md"
    monkeypatch.setattr(tool, "PAGES", [stale])
    stale.write_text(made.replace("| `5` |", "| `6` |"), "utf-8")
    assert tool.main(["--check"]) == 1
    assert "Run: make docs" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert (tool.main(["--check"]), stale.read_text("utf-8")) == (0, made)


def test_python_has_each_option_with_its_default(tool):
    known = inspect.signature(create_detector).parameters
    options = tool.every_option()
    assert options.keys() == known.keys() - {"kind", "options"}
    for name, parameter in known.items():
        if name in options and parameter.default is not None:
            assert {getattr(entry.options, name) for entry in KINDS.values() if name in options_of(entry)} == {
                parameter.default
            }


def test_help_describes_each_option(tool):
    for name in tool.every_option():
        assert f"\n        {name}: " in create_detector.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_of_the_model_names_every_model(kind):
    entry = KINDS[kind]
    assert set(declared_options(entry.options)["model"].choices) == set(entry.models)
    assert entry.options().model == next(iter(entry.models))
    assert entry.options().kind == kind


@pytest.mark.parametrize(
    ("flags", "precision", "name"),
    [
        (["asimd", "bf16"], "f32", "ARM"),
        (["avx2", "avx512f", "avx512_bf16"], "bf16+f32", "bf16 with AVX-512 or AMX"),
        (["avx2", "avx512f", "avx512_vnni"], "int8", "int8 with VNNI"),
        (["avx2", "avx512f"], "f32", "f32 with AVX-512"),
        (["avx2"], "f32", "f32 with AVX2"),
        ([], "f32", "f32 without AVX2"),
    ],
)
def test_a_result_belongs_to_one_class_of_cpus(tool, flags, precision, name):
    assert tool.cpu_class(flags, precision) == name
    assert name in tool.CPU_CLASSES


def test_a_contributed_result_becomes_rows_of_its_class(tool, tmp_path, monkeypatch):
    (tmp_path / "server.json").write_text('{"rates": {}}', "utf-8")
    sides = {side: {"median": {"cpu_ms": ms}, "precision": "f32"} for side, ms in (("sonjit", 3), ("mediapipe", 4))}
    result = {
        "machine": {"cpu": "A CPU", "cores": 8, "flags": ["avx2"], "date": "2026-01-02T03:04", "load_after": 0.5},
        "settings": {"threads": 1},
        "cases": [
            {"case": {"name": "one"}, **sides},
            {"case": {"name": "no peer"}, "sonjit": sides["sonjit"]},
        ],
    }
    (tmp_path / "mine.json").write_text(json.dumps(result), "utf-8")
    monkeypatch.setattr(tool, "RESULTS", tmp_path)
    title, _, *lines = tool.speed_classes().splitlines()
    assert title == "### f32 with AVX2"
    assert lines[2:] == ["| one | A CPU, 8 cores, 2026-01-02, load 0.5 | 1 | 3.0 / 4.0 | 0.75 |"]
