"""Dark and grey images are normalised for the networks."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from sonjit.detectors.search.light import _is_grey, _mean_chroma, _percentile, in_good_light


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


def test_a_tall_dark_image_is_brightened_without_seams():
    rgb = scene(0.2, (650, 200))
    light = in_good_light(np.concatenate([rgb, rgb[::-1]]))
    np.testing.assert_array_equal(light, light[::-1])


def test_a_grey_image_gets_the_colour_of_skin():
    tinted = in_good_light(grey(scene()))
    red, green, blue = tinted[100:140, 120:180].reshape(-1, 3).mean(0)
    assert red > green > blue


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (500, 3)])
@pytest.mark.parametrize("value", [0, 3, 255])
def test_images_of_any_size_and_brightness_are_processed(shape, value):
    rgb = np.full((*shape, 3), value, np.uint8)
    light = in_good_light(rgb)
    assert light.shape == rgb.shape
    assert light.dtype == np.uint8


@pytest.mark.parametrize("count", [1, 2, 3, 50, 51, 100, 101, 4097])
def test_the_percentile_is_that_of_numpy(count):
    values = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    assert _percentile(values, 0.99) == pytest.approx(np.percentile(values, 99), abs=1e-9)


def test_grey_images_are_those_of_opencv():
    random = np.random.default_rng(0)
    is_grey = 0
    for spread in np.linspace(0, 12, 200):
        rgb = random.integers(0, 256, (64, 64, 1)) + random.normal(0, spread, (64, 64, 3))
        rgb = np.clip(rgb, 0, 255).astype(np.uint8)
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        chroma = float(np.linalg.norm(lab[..., 1:], axis=2).mean())
        assert _mean_chroma(rgb) == pytest.approx(chroma, abs=0.4)
        assert _is_grey(rgb) == (chroma < 4)
        is_grey += chroma < 4
    assert 20 < is_grey < 180


def test_images_in_colour_need_no_tables_of_opencv(monkeypatch):
    rgb = scene()
    codes = []
    convert = cv2.cvtColor
    monkeypatch.setattr(cv2, "cvtColor", lambda image, code: codes.append(code) or convert(image, code))
    assert in_good_light(rgb) is rgb
    assert cv2.COLOR_RGB2LAB not in codes


def test_it_imports_no_masked_arrays():
    code = (
        "import sys, numpy; from sonjit.detectors.search.light import in_good_light;"
        "in_good_light(numpy.zeros((99, 99, 3), 'u1')); assert 'numpy.ma' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
