"""Feature maps as one image, and the selection for HandOccNet."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.lab.explain.overlay import draw_feature_maps, occlusion_maps
from sonjit.lab.networks import create_network, network_entry


def test_each_map_has_a_panel():
    rgb = np.full((80, 120, 3), 90, np.uint8)
    ramp = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    image = draw_feature_maps({"one": ramp, "two": np.stack([ramp, -ramp])}, rgb, columns=2)
    assert image.shape == (160, 240, 3)
    assert image.dtype == np.uint8
    assert (image[40:80, :120] == 90).all()  # the input as it is, below its name
    np.testing.assert_array_equal(image[120:, :120], image[40:80, 120:])  # the mean size of the channels
    assert (image[80:, 120:] == image[80, 120]).all()  # nothing there
    red, _, blue = image[78, 238].tolist()
    assert red > blue  # where the map is greatest


@pytest.mark.parametrize("values", [np.zeros(3), np.full((2, 2), np.nan), np.zeros((0, 2, 2)), np.zeros((1, 2, 2, 2))])
def test_invalid_map_is_reported(values):
    with pytest.raises(InputError, match="map odd of shape"):
        draw_feature_maps({"odd": values}, np.zeros((8, 8, 3), np.uint8))


def test_the_maps_of_hidden_hands():
    entry = network_entry("handoccnet")
    network = create_network("handoccnet", "demo", **entry.tiny).eval()
    images = entry.tiny_inputs[0].example(2)
    with torch.inference_mode():
        outputs = network(images, features=True)
        with pytest.raises(InputError, match="features=True"):
            occlusion_maps(network(images))
    maps = occlusion_maps(outputs, 1)
    assert list(maps)[:3] == ["gate", "primary", "secondary"]
    assert {"FIT", "SET"} < maps.keys()
    np.testing.assert_array_equal(maps["FIT"], outputs["FIT"][1])
    assert maps["FIT attention"].sum() == pytest.approx(1, abs=1e-4)
    assert (maps["FIT attention, gated"] <= maps["FIT attention"] + 1e-7).all()  # the sigmoid only takes away
    rgb = (images[1].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    assert draw_feature_maps(maps, rgb).shape == (3 * 64, 4 * 64, 3)
