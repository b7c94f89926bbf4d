"""Classifiers the whole way, on made data in the official layouts: training, evaluation, report.

What the report says is compared with the official formulas, worked out here on their own from the network's outputs.
"""

import json

import cv2
import numpy as np
import pytest
import torch
import torchvision
from scipy import ndimage

from sonjit.cli import main
from sonjit.lab.datasets import open_dataset
from sonjit.lab.networks import create_network, load_checkpoint

from .drawn_sets import write_cub, write_ilsvrc

SIZE = 48


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return {"cub200": write_cub(root / "cub", 36), "ilsvrc-loc": write_ilsvrc(root / "ilsvrc", 10)}


@pytest.fixture(scope="module")
def runs(sets, tmp_path_factory):
    """Train a few steps on each data set with both poolings."""
    root = tmp_path_factory.mktemp("runs")
    for name, dataset, pooling in (("gap", "cub200", "gap"), ("gmp", "cub200", "gmp"), ("loc", "ilsvrc-loc", "gap")):
        settings = {"dataset": dataset, "size": SIZE, "steps": 12, "batch": 8, "pooling": pooling, "warmup": 2}
        typed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        assert main(["train", "cam", "--data", str(sets[dataset]), "--out", str(root / name), *typed]) in (0, None)
    return root


def run_eval(protocol, root, weights, out, *options, model="cam-small"):
    """Run `sonjit eval`; return the metrics by name, and the record."""
    arguments = ["--model", model, "--weights", weights, "--root", root, "--out", out, *options]
    assert main(["eval", "--protocol", protocol, *map(str, arguments)]) == 0
    record = json.loads((out / "eval.json").read_text("utf-8"))
    (run,) = record["runs"]
    return {metric["name"]: metric["value"] for metric in run["metrics"]}, record


class Independent:
    """Independent implementation of the paper's steps on the raw outputs of the network."""

    def __init__(self, weights, pooling):
        state = load_checkpoint(weights / "weights.safetensors")
        self.network = create_network("cam-small", classes=len(state["head.bias"]), pooling=pooling).eval()
        self.network.load_state_dict(state)
        self.head = state["head.weight"].numpy().astype(np.float64)
        self.bias = state["head.bias"].numpy().astype(np.float64)
        self.pool = {"gap": lambda f: f.mean((1, 2)), "gmp": lambda f: f.max((1, 2))}[pooling]

    def scores_and_maps(self, rgb):
        small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        images = torch.from_numpy(small.transpose(2, 0, 1)[None])
        with torch.no_grad():
            features = self.network(images)["features"][0].numpy().astype(np.float64)  # (K, h, w)
        scores = self.head @ self.pool(features) + self.bias
        maps = (self.head[:, :, None, None] * features[None]).sum(1)
        return scores, [cv2.resize(target_map, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR) for target_map in maps]

    def saliency(self, rgb, label):
        small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        images = torch.from_numpy(small.transpose(2, 0, 1)[None]).requires_grad_()
        self.network(images)["scores"][0, label].backward()
        values = np.abs(images.grad[0].numpy()).max(0)
        return cv2.resize(values, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def largest_part(values, share):
    if values.max() <= 0:
        return None
    parts, count = ndimage.label(values > share * values.max(), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
    rows, columns = np.nonzero(parts == 1 + sizes.argmax())
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def iou(a, b):
    if a is None:
        return 0
    inside = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def official_errors(independent, data, by="cam", view="full", cropper=None):
    """Return the errors by Russakovsky et al. 2015, section 4.2: the minimum over the first k guesses of each image."""
    wrong = {f"{what}_error_{top}": [] for what in ("localization", "classification") for top in (1, 5)}
    wrong["localization_error_any"] = []
    for sample in data:
        rgb = sample.rgb()
        label, true = sample.instances[0].category_id, [instance.box for instance in sample.instances]
        left, top_edge = 0, 0
        if view != "full":
            scores, maps = (cropper or independent).scores_and_maps(rgb)
            area = true[0] if view == "box" else largest_part(maps[scores.argmax()], 0.2) or (0, 0, *rgb.shape[1::-1])
            left, top_edge, right, bottom = (round(edge) for edge in area)
            rgb = np.ascontiguousarray(rgb[top_edge:bottom, left:right])
        scores, maps = independent.scores_and_maps(rgb)
        order = (-scores).argsort()[:5].tolist()
        if by == "backprop":
            guesses = [(one, largest_part(independent.saliency(rgb, one), 0.2)) for one in order]
        elif by == "cam":
            guesses = [(one, largest_part(maps[one], 0.2)) for one in order]
        else:  # tight and loose of the first two classes, loose of the third
            shares = [(order[0], 0.5), (order[0], 0.2), (order[1], 0.5), (order[1], 0.2), (order[2], 0.2)]
            guesses = [(one, box) for one, share in shares if (box := largest_part(maps[one], share)) is not None]
            guesses = [guess for index, guess in enumerate(guesses) if guess not in guesses[:index]]
        moved = [
            (one, box and (box[0] + left, box[1] + top_edge, box[2] + left, box[3] + top_edge)) for one, box in guesses
        ]
        for count in (1, 5):
            wrong[f"classification_error_{count}"].append(label not in order[:count])
            hit = any(one == label and any(iou(box, t) >= 0.5 for t in true) for one, box in moved[:count])
            wrong[f"localization_error_{count}"].append(not hit)
        wrong["localization_error_any"].append(not any(iou(moved[0][1], t) >= 0.5 for t in true))
    return {name: 100 * float(np.mean(values)) for name, values in wrong.items()}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["cam", "backprop", "heuristics"])
def test_imagenets_localization_end_to_end(by, sets, runs, tmp_path):
    ours, record = run_eval("ilsvrc-loc", sets["ilsvrc-loc"], runs / "loc", tmp_path, "--localize-by", by)
    data = open_dataset("ilsvrc-loc", sets["ilsvrc-loc"], "val")
    assert ours == pytest.approx(official_errors(Independent(runs / "loc", "gap"), data, by), abs=1e-6)
    assert record["model"]["settings"] == {"pooling": "gap", "localize_by": by, "view": "whole image"}
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "| VGGnet | weak |" in report
    assert "| OverFeat | full |" in report
    assert f"| Sonjit: cam-small, gap, {by}, whole image, reacquisition | weak |" in report


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "view"), [("gap", "full"), ("gmp", "crop"), ("gap", "box")])
def test_birds_end_to_end(pooling, view, sets, runs, tmp_path):
    ours, record = run_eval("cub200", sets["cub200"], runs / pooling, tmp_path, "--view", view)
    data = open_dataset("cub200", sets["cub200"], "test")
    assert ours == pytest.approx(official_errors(Independent(runs / pooling, pooling), data, view=view), abs=1e-6)
    assert record["model"]["settings"]["pooling"] == pooling  # from the checkpoint, without an option
    assert record["runs"][0]["mode"] == ("ground-truth boxes" if view == "box" else "reacquisition")
    assert "GoogLeNet-GAP on the crop | weak | 32.20" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.slow
