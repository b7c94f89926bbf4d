"""`sonjit train`: what there is to train, a run with its report, and one line for what cannot be."""

import json
import os
import subprocess
import sys

import pytest

from sonjit.cli import main
from sonjit.training.recipes import list_recipes, load_recipe

SMALL = ("--set", "batch=4", "--set", "size=32", "--steps", "2")


def test_the_list_names_every_recipe_and_its_grids(capfd):
    assert main(["train", "--list"]) == 0
    said = capfd.readouterr().out
    for name in list_recipes():
        recipe = load_recipe(name)
        assert f"{name}: {recipe.summary}\n    from {recipe.data}" in said
        assert all(f"--ablation {key}: {grid.title}" in said for key, grid in recipe.ablation.items())


@pytest.mark.slow
def test_a_run_by_a_file_of_ones_own_leaves_a_report(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.toml"
    text = 'summary = "mine"\ndata = "the clip"\nfunction = "sonjit.training.images.cam:train_cam"\n'
    recipe.write_text(
        text + 'settings_class = "sonjit.training.images.cam:CamSettings"\n[smoke]\nschedule = "constant"\n'
    )
    assert main(["train", "mine.toml", "--smoke", "--precision", "bf16", *SMALL]) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    out = tmp_path / "runs" / "mine-smoke"
    assert json.loads((out / "result.json").read_text("utf-8"))["results"]["weights"] == results["weights"]
    settings = json.loads((out / "settings.json").read_text("utf-8"))
    assert (settings["precision"], settings["schedule"], settings["steps"]) == ("bf16", "constant", 2)
    assert "mine: mine" in (out / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_two_processes_of_torchrun_train_what_one_does(tmp_path):
    """Over gloo, on the CPU: the batches of a step that the two share are those that one takes one after the other."""
    torch = pytest.importorskip("torch")
    from sonjit.networks import load_checkpoint

    asked = ["-m", "sonjit", "train", "cam", "--smoke", *SMALL]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    commands = {"two": [*torchrun, *asked], "one": [*asked, "--set", "accumulate=2"]}
    weights = {}
    for name, command in commands.items():
        done = subprocess.run(
            [sys.executable, *command, "--out", tmp_path / name],
            check=False, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("accuracy: ") == 1  # the first process alone speaks, and writes
        weights[name] = load_checkpoint(tmp_path / name / "weights.safetensors")
    assert weights["one"].keys() == weights["two"].keys()
    # Statistics of batches that norms gather are the first process's own; training does not read them.
    learnt = [key for key in weights["one"] if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert 10 < len(learnt) < len(weights["one"])
    for key in learnt:
        value = weights["one"][key]
        torch.testing.assert_close(weights["two"][key], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a recipe; sonjit train --list shows them"),
        (["feet"], "unknown recipe 'feet'; known: "),
        (["feet.toml"], "feet.toml: cannot be read: No such file"),
        (["cam", "--set", "stepz=1"], "cam: unknown setting 'stepz'; known: steps"),
        (["cam", "--set", "steps"], "--set steps: give key=value"),
        (["cam", "--set", "optimizer=fast"], "optimizer=fast: give sgd, momentum"),
        (["cam", "--data", "gone.json"], "gone.json: no such file or folder"),
        (["cam", "--weights", "gone.pth"], "gone.pth: no such file"),
        (["cam", "--ablation", "none"], "cam: no ablation 'none'; known: "),
        (["cam", "--device", "quantum"], "--device quantum"),
        (["mask-rcnn"], "mask-rcnn: give --data"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(arguments, said, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    told = capfd.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())
