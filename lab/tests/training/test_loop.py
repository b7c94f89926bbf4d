"""The training loop: learning, files and errors."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit._util.errors import JobError
from sonjit_lab.networks import load_checkpoint
from sonjit_lab.training import loop

from .small_runs import OPTIONS, batch, line, log_of, losses, run


def test_the_folder_records_the_run(tmp_path):
    network = run(tmp_path / "run")
    lines = [json.loads(text) for text in (tmp_path / "run" / loop.LOG).read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, OPTIONS.steps + 1))
    assert lines[-1]["losses"]["squares"] < lines[0]["losses"]["squares"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == sorted(
        [loop.CHECKPOINT, loop.LOG, loop.SETTINGS, loop.WEIGHTS]
    )
    saved = load_checkpoint(tmp_path / "run" / loop.WEIGHTS)
    assert all(torch.equal(saved[key], value) for key, value in network.state_dict().items())


def test_a_finished_run_is_only_read(tmp_path):
    expected = run(tmp_path / "run")

    def stop(*_):
        raise AssertionError("nothing is left to do")

    given = line()
    loop.train(given, batch, losses, OPTIONS, out=tmp_path / "run", progress=stop)
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in expected.state_dict().items())


def test_other_settings_do_not_resume_a_run(tmp_path):
    run(tmp_path)
    with pytest.raises(
        InputError,
        match=r"contains a run with other settings \(settings.json: learning_rate, .*steps, warmup\)\. Choose",
    ):
        run(tmp_path, options=loop.TrainingSettings(steps=13))


def test_damage_and_failure_are_reported_in_one_line(tmp_path):
    run(tmp_path)
    (tmp_path / loop.CHECKPOINT).write_bytes(b"q")
    with pytest.raises(InputError, match=r"damaged checkpoint .*; remove it to restart"):
        run(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(tmp_path / "file")
    with pytest.raises(JobError, match="step 1: the loss is nan; try a smaller learning rate"):
        loop.train(line(), batch, lambda *_: {"nothing": torch.tensor(float("nan"))}, OPTIONS)


def test_accumulated_batches_are_one_large_batch():
    fixed = batch(np.random.default_rng(0))
    halves = iter([tuple(part[:8] for part in fixed), tuple(part[8:] for part in fixed)])
    options = {"steps": 1, "learning_rate": 0.1, "warmup": 0, "optimizer": "sgd", "clip_norm": 100.0}
    torch.manual_seed(1)
    networks = [torch.nn.Linear(3, 1) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    loop.train(networks[0], lambda _: fixed, losses, loop.TrainingSettings(**options))
    loop.train(networks[1], lambda _: next(halves), losses, loop.TrainingSettings(**options, accumulate=2))
    torch.testing.assert_close(networks[0].weight, networks[1].weight)


def test_what_is_frozen_stays_and_the_rest_learns():
    network = line()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    run(None, network=network, options=loop.TrainingSettings(steps=3, warmup=0, freeze=("0", "2")))
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == (not key.startswith("3")), key
    with pytest.raises(InputError, match=r"freeze=4: no weight name starts with it\. Choose from 0, 2, 3"):
        run(None, options=loop.TrainingSettings(steps=3, freeze=("4",)))
    with pytest.raises(InputError, match="no weights are left to train"):
        run(None, options=loop.TrainingSettings(steps=3, freeze=("0", "2", "3")))


def test_the_best_is_kept_and_evaluation_leaves_no_trace(tmp_path):
    metrics = iter([3.0, 1.0, 2.0])
    seen = []

    def evaluate(network):
        assert not any(module.training for module in network.modules())
        torch.rand(3)
        seen.append(network[0].weight.clone())
        return {"error": next(metrics)}

    options = loop.TrainingSettings(steps=12, learning_rate=1e-2, warmup=2, evaluate_every=5, evaluate_first=False)
    judged, plain = line(), line()
    assert loop.train(judged, batch, losses, options, out=tmp_path, evaluate=evaluate) == {"error": 2.0}
    assert loop.train(plain, batch, losses, loop.TrainingSettings(steps=12, learning_rate=1e-2, warmup=2)) == {}
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in judged.state_dict().items())
    assert torch.equal(load_checkpoint(tmp_path / loop.BEST)["0.weight"], seen[1])
    rows = [json.loads(text) for text in (tmp_path / loop.LOG).read_text("utf-8").splitlines()]
    assert [(row["step"], row["evaluation"]["error"]) for row in rows if "evaluation" in row] == [
        (5, 3.0), (10, 1.0), (12, 2.0),
    ]  # fmt: skip


def test_bf16_learns_too_and_keeps_float32():
    network = run(None, options=loop.TrainingSettings(steps=40, learning_rate=2e-2, warmup=0, precision="bf16"))
    values, targets = batch(np.random.default_rng(9))
    assert network[0].weight.dtype == torch.float32
    assert ((network.eval()(values) - targets) ** 2).mean() < ((line().eval()(values) - targets) ** 2).mean() / 2


def test_gradients_by_layer_are_logged_and_a_broken_one_is_reported(tmp_path):
    run(tmp_path, options=loop.TrainingSettings(steps=12, gradients_every=4))
    rows = [json.loads(text) for text in (tmp_path / loop.LOG).read_text("utf-8").splitlines()]
    assert [row["step"] for row in rows if "layer_gradients" in row] == [4, 8, 12]
    assert list(rows[3]["layer_gradients"]) == ["0", "3"]
    with pytest.raises(JobError, match="step 1: the gradient is "):
        loop.train(line(), batch, lambda net, _: {"root": (0 * net[0].weight).sum().sqrt()}, OPTIONS)


def test_a_run_without_progress_ends_early_and_stays_ended(tmp_path):
    options = loop.TrainingSettings(
        steps=100, learning_rate=1e-2, warmup=0, evaluate_every=3, patience=2, save_every=50, evaluate_first=False
    )
    seen = []

    def evaluate(network):
        seen.append(network[0].weight.clone())
        return {"right": 5.0 - abs(len(seen) - 2), "other": 1.0}

    for times in (4, 4):
        network = line()
        results = loop.train(network, batch, losses, options, out=tmp_path, evaluate=evaluate, higher_is_better=True)
        assert results == {"right": 3.0, "other": 1.0}
        assert len(seen) == times
        assert torch.equal(network[0].weight, seen[-1])
    assert [row["step"] for row in log_of(tmp_path)] == list(range(1, 13))
    assert torch.equal(load_checkpoint(tmp_path / loop.BEST)["0.weight"], seen[1])


def test_what_would_have_no_effect_is_refused():
    with pytest.raises(InputError, match="patience=2 requires evaluate_every"):
        loop.TrainingSettings(patience=2)
    with pytest.raises(InputError, match="apply only to recipes that evaluate during training"):
        loop.train(line(), batch, losses, loop.TrainingSettings(evaluate_every=2))


def test_batch_norms_of_training_are_folded_in_what_is_kept(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(4, 1))
    loop.add_batch_norms(network)
    loop.scale_head(network, "2", 10.0)

    def in_images(model, data):
        return losses(lambda values: model(values[..., None, None]), data)

    loop.train(
        network, batch, in_images, OPTIONS, out=tmp_path, evaluate=lambda model: {"bias": model[2].head.bias.item()}
    )
    values = torch.rand(5, 3, 1, 1)
    expected = network.eval()(values)
    loop.fold(network)
    for file in (loop.WEIGHTS, loop.BEST):
        kept = load_checkpoint(tmp_path / file)
        assert kept.keys() == network.state_dict().keys()
    network.load_state_dict(load_checkpoint(tmp_path / loop.WEIGHTS))
    torch.testing.assert_close(network(values), expected)


def test_compiled_networks_learn_the_same(monkeypatch):
    """Trace the network for a backend that needs no compiler of C++."""
    used, compile_with = [], torch.compile

    def traced(network):
        used.append(network)
        return compile_with(network, backend="aot_eager")

    torch.manual_seed(1)
    plain, compiled = (torch.nn.Linear(3, 1) for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", traced)
        for network, compiles in ((plain, False), (compiled, True)):
            run(None, network=network, options=loop.TrainingSettings(steps=5, warmup=0, compile=compiles))
    assert len(used) == 1
    torch.testing.assert_close(compiled.weight, plain.weight)


@pytest.mark.slow
def test_a_missing_compiler_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    with pytest.raises(JobError, match=r"compile=true failed .*set compile=false"):
        run(None, options=loop.TrainingSettings(steps=5, compile=True))


def test_metrics_before_training_are_logged_and_pictures_follow_each_evaluation(tmp_path):
    reported, drawn = [], []

    def pictures(network):
        assert not network.training
        drawn.append(network[0].weight.clone())
        return {"weights": np.full((4, 4, 3), 10 * len(drawn), np.uint8)}

    fixed, network = batch(np.random.default_rng(3)), line()
    before = network[0].weight.clone()
    options = loop.TrainingSettings(steps=6, learning_rate=1e-2, warmup=0, evaluate_every=4)
    loop.train(
        network, batch, losses, options, out=tmp_path,
        progress=lambda *values: reported.append(values), pictures=pictures,
        evaluate=lambda model: {"error": losses(model, fixed)["squares"].item()},
    )  # fmt: skip
    rows = [json.loads(text) for text in (tmp_path / loop.LOG).read_text("utf-8").splitlines()]
    assert [index for index, row in enumerate(rows) if "evaluation_before" in row] == [0]
    assert reported[0] == (0, 6, {"validation error": rows[0]["evaluation_before"]["error"]})
    assert [done for done, _, values in reported if "validation error" in values] == [0, 4, 6]
    assert len(drawn) == 3
    assert torch.equal(drawn[0], before)
    assert torch.equal(drawn[2], network[0].weight)
    assert (cv2.imread(str(tmp_path / "images" / "weights.png")) == 30).all()


def test_settings_hold_versions_and_command_which_do_not_stop_a_continued_run(tmp_path, caplog):
    run(tmp_path)
    saved = json.loads((tmp_path / loop.SETTINGS).read_text("utf-8"))
    assert saved["environment"]["command"] == sys.argv
    assert saved["environment"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    saved["environment"] = {"command": ["other"], "versions": {**saved["environment"]["versions"], "torch": "1.0"}}
    (tmp_path / loop.SETTINGS).write_text(json.dumps(saved), "utf-8")
    run(tmp_path)
    assert "torch 1.0 is now" in caplog.text
