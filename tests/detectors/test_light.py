"""Dark and grey images are normalised for the networks."""

import numpy as np
import pytest

from sonjit.detectors.search.light import in_good_light


def scene(scale=1.0, shape=(240, 320)):
    """Return a skin-coloured square on a green wall, with a brightness and sensor noise."""
    rgb = np.empty((*shape, 3))
    rgb[:] = 60, 110, 70
    rgb[80:160, 100:200] = 214, 160, 130
    noise = np.random.default_rng(0).normal(0, 2, rgb.shape)
    return np.clip(np.rint(scale * rgb + noise), 0, 255).astype(np.uint8)


def grey(rgb):
    return np.repeat(rgb.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)


def test_an_image_in_good_light_and_colour_stays_as_it_is():
    rgb = scene()
    assert in_good_light(rgb) is rgb


@pytest.mark.parametrize("scale", [0.1, 0.3])
def test_a_dark_image_is_brightened_in_its_colours(scale):
    rgb = scene(scale)
    light = in_good_light(rgb)
    assert light.dtype == np.uint8
    middle = light[100:140, 120:180].reshape(-1, 3).mean(0)
    assert 180 < middle.max() <= 255
    assert np.abs(middle / middle.max() - np.array([214, 160, 130]) / 214).max() < 0.1  # red may clip
    patch = slice(100, 140), slice(120, 180)
    gain = middle.mean() / rgb[patch].mean()
    assert light[patch].std(axis=(0, 1)).max() < 0.6 * gain * rgb[patch].std(axis=(0, 1)).max()  # less of the noise


def test_a_grey_image_gets_the_colour_of_skin():
    tinted = in_good_light(grey(scene()))
    red, green, blue = tinted[100:140, 120:180].reshape(-1, 3).mean(0)
    assert red > green > blue


def test_a_black_image_stays_black():
    assert not in_good_light(np.zeros((30, 40, 3), np.uint8)).any()
