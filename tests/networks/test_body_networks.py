"""Networks of the body: their numbers, spreading channels out, and exports back in detectors."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit import InputError
from sonjit.networks import create_network, network_entry
from sonjit.networks.export import export_network
from sonjit.networks.mediapipe.mobile_blocks import depth_to_space


@pytest.fixture(scope="module")
def person(data, read_rgb):
    """An image with one person; the first among the goldens."""
    for file in sorted(data.glob("goldens/mediapipe/pose.*.static.*.json")):
        golden = json.loads(file.read_text("utf-8"))
        if golden["frames"][0]["instances"]:
            return read_rgb(data / golden["source"])
    pytest.skip("no golden with a person")
    return None


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match="unknown variant 'huge'; known: lite, full, heavy"):
        create_network("pose-full", variant="huge")
    with pytest.raises(InputError, match="unknown trunk 'huge'; known: detector"):
        create_network("pose-detection", trunk="huge")


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_depth_to_space_lays_out_groups_of_channels_row_by_row(factor, channels, height, width):
    values = torch.arange(factor * factor * channels * height * width, dtype=torch.float32)
    values = values.reshape(1, factor * factor * channels, height, width)
    spread = depth_to_space(values, factor)
    assert spread.shape == (1, channels, factor * height, factor * width)
    for row in range(factor):
        for column in range(factor):
            start = (row * factor + column) * channels
            assert torch.equal(spread[:, :, row::factor, column::factor], values[:, start : start + channels])


@pytest.mark.golden
def test_exports_find_the_same_person(published, person, tmp_path):
    files = {"detector_model": ("pose-detection", ".xml"), "landmark_model": ("pose-lite", ".onnx")}
    own = {
        argument: export_network(published(name), network_entry(name).inputs, tmp_path / f"{name}{ending}").path
        for argument, (name, ending) in files.items()
    }
    (wanted,), (given,) = (bodies_in(person, **options) for options in ({}, own))
    np.testing.assert_allclose(given.keypoints, wanted.keypoints, atol=1e-2)
    np.testing.assert_allclose(given.keypoints_3d, wanted.keypoints_3d, atol=1e-4)
    np.testing.assert_allclose(given.mask, wanted.mask, atol=1e-3)


def bodies_in(image, **options):
    options |= {"model": "lite", "precision": "f32", "static_image": True, "segmentation": True}
    with sonjit.create_detector("body", **options) as detector:
        return detector.detect(image)
