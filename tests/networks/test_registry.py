"""Every registered network keeps the same promises; a tiny twin stands in for each."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sonjit import InputError
from sonjit.networks import (
    InputSpec,
    NetworkEntry,
    create_network,
    list_networks,
    load_checkpoint,
    network_entry,
    register,
    save_checkpoint,
)
from sonjit.networks.describe import describe_network
from sonjit.networks.export import MOST_DIFFERENT

NAMES = list_networks()
CHOOSING = {"mask-rcnn", "mask-rcnn-v2"}
"""Networks that pick out part of the image, and whose forward has no gradient for that."""


def distinct_twins():
    """One name for each tiny twin that several networks share."""
    seen = {}
    for name in NAMES:
        entry = network_entry(name)
        network = entry.build(**entry.tiny)
        shapes = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
        seen.setdefault((type(network), shapes), name)
    return list(seen.values())


TWINS = distinct_twins()
every_network = pytest.mark.parametrize("name", NAMES)
every_twin = pytest.mark.parametrize("name", TWINS)
one_twin_of_a_class = pytest.mark.parametrize(
    "name", {type(network_entry(name).build(**network_entry(name).tiny)): name for name in reversed(TWINS)}.values()
)
every_plain_twin = pytest.mark.parametrize("name", [name for name in TWINS if name not in CHOOSING])


def inputs_of(name):
    entry = network_entry(name)
    return entry.tiny_inputs or entry.inputs


def twin(name, weights="demo"):
    """The tiny twin of a network, in eval."""
    return create_network(name, weights, **network_entry(name).tiny).eval()


def run(network, *images):
    with torch.inference_mode():
        return network(*images)


def examples(name, batch=1, seed=0):
    return [spec.example(batch, seed) for spec in inputs_of(name)]


def assert_same(given, wanted, tolerance=0.0):
    assert given.keys() == wanted.keys()
    for key, value in wanted.items():
        scale = max(float(value.abs().max()), 1.0) if value.numel() else 1.0
        torch.testing.assert_close(
            given[key], value, rtol=0, atol=tolerance * scale, msg=lambda text, k=key: f"{k}: {text}"
        )


@every_twin
def test_outputs_are_named_finite_and_the_same_every_time(name):
    network = twin(name)
    outputs = run(network, *examples(name, 2))
    assert outputs
    for key, value in outputs.items():
        assert key.isidentifier()
        assert len(value) == 2 * len(run(network, *examples(name))[key])  # deformer has seven frames in one
        assert value.isfinite().all()
    assert_same(run(network, *examples(name, 2)), outputs)
    assert_same(run(twin(name), *examples(name, 2)), outputs)


@every_twin
def test_a_batch_of_two_is_two_of_one(name):
    network = twin(name)
    together = run(network, *examples(name, 2))
    apart = [run(network, *(image[i : i + 1] for image in examples(name, 2))) for i in range(2)]
    # What weights that mean nothing make of rounding grows from step to step where one network follows another.
    tolerance = 1e-2 if name in CHOOSING else 1e-4
    assert_same({key: torch.cat([one[key] for one in apart]) for key in together}, together, tolerance)


@every_twin
def test_layers_in_another_memory_layout_give_the_same(name):
    network = twin(name)
    wanted = run(network, *examples(name, 2))
    network.to(memory_format=torch.channels_last)
    assert_same(run(network, *examples(name, 2)), wanted, 1e-3)


@every_plain_twin
def test_a_step_down_the_gradient_lowers_the_loss_on_32_crops(name):
    torch.manual_seed(0)
    network = twin(name, None).train()
    images = examples(name, 32)
    targets = run(twin(name), *images)
    floating = [key for key, value in targets.items() if value.is_floating_point()]

    def loss():
        torch.manual_seed(0)  # of dropout
        outputs = network(*images)
        return sum(((outputs[key] - targets[key]) ** 2).mean() for key in floating)

    before = loss()
    before.backward()
    parameters = [value for value in network.parameters() if value.grad is not None]
    begin = [(value, value.detach().clone(), value.grad.clone()) for value in parameters]
    steepness = sum(float(gradient.square().sum()) for _, _, gradient in begin)
    assert steepness > 0
    with torch.no_grad():
        for part in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):  # of the loss, if the slope stayed as it is
            for value, origin, gradient in begin:
                value.copy_(origin - part * before / steepness * gradient)
            if loss() < before:
                return
    pytest.fail(f"the loss of {name} does not fall")


@every_twin
def test_weights_go_out_and_come_in(name, tmp_path):
    network = twin(name)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(network, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = twin(name, path)
    own = network.state_dict()
    assert own.keys() == load_checkpoint(path).keys()
    assert all(torch.equal(value, own[key]) for key, value in again.state_dict().items())
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in own.items()}}, tmp_path / "old.pt")
    assert_same(run(twin(name, tmp_path / "old.pt"), *examples(name)), run(network, *examples(name)))


@one_twin_of_a_class
def test_the_export_gives_the_same(name, exported_twin):
    exported = exported_twin(name)
    assert list(exported.differences) == list(run(twin(name), *examples(name)))
    assert all(value <= MOST_DIFFERENT for value in exported.differences.values())
    assert [file.name for file in exported.path.parent.iterdir()] == ["net.onnx"]
    assert exported.size == exported.path.stat().st_size


@every_network
def test_facts_are_those_of_the_network(name):
    facts, entry = describe_network(name), network_entry(name)
    with torch.device("meta"):
        network = entry.build()
    assert facts.parameters == sum(value.numel() for value in network.parameters() if value.requires_grad)
    assert facts.flops > 0
    assert facts.inputs == entry.inputs
    assert facts.summary
    assert facts.source
    assert facts.licence
    assert facts.weights


def test_a_multiply_add_counts_as_two():
    facts = describe_network("hand-lite")
    with FlopCounterMode(display=False) as counter:
        run(torch.nn.Linear(5, 7, bias=False), torch.ones(1, 5))
    assert counter.get_total_flops() == 2 * 5 * 7
    assert facts.flops > 2 * facts.parameters  # every weight is used, most of them at many places


@every_network
def test_weights_of_another_network_are_refused_and_named(name, tmp_path):
    other = NAMES[(NAMES.index(name) + 1) % len(NAMES)]
    with torch.device("meta"):
        network, another = (network_entry(one).build() for one in (name, other))
    if {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in another.state_dict().items()}:
        pytest.skip(f"{name} and {other} have the same weights")
    weights = {key: torch.zeros(()).expand(value.shape) for key, value in another.state_dict().items()}
    network.name = name
    with pytest.raises(InputError, match=f"do not fit {name}") as caught:
        network.load_official(weights)
    said = str(caught.value)
    assert any(word in said for word in ("missing", "unexpected", "of another shape"))
    assert "it looks like" in said
    assert "\n" not in said


def test_unknown_names_and_options_say_what_is_known():
    with pytest.raises(InputError, match=r"unknown network 'hand-huge'; known: .*hand-full"):
        create_network("hand-huge")
    with pytest.raises(InputError, match=r"hand-full: unknown option 'joints'; known: .*keypoints"):
        create_network("hand-full", joints=21)
    assert list_networks("hand-*") == ["hand-full", "hand-heavy", "hand-lite"]
    assert list_networks("nothing*") == []


def test_a_name_is_registered_once():
    entry = network_entry("hand-full")
    with pytest.raises(ValueError, match="registered twice"):
        register(entry)


def test_inputs_are_the_same_for_the_same_seed():
    spec = InputSpec("images", (3, 4, 5), -1.0, 1.0)
    first, again, other = spec.example(2, 1), spec.example(2, 1), spec.example(2, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (2, 3, 4, 5)
    assert first.min() < -0.5
    assert first.max() > 0.5
    assert first.abs().max() <= 1


def test_entries_can_be_told_as_json():
    for name in NAMES:
        entry = network_entry(name)
        assert isinstance(entry, NetworkEntry)
        assert json.dumps(dict(entry.tiny))
