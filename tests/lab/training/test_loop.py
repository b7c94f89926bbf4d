"""The loop: runs that go on exactly where they stopped, logs, and what is refused."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit._util.errors import JobError
from sonjit.lab.networks import load_checkpoint
from sonjit.lab.training.folding import add_batch_norms, fold, scale_head
from sonjit.lab.training.loggers import TENSORBOARD
from sonjit.lab.training.loop import BEST, CHECKPOINT, LOG, SETTINGS, WEIGHTS, TrainingSettings, train

OPTIONS = TrainingSettings(steps=12, learning_rate=1e-2, warmup=2, save_every=5)


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

    train(network, batch, losses, options, out=out, progress=progress)
    return network


def log_of(folder):
    """What a log holds but for the times."""
    rows = [json.loads(text) for text in (folder / LOG).read_text("utf-8").splitlines()]
    assert all(0 <= row.pop("waited_seconds") <= row.pop("seconds") for row in rows)
    return rows


@pytest.mark.parametrize("stop_after", [1, 5, 7, 11])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(stop_after, tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", stop_after=stop_after)
    again = run(tmp_path / "cut")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    for file in (SETTINGS, WEIGHTS):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "cut")


def test_the_folder_holds_what_was_done(tmp_path):
    network = run(tmp_path / "run")
    lines = [json.loads(text) for text in (tmp_path / "run" / LOG).read_text("utf-8").splitlines()]
    assert [one["step"] for one in lines] == list(range(1, OPTIONS.steps + 1))
    assert lines[-1]["losses"]["squares"] < lines[0]["losses"]["squares"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == sorted([CHECKPOINT, LOG, SETTINGS, WEIGHTS])
    saved = load_checkpoint(tmp_path / "run" / WEIGHTS)
    assert all(torch.equal(saved[key], value) for key, value in network.state_dict().items())


def test_a_finished_run_is_only_read(tmp_path):
    wanted = run(tmp_path / "run")

    def told(*_):
        raise AssertionError("nothing is left to do")

    given = line()
    train(given, batch, losses, OPTIONS, out=tmp_path / "run", progress=told)
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in wanted.state_dict().items())


def test_another_seed_gives_another_network_and_the_caller_keeps_its_own_numbers(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    networks = [line(), line()]
    torch.manual_seed(5)
    run(None, network=networks[0])
    run(None, network=networks[1], options=TrainingSettings(steps=12, learning_rate=1e-2, warmup=2, seed=1))
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.equal(networks[0][0].weight, networks[1][0].weight)
    assert not list(tmp_path.iterdir())


def test_other_settings_do_not_go_on_with_a_run(tmp_path):
    run(tmp_path)
    with pytest.raises(
        InputError,
        match=r"contains a run with other settings \(settings.json: learning_rate, .*steps, warmup\)\. Choose",
    ):
        run(tmp_path, options=TrainingSettings(steps=13))


def test_damage_and_failure_are_told_in_one_line(tmp_path):
    run(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"q")
    with pytest.raises(InputError, match=r"damaged checkpoint .*; remove it to start again"):
        run(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(tmp_path / "file")
    with pytest.raises(JobError, match="step 1: the loss is nan; try a smaller learning rate"):
        train(line(), batch, lambda *_: {"nothing": torch.tensor(float("nan"))}, OPTIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"steps": 0},
            {"save_every": 0},
            {"learning_rate": 0},
            {"learning_rate": float("nan")},
            {"warmup": -1},
            {"accumulate": 0},
        ),
        *({"ema": 1.0}, {"momentum": -0.1}, {"decay": 0.0}, {"decay_at": (2.0,)}, {"optimizer": "fast"}),
        *({"evaluate_every": -1}, {"learning_rate": float("inf")}, {"schedule": "steps"}, {"precision": "f8"}),
    ],
)
def test_options_that_train_nothing_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainingSettings(**wrong)


KILLS = """
import os, random, signal, sys, time
from pathlib import Path

import numpy as np
import torch

from sonjit.lab.training.loop import LOG, WEIGHTS, TrainingSettings, train

torch.set_num_threads(1)
options = TrainingSettings(
    steps=60, learning_rate=1e-2, warmup=2, save_every=4, ema=0.9, evaluate_every=7, accumulate=2
)
whole, cut = Path(sys.argv[1]), Path(sys.argv[2])


def batch(rng):
    values = torch.from_numpy(rng.standard_normal((16, 3), np.float32))
    return values, values.sum(1, keepdim=True)


