"""Every network with a published TFLite file, compared with the reference runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.weights import load_catalog
from sonjit_lab.networks import create_network, list_networks, network_entry

WEIGHTS = {name: network_entry(name).weight for name in list_networks()}
NAMES = [name for name, weight in WEIGHTS.items() if weight and load_catalog()[weight].file.endswith(".tflite")]
MEAN_DIFFERENCE, LARGEST_DIFFERENCE = 1e-5, 1e-3  # of an output's range; masks of noise come to 6e-4 by rounding alone
HALF = 2.0**-11  # what halves, in which large maps are stored, round by


def network_of_file(stem):
    """Return the network of a published file, by its name without ending."""
    catalog = load_catalog()
    for name in NAMES:
        if Path(catalog[network_entry(name).weight].file).stem == stem:
            return name
    return pytest.skip(f"{stem} is no network of this room")


def golden_images(golden):
    """Return the two images (2, 3, H, W) of a golden: a crop, and noise."""
    low, high = golden["crop_range"]
    crop = golden["crop_u8"]
    if "rand_u8" in golden:
        noise = low + golden["rand_u8"] / 255 * (high - low)
    else:  # the reference's own seed; in 0..1 whatever the network's range
        noise = np.random.default_rng(7).random(crop.shape, np.float32)
    images = np.stack([low + crop / 255 * (high - low), noise]).astype(np.float32)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def assert_like_the_reference(network, golden):
    """Check that each output equals the reference within 1e-5 of its range."""
    with torch.inference_mode():
        outputs = network(golden_images(golden))
    for number, kind in enumerate(("real", "rand")):
        expected = [golden[key] for key in golden if key.startswith(f"{kind}.")]
        for (name, output), reference in zip(outputs.items(), expected, strict=True):
            own = output[number].numpy()
            own = own[::2, ::2] if own.size > reference.size else own  # large maps are stored at every second pixel
            wide = reference.astype(np.float64)
            scale = max(np.ptp(wide), abs(wide).max() if wide.size == 1 else 0, 1e-3)
            rounding = HALF * abs(wide) if reference.dtype == np.float16 else 0
            difference = np.maximum(abs(own.reshape(reference.shape) - wide) - rounding, 0)
            assert difference.mean() <= MEAN_DIFFERENCE * scale, f"{kind} {name}: mean {difference.mean()} of {scale}"
            assert difference.max() <= LARGEST_DIFFERENCE * scale, f"{kind} {name}: {difference.max()} of {scale}"


@pytest.mark.nightly_after(3)
@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/tensors/*.npz")
def test_tensors(file, published):
    assert_like_the_reference(published(network_of_file(file.stem)), np.load(file))


@pytest.mark.nightly_after(3)
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_the_sizes_of_the_catalogue(name):
    entry = network_entry(name)
    with torch.device("meta"):
        network = entry.build()
        outputs = network(torch.empty((1, *entry.inputs[0].shape)))
    weight = load_catalog()[entry.weight]
    assert [value.numel() for value in outputs.values()] == [int(np.prod(size)) for size in weight.outputs.values()]
    (taken,) = weight.inputs.values()
    assert (taken[0], taken[3], *taken[1:3]) == (1, *entry.inputs[0].shape)


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), list(zip(NAMES[:3], NAMES[2:], strict=False)))
def test_another_file_is_refused_and_changes_nothing(name, other, weight_file):
    network = create_network(name, "demo")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=f"not the file of {name}") as caught:
        network.load_tflite(weight_file(other))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


HEADS = ("keypoints", "keypoints_3d")


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
