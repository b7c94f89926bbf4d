"""Every registered network has the common properties, tested on a tiny twin of each."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.weights.catalog import select_weights
from sonjit_lab.networks import create_network, list_networks, network_entry

from .properties import (
    check_batches,
    check_outputs,
    check_weights,
    check_wrong_inputs,
    examples,
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
        with torch.device("meta"):  # without weights
            network = entry.build(**entry.tiny)
        shapes = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
        seen.setdefault((type(network), shapes), name)
    return list(seen.values())


TWINS = distinct_twins()
every_network = pytest.mark.parametrize("name", NAMES)
every_twin = pytest.mark.parametrize("name", TWINS)
one_of_a_class = pytest.mark.parametrize("name", networks_by_class().values())


@every_network
def test_weights_are_published_or_cannot_be_fetched(name):
    weight = network_entry(name).weight
    if weight is None:
        with pytest.raises(InputError, match=f"the weights of {name} cannot be fetched"):
            select_weights([name])
    else:
        assert [record.name for record in select_weights([weight])] == [weight]


@pytest.mark.nightly_after(8)
@pytest.mark.slow
@every_twin
def test_outputs_are_named_finite_and_the_same_every_time(name):
    check_outputs(name)


@pytest.mark.nightly_after(3)
@pytest.mark.slow
@one_of_a_class
def test_a_batch_of_two_is_two_of_one(name):
    check_batches(name)


@every_network
def test_wrong_inputs_are_refused_in_a_line_that_names_the_input(name):
    check_wrong_inputs(name)


@pytest.mark.nightly_after(3)
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


@pytest.mark.parametrize("name", ["face-attention", "face-mesh", "iris", "pose-lite"])
def test_images_larger_than_a_crop_are_refused(name):
    (images,) = examples(name, 2)
    with pytest.raises(InputError, match="images are too large: the network reads 2 x 2 crops"):
        run(twin(name), images.repeat(1, 1, 2, 2))


@pytest.mark.nightly_after(4)
@pytest.mark.slow
@one_of_a_class
def test_weights_go_out_and_come_in(name, tmp_path):
    check_weights(name, tmp_path)


@pytest.mark.nightly_after(3)
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
        ("pose-full", {"variant": "huge"}, r"Unknown variant 'huge'\. Choose from lite, full, heavy"),
        ("mask-rcnn", {"depth": 7}, "depth 7"),
    ):
        with pytest.raises(InputError, match=message):
            create_network(name, **wrong)
    assert list_networks("hand-[fhl]*") == ["hand-full", "hand-heavy", "hand-lite"]
    assert list_networks("nothing*") == []
