"""`sonjit card`: cards from eval.json, and one line for each error."""

import json
from functools import partial

import pytest

from .commands import run_command

run = partial(run_command, "card")


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
def test_a_card_per_model(capsys, evaluated, tmp_path):
    groups = tmp_path / "groups.csv"
    groups.write_text("subject,gender\nx,f\ny,m\n")
    status, out, err = run(capsys, evaluated, "--out", tmp_path / "cards", "--groups", groups)
    assert (status, out) == (0, "")
    assert "hands-lite.md" in err
    text = (tmp_path / "cards" / "hands-lite.md").read_text()
    assert "too small to evaluate" in text
    assert (tmp_path / "cards" / "hands-lite.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "requires at least one eval.json"),
        (("none.json",), "none.json cannot be read"),
        (("{eval}", "--fewest", "1"), "--fewest 1"),
        (("{eval}", "--groups", "none.csv"), "none.csv"),
        (("{eval}", "--bench", "none.json"), "none.json"),
        (("{eval}", "--bench", "{eval}"), "sonjit bench"),
        (("{eval}", "--out", "{eval}"), "choose another folder"),
    ],
)
def test_wrong_calls_are_one_line(capsys, evaluated, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *(argument.format(eval=evaluated) for argument in arguments))
    assert status == 2
    assert out == ""
    (line,) = err.splitlines()
    assert message in line
