"""`sonjit train` and `sonjit networks`: a run with its report, and one line for each error."""

import json

import pytest

from sonjit.cli import main

SMALL = ("--set", "batch=4", "--set", "size=32", "--steps", "2")


@pytest.mark.slow
def test_a_run_of_a_user_recipe_file_leaves_a_report(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.toml"
    text = 'summary = "mine"\ndata = "the clip"\nfunction = "sonjit_lab.papers.cam.recipe:train_cam"\n'
    recipe.write_text(
        text + 'settings_class = "sonjit_lab.papers.cam.recipe:CamSettings"\n[smoke]\nschedule = "constant"\n'
    )
    assert main(["train", "mine.toml", "--smoke", "--precision", "bf16", *SMALL]) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    out = tmp_path / "runs" / "mine-smoke"
    assert json.loads((out / "result.json").read_text("utf-8"))["results"]["weights"] == results["weights"]
    settings = json.loads((out / "settings.json").read_text("utf-8"))
    assert (settings["precision"], settings["schedule"], settings["steps"]) == ("bf16", "constant", 2)
    assert "mine: mine" in (out / "report.html").read_text("utf-8")


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
