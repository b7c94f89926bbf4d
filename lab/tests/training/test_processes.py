"""The processes of torchrun share the batches of a step, and train as one process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sonjit import InputError
from sonjit_lab.training.loop import TrainingSettings, train

from .shared_run import STEPS, Small, batch, losses, main

SCRIPT = Path(__file__).with_name("shared_run.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a run of this process, one of two processes, and one that two processes continue after its first step."""
    folder = tmp_path_factory.mktemp("runs")
    main(folder, "one")
    main(folder, "part", steps=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, folder, "two", "part"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [torch.load(f"{folder / name}.pt") | {"folder": folder / name} for name in ("one", "two", "part")]


def assert_same_training(found, expected):
    assert len(found["gradients"]) == len(expected["gradients"])
    for own, other in zip(found["gradients"], expected["gradients"], strict=True):
        assert own.keys() == other.keys()
        for name, gradient in own.items():
            torch.testing.assert_close(gradient, other[name], rtol=1e-6, atol=1e-6)
    for own, other in zip(found["rows"], expected["rows"], strict=True):
        assert own["squares"] == pytest.approx(other["squares"], rel=1e-6)
    for name, value in found["weights"].items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(value, expected["weights"][name], rtol=1e-6, atol=1e-6)


@pytest.mark.nightly
@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(runs):
    one, two, _ = runs
    assert len(one["gradients"]) == STEPS
    assert "unused.weight" not in two["gradients"][0]
    assert_same_training(two, one)
    assert (two["folder"] / "weights.safetensors").is_file()
    assert one["weights"]["norm.running_mean"].abs().max() > 0
    torch.testing.assert_close(
        two["weights"]["norm.running_mean"], one["weights"]["norm.running_mean"], rtol=0, atol=0.2
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_a_run_continues_with_another_number_of_processes(runs):
    whole, _, rest = runs
    assert len(rest["gradients"]) == STEPS - 1
    assert_same_training(rest, {**whole, "gradients": whole["gradients"][1:], "rows": whole["rows"][1:]})


def test_processes_that_do_not_share_the_work_are_refused(monkeypatch):
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_RANK", "0"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="WORLD_SIZE=2: start such a training with torchrun"):
        train(Small(), batch, losses, TrainingSettings(steps=1, accumulate=2))