def run(out, wait=0.0):
    def pause(step, *_):
        time.sleep(60 if wait and step >= 58 else wait)  # a child never finishes before it is killed

    torch.manual_seed(1)
    layers = torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
    fixed = batch(np.random.default_rng(0))

    def losses(network, data):
        return {"squares": ((network(data[0]) - data[1]) ** 2).mean()}

    train(torch.nn.Sequential(*layers), batch, losses, options, out=out, progress=pause,
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


@pytest.mark.slow
def test_ten_kills_change_neither_log_nor_weights(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = subprocess.run(
        [sys.executable, "-c", KILLS, whole, cut], check=False, capture_output=True, text=True, timeout=200
    )
    assert done.stdout.strip() == "10", done.stderr
    for file in (SETTINGS, WEIGHTS, BEST):
        assert (whole / file).read_bytes() == (cut / file).read_bytes(), file
    assert log_of(whole) == log_of(cut)


def test_accumulated_batches_are_one_large_batch():
    fixed = batch(np.random.default_rng(0))
    halves = iter([tuple(part[:8] for part in fixed), tuple(part[8:] for part in fixed)])
    options = {"steps": 1, "learning_rate": 0.1, "warmup": 0, "optimizer": "sgd", "clip_norm": 100.0}
    torch.manual_seed(1)
    networks = [torch.nn.Linear(3, 1) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    train(networks[0], lambda _: fixed, losses, TrainingSettings(**options))
    train(networks[1], lambda _: next(halves), losses, TrainingSettings(**options, accumulate=2))
    torch.testing.assert_close(networks[0].weight, networks[1].weight)


@pytest.mark.slow
def test_the_mean_is_kept_and_follows_the_weights():
    networks = [line(), line()]
    for network, ema in zip(networks, (0.0, 0.999), strict=True):
        run(None, network=network, options=TrainingSettings(steps=40, learning_rate=1e-2, warmup=0, ema=ema))
    begun = line()
    moved = [(network[0].weight - begun[0].weight).norm() for network in networks]
    assert moved[1] < moved[0] / 2


def test_what_is_frozen_stays_and_the_rest_learns():
    network = line()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    run(None, network=network, options=TrainingSettings(steps=3, warmup=0, freeze=("0", "2")))
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == (not key.startswith("3")), key
    with pytest.raises(InputError, match=r"freeze=4: no weight name starts with it\. Choose from 0, 2, 3"):
        run(None, options=TrainingSettings(steps=3, freeze=("4",)))
    with pytest.raises(InputError, match="no weights are left to train"):
        run(None, options=TrainingSettings(steps=3, freeze=("0", "2", "3")))


def test_the_best_is_kept_and_evaluation_leaves_no_trace(tmp_path):
    metrics = iter([3.0, 1.0, 2.0])
    seen = []

    def evaluate(network):
        assert not any(module.training for module in network.modules())
        torch.rand(3)
        seen.append(network[0].weight.clone())
        return {"error": next(metrics)}

    options = TrainingSettings(steps=12, learning_rate=1e-2, warmup=2, evaluate_every=5, evaluate_first=False)
    judged, plain = line(), line()
    assert train(judged, batch, losses, options, out=tmp_path, evaluate=evaluate) == {"error": 2.0}
    assert train(plain, batch, losses, TrainingSettings(steps=12, learning_rate=1e-2, warmup=2)) == {}
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in judged.state_dict().items())
    assert torch.equal(load_checkpoint(tmp_path / BEST)["0.weight"], seen[1])
    rows = [json.loads(text) for text in (tmp_path / LOG).read_text("utf-8").splitlines()]
    assert [(one["step"], one["evaluation"]["error"]) for one in rows if "evaluation" in one] == [
        (5, 3.0), (10, 1.0), (12, 2.0),
    ]  # fmt: skip


def test_bf16_learns_too_and_keeps_float32():
    network = run(None, options=TrainingSettings(steps=40, learning_rate=2e-2, warmup=0, precision="bf16"))
    values, wanted = batch(np.random.default_rng(9))
    assert network[0].weight.dtype == torch.float32
    assert ((network.eval()(values) - wanted) ** 2).mean() < ((line().eval()(values) - wanted) ** 2).mean() / 2


def test_gradients_by_layer_are_logged_and_a_broken_one_is_told(tmp_path):
    run(tmp_path, options=TrainingSettings(steps=12, gradients_every=4))
    rows = [json.loads(text) for text in (tmp_path / LOG).read_text("utf-8").splitlines()]
    assert [one["step"] for one in rows if "layer_gradients" in one] == [4, 8, 12]
    assert list(rows[3]["layer_gradients"]) == ["0", "3"]
    with pytest.raises(JobError, match="step 1: the gradient is "):
        train(line(), batch, lambda net, _: {"root": (0 * net[0].weight).sum().sqrt()}, OPTIONS)


def batch_of_any_order(rng):
    """Takes longer the earlier it is asked for, by numpy's, OpenCV's and torch's numbers."""
    time.sleep(float(rng.uniform(0, 0.02)))
    values = torch.from_numpy(cv2.GaussianBlur(rng.standard_normal((16, 3), np.float32), (3, 3), 0)) + torch.rand(16, 3)
    return {"values": values, "wanted": [values.sum(1, keepdim=True)]}


def losses_of_named(network, data):
    return losses(network, (data["values"], *data["wanted"]))


@pytest.mark.slow
def test_workers_change_nothing_and_a_run_goes_on_with_others(tmp_path):
    def run_with(workers, out, stop_after=None):
        def progress(done, *_):
            if done == stop_after:
                raise PowerCutError

        network, settings = line(), dataclasses.replace(OPTIONS, workers=workers, accumulate=2)
        train(network, batch_of_any_order, losses_of_named, settings, out=out, progress=progress)

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


def test_what_fails_in_a_worker_is_told_in_one_line():
    settings = dataclasses.replace(OPTIONS, workers=1)
    with pytest.raises(InputError, match=r"^frame 7: no image$"):
        train(line(), refusing_batch, losses, settings)
    with pytest.raises(JobError, match=r"was killed.*fewer than workers=1"):
        train(line(), ending_batch, losses, settings)
    assert not multiprocessing.active_children()


def test_a_run_without_progress_ends_early_and_stays_ended(tmp_path):
    options = TrainingSettings(
        steps=100, learning_rate=1e-2, warmup=0, evaluate_every=3, patience=2, save_every=50, evaluate_first=False
    )
    seen = []

    def evaluate(network):
        seen.append(network[0].weight.clone())
        return {"right": 5.0 - abs(len(seen) - 2), "other": 1.0}

    for times in (4, 4):
        network = line()
        told = train(network, batch, losses, options, out=tmp_path, evaluate=evaluate, higher_is_better=True)
        assert told == {"right": 3.0, "other": 1.0}
        assert len(seen) == times
        assert torch.equal(network[0].weight, seen[-1])
    assert [row["step"] for row in log_of(tmp_path)] == list(range(1, 13))
    assert torch.equal(load_checkpoint(tmp_path / BEST)["0.weight"], seen[1])


def test_what_would_have_no_effect_is_refused():
    with pytest.raises(InputError, match="patience=2 requires evaluate_every"):
        TrainingSettings(patience=2)
    with pytest.raises(InputError, match="apply only to recipes that evaluate during training"):
        train(line(), batch, losses, TrainingSettings(evaluate_every=2))


def test_batch_norms_of_training_are_folded_in_what_is_kept(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(4, 1))
    add_batch_norms(network)
    scale_head(network, "2", 10.0)

    def in_images(model, data):
        return losses(lambda values: model(values[..., None, None]), data)

    train(network, batch, in_images, OPTIONS, out=tmp_path, evaluate=lambda model: {"bias": model[2].head.bias.item()})
    values = torch.rand(5, 3, 1, 1)
    wanted = network.eval()(values)
    fold(network)
    for file in (WEIGHTS, BEST):
        kept = load_checkpoint(tmp_path / file)
        assert kept.keys() == network.state_dict().keys()
    network.load_state_dict(load_checkpoint(tmp_path / WEIGHTS))
    torch.testing.assert_close(network(values), wanted)


@pytest.mark.slow
def test_compiled_networks_learn_the_same(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    torch.manual_seed(1)
    plain, compiled = (torch.nn.Linear(3, 1) for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    for network, compiles in ((plain, False), (compiled, True)):
        run(None, network=network, options=TrainingSettings(steps=5, warmup=0, compile=compiles))
    torch.testing.assert_close(compiled.weight, plain.weight)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    torch.compiler.reset()
    with pytest.raises(JobError, match=r"compile=true failed .*set compile=false"):
        run(None, options=TrainingSettings(steps=5, compile=True))


@pytest.mark.slow
def test_tensorboard_shows_each_step_once_though_the_run_was_stopped(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = dataclasses.replace(OPTIONS, loggers=("tensorboard",))
    with pytest.raises(PowerCutError):
        run(tmp_path, stop_after=7, options=options)
    run(tmp_path, options=options)
    read = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload()
    shown = {one.step: one.value for one in read.Scalars("losses/squares")}
    rows = log_of(tmp_path)
    assert len(read.Scalars("losses/squares")) == len(rows) == 12
    assert shown == pytest.approx({row["step"]: row["losses"]["squares"] for row in rows})
    assert {"learning_rate", "gradient_norm", "seconds", "waited_seconds"} <= set(read.Tags()["scalars"])


def test_metrics_before_training_are_logged_and_pictures_follow_each_evaluation(tmp_path):
    told, drawn = [], []

    def pictures(network):
        assert not network.training
        drawn.append(network[0].weight.clone())
        return {"weights": np.full((4, 4, 3), 10 * len(drawn), np.uint8)}

    fixed, network = batch(np.random.default_rng(3)), line()
    before = network[0].weight.clone()
    options = TrainingSettings(steps=6, learning_rate=1e-2, warmup=0, evaluate_every=4)
    train(
        network, batch, losses, options, out=tmp_path, progress=lambda *values: told.append(values), pictures=pictures,
        evaluate=lambda model: {"error": losses(model, fixed)["squares"].item()},
    )  # fmt: skip
    rows = [json.loads(text) for text in (tmp_path / LOG).read_text("utf-8").splitlines()]
    assert [index for index, row in enumerate(rows) if "evaluation_before" in row] == [0]
    assert told[0] == (0, 6, {"validation error": rows[0]["evaluation_before"]["error"]})
    assert [done for done, _, values in told if "validation error" in values] == [0, 4, 6]
    assert len(drawn) == 3
    assert torch.equal(drawn[0], before)
    assert torch.equal(drawn[2], network[0].weight)
    assert (cv2.imread(str(tmp_path / "images" / "weights.png")) == 30).all()


def test_settings_hold_versions_and_command_which_do_not_stop_a_continued_run(tmp_path, caplog):
    run(tmp_path)
    saved = json.loads((tmp_path / SETTINGS).read_text("utf-8"))
    assert saved["environment"]["command"] == sys.argv
    assert saved["environment"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    saved["environment"] = {"command": ["other"], "versions": {**saved["environment"]["versions"], "torch": "1.0"}}
    (tmp_path / SETTINGS).write_text(json.dumps(saved), "utf-8")
    run(tmp_path)
    assert "torch 1.0 is now" in caplog.text


def test_weights_have_the_mode_of_other_files(tmp_path):
    run(tmp_path)
    assert (tmp_path / WEIGHTS).stat().st_mode == (tmp_path / SETTINGS).stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_request_to_save_before_the_training_does_not_end_it():
    program = """
import os, signal
from sonjit.lab.training.signals import SaveRequests, ignore_early_saves
ignore_early_saves()
os.kill(os.getpid(), signal.SIGUSR1)
with SaveRequests() as requests:
    os.kill(os.getpid(), signal.SIGUSR1)
    print(requests.take())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


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
    whole = run(tmp_path / "whole", options=options)
    again = run(tmp_path / "cut", options=options)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in whole.state_dict().items())


class Recorder:
    """A tracker of one's own."""

    opened: ClassVar[list["Recorder"]] = []

    def __init__(self, folder, settings, done):
        self.folder, self.done, self.steps, self.images, self.closed = folder, done, [], [], False
        assert settings["optimizer"] == "adamw"
        self.opened.append(self)

    def log(self, step, values):
        self.steps.append((step, values))

    def image(self, step, name, rgb):
        self.images.append((step, name, rgb.shape))

    def close(self):
        self.closed = True


def test_a_logger_of_ones_own_receives_values_and_images(tmp_path):
    Recorder.opened.clear()
    options = TrainingSettings(steps=3, warmup=0, loggers=(f"{__name__}:Recorder",), gradients_every=2)
    train(
        line(), batch, losses, options, out=tmp_path, evaluate=lambda _: {"error": 1.0},
        pictures=lambda _: {"sheet": np.zeros((4, 6, 3), np.uint8)},
    )  # fmt: skip
    (recorder,) = Recorder.opened
    assert [step for step, _ in recorder.steps] == [0, 1, 2, 3]
    assert recorder.steps[0][1] == {"evaluation/error": 1.0}
    assert {"losses/squares", "learning_rate", "evaluation/error"} <= recorder.steps[3][1].keys()
    assert any(name.startswith("layer_gradients/") for name in recorder.steps[2][1])
    assert recorder.images == [(0, "sheet", (4, 6, 3)), (3, "sheet", (4, 6, 3))]
    assert recorder.closed


@pytest.mark.parametrize(
    ("name", "message"), [("tb", "Unknown logger 'tb'. Choose from"), ("json:no", "loggers=json:no")]
)
def test_unknown_loggers_are_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run(tmp_path, options=dataclasses.replace(OPTIONS, loggers=(name,)))


@pytest.mark.slow
def test_mlflow_receives_the_log(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    options = dataclasses.replace(OPTIONS, loggers=("mlflow",))
    with pytest.raises(PowerCutError):
        run(tmp_path / "run", stop_after=7, options=options)
    run(tmp_path / "run", options=options)
    client = mlflow.MlflowClient()
    found = client.get_run((tmp_path / "run" / "mlflow-run-id").read_text())
    assert found.data.params["optimizer"] == "adamw"
    assert {item.step for item in client.get_metric_history(found.info.run_id, "losses/squares")} == set(range(1, 13))


@pytest.mark.slow
def test_wandb_receives_the_log(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(tmp_path / "run", options=dataclasses.replace(OPTIONS, loggers=("wandb",)))
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
