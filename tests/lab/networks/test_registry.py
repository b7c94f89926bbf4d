"""Every registered network has the common properties, tested on a tiny twin of each."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.lab.networks import (
    create_network,
    list_networks,
    load_checkpoint,
    network_entry,
    register,
    save_checkpoint,
)
from sonjit.lab.networks.registry import describe_network

from .properties import examples, inputs_of, networks_by_class, run, twin

NAMES = list_networks()
CHOOSING = {"mask-rcnn", "mask-rcnn-v2"}
"""Networks that pick out part of the image, and whose forward has no gradient for that."""

FOREIGN_OPTIONS = {"deformer": {"variant": "ho3d"}}
"""Options that a checkpoint with other keys than Sonjit's requires, because it does not define them."""


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
    wrong = {"nothing": None, "without a batch": value[0], "an axis more": value[None], "NumPy": value.numpy()}
    if len(spec.shape) > 2:
        wrong |= {
            "bytes": (255 * value).to(torch.uint8),
            "two channels": value[..., :2, :, :],
            "four channels": torch.cat([value, value[..., :1, :, :]], -3),
            "channels last": value.movedim(-3, -1),
            "no pixels": value[..., :0, :],
        }
    return wrong


@pytest.mark.slow
@every_twin
def test_outputs_are_named_finite_and_the_same_every_time(name):
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


@pytest.mark.slow
@every_twin
def test_a_batch_of_two_is_two_of_one(name):
    """Check that a batch of two gives the outputs of two batches of one."""
    network = twin(name)
    together = run(network, *examples(name, 2))
    apart = [run(network, *(image[i : i + 1] for image in examples(name, 2))) for i in range(2)]
    # What weights that mean nothing make of rounding grows from step to step where one network follows another.
    tolerance = 1e-2 if name in CHOOSING else 1e-4
    assert_same({key: torch.cat([one[key] for one in apart]) for key in together}, together, tolerance)


@every_network
def test_wrong_inputs_are_refused_in_a_line_that_names_the_input(name):
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
    """Check that images of any size and type are refused in one line, or give finite outputs."""
    network, (first, *others) = twin(name), examples(name, 2)
    images = torch.rand(*first.shape[:-2], height, width).to(dtype)
    outputs, refusal = {}, ""
    try:
        outputs = run(network, images, *others)
    except InputError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        assert "images" in refusal
        return
    assert dtype == torch.float32
    expected = run(network, first, *others)
    assert outputs.keys() == expected.keys()
    for key, value in outputs.items():
        assert value.isfinite().all()
        assert len(value) == len(expected[key])


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
def test_weights_go_out_and_come_in(name, tmp_path):
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
    for name, wrong, message in (
        ("hand-full", {"keypoints": 20}, "keypoints=20: must be at least 21"),
        ("hand-full", {"trunk": "huge"}, r"Unknown trunk 'huge'\. Choose from full, lite, tiny"),
        (
            "hand-full",
            {"trunk": "tiny", "activation": "swish"},
            "Unknown activation 'swish'. Choose from relu6, .*tanh",
        ),
        ("pose-full", {"variant": "huge"}, r"Unknown variant 'huge'\. Choose from lite, full, heavy"),
        ("mask-rcnn", {"depth": 7}, "depth 7"),
    ):
        with pytest.raises(InputError, match=message):
            create_network(name, **wrong)
    assert list_networks("hand-[fhl]*") == ["hand-full", "hand-heavy", "hand-lite"]
    assert list_networks("nothing*") == []


def test_a_name_is_registered_once():
    entry = network_entry("hand-full")
    with pytest.raises(InputError, match="network 'hand-full' is already registered"):
        register(entry)
