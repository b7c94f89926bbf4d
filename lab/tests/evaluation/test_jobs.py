"""Evaluations in several processes: identical files, interruption and continuation, and tables of units."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tests.support.progress_log import ProgressLog

from sonjit._util import errors, json_text
from sonjit.engines.devices import describe_machine
from sonjit.media import TABLE_ENDINGS
from sonjit_lab.datasets import open_dataset
from sonjit_lab.evaluation import EvaluationRequest, ModelChoice, evaluate, save_report

CARD = "mediapipe-card"


@pytest.fixture(scope="module")
def predictions(clip_folder, tmp_path_factory):
    samples = list(open_dataset("folder", clip_folder))[1::3]
    rows = [(sample.id, hand) for sample in samples for hand in sample.instances]
    path = tmp_path_factory.mktemp("predictions") / "p.npz"
    points = np.stack([hand.keypoints_px for _, hand in rows]) + np.linspace(0, 9, len(rows))[:, None, None]
    np.savez(path, id=np.array([name for name, _ in rows]), keypoints_px=points)
    return str(path)


@pytest.fixture(autouse=True)
def one_machine(monkeypatch):
    machine = describe_machine()
    monkeypatch.setattr("sonjit_lab.evaluation.run.describe_machine", lambda: machine)


def request(root, *, model=None, predictions=None, **options):
    return EvaluationRequest(CARD, ModelChoice(model, predictions), root, data=("folder",), **options)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def run(evaluation_request, folder, **options):
    folder.mkdir(exist_ok=True)
    outcome = evaluate(evaluation_request, folder, **options)
    save_report(outcome, folder)
    return outcome


def stop_after(count):
    left = iter(range(count - 1))

    def advance():
        if next(left, None) is None:
            raise KeyboardInterrupt

    return advance


@pytest.mark.nightly
@pytest.mark.slow
def test_several_processes_give_the_same_bytes(clip_folder, predictions, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(clip_folder, folder)
    victim = sorted((folder / "images").iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:200])
    steps = []
    for jobs in (1, 2):
        log = ProgressLog()
        evaluation_request = request(folder, predictions=predictions, skip_bad=True, jobs=jobs)
        outcome = run(evaluation_request, tmp_path / str(jobs), progress=log)
        steps.append((log.totals, sum(log.steps)))
        assert outcome.summary.frames == outcome.record["samples"]
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert victim.name in str([*outcome.record["skipped"], *outcome.record["runs"][0]["left_out"]])
    assert steps[0] == steps[1] == ([outcome.record["samples"]], outcome.record["samples"])
    with pytest.raises(errors.InputError, match=victim.name):
        evaluate(request(folder, predictions=predictions, jobs=2), tmp_path)


def test_workers_need_no_pytorch_for_predictions():
    """Its import takes longer than the evaluation of small data sets."""
    program = "import sys, sonjit_lab.evaluation.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.nightly
@pytest.mark.slow
def test_a_stopped_run_continues_with_other_processes(clip_folder, predictions, tmp_path):
    run(request(clip_folder, predictions=predictions), tmp_path / "whole")
    folder = tmp_path / "parts"
    done = 0
    for jobs in (1, 2):
        evaluation_request = request(clip_folder, predictions=predictions, jobs=jobs, resume=jobs > 1)
        assert run(evaluation_request, folder, progress=ProgressLog(stop_after(done + 7))).stopped
        record = json.loads((folder / "eval.json").read_text())
        _, *lines = (folder / "evaluated-predictions.jsonl").read_text().splitlines()
        assert not record["complete"]
        assert done + 7 <= record["runs"][0]["samples"] == len(lines) < record["samples"]
        assert [json.loads(line)["place"] for line in lines] == sorted(json.loads(line)["place"] for line in lines)
        done = len(lines)
    log = ProgressLog()
    again = run(request(clip_folder, predictions=predictions, resume=True), folder, progress=log)
    assert (again.summary.skipped, again.summary.frames) == (done, record["samples"] - done)
    assert sum(log.steps) == record["samples"]
    assert files(folder) == files(tmp_path / "whole")


@pytest.fixture(scope="module")
def outcome(clip_folder, predictions, tmp_path_factory):
    return evaluate(request(clip_folder, predictions=predictions), tmp_path_factory.mktemp("units"))


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@pytest.mark.slow
def test_units_are_written_as_any_table(outcome, tmp_path, ending):
    from sonjit_lab.evaluation import open_unit_table, write_units

    save = tmp_path / f"units{ending}"
    with open_unit_table(str(save)) as table:
        write_units(outcome, table)
    (run,) = json.loads(json_text.json_from(outcome.record["runs"]))
    expected = [{"mode": "predictions", **dict(zip(run["units"], row, strict=True))}
              for row in zip(*run["units"].values(), strict=True)]  # fmt: skip
    assert {row["found"] for row in expected} == {True, False}
    match ending:
        case ".json":
            rows = json.loads(save.read_text())
        case ".jsonl":
            rows = [json.loads(line) for line in save.read_text().splitlines()]
        case ".csv":
            with save.open(newline="") as file:
                rows = list(csv.DictReader(file))
            read = {"place": int, "instance": int, "group": json.loads, "found": lambda text: text == "True"}
            read |= {"value": lambda text: float(text) if text else None, "side": lambda text: text or None}
            rows = [{name: read.get(name, str)(text) for name, text in row.items()} for row in rows]
        case _:
            from pyarrow import parquet

            rows = [{**row, "group": json.loads(row["group"])} for row in parquet.read_table(save).to_pylist()]
    assert rows == expected
