"""Networks of the face: regions that learn with the mesh, and exports back in detectors."""

import json

import numpy as np
import pytest
import torch

import sonjit
from sonjit.networks import create_network, network_entry
from sonjit.networks.export import export_network


@pytest.fixture(scope="module")
def portrait(data, read_rgb):
    """An image with one face; the first among the goldens."""
    for file in sorted(data.glob("goldens/mediapipe/facemesh.*.static*.json")):
        golden = json.loads(file.read_text("utf-8"))
        if len(golden["frames"][0]["instances"]) == 1:
            return read_rgb(data / golden["source"])
    pytest.skip("no golden with one face")
    return None


def test_regions_pull_at_the_mesh():
    """The attention mesh is one network: what a region sees wrong moves the landmarks that place it."""
    entry = network_entry("face-attention")
    torch.manual_seed(0)
    network = create_network("face-attention", **entry.tiny)
    network(entry.tiny_inputs[0].example())["left_iris"].sum().backward()
    assert network.keypoints.weight.grad.any()
    assert network.right_eye.heads[0].points.read.weight.grad is None


@pytest.mark.golden
def test_exports_find_the_same_face(published, portrait, tmp_path):
    files = {"detector_model": ("face-short", ".xml"), "landmark_model": ("face-attention", ".onnx")}
    own = {
        argument: export_network(published(name), network_entry(name).inputs, tmp_path / f"{name}{ending}").path
        for argument, (name, ending) in files.items()
    }
    (wanted,), (given,) = (faces_in(portrait, **options) for options in ({}, own))
    np.testing.assert_allclose(given.keypoints, wanted.keypoints, atol=1e-2)
    assert given.score == pytest.approx(wanted.score, abs=1e-5)


def faces_in(image, **options):
    with sonjit.create_detector("face", model="attention", precision="f32", static_image=True, **options) as detector:
        return detector.detect(image)
