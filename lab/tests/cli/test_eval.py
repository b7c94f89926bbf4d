"""`sonjit eval` and `sonjit card`: metrics on standard output, files, and one line for each error."""

import json
from functools import partial

import cv2
import numpy as np
import pytest

from sonjit_lab.evaluation import list_protocols

from .conftest import run_command

run = partial(run_command, "eval")


def test_without_a_protocol_it_lists_them(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    assert all(name in out for name in list_protocols())
    assert "hands-full" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "none", "--root", ".", "--model", "hands"), "Unknown protocol 'none'. Choose from 300vw, 300w"),
        (("--protocol", "stb"), "--root"),
        (("--protocol", "stb", "--root", "."), "requires --model or --predictions"),
        (
            ("--protocol", "stb", "--root", ".", "--model", "hands", "--predictions", "x.npz"),
            "--model cannot be combined with --predictions",
        ),
        (("--protocol", "stb", "--root", ".", "--model", "hands", "--limit", "0"), "--limit 0"),
        (("--protocol", "stb", "--root", ".", "--model", "hands", "--jobs", "0"), "--jobs 0: give at least 1"),
        (
            ("--protocol", "stb", "--root", ".", "--model", "hands", "--save", "t.xls"),
            "'.xls'. Write .xlsx, which the same programs open. Choose from .json, .jsonl",
        ),
        (("--protocol", "stb", "--root", "nowhere", "--model", "hands"), "no such folder"),
        (("--protocol", "stb", "--root", ".", "--predictions", "x.npz"), "STB"),
    ],
)
def test_wrong_calls_are_one_line(refusal, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message.lower() in refusal("eval", *arguments).lower()


@pytest.mark.slow
def test_a_drawn_photograph_is_searched_as_requested(weights, capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((120, 160, 3), 90, np.uint8))
    label = {"width": 160, "height": 120, "hands": [{"box": [10, 10, 60, 60], "side": "Left"}]}
    (tmp_path / "hands.json").write_text(json.dumps({"a.png": label}))
    arguments = ["--protocol", "detection", "--model", "hands-lite", "--root", tmp_path, "--out", tmp_path / "out"]
    status, out, _ = run(capsys, *arguments, "--search", "fast", "--max-instances", "3")
    assert status == 0
    assert "recall" in out
    record = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert (record["model"]["search"], record["model"]["max_instances"]) == ("fast", 3)
    assert [run["mode"] for run in record["runs"]] == ["reacquisition"]
    status, _, err = run(capsys, *arguments, "--search", "fast", "--max-instances", "4", "--resume")
    assert status == 2
    assert "another model" in err


@pytest.fixture
def evaluated(tmp_path):
    """Return a minimal eval.json."""
    metric = {"name": "mnae", "title": "MNAE", "value": 5.0, "unit": "%", "better": "lower", "low": 4.0, "high": 6.0,
              "counted": 42, "missing": 0}  # fmt: skip
    units = {"dataset": ["a", "a"], "sample": ["1", "2"], "instance": [0, 0], "subject": ["x", "y"], "group": [{}, {}],
             "value": [4.0, 6.0], "found": [True, True], "side": [None, None], "place": [0, 1]}  # fmt: skip
    record = {
        "protocol": {"name": "mediapipe-card", "title": "Cards", "average": "joint"},
        "model": {"name": "hands-lite", "files": []},
        "data": [{"set": "a", "split": "test"}],
        "data_sha256": "0",
        "runs": [{"mode": "tracking", "main": "mnae", "evaluated": 2, "samples": 2, "metrics": [metric], "parts": {},
                  "units": units}],
        "command": "", "sonjit": "0", "machine": {"date": "", "cpu": ""},
    }  # fmt: skip
    file = tmp_path / "eval.json"
    file.write_text(json.dumps(record))
    return file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "requires at least one eval.json"),
        (("none.json",), "none.json cannot be read"),
        (("{eval}", "--fewest", "1"), "--fewest 1"),
        (("{eval}", "--bench", "{eval}"), "benchmarks/bench.py"),
        (("{eval}", "--out", "{eval}"), "choose another name"),
    ],
)
def test_wrong_calls_of_card_are_one_line(refusal, evaluated, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refusal("card", *(argument.format(eval=evaluated) for argument in arguments))
