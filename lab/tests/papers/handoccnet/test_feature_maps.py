"""Maps inside HandOccNet."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.media.drawing.heat_maps import draw_feature_maps
from sonjit_lab.networks import create_network, network_entry
from sonjit_lab.papers.handoccnet.meshes import occlusion_maps


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