def test_the_papers_protocol_trains_a_linear_layer_on_the_first_networks_crops(sets, runs, tmp_path):
    run = tmp_path / "crops"
    settings = {"dataset": "cub200", "size": SIZE, "steps": 3, "batch": 4, "view": "crop", "freeze": "backbone"}
    typed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    data = ["--data", str(sets["cub200"]), "--weights", str(runs / "gap"), "--out", str(run)]
    assert main(["train", "cam", *data, *typed]) in (0, None)
    first, second = (load_checkpoint(folder / "weights.safetensors") for folder in (runs / "gap", run))
    changed = {
        key for key in first if "num_batches" not in key and "running" not in key and not first[key].equal(second[key])
    }
    assert changed == {"head.weight", "head.bias"}
    ours, record = run_eval("cub200", sets["cub200"], run, tmp_path / "eval")
    assert record["model"]["settings"]["view"] == "crop by the map"
    test = open_dataset("cub200", sets["cub200"], "test")
    cropper = Independent(runs / "gap", "gap")
    expected = official_errors(Independent(run, "gap"), test, view="crop", cropper=cropper)
    assert ours == pytest.approx(expected, abs=1e-6)


def test_a_checkpoint_without_its_pooling_requires_the_option(tmp_path, sets, capsys):
    torch.save(create_network("cam-small", "demo", classes=4).state_dict(), tmp_path / "weights.pt")
    arguments = ["--model", "cam-small", "--weights", str(tmp_path / "weights.pt"), "--limit", "1"]
    common = ["eval", "--protocol", "cub200", "--root", str(sets["cub200"]), "--out", str(tmp_path / "e"), *arguments]
    assert main(common) == 2
    assert "set --pooling gap (mean) or gmp" in capsys.readouterr().err
    assert main([*common, "--pooling", "gmp"]) == 0
    record = json.loads((tmp_path / "e" / "eval.json").read_text("utf-8"))
    assert record["model"]["settings"]["pooling"] == "gmp"


@pytest.mark.parametrize(
    ("name", "official", "options"),
    [
        ("fc-alexnet", "alexnet", {}),
        ("fc-vgg16", "vgg16", {"init_weights": False}),
        ("cam-googlenet-whole", "googlenet", {"init_weights": False}),
    ],
)
@pytest.mark.slow
def test_all_of_torchvisions_networks_loads(name, official, options):
    """Check keys and shapes without allocating the weights."""
    with torch.device("meta"):
        made, theirs = create_network(name), getattr(torchvision.models, official)(weights=None, **options)
    shapes = {key: value.shape for key, value in made.from_official(theirs.state_dict()).items()}
    assert shapes == {key: value.shape for key, value in made.state_dict().items()}
