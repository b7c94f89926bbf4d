"""Tables of benchmarks, layers of networks, and the clips that are played."""

import ast
import io
import json
import symtable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import one_camera
import pytest
from pages import read_section
from rich.console import Console
from speed import CASES, measure_layers, run

from sonjit._util.errors import InputError
from sonjit.report import errors
from sonjit.weights import find_weight

LITE = next(case for case in CASES if (case.kind, case.model) == ("hands", "lite"))


@pytest.fixture
def lite_file():
    try:
        return [find_weight(name) for name in LITE.weights][-1]
    except InputError as error:
        pytest.skip(f"{error}; run: sonjit models pull")


@pytest.mark.slow
def test_each_network_of_the_cases_is_measured_once(lite_file):
    networks = measure_layers([LITE, LITE], media={}, precision="f32", threads=1)
    assert [network.network for network in networks] == ["palm_detection_lite", lite_file.stem]
    for network in networks:
        assert network.precision == "f32"
        assert sum(group.layers for group in network.groups if group.operation == "Convolution") >= 30
        assert [group.ms for group in network.groups] == sorted((group.ms for group in network.groups), reverse=True)
        assert 0 < network.groups[0].ms < network.ms


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["--peer", "python3"], "--peer"),
        (["--save", "bench.json"], "--save"),
        (["--peer-api", "tasks"], "--peer-api tasks"),
        (["--search", "auto"], "--search auto"),
        (["--repeat", "0"], "--repeat 0"),
    ],
)
def test_options_without_effect_on_layers_are_refused(refusal, options, refused):
    assert refused in refusal("bench", "--layers", *options)


def side(scale, precision, **more):
    median = {"p50_ms": 2.0, "p90_ms": 3.0, "mean_ms": 2.5, "cpu_ms": 4.0, "rss_mb": 150.0, "import_s": 0.1}
    figures = {key: value * scale for key, value in median.items()}
    return {"median": {**figures, "cold_s": 0.25, **more}, "precision": precision, "found": {"1": 3, "2": 1}}


@pytest.fixture
def report():
    closure = {"python": "3.11.7", "bytes": 500_000_000}
    case = {"name": "hands: tracked, full", "max_instances": 1, "static_image": False, "against": None}
    return {
        "machine": {"cpu": "A CPU", "cores": 2, "flags": ["avx2"], "load_before": 0.1, "load_after": None},
        "settings": {"media": {"hands": "bundled clip"}, "frames": 300, "warm_up": 6, "repeat": 3},
        "libraries": {
            "sonjit": {**closure, "distributions": {"sonjit": {"version": "1.2.3", "bytes": 500_000_000}}},
            "mediapipe": {**closure, "distributions": {"mediapipe": {"version": "0.10.21", "bytes": 500_000_000}}},
        },
        "weights": {"hand-full": 5_500_000},
        "cases": [{"case": case, "sonjit": side(1, "bf16", networks_ms=1.6, outside=0.2), "mediapipe": side(4, "f32")}],
    }


def text(report):
    console = Console(file=io.StringIO(), width=160)
    console.print(run.draw_report(report))
    return console.file.getvalue()


def row(report, library):
    (line,) = (line for line in text(report).splitlines() if f" {library} " in line and "." in line)
    return line.split(library)[1].split()


def test_table_shows_both_sides_and_the_ratio(report):
    assert row(report, "bf16") == ["2.00", "3.00", "2.50", "4.00", "150", "0.10", "0.25", "1.25", "1.60", "20"]
    assert row(report, "f32") == ["8.00", "12.00", "10.00", "16.00", "600", "0.40", "0.25", "1.25", "-", "-"]
    assert row(report, "ratio")[:2] == ["0.25", "0.25"]


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.nightly_after(5)
@pytest.mark.parametrize("program", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_the_programs_of_benchmarks_import_names_that_exist(program):
    for node in ast.walk(ast.parse(program.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in ("sonjit", "sonjit_lab"):
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}"), alias.name
        elif isinstance(node, ast.ImportFrom) and (other := BENCHMARKS / f"{node.module}.py").is_file():
            known = symtable.symtable(other.read_text("utf-8"), other.name, "exec").get_identifiers()
            assert {alias.name for alias in node.names} <= {*known}


def test_the_page_has_the_numbers_of_the_file_of_errors():
    content = json.loads(errors.FILE.read_text("utf-8"))
    between = read_section("measured.md", "python benchmarks/one_camera.py --write")
    lines = list(one_camera.table_lines(content["models"]))
    assert len(lines) == 2 + 4 * len(content["models"]) * len(errors.JOINTS)
    assert [line for line in lines if line not in between] == []
    assert content["command"] in between
