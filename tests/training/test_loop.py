"""The loop: runs that go on exactly where they stopped, logs, and what is refused."""

import json

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.errors import JobError
from sonjit.networks import load_checkpoint
from sonjit.training.loop import CHECKPOINT, LOG, SETTINGS, WEIGHTS, LoopOptions, rate_at, train

OPTIONS = LoopOptions(steps=12, rate=1e-2, warmup=2, save_every=5)


def line():
    """A layer with dropout, which draws numbers of its own in each step."""
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
    )


def batch(rng):
    values = torch.from_numpy(rng.standard_normal((16, 3), np.float32))
    return values, values.sum(1, keepdim=True)


def losses(network, data):
    values, wanted = data
    return {"squares": ((network(values) - wanted) ** 2).mean()}


class PowerCutError(Exception):
    """Stops a run."""


def run(out, *, stop_after=None, options=OPTIONS, network=None):
    network = line() if network is None else network

    def progress(done, _steps, _losses):
        if done == stop_after:
            raise PowerCutError

    return train(network, batch, losses, options, out=out, progress=progress)


@pytest.mark.parametrize("stop_after", [1, 5, 7, 11])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(stop_after, tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", stop_after=stop_after)
    again = run(tmp_path / "cut")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    for file in (LOG, SETTINGS, WEIGHTS):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()


def test_the_folder_holds_what_was_done(tmp_path):
    network = run(tmp_path / "run")
    lines = [json.loads(text) for text in (tmp_path / "run" / LOG).read_text("utf-8").splitlines()]
    assert [one["step"] for one in lines] == list(range(1, OPTIONS.steps + 1))
    assert lines[-1]["squares"] < lines[0]["squares"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == sorted([CHECKPOINT, LOG, SETTINGS, WEIGHTS])
    saved = load_checkpoint(tmp_path / "run" / WEIGHTS)
    assert all(torch.equal(saved[key], value) for key, value in network.state_dict().items())


def test_a_finished_run_is_only_read(tmp_path):
    wanted = run(tmp_path / "run")

    def told(*_):
        raise AssertionError("nothing is left to do")

    given = train(line(), batch, losses, OPTIONS, out=tmp_path / "run", progress=told)
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in wanted.state_dict().items())


def test_another_seed_gives_another_network_and_the_caller_keeps_its_own_numbers(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    networks = [line(), line()]
    torch.manual_seed(5)
    run(None, network=networks[0])
    run(None, network=networks[1], options=LoopOptions(steps=12, rate=1e-2, warmup=2, seed=1))
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.equal(networks[0][0].weight, networks[1][0].weight)
    assert not list(tmp_path.iterdir())


def test_other_settings_do_not_go_on_with_a_run(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match=r"holds a run with other settings \(settings.json\); give another folder"):
        run(tmp_path, options=LoopOptions(steps=13))


def test_damage_and_failure_are_told_in_one_line(tmp_path):
    run(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"q")
    with pytest.raises(InputError, match=r"a damaged checkpoint .*; remove it to begin anew"):
        run(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(tmp_path / "file")
    with pytest.raises(JobError, match="step 1: the loss is nan; try a smaller rate"):
        train(line(), batch, lambda *_: {"nothing": torch.tensor(float("nan"))}, OPTIONS)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"save_every": 0}, {"rate": 0}, {"rate": float("nan")}, {"warmup": -1}]
)
def test_options_that_train_nothing_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        LoopOptions(**wrong)


def test_the_rate_rises_and_falls():
    options = LoopOptions(steps=50, warmup=10)
    rates = [rate_at(step, options) for step in range(50)]
    assert max(rates) == rates[9] == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.01
