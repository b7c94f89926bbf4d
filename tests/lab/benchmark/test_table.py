import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "table.py"


def side(scale):
    median = {"p50_ms": 2.0, "mean_ms": 2.5, "cpu_ms": 4.0, "rss_mb": 150.0, "cold_s": 0.25}
    return {
        "median": {key: value * scale for key, value in median.items()},
        "precision": "f32",
        "found": {"1": 3, "2": 1},
    }


def library(name, version):
    return {"bytes": 5e8, "distributions": {name: {"version": version, "bytes": 5e8}}}


@pytest.fixture
def result(tmp_path):
    one, two = {"name": "one", "against": None}, {"name": "two", "against": "one"}
    report = {
        "machine": {
            "cpu": "A CPU", "cores": 2, "flags": ["avx2"], "date": "2026-01-02T03:04:05", "load_before": 0.1,
            "load_after": 0.2,
        },
        "settings": {"media": {"body": "squats.mp4"}, "frames": 300, "repeat": 3},
        "libraries": {"sonjit": library("sonjit", "1.2.3"), "mediapipe": library("mediapipe", "0.10.21")},
        "weights": {"body-full": 6_000_000},
        "cases": [
            {"case": one, "sonjit": side(1), "mediapipe": side(2)},
            {"case": two, "sonjit": side(1.5)},
        ],
    }  # fmt: skip
    path = tmp_path / "result.json"
    path.write_text(json.dumps(report))
    return path


def run(path):
    return subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, check=False)


def test_rows(result):
    lines = run(result).stdout.splitlines()
    assert "sonjit 1.2.3, mediapipe 0.10.21" in lines[0]
    (one,) = (line for line in lines if line.startswith("| one "))
    assert one == (
        "| one | f32 | 2.00 / 4.00 | 2.00 | 2.00 | 4.00 / 8.00 | 150 / 300 | 2.00 | 0.25 / 0.50 | 2.00 | 1.25 / 1.25 |"
    )
    (two,) = (line for line in lines if line.startswith("| two "))
    assert two == "| two | f32 | 3.00 |  |  | 6.00 | 225 |  | 0.38 |  | 1.25 |"
    assert '"two" takes 1.50 times the p50 and 1.50 times the mean of "one".' in lines


def test_file_that_is_no_result(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    done = run(tmp_path / "other.json")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("table.py: ")
    assert "not a result of `sonjit bench --save`" in line
