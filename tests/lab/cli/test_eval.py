"""`sonjit eval`: metrics on standard output, files in a folder, and one line for each error."""

import json
from functools import partial

import cv2
import numpy as np
import pytest

from sonjit.lab.evaluation import list_protocols

from .commands import run_command

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
            "'.xls'. Choose from .json, .jsonl",
        ),
        (("--protocol", "stb", "--root", "nowhere", "--model", "hands"), "no such folder"),
        (("--protocol", "stb", "--root", ".", "--predictions", "x.npz"), "STB"),
    ],
)
def test_wrong_calls_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    (line,) = err.splitlines()
    assert message.lower() in line.lower()


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
