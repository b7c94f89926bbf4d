"""`sonjit train` and `sonjit networks`: a run with its report, and one line for each error."""

import json
import os
import subprocess
import sys

import pytest

from sonjit.cli import main

SMALL = ("--set", "batch=4", "--set", "size=32", "--steps", "2")


@pytest.mark.slow
def test_a_run_of_a_user_recipe_file_leaves_a_report(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.toml"
    text = 'summary = "mine"\ndata = "the clip"\nfunction = "sonjit.lab.training.cam:train_cam"\n'
    recipe.write_text(text + 'settings_class = "sonjit.lab.training.cam:CamSettings"\n[smoke]\nschedule = "constant"\n')
    assert main(["train", "mine.toml", "--smoke", "--precision", "bf16", *SMALL]) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    out = tmp_path / "runs" / "mine-smoke"
    assert json.loads((out / "result.json").read_text("utf-8"))["results"]["weights"] == results["weights"]
    settings = json.loads((out / "settings.json").read_text("utf-8"))
    assert (settings["precision"], settings["schedule"], settings["steps"]) == ("bf16", "constant", 2)
    assert "mine: mine" in (out / "report.html").read_text("utf-8")


TINY = """
import numpy as np
import torch

from sonjit.lab.training.loop import TrainingSettings, train
from sonjit.lab.training.recipes import settings_from


def train_tiny(request):
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def batch(rng):
        values = torch.from_numpy(rng.standard_normal((8, 3), np.float32))
        return values, values.sum(1, keepdim=True)

    def losses(network, data):
        return {"squares": ((network(data[0]) - data[1]) ** 2).mean()}

    train(network, batch, losses, settings_from(TrainingSettings, request.settings), out=request.out)
    return {"accuracy": 1.0}
"""


@pytest.mark.slow
def test_two_processes_of_torchrun_train_what_one_does(tmp_path, capfd, monkeypatch):
    """Run over gloo on the CPU. The two processes share the batches that one process takes in sequence."""
    torch = pytest.importorskip("torch")
    from sonjit.lab.networks import load_checkpoint
    from sonjit.lab.training.loop import LOG, SETTINGS, WEIGHTS

    (tmp_path / "tiny_recipe.py").write_text(TINY, "utf-8")
    recipe = tmp_path / "tiny.toml"
    classes = 'function = "tiny_recipe:train_tiny"\nsettings_class = "sonjit.lab.training.loop:TrainingSettings"\n'
    recipe.write_text(f'summary = "tiny"\ndata = "noise"\n{classes}')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SONJIT_EXTENSIONS", "tiny_recipe")
    given = ("steps=12", "learning_rate=1e-2", "warmup=2", "save_every=5", "accumulate=4")
    arguments = ["train", str(recipe), *(part for one in given for part in ("--set", one))]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sonjit"]
    done = subprocess.run(
        [sys.executable, *torchrun, *arguments, "--out", tmp_path / "two"],
        check=False, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy: ") == 1  # the first process alone speaks, and writes
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 0
    assert "accuracy: " in capfd.readouterr().out
    one, two = (tmp_path / name for name in ("one", "two"))
    expected, given = (load_checkpoint(run / WEIGHTS) for run in (one, two))
    assert expected.keys() == given.keys()
    for key, value in expected.items():
        torch.testing.assert_close(given[key], value, rtol=0, atol=1e-5)
    first, second = (json.loads((run / SETTINGS).read_text("utf-8")) for run in (one, two))
    commands = [settings["environment"].pop("command") for settings in (first, second)]
    assert first == second
    assert "accumulate=4" in commands[1]
    logs = [[json.loads(line) for line in (run / LOG).read_text("utf-8").splitlines()] for run in (one, two)]
    for first, second in zip(*logs, strict=True):
        assert first["losses"] == pytest.approx(second["losses"], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "sonjit train requires a recipe; sonjit train --list shows them"),
        (["feet"], "Unknown recipe 'feet'. Choose from "),
        (["cam", "--set", "stepz=1"], "cam: Unknown setting 'stepz'. Choose from steps"),
        (["cam", "--data", "gone.json"], "gone.json: no such file or folder"),
        (["cam", "--weights", "gone.pth"], "gone.pth: no such file"),
        (["cam", "--ablation", "none"], "cam has no ablations"),
        (["cam", "--device", "quantum"], "--device quantum"),
        (["mask-rcnn"], "mask-rcnn requires --data"),
    ],
)
def test_invalid_values_are_one_line_before_any_work(arguments, message, tmp_path, refusal, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refusal("train", *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_networks_are_listed_with_their_facts(capfd):
    assert main(["networks", "hand-[fhl]*"]) == 0
    heading, *lines = capfd.readouterr().out.splitlines()
    assert heading.split() == ["name", "parameters", "MFLOP", "input", "licence", "weights"]
    assert [line.split()[0] for line in lines] == ["hand-full", "hand-heavy", "hand-lite"]
    assert all("3 x 224 x 224 in 0..1" in line and "Apache-2.0" in line for line in lines)


def test_a_pattern_without_networks_names_those_that_there_are(refusal):
    line = refusal("networks", "feet-*")
    assert "No network matches 'feet-*'. Choose from " in line
    assert "hand-full" in line
