"""Networks of the face: regions and mesh train together."""

import torch

from sonjit.lab.networks import create_network, network_entry


def test_regions_pull_at_the_mesh():
    """Check that errors of a region change the landmarks that position it."""
    entry = network_entry("face-attention")
    torch.manual_seed(0)
    network = create_network("face-attention", **entry.tiny)
    network(entry.tiny_inputs[0].example())["left_iris"].sum().backward()
    assert network.keypoints.weight.grad.any()
    assert network.right_eye.heads[0].points.read.weight.grad is None
