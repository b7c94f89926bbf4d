import json
import sys
from functools import partial

import bench
import pytest
import speed
from lab.tests.cli.conftest import run_command
from speed import CASES

from sonjit._util.errors import InputError
from sonjit.weights import find_weight

pytestmark = pytest.mark.slow


def skip_without(*kinds):
    try:
        for case in CASES:
            for name in case.weights if case.kind in kinds else ():
                find_weight(name)
    except InputError as error:
        pytest.skip(f"{error}; run: sonjit models pull all")


@pytest.fixture(autouse=True)
def needs_weights():
    skip_without("hands")


run = partial(run_command, "bench")


def test_peer_that_does_not_exist(refusal, tmp_path):
    line = refusal("bench", "--peer", tmp_path / "python")
    assert line.startswith(f"sonjit: --peer {tmp_path / 'python'}: No such file or directory; choose a Python")


def test_peer_without_mediapipe(refusal):
    line = refusal("bench", "--peer", sys.executable)
    assert "has no mediapipe.solutions (ModuleNotFoundError: No module named 'mediapipe')" in line


def test_table_on_stdout_and_json_in_the_file(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "CASES", CASES[:2])
    monkeypatch.setattr(bench, "benchmark", lambda **options: speed.run.benchmark(**options, count=8))
    save = tmp_path / "bench.json"
    status, out, err = run(capsys, "--model", "lite", "--precision", "f32", "--repeat", "1", "--save", str(save))
    assert status == 0
    assert "sonjit f32" in out
    assert err.splitlines() == ["[1/1] hands: tracked, 1 of max 1, lite"]
    assert json.loads(save.read_text())["settings"]["precision"] == "f32"


def test_tasks(capsys, refusal, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "benchmark", lambda **options: speed.run.benchmark(**options, count=8))
    save = tmp_path / "bench.json"
    status, out, err = run(capsys, "--peer-api", "tasks", "--repeat", "1", "--save", str(save))
    assert (status, len(err.splitlines())) == (0, 2)
    assert "hands: VIDEO, num_hands=2" in out
    for case in json.loads(save.read_text())["cases"]:
        assert set(case["sonjit"]["found"]) == {"1"}
    for arguments, reason in (
        (("--kind", "body"), "--kind body cannot be combined with --peer-api tasks. Choose from hands, face"),
        (("--threads", "1"), "tasks have no search, precision and threads of their own"),
        (("--search", "auto"), "tasks have no search, precision and threads of their own"),
        (("--peer", sys.executable), "has no mediapipe.tasks"),
    ):
        assert reason in refusal("bench", "--peer-api", "tasks", *arguments)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--kind", "face"], "face: no clip is bundled; give --face-media a video or image of one face"),
        (["--kind", "hands", "--face-media", "face.jpg"], "--face-media has no effect with --kind hands"),
        (["--kind", "face", "--model", "lite"], "Unknown model 'lite'. Choose from mesh, attention, box, box-full."),
        (["--save", "."], "sonjit: "),
    ],
)
def test_wrong_calls_are_one_line(refusal, tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert line in refusal("bench", *arguments)
