"""Networks of the face: regions that learn with the mesh."""

import torch

from sonjit.lab.networks import create_network, network_entry


def test_regions_pull_at_the_mesh():
    """The attention mesh is one network: what a region sees wrong moves the landmarks that place it."""
    entry = network_entry("face-attention")
    torch.manual_seed(0)
    network = create_network("face-attention", **entry.tiny)
    network(entry.tiny_inputs[0].example())["left_iris"].sum().backward()
    assert network.keypoints.weight.grad.any()
    assert network.right_eye.heads[0].points.read.weight.grad is None
