"""Every registered network has the common properties, tested on a tiny twin of each."""

import json
from fnmatch import fnmatch

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sonjit import InputError
from sonjit.lab.networks import (
    InputSpec,
    NetworkEntry,
    create_network,
    list_networks,
    network_entry,
    register,
)
from sonjit.lab.networks.registry import describe_network
from sonjit.weights.catalog import NOT_FETCHED

from .properties import (
    CHOOSING,
    check_any_image,
    check_batches,
    check_gradient,
    check_memory_layouts,
    check_outputs,
    check_weights,
    check_wrong_inputs,
    examples,
    inputs_of,
    networks_by_class,
    run,
    twin,
)

NAMES = list_networks()


def distinct_twins():
    """Return one name for each tiny twin that several networks share."""
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
one_of_a_class = pytest.mark.parametrize("name", networks_by_class().values())
every_plain_twin = pytest.mark.parametrize("name", [name for name in TWINS if name not in CHOOSING])


@pytest.mark.slow
@every_twin
def test_outputs_are_named_finite_and_the_same_every_time(name):
    check_outputs(name)


@pytest.mark.slow
@every_twin
def test_a_batch_of_two_is_two_of_one(name):
    check_batches(name)


@every_network
def test_wrong_inputs_are_refused_in_a_line_that_names_the_input(name):
    check_wrong_inputs(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in networks_by_class().values() if name != "motion-discriminator"])
@settings(max_examples=12, deadline=None)
@given(st.integers(1, 144), st.integers(1, 144), st.sampled_from([torch.float32] * 3 + [torch.float64, torch.float16]))
@example(64, 64, torch.float32)
@example(33, 33, torch.float32)
@example(1, 1, torch.float32)
@example(96, 128, torch.float32)
@example(64, 64, torch.float64)
def test_images_of_any_size_and_type_are_read_or_refused(name, height, width, dtype):
    check_any_image(name, height, width, dtype)


@one_of_a_class
def test_a_missing_first_input_is_refused(name):
    (first, *_), inputs = inputs_of(name), examples(name)
    with pytest.raises(InputError, match=rf"{first.name} requires a torch\.Tensor, not NoneType"):
        run(twin(name), None, *inputs[1:])


@pytest.mark.parametrize("shape", [(2,), (2, 2), (1, 1), (3, 1), (2, 1, 1), ()])
def test_depths_of_another_shape_are_refused(shape):
    images, _ = examples("rootnet", 2)
    with pytest.raises(InputError, match=r"k_value has shape .*; expected \(B, 1\) = \(2, 1\)"):
        run(twin("rootnet"), images, torch.ones(shape))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_invalid_depths_are_refused(value):
    images, depths = examples("rootnet", 2)
    with pytest.raises(InputError, match="depths must be finite and above 0 mm"):
        run(twin("rootnet"), images, depths.new_tensor([[1.0], [value]]))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("side", torch.zeros(1)),
        ("side", torch.zeros(2)),
        ("side", torch.zeros(2, 1)),
        ("side", torch.full((2, 5), 2.0)),
        ("side", torch.full((2, 5), float("nan"))),
        ("side", "left"),
        ("roots", torch.zeros(3)),
        ("roots", torch.zeros(2, 3)),
        ("roots", torch.zeros(2, 5, 2)),
        ("roots", [0.0, 0.0, 0.0]),
        ("hand_boxes", torch.zeros(2, 4)),
        ("hand_boxes", torch.zeros(2, 6, 4)),
        ("hand_boxes", torch.zeros(2, 5, 3)),
        ("hand_boxes", torch.full((2, 5, 4), float("nan"))),
    ],
    ids=str,
)
def test_arguments_of_deformer_of_another_shape_are_refused(argument, value):
    images, boxes = examples("deformer", 2)
    network = twin("deformer")
    with pytest.raises(InputError, match=argument) as error, torch.inference_mode():
        network(images, **({"hand_boxes": boxes} | {argument: value}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "motions", [torch.zeros(2, 7, 45), torch.zeros(2, 0, 46), torch.zeros(2, 7, 46).long()], ids=str
)
def test_motions_of_another_shape_or_type_are_refused(motions):
    with pytest.raises(InputError, match="motions"):
        run(twin("motion-discriminator"), motions)


def test_a_backbone_of_timm_reads_crops_of_its_size():
    with pytest.raises(InputError, match=r"images have shape \(2, 3, 96, 96\); expected \(B, 3, 64, 64\)"):
        run(twin("timm-landmarks"), torch.rand(2, 3, 96, 96))


@pytest.mark.parametrize("name", ["face-attention", "face-mesh", "iris", "pose-lite"])
def test_images_larger_than_a_crop_are_refused(name):
    (images,) = examples(name, 2)
    with pytest.raises(InputError, match="images are too large: the network reads 2 x 2 crops"):
        run(twin(name), images.repeat(1, 1, 2, 2))


@pytest.mark.slow
@every_twin
def test_layers_in_another_memory_layout_give_the_same(name):
    check_memory_layouts(name)


@pytest.mark.slow
@every_plain_twin
def test_a_step_down_the_gradient_lowers_the_loss_on_32_crops(name):
    check_gradient(name)


@pytest.mark.slow
@every_twin
def test_weights_go_out_and_come_in(name, tmp_path):
    check_weights(name, tmp_path)


@pytest.mark.slow
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


@pytest.mark.slow
@one_of_a_class
def test_weights_of_another_network_are_refused_and_named(name, tmp_path):
    other = "motion-discriminator" if name != "motion-discriminator" else "hand-full"
    with torch.device("meta"):
        network, another = (network_entry(one).build() for one in (name, other))
    if {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in another.state_dict().items()}:
        pytest.skip(f"{name} and {other} have the same weights")
    weights = {key: torch.zeros(()).expand(value.shape) for key, value in another.state_dict().items()}
    network.name = name
    with pytest.raises(InputError, match=f"do not fit {name}") as caught:
        network.load_official(weights)
    message = str(caught.value)
    assert any(word in message for word in ("missing", "unexpected", "of another shape"))
    assert "\n" not in message


def test_unknown_names_and_options_list_known_values():
    with pytest.raises(InputError, match=r"Unknown network 'hand-huge'\. Choose from .*hand-full"):
        create_network("hand-huge")
    with pytest.raises(InputError, match=r"hand-full: Unknown option 'joints'. Choose from .*keypoints"):
        create_network("hand-full", joints=21)
    assert list_networks("hand-[fhl]*") == ["hand-full", "hand-heavy", "hand-lite"]
    assert list_networks("nothing*") == []


def test_a_name_is_registered_once():
    entry = network_entry("hand-full")
    with pytest.raises(InputError, match="network 'hand-full' is already registered"):
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


def test_entries_are_written_as_json():
    for name in NAMES:
        entry = network_entry(name)
        assert (entry.weight is None) == any(fnmatch(name, pattern) for pattern in NOT_FETCHED)
        assert isinstance(entry, NetworkEntry)
        assert json.dumps(dict(entry.tiny))
