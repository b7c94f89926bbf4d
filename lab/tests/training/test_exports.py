"""Trained files contain what rebuilds their network: loaded again and exported, it has the same held-out metrics."""

from unittest.mock import Mock

import numpy as np
import openvino as ov
import pytest
import torch
from lab.tests.papers.mediapipe_hands.test_masks import rendered  # noqa: F401  # a fixture

from sonjit import InputError, MissingExtraError
from sonjit.cli import main
from sonjit_lab.networks import checkpoints, create_network, export
from sonjit_lab.training import loop, recipes
from sonjit_lab.training.recipes import TrainingRequest, held_out_change, list_recipes, load_recipe, run_recipe

from .test_keypoint_detector import coco

FEW = {"batch": 2, "steps": 2, "workers": 0}
ROOT = {"side": 64, "depth": 10, "width": 8, "channels": 8, "held_out": 4}
MANO = {"mano": "stand-in", "size": "tiny", "clips": 3, "held_out_clips": 2}
SMALL = {
    "cam": {"size": 40},
    "deformer": MANO | {"variant": "ho3d", "discriminator_channels": 8, "learning_rate_factors": {}},
    "hand-masks": {"trunk": "lite", "channels": 8, "size": 96, "held_out": 0.4},
    "handoccnet": MANO,
    "internet": ROOT | {"hidden": 8},
    "palm": {"depth": 1, "channels": [8, 8, 12, 12, 16], "size": 96, "test": ["hands.json"]},
    "rootnet": ROOT,
}
ELSEWHERE = {"face-mesh", "hand-full", "hand-lite", "keypoint-detector", "mask-rcnn"}
"""Recipes whose exported files find something in the tests of the recipe."""
AS_OTHERS = {"hand-heavy", "internet-rhd", "internet-stb", "pose-full", "pose-heavy", "pose-lite"} | {
    *("cam-ilsvrc", "deformer-ho3d", "handoccnet-dexycb", "mask-rcnn-r50", "mask-rcnn-r101"),
}
LARGE = {"deformer", "handoccnet", "hand-masks"}  # that take ten seconds or more each


def run_file(path, names):
    """Return the forward of an exported file, which takes images one by one, and the shapes of its inputs.

    Images of TFLite have their channels last, and its outputs the order of the network's, whose names are given.
    """
    model, run = ov.Core().read_model(path), export._runner(path)
    is_last = path.suffix == ".tflite"

    def moved(value):
        return value[None].movedim(-3, -1).numpy() if is_last and value.ndim > 2 else value[None].numpy()

    def forward(*inputs, **_):
        rows = [run(list(map(moved, row))) for row in zip(*inputs[: len(model.inputs)], strict=True)]
        outputs = names if is_last else [output.get_any_name() for output in model.outputs]
        return {
            name: torch.cat([torch.from_numpy(row[index].copy()) for row in rows]) for index, name in enumerate(outputs)
        }

    shapes = [tuple(value.shape) for value in model.inputs]
    is_moved = [is_last and len(shape) > 3 for shape in shapes]
    return forward, [
        (*one[:-3], one[-1], *one[-3:-1]) if moves else one for one, moves in zip(shapes, is_moved, strict=True)
    ]


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "tflite"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name in LARGE else ()) for name in sorted(SMALL)]
)
def test_a_trained_network_is_the_same_loaded_again_and_exported(name, to, weights, tmp_path, request, monkeypatch):
    if to == "tflite":
        pytest.importorskip(
            "litert_torch", reason="litert-torch is not installed; type: pip install sonjit-lab[tflite]"
        )
    seen = {}

    def train(network, *args, evaluate, saved_module, **options):
        seen.update(network=network, evaluate=evaluate, saved=saved_module(network))
        return loop_train(network, *args, evaluate=evaluate, saved_module=saved_module, **options)

    loop_train = loop.train
    monkeypatch.setattr(loop, "train", train)
    data = None
    if name == "internet":  # the maps of small untrained weights have no clear maximum
        monkeypatch.setattr("sonjit_lab.papers.interhand.internet.init_small_weights", lambda heads: None)
    if name == "hand-masks":
        data = request.getfixturevalue("rendered")
    elif name == "palm":
        data = coco(tmp_path, hidden=())
    own = TrainingRequest(name, tmp_path / "run", data, settings=FEW | SMALL[name], export=to)
    results = run_recipe(own)
    trained, saved = seen["saved"], checkpoints.saved_network(results["weights"])
    more = {"mano": "stand-in"} if "mano" in load_recipe(name).smoke else {}
    again = create_network(saved.name, results["weights"], **more).eval()
    with torch.no_grad():
        names = list(again(*(spec.example() for spec in again.inputs)))
        forward, shapes = run_file(results["export"], names)
        assert shapes == [(1, *spec.shape) for spec in again.inputs]
        values = [seen["evaluate"](seen["network"].cpu().eval())]
        for other in (again.forward, forward):
            mock = Mock(side_effect=other)
            monkeypatch.setattr(trained, "forward", mock)
            values.append(seen["evaluate"](seen["network"]))
            assert mock.called
    for other in values[1:]:
        assert other == pytest.approx(values[0], rel=1e-3, abs=1e-3, nan_ok=True)
    change = held_out_change(own.out)
    assert change.metric == next(iter(values[0]))
    assert change.after == pytest.approx(next(iter(values[0].values())), rel=1e-3, nan_ok=True)


def test_every_recipe_is_exported_or_refuses_before_the_training(tmp_path):
    rest = set(list_recipes()) - set(SMALL) - ELSEWHERE - AS_OTHERS
    assert rest == {"gestures", "hand-heads", "refine", "spelling", "vqa"}
    for name in rest:
        request = TrainingRequest(name, tmp_path / "run", tmp_path, weights="demo", export="onnx")
        with pytest.raises(InputError, match=f"--export does not apply to {name}"):
            recipes.prepare(load_recipe(name), request)


def test_the_needs_of_the_last_step_are_checked_before_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("sonjit._util.extras.find_spec", lambda _: None)
    for more in ({"export": "tflite"}, {"export": "onnx"}, {"settings": {"loggers": "tensorboard"}}):
        with pytest.raises(MissingExtraError, match="pip install"):
            run_recipe(TrainingRequest("rootnet", tmp_path / "run", **more))
    monkeypatch.undo()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert main(["train", "rootnet", "--out", str(tmp_path / "run"), *(f"--set={k}={v}" for k, v in ROOT.items())]) == 1
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.slow
def test_a_training_that_makes_a_network_worse_says_so(tmp_path, capfd):
    words = ["train", "rootnet", *(f"--set={name}={value}" for name, value in (FEW | ROOT).items()), "--require-better"]
    assert main([*words, "--out", str(tmp_path / "a"), "--set=evaluate_first=false"]) == 2
    for number, rate in enumerate(("1e-9", "30")):
        status = main([*words, "--out", str(tmp_path / str(number)), f"--set=learning_rate={rate}", "--set=warmup=0"])
        out, err = capfd.readouterr()
        line = out.splitlines()[-1]
        assert line.startswith("held-out depth_error_mm: ")
        assert line.endswith("(better)" if status == 0 else "(not better)")
        assert ("did not make the network better" in err) == (status == 1)
        change = held_out_change(tmp_path / str(number))
        assert status == int(not change.after < change.before)
    assert status == 1
    assert str(change._replace(before=None)).endswith("(not compared)")
    assert np.isfinite(change.before)
