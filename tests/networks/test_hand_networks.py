"""Hand networks: keypoints of one's own beside the published 21, and maps that explain each output exactly."""

import pytest
import torch

from sonjit import InputError
from sonjit.networks import create_network, network_entry

HEADS = ("keypoints", "keypoints_3d")


def tiny(**options):
    return create_network("hand-full", "demo", **{**network_entry("hand-full").tiny, **options}).eval()


@pytest.mark.parametrize("name", ["hand-full", "hand-lite"])
def test_more_keypoints_keep_the_published_ones(name, published, weight_file):
    plain, more = published(name), create_network(name, weight_file(name), keypoints=23).eval()
    images = network_entry(name).inputs[0].example()
    with torch.inference_mode():
        wanted, given = plain(images), more(images)
    for head in HEADS:
        assert given[head].shape == (1, 69)
        torch.testing.assert_close(given[head][:, :63], wanted[head])
    middle = images.shape[-1] / 2
    assert given["keypoints"][0, 63:].tolist() == [middle, middle, 0] * 2
    assert not given["keypoints_3d"][0, 63:].any()
    for name_of_score in ("presence", "handedness"):
        torch.testing.assert_close(given[name_of_score], wanted[name_of_score])


def test_fewer_keypoints_and_unknown_trunks_are_refused():
    with pytest.raises(InputError, match="keypoints=20: give 21 or more"):
        create_network("hand-full", keypoints=20)
    with pytest.raises(InputError, match="unknown trunk 'huge'; known: full, lite, tiny"):
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
