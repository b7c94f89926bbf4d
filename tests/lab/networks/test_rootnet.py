"""RootNet: outputs and input quirk of the released code, and the depth at which a box has its size."""

import math

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.rootnet import depth_of_box

TINY = network_entry("rootnet").tiny


@pytest.mark.golden
@pytest.mark.files("goldens/networks/rootnet*.npz")
def test_the_released_networks_numbers(file):
    golden = np.load(file)
    gentle = "tame" in file.stem
    network = create_network("rootnet", "demo", input_scale=1 if gentle else 255)
    weights = network.state_dict()
    if gentle:
        for ending, factor in (("bn3.weight", 0.5), ("downsample.1.weight", 0.75)):
            weights |= {key: value * factor for key, value in weights.items() if key.endswith(ending)}
    network.load_official({f"module.{key}": value for key, value in weights.items()})
    seen = {}
    for name in [name.removesuffix(".slice") for name in golden.files if name.endswith(".slice")]:
        part = next(module for key, module in network.named_modules() if key.split(".")[-1] == name)
        part.register_forward_hook(lambda _, __, out, name=name: seen.setdefault(name, out.clone()))
    rng = np.random.default_rng(11)
    pixels = rng.random((2, 3, 8, 8) if gentle else (2, 3, 256, 256)).astype(np.float32)
    if gentle:
        pixels = np.kron(pixels, np.ones((1, 1, 32, 32), np.float32))
    images = network.normalise_crops(torch.from_numpy(pixels))
    np.testing.assert_allclose(images.flatten()[:8], golden["input_first8"], rtol=1e-5)
    at_box = torch.tensor([[depth_of_box((side, side), (1500, 1500))] for side in (220, 180)])
    np.testing.assert_allclose(at_box, golden["k_value"], rtol=1e-6)
    with torch.inference_mode():
        outputs = network.eval()(images, at_box)
    outputs["xy_logits"] = outputs["xy_logits"][:, 0, ::4, ::4]
    for name, value in outputs.items():
        np.testing.assert_allclose(value, golden[name], atol=1e-4 * np.abs(golden[name]).max(), err_msg=name)
    assert len(seen) == sum(name.endswith(".slice") for name in golden.files)
    for name, value in seen.items():
        flat = value.flatten()[:: value.numel() // 64][:64]
        np.testing.assert_allclose(flat, golden[f"{name}.slice"], atol=1e-4 * float(flat.abs().max()), err_msg=name)


def test_the_released_input_is_255_times_as_bright():
    quirk, meant = (create_network("rootnet", input_scale=scale, **TINY) for scale in (255, 1))
    images = torch.rand((1, 3, 2, 2))
    torch.testing.assert_close(quirk.normalise_crops(images), meant.normalise_crops(images * 255))
    with pytest.raises(InputError, match="input_scale=2: must be 255"):
        create_network("rootnet", input_scale=2)


@pytest.mark.parametrize(
    ("k_value", "message"),
    [
        (torch.ones(2), r"k_value has shape \(2,\); expected \(B, 1\) = \(2, 1\)"),
        (torch.ones(2, 2), r"k_value has shape \(2, 2\)"),
        (torch.tensor([[1000.0], [0.0]]), "must be finite and above 0 mm"),
        (torch.tensor([[1000.0], [math.nan]]), "must be finite and above 0 mm"),
    ],
)
def test_depths_of_wrong_shape_or_value_are_refused(k_value, message):
    network = create_network("rootnet", "demo", input_scale=1, **TINY).eval()
    with pytest.raises(InputError, match=message):
        network(torch.zeros(2, 3, 64, 64), k_value)
