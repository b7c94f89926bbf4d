import io

import pytest
from rich.console import Console

from sonjit.lab.benchmark.run import draw_report, ratios


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
        "cases": [{"case": case, "sonjit": side(1, "bf16", bare_ms=1.6), "mediapipe": side(4, "f32")}],
    }


def text(report):
    console = Console(file=io.StringIO(), width=160)
    console.print(draw_report(report))
    return console.file.getvalue()


def row(report, library):
    (line,) = (line for line in text(report).splitlines() if f" {library} " in line and "." in line)
    return line.split(library)[1].split()


def test_ratios_divide_ours_by_theirs():
    assert ratios(side(1, "bf16"), side(4, "f32"))["p50_ms"] == 0.25
    assert ratios(side(1, "bf16"), side(4, "f32"))["cold_s"] == 1


def test_table_shows_both_sides_and_the_ratio(report):
    assert row(report, "bf16") == ["2.00", "3.00", "2.50", "4.00", "150", "0.10", "0.25", "1.25", "1.60", "1.25"]
    assert row(report, "f32") == ["8.00", "12.00", "10.00", "16.00", "600", "0.40", "0.25", "1.25", "-", "-"]
    assert row(report, "ratio")[:2] == ["0.25", "0.25"]


def test_table_shows_sizes(report):
    assert "0.10.21  3.11.7           500" in text(report)


def test_table_without_a_peer(report):
    del report["cases"][0]["mediapipe"], report["libraries"]["mediapipe"]
    assert "ratio" not in text(report)
    assert "mediapipe" not in text(report)


def test_an_unavailable_figure_is_a_dash(report):
    del report["cases"][0]["sonjit"]["median"]["rss_mb"]
    assert row(report, "bf16")[4] == "-"
    assert row(report, "ratio")[4] == "-"


def test_a_case_that_the_peer_cannot_do_has_empty_cells(report):
    del report["cases"][0]["mediapipe"]
    (line,) = (line for line in text(report).splitlines() if line.split()[:1] == ["mediapipe"] and "0.10" not in line)
    assert set(line.split()[1:]) == {"-"}


def test_a_case_is_compared_with_another(report):
    two = {"name": "two", "max_instances": 2, "static_image": False, "against": "hands: tracked, full"}
    report["cases"].append({"case": two, "sonjit": side(1.5, "bf16")})
    (line,) = (line for line in text(report).splitlines() if " to hands: tracked, full " in line)
    assert line.split("full")[1].split()[:2] == ["1.50", "1.50"]
