"""Runs that continue exactly where they stopped, with any number of workers."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit._util.errors import JobError
from sonjit_lab.training.loop import BEST, CHECKPOINT, SETTINGS, WEIGHTS, train

from .small_runs import OPTIONS, PowerCutError, batch, line, log_of, losses, run


@pytest.mark.parametrize("stop_after", [1, 5, 7, 11])
def test_a_stopped_run_continues_as_if_uninterrupted(stop_after, tmp_path):
    complete = run(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", stop_after=stop_after)
    again = run(tmp_path / "cut")
    for key, value in complete.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    for file in (SETTINGS, WEIGHTS):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "cut")


KILLS = """
import os, random, signal, sys, time
from pathlib import Path

from small_runs import LOG, TrainingSettings, batch, line, losses, np, torch, train

torch.set_num_threads(1)
options = TrainingSettings(
    steps=60, learning_rate=1e-2, warmup=2, save_every=4, ema=0.9, evaluate_every=7, accumulate=2
)
whole, cut = Path(sys.argv[1]), Path(sys.argv[2])
fixed = batch(np.random.default_rng(0))


def run(out, wait=0.0):
    def pause(step, *_):
        time.sleep(60 if wait and step >= 58 else wait)  # a child never finishes before it is killed

    train(line(), batch, losses, options, out=out, progress=pause,
          evaluate=lambda network: {"error": losses(network, fixed)["squares"].item()})


run(whole)
chance, killed = random.Random(3), 0
for kill in range(10):
    child = os.fork()
    if child == 0:
        run(cut, wait=0.002)
        os._exit(0)
    log, lines = cut / LOG, min(5 * (kill + 1), 55)
    while not (log.exists() and len(log.read_bytes().splitlines()) >= lines):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
run(cut)
print(killed)
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_ten_kills_change_neither_log_nor_weights(tmp_path):
    complete, cut = tmp_path / "whole", tmp_path / "cut"
    command, folder = [sys.executable, "-c", KILLS, complete, cut], Path(__file__).parent
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "10", done.stderr
    for file in (SETTINGS, WEIGHTS, BEST):
        assert (complete / file).read_bytes() == (cut / file).read_bytes(), file
    assert log_of(complete) == log_of(cut)


def batch_of_any_order(rng):
    """Return a batch from random numbers of numpy, OpenCV and torch, with a longer delay for earlier batches."""
    time.sleep(float(rng.uniform(0, 0.02)))
    values = torch.from_numpy(cv2.GaussianBlur(rng.standard_normal((16, 3), np.float32), (3, 3), 0)) + torch.rand(16, 3)
    return {"values": values, "wanted": [values.sum(1, keepdim=True)]}


@pytest.mark.nightly
@pytest.mark.slow
def test_workers_change_nothing_and_a_run_continues_with_others(tmp_path):
    def run_with(workers, out, stop_after=None):
        def progress(done, *_):
            if done == stop_after:
                raise PowerCutError

        network, settings = line(), dataclasses.replace(OPTIONS, workers=workers, accumulate=2)
        named = lambda network, data: losses(network, (data["values"], *data["wanted"]))  # noqa: E731
        train(network, batch_of_any_order, named, settings, out=out, progress=progress)

    run_with(0, tmp_path / "none")
    run_with(2, tmp_path / "two")
    with pytest.raises(PowerCutError):
        run_with(2, tmp_path / "cut", stop_after=8)
    assert not multiprocessing.active_children()
    run_with(1, tmp_path / "cut")
    for other in ("two", "cut"):
        assert log_of(tmp_path / other) == log_of(tmp_path / "none")
        assert (tmp_path / other / WEIGHTS).read_bytes() == (tmp_path / "none" / WEIGHTS).read_bytes()


def refusing_batch(rng):
    raise InputError("frame 7: no image")


def ending_batch(rng):
    os.kill(os.getpid(), signal.SIGKILL)


def test_failures_in_a_worker_are_reported_in_one_line():
    settings = dataclasses.replace(OPTIONS, workers=1)
    with pytest.raises(InputError, match=r"^frame 7: no image$"):
        train(line(), refusing_batch, losses, settings)
    with pytest.raises(JobError, match=r"was killed.*fewer than workers=1"):
        train(line(), ending_batch, losses, settings)
    assert not multiprocessing.active_children()


@pytest.mark.nightly_after(2)
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("name", "end"), [("SIGTERM", SystemExit), ("SIGINT", KeyboardInterrupt), ("SIGUSR1", PowerCutError)]
)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_saves_the_very_step(name, end, workers, tmp_path):
    def progress(done, *_):
        if done == 6:  # the signal reached step 6 after its checkpoints; step 7 saves
            os.kill(os.getpid(), getattr(signal, name))
        if done == 8:
            raise PowerCutError

    before = signal.getsignal(signal.SIGTERM)
    options = dataclasses.replace(OPTIONS, workers=workers, save_every=100)
    with pytest.raises(end):
        train(line(), batch, losses, options, out=tmp_path / "cut", progress=progress)
    assert signal.getsignal(signal.SIGTERM) is before
    assert torch.load(tmp_path / "cut" / CHECKPOINT)["step"] == 7
    complete = run(tmp_path / "whole", options=options)
    again = run(tmp_path / "cut", options=options)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in complete.state_dict().items())
