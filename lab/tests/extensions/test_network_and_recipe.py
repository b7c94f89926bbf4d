"""A registered network and recipe of an extension work in every public interface."""

import json
import sys

import pytest
from lab.tests.networks.properties import (
    check_batches,
    check_outputs,
    check_weights,
    check_wrong_inputs,
)

from sonjit.cli import main
from sonjit_lab.networks import create_network, list_networks, registry

MODULE = """
from dataclasses import dataclass

import torch
from torch import nn

from sonjit_lab.networks import InputSpec, Network, NetworkEntry, create_network, register
from sonjit_lab.training.loop import WEIGHTS, TrainingSettings, train
from sonjit_lab.training.recipes import settings_from


class Toy(Network):
    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, channels, 3)

    def forward(self, images):
        return {"mean": self.layer(images).mean((2, 3))}


register(
    NetworkEntry(
        "toy", Toy, "the mean colour", "nobody", "none", (InputSpec("images", (3, 8, 8)),), tiny={"channels": 2}
    )
)


@dataclass(frozen=True)
class ToySettings(TrainingSettings):
    channels: int = 4


def train_toy(request):
    settings = settings_from(ToySettings, request.settings)
    network = create_network("toy", request.weights, channels=settings.channels)
    train(
        network,
        lambda rng: torch.from_numpy(rng.random((4, 3, 8, 8), "float32")),
        lambda model, images: {"mean": model(images)["mean"].square().mean()},
        settings,
        out=request.out,
        inputs=request.inputs(),
        progress=request.progress,
    )
    return {"weights": request.out / WEIGHTS}
"""
RECIPE = """
summary = "the mean colour"
function = "toy_plugin:train_toy"
settings_class = "toy_plugin:ToySettings"
data = "random colours"

[smoke]
steps = 3
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Return a recipe whose module registers the toy network. Both are removed afterwards."""
    list_networks()  # those of the package, which stay
    (tmp_path / "toy_plugin.py").write_text(MODULE, "utf-8")
    (tmp_path / "toy.toml").write_text(RECIPE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SONJIT_EXTENSIONS", "toy_plugin")
    yield tmp_path / "toy.toml"
    registry._ENTRIES.pop("toy", None)
    sys.modules.pop("toy_plugin", None)


@pytest.mark.slow
def test_a_user_defined_network_and_recipe(recipe, tmp_path, capfd):
    out = tmp_path / "run"
    assert main(["train", str(recipe), "--smoke", "--out", str(out), "--set", "channels=5"]) == 0
    assert (out / "report.html").exists()
    weights = out / "weights.safetensors"
    assert create_network("toy", weights, channels=5).layer.out_channels == 5
    capfd.readouterr()
    assert main(["networks", "toy", "--json"]) == 0
    (facts,) = json.loads(capfd.readouterr().out)
    assert facts["parameters"] == 4 * (3 * 9 + 1)
    exported = tmp_path / "toy.onnx"
    assert main(["export", "toy", "--weights", str(weights), "--set", "channels=5", "--out", str(exported)]) == 0
    assert exported.stat().st_size > 0
    for check in (check_outputs, check_batches, check_wrong_inputs):
        check("toy")
    (tmp_path / "kept").mkdir()
    check_weights("toy", tmp_path / "kept")
