"""Networks that are fine-tuned to int8."""

import numpy as np
import openvino as ov
import pytest
import torch
from openvino.preprocess import PrePostProcessor

from sonjit import InputError
from sonjit.engines import EngineOptions, load_engine
from sonjit.engines.int8 import Landmarks, Rounding, quantize
from sonjit.lab.networks import InputSpec
from sonjit.lab.networks.export import export_network
from sonjit.lab.networks.mediapipe_hands import HandLandmarkNetwork
from sonjit.lab.training.int8 import FineTuning, rounded_copy

SIDE = 64
LANDMARKS = Landmarks(63, least_presence=0.0)


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = HandLandmarkNetwork("tiny").eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.5)
        network.keypoints.weight.mul_(100)
    return network


@pytest.fixture
def crops():
    coarse = np.random.default_rng(4).integers(0, 256, (6, 1, 8, 8, 3), np.uint8)
    return list(coarse.repeat(8, 2).repeat(8, 3))


@pytest.fixture
def path(network, tmp_path, monkeypatch):
    """Return a file of the network with input (1, H, W, 3), and times for which int8 is faster."""
    monkeypatch.setattr("sonjit.engines.int8._times", lambda *_: (2.0, 1.0))
    path = tmp_path / "points.xml"
    export_network(network, [InputSpec("images", (3, SIDE, SIDE))], path)
    with_layout = PrePostProcessor(ov.Core().read_model(path))
    with_layout.input().tensor().set_layout(ov.Layout("NHWC"))
    with_layout.input().model().set_layout(ov.Layout("NCHW"))
    path = tmp_path / "hand.xml"
    ov.save_model(with_layout.build(), path, compress_to_fp16=False)
    return path


def keypoints(path, crop):
    engine = load_engine(path, EngineOptions(precision="int8", threads=1))
    engine.input[:] = crop
    return np.array(engine.run()[0]).ravel()


@pytest.mark.slow
def test_a_rounded_copy_gives_what_the_engine_gives_and_learns(network, path, crops, monkeypatch):
    monkeypatch.setattr("sonjit.engines.int8._LARGEST_WEIGHTS", (3,))  # so that rounding hurts
    monkeypatch.setattr("sonjit.lab.training.int8._LEARNING_RATE", 1e-2)
    kept = []

    def keep(roundings):
        kept.extend(roundings)
        return [layer.tuned() for layer in rounded_copy(network, roundings)[1]]

    plain = quantize(path, LANDMARKS, crops, crops, shift_px=1e6, tune=keep)
    copy, _ = rounded_copy(network, kept)
    assert len(kept) >= 10
    for crop in crops[:3]:
        values = torch.from_numpy(crop).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            exact, rounded = (one(values)["keypoints"].flatten().numpy() for one in (network, copy))
        assert np.abs(rounded - keypoints(path, crop)).mean() < 0.1 * np.abs(rounded - exact).mean()

    def tune(roundings):
        return FineTuning(20)(network, LANDMARKS, crops, roundings)

    tuned = quantize(path, LANDMARKS, crops, crops, shift_px=1e6, tune=tune)
    assert tuned.f32 == plain.f32
    assert tuned.shift_px < 0.7 * plain.shift_px


def test_a_rounding_of_another_network_is_refused(network):
    none = np.zeros(3, np.float32)
    rounding = Rounding(np.zeros((4, 3, 1, 1), np.float32), 63, signed=False, sizes=none + 1, means=none)
    with pytest.raises(InputError, match=r"rounding 0: no layer of the network has its weights \(4, 3, 1, 1\)"):
        rounded_copy(network, [rounding])
