"""Hand networks: extra keypoints next to the published 21, and maps that explain each output exactly."""

import pytest
import torch

from sonjit import InputError
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.mediapipe_blocks import ACTIVATIONS

HEADS = ("keypoints", "keypoints_3d")


def tiny(**options):
    return create_network("hand-full", "demo", **{**network_entry("hand-full").tiny, **options}).eval()


@pytest.mark.parametrize("name", ["hand-full", "hand-lite"])
def test_more_keypoints_keep_the_published_ones(name, published, weight_file):
    plain, more = published(name), create_network(name, weight_file(name), keypoints=23).eval()
    images = network_entry(name).inputs[0].example()
    with torch.inference_mode():
        expected, given = plain(images), more(images)
    for head in HEADS:
        assert given[head].shape == (1, 69)
        torch.testing.assert_close(given[head][:, :63], expected[head])
    middle = images.shape[-1] / 2
    assert given["keypoints"][0, 63:].tolist() == [middle, middle, 0] * 2
    assert not given["keypoints_3d"][0, 63:].any()
    for name_of_score in ("presence", "handedness"):
        torch.testing.assert_close(given[name_of_score], expected[name_of_score])


def test_fewer_keypoints_and_unknown_trunks_are_refused():
    with pytest.raises(InputError, match="keypoints=20: must be at least 21"):
        create_network("hand-full", keypoints=20)
    with pytest.raises(InputError, match=r"Unknown trunk 'huge'\. Choose from full, lite, tiny"):
        create_network("hand-full", trunk="huge")


def test_every_output_is_the_mean_of_its_map():
    network = tiny(keypoints=22)
    images = network_entry("hand-full").tiny_inputs[0].example(2)
    with torch.no_grad():
        features, outputs = network.features(images), network(images)
        assert features.shape == (2, 32, 2, 2)
        for name, output in outputs.items():
            head = network.get_submodule(name)
            maps = torch.einsum("bchw,oc->bohw", features, head.weight)
            means = maps.mean((2, 3)) + head.bias
            torch.testing.assert_close(means if name in HEADS else means.sigmoid(), output)


def test_sizes_other_than_the_published_one_work():
    network = tiny()
    for size in (32, 64, 96):
        with torch.inference_mode():
            assert network(torch.zeros(1, 3, size, size))["keypoints"].shape == (1, 63)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hand_networks_take_any_activation(activation):
    network = create_network("hand-full", trunk="tiny", activation=activation).eval()
    images = torch.rand(1, 3, 64, 64)
    inverted = network.first
    expected = ACTIVATIONS[activation]()(inverted.depthwise(network.activations[0](network.stem(images))))
    shortcut = network.activations[0](network.stem(images))
    assert torch.allclose(inverted(network.activations[0](network.stem(images))), inverted.project(expected) + shortcut)
    assert network(images)["keypoints"].isfinite().all()


def test_an_unknown_activation_names_the_known_ones():
    with pytest.raises(InputError, match=r"Unknown activation 'swish'. Choose from relu6, .*tanh"):
        create_network("hand-full", trunk="tiny", activation="swish")


def test_dropout_is_only_for_training():
    network, images = create_network("hand-full", trunk="tiny", dropout=0.5), torch.rand(1, 3, 64, 64)
    plain = create_network("hand-full", trunk="tiny")
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(images)["keypoints"], plain.eval()(images)["keypoints"])
    network.train()
    assert not torch.equal(network(images)["keypoints"], network(images)["keypoints"])
    mean = network.dropout(torch.ones(1, 10_000))
    assert set(mean.unique().tolist()) == {0.0, 2.0}
