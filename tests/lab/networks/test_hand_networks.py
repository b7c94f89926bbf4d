"""Hand networks: extra keypoints next to the published 21, and maps that explain each output exactly."""

import pytest
import torch

from sonjit.lab.networks import create_network, network_entry

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


def test_dropout_is_only_for_training():
    network, images = create_network("hand-full", trunk="tiny", dropout=0.5), torch.rand(1, 3, 64, 64)
    plain = create_network("hand-full", trunk="tiny")
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(images)["keypoints"], plain.eval()(images)["keypoints"])
    network.train()
    assert not torch.equal(network(images)["keypoints"], network(images)["keypoints"])
    mean = network.dropout(torch.ones(1, 10_000))
    assert set(mean.unique().tolist()) == {0.0, 2.0}
