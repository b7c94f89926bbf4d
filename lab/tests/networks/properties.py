"""Properties of every registered network, tested on a tiny twin of each."""

import re
from functools import cache

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit_lab.networks import create_network, list_networks, load_checkpoint, network_entry, save_checkpoint

CHOOSING = {"mask-rcnn", "mask-rcnn-v2"}
"""Networks that pick out part of the image, and whose forward has no gradient for that."""

FOREIGN_OPTIONS = {"deformer": {"variant": "ho3d"}}
"""Options that a checkpoint with other keys than Sonjit's requires, because it does not define them."""


def inputs_of(name):
    entry = network_entry(name)
    return entry.tiny_inputs or entry.inputs


def twin(name, weights="demo", **options):
    """Return the tiny twin of a network in evaluation mode."""
    return create_network(name, weights, **{**network_entry(name).tiny, **options}).eval()


def run(network, *inputs, **options):
    with torch.inference_mode():
        return network(*inputs, **options)


def examples(name, batch=1, seed=0):
    return [spec.example(batch, seed) for spec in inputs_of(name)]


@cache
def networks_by_class():
    """Return the first registered name of each network class."""
    entries = {name: network_entry(name) for name in reversed(list_networks())}
    with torch.device("meta"):  # without weights
        return {type(entry.build(**entry.tiny)): name for name, entry in entries.items()}


def golden_noise(count, side, blocks):
    """Return the images (N, 3, side, side) of the references: noise, or blocks of 32 pixels."""
    rng = np.random.default_rng(11)
    if not blocks:
        return torch.from_numpy(rng.random((count, 3, side, side)).astype(np.float32))
    small = rng.random((count, 3, side // 32, side // 32)).astype(np.float32)
    return torch.from_numpy(np.kron(small, np.ones((1, 1, 32, 32), np.float32)))


def tamed(weights, factors):
    """Return weights times the factor of the first pattern in their key; counters stay."""
    return {
        key: value * next((by for pattern, by in factors if re.search(pattern, key)), 1)
        if value.is_floating_point() else value
        for key, value in weights.items()
    }  # fmt: skip


def watch(network, places):
    """Record the outputs of parts of a network by the names of the reference."""
    seen = {}

    def keep(name, out):
        seen[name] = out.clone() if isinstance(out, torch.Tensor) else out

    for name, place in places.items():
        network.get_submodule(place).register_forward_hook(lambda *call, n=name: keep(n, call[2]))
    return seen


def assert_near(given, expected, scale=None, tolerance=1e-3):
    """Check that arrays differ by at most a part of a scale, the greatest value by default."""
    expected = np.asarray(expected, np.float64)
    limit = tolerance * max(abs(expected).max() if scale is None else abs(scale), 1e-9)
    assert abs(np.asarray(given, np.float64) - expected).max() <= limit


def assert_same(given, expected, tolerance=0.0):
    assert given.keys() == expected.keys()
    for key, value in expected.items():
        scale = max(float(value.abs().max()), 1.0) if value.numel() else 1.0
        torch.testing.assert_close(
            given[key], value, rtol=0, atol=tolerance * scale, msg=lambda text, k=key: f"{k}: {text}"
        )


def wrong_inputs(spec):
    """Return invalid inputs in place of an input, by their fault."""
    value = spec.example(2)
    wrong = {"without a batch": value[0], "an axis more": value[None], "NumPy": value.numpy()}
    if len(spec.shape) > 2:
        wrong |= {
            "nothing": None,
            "bytes": (255 * value).to(torch.uint8),
            "two channels": value[..., :2, :, :],
            "four channels": torch.cat([value, value[..., :1, :, :]], -3),
            "channels last": value.movedim(-3, -1),
            "no pixels": value[..., :0, :],
        }
    return wrong


def check_outputs(name):
    """Check it also with weights in another memory layout."""
    network = twin(name)
    outputs = run(network, *examples(name, 2))
    assert outputs
    for key, value in outputs.items():
        assert key.isidentifier()
        assert len(value) == 2 * len(run(network, *examples(name))[key])  # deformer has seven frames in one
        assert value.isfinite().all()
    assert_same(run(network, *examples(name, 2)), outputs)
    assert_same(run(twin(name), *examples(name, 2)), outputs)
    network.to(memory_format=torch.channels_last)
    assert_same(run(network, *examples(name, 2)), outputs, 1e-3)


def check_batches(name):
    """Check that a batch of two gives the outputs of two batches of one."""
    network = twin(name)
    together = run(network, *examples(name, 2))
    apart = [run(network, *(image[i : i + 1] for image in examples(name, 2))) for i in range(2)]
    # What weights that mean nothing make of rounding grows from step to step where one network follows another.
    tolerance = 1e-2 if name in CHOOSING else 1e-4
    assert_same({key: torch.cat([one[key] for one in apart]) for key in together}, together, tolerance)


def check_wrong_inputs(name):
    """Check that inputs of another type, rank or channel count are refused in one line that names the input."""
    network, inputs = twin(name), examples(name, 2)
    for index, spec in enumerate(inputs_of(name)):
        for wrong, value in wrong_inputs(spec).items():
            by_name = {spec.name: value} | {
                other.name: inputs[i] for i, other in enumerate(inputs_of(name)) if i != index
            }
            for run_it in (
                lambda i=index, v=value: run(network, *inputs[:i], v, *inputs[i + 1 :]),
                lambda given=by_name: network(**given),
            ):
                with pytest.raises(InputError) as error:
                    run_it()
                assert spec.name in str(error.value), wrong


def check_weights(name, tmp_path):
    """Check that weights are saved and loaded as safetensors and as a training checkpoint."""
    network = twin(name)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(network, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = twin(name, path)
    own = network.state_dict()
    assert own.keys() == load_checkpoint(path).keys()
    assert all(torch.equal(value, own[key]) for key, value in again.state_dict().items())
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in own.items()}}, tmp_path / "old.pt")
    again = twin(name, tmp_path / "old.pt", **FOREIGN_OPTIONS.get(name, {}))
    assert_same(run(again, *examples(name)), run(network, *examples(name)))
