"""Grids: every row with every seed, means with intervals, and published values with their order."""

import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from sonjit import InputError
from sonjit.cli import main
from sonjit_lab.training import ablation
from sonjit_lab.training.ablation import AblationResult, RowResult, mean_with_interval, order_of, run_ablation
from sonjit_lab.training.recipes import Ablation, AblationRow, TrainingRequest

RECIPE = """
summary = "a bowl"
function = "{module}:train_bowl"
settings_class = "{module}:BowlSettings"
data = "nothing at all"

[smoke]
steps = 3

[ablation.rates]
title = "Rates"
metric = "height"
also = ["steps"]
unit = "m"
higher_is_better = false
seeds = [0, 1, 2]
source = "nobody"
notes = ["a bowl is no network"]
smoke_settings = {{ warmup = 0 }}

[[ablation.rates.rows]]
label = "no | rate"
set = {{ learning_rate = 1e-9 }}
published = 3.0

[[ablation.rates.rows]]
label = "some rate"
set = {{ learning_rate = 0.1 }}
smoke_set = {{ depth = 2.0 }}
published = 1.0
"""
MODULE = """
from dataclasses import dataclass

import torch

from sonjit_lab.training.loop import TrainingSettings, train
from sonjit_lab.training.recipes import settings_from

CALLS = []


@dataclass(frozen=True)
class BowlSettings(TrainingSettings):
    depth: float = 1.0
    save_every: int = 50  # without the range of its base class


def train_bowl(request):
    settings = settings_from(BowlSettings, request.settings)
    CALLS.append(request.out.name)
    if len(CALLS) == 4:
        raise KeyboardInterrupt
    torch.manual_seed(settings.seed)
    bowl = torch.nn.Linear(1, 1)
    train(bowl, lambda rng: None, lambda net, _: {"height": (net.weight ** 2).sum()}, settings, out=request.out)
    return {"height": bowl.weight.item() ** 2, "steps": settings.steps}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    name = f"bowl_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SONJIT_EXTENSIONS", name)
    file = tmp_path / "bowl.toml"
    file.write_text(RECIPE.format(module=name), "utf-8")
    return file


@pytest.mark.slow
def test_an_interrupted_grid_continues_and_writes_its_table(recipe, tmp_path, capfd):
    out = tmp_path / "grid"
    arguments = ["train", str(recipe), "--ablation", "rates", "--smoke", "--out", str(out)]
    assert main(arguments) == 130
    assert len(list(out.glob("*/result.json"))) == 3
    times = {file: file.stat().st_mtime_ns for file in out.glob("*/result.json")}
    capfd.readouterr()
    assert main(arguments) == 0
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    captured = capfd.readouterr()
    assert captured.out == (out / "ablation.md").read_text("utf-8")
    assert "The published order holds." in captured.out
    assert "6 of 6: some rate, seed 2" in captured.err
    small = json.loads((out / "2-some-rate-seed0" / "result.json").read_text("utf-8"))["settings"]
    assert (small["learning_rate"], small["depth"], small["warmup"]) == (0.1, 2.0, 0)
    record = json.loads((out / "ablation.json").read_text("utf-8"))
    for row, name in zip(record["rows"], ("1-no-rate", "2-some-rate"), strict=True):
        results = [
            json.loads((out / f"{name}-seed{seed}" / "result.json").read_text("utf-8"))["results"] for seed in range(3)
        ]
        assert row["values"] == [result["height"] for result in results]
        assert row["mean"]["value"] == pytest.approx(np.mean(row["values"]))
        assert row["also"] == [3]
        assert row["also_intervals"] == [[3, 3]]
    (table,) = [text for text in (out / "ablation.md").read_text("utf-8").split("\n\n") if text.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    heading, _, *lines = [[cell.strip() for cell in line] for line in cells]
    assert heading[:6] == ["", "height, m", "95 % interval", "seeds", "steps", "95 % interval"]
    assert {line[3] for line in lines} == {"3"}
    for column in (1, 4):
        assert len({len(line[column].partition(".")[2]) for line in lines}) == 1, "one number of digits"
    assert record["published_order_holds"] is True
    page = (out / "ablation.html").read_text("utf-8")
    assert "<svg" in page.partition("no | rate")[2]
    assert main([*arguments[:-1], str(out), "--set", "steps=5"]) == 2
    assert "contains a run with other settings" in capfd.readouterr().err


def test_a_finished_sweep_of_other_data_is_refused(recipe, tmp_path, capfd):
    arguments = ["train", str(recipe), "--smoke", "--out", str(tmp_path / "sweep"), "--metric", "height"]
    arguments += ["--sweep", "depth=1"]
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(name, "utf-8")
    assert main([*arguments, "--data", str(tmp_path / "a.json")]) == 0
    assert main([*arguments, "--data", str(tmp_path / "a.json")]) == 0
    capfd.readouterr()
    assert main([*arguments, "--data", str(tmp_path / "b.json")]) == 2
    assert "contains a run with other inputs (result.json)" in capfd.readouterr().err


@pytest.mark.nightly
@pytest.mark.slow
def test_a_sweep_trains_every_combination_and_continues(recipe, tmp_path, capfd):
    out = tmp_path / "sweep"
    arguments = ["train", str(recipe), "--smoke", "--out", str(out), "--metric", "height"]
    arguments += ["--sweep", "learning_rate=0.01,0.1", "--sweep", "depth=1,2", "--sweep", "seed=0,4"]
    assert main(arguments) == 130  # the fourth run is interrupted
    assert main(arguments) == 0
    names = sorted(path.parent.name for path in out.glob("*/result.json"))
    assert len(names) == 8
    assert names[0] == "1-learning_rate-0-01-depth-1-seed0"
    settings = json.loads((out / "4-learning_rate-0-1-depth-2-seed4" / "result.json").read_text("utf-8"))["settings"]
    assert [float(settings[name]) for name in ("learning_rate", "depth", "seed")] == [0.1, 2.0, 4]
    record = json.loads((out / "ablation.json").read_text("utf-8"))
    assert [row["label"] for row in record["rows"]][:2] == [f"learning_rate 0.01, depth {depth}" for depth in (1, 2)]
    assert "Means over seeds 0, 4" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--sweep", "depth=1,2"], "--sweep requires --metric"),
        (["--metric", "height"], "--metric applies only to --sweep"),
        (["--sweep", "depth", "--metric", "height"], "--sweep depth: give NAME=VALUE,VALUE"),
        (["--sweep", "deep=1", "--metric", "height"], "Unknown setting 'deep'"),
        (["--sweep", "seed=a", "--metric", "height"], "--sweep seed=a: seeds are integers"),
        (["--sweep", "depth=1", "--metric", "height", "--ablation", "rates"], "cannot be combined with --ablation"),
        (["--sweep", "depth=1", "--metric", "height", "--set", "depth=2"], "--set depth cannot be combined"),
    ],
)
def test_wrong_sweeps(given, message, recipe, tmp_path, refusal):
    assert message in refusal("train", recipe, "--smoke", "--out", tmp_path / "sweep", *given)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (("", ""), {"name": "rats"}, "Unknown ablation 'rats'. Choose from rates"),
        (("learning_rate = 0.1", "rat = 0.1"), {}, "Unknown setting 'rat'"),
        (("learning_rate = 0.1", "learning_rate = -1"), {}, "learning_rate and clip_norm must be above 0"),
        (("", ""), {"settings": {"learning_rate": "1"}}, "--set learning_rate cannot be combined with the ablation"),
        (("", ""), {"settings": {"step": "1"}}, "Unknown setting 'step'"),
        (("", ""), {"settings": {"save_every": "0"}}, "save_every=0: must be at least 1"),
        (("", ""), {"settings": {"weight_decay": "2e9"}}, "weight_decay=2000000000.0: must be at most 1000000000.0"),
    ],
)
def test_invalid_values_are_reported_before_any_work(change, given, message, recipe, tmp_path):
    recipe.write_text(recipe.read_text("utf-8").replace(*change), "utf-8")
    request = TrainingRequest(str(recipe), tmp_path / "grid", settings=given.get("settings", {}))
    with pytest.raises(InputError, match=message):
        run_ablation(request, given.get("name", "rates"))
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize("count", [2, 12, 40])
def test_intervals_are_students(count):
    values = np.random.default_rng(count).normal(3, 2, count)
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    mean = mean_with_interval(values.tolist())
    assert mean.value == pytest.approx(values.mean())
    assert (mean.low, mean.high) == pytest.approx(expected, rel=1e-3)
    assert math.isnan(mean_with_interval([1.0]).low)


def result(higher_is_better, *rows):
    grid = Ablation("t", "f", tuple(AblationRow(name) for name, _, _ in rows), higher_is_better)
    made = [RowResult(name, tuple(values), mean_with_interval(values), message) for name, values, message in rows]
    return AblationResult("r", "a", grid, tuple(made), smoke=False)


def test_the_order_is_that_of_the_means(tmp_path):
    rows = ("a", [1.0, 1.1, 1.2], 10.0), ("b", [2.0, 2.1, 2.2], 20.0), ("c", [2.5, 0.1, 4.5], 30.0)
    _, steps = order_of(result(True, *rows))
    assert [step.rpartition(": ")[2] for step in steps] == ["not sure with 3 seeds", "sure with 3 seeds"]
    assert steps[1].startswith("b better than a by 1 (")
    assert order_of(result(True, *rows))[0] is order_of(result(False, *rows))[0] is True
    found = [order_of(result(True, rows[0], (*rows[1][:2], published))) for published in (5.0, None)]
    assert (found[0][0], found[1]) == (False, (None, []))
    for grid in (result(True, rows[0], ("c", [failed, 1.0], 20.0)) for failed in (math.nan, math.inf)):
        assert order_of(grid) == (None, [])
        assert "| – | – to – |" in ablation.save_ablation(grid, tmp_path)
