"""Dark and grey images are normalised for the networks."""

from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.options import HandOptions
from sonjit.detectors.search import load
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


@pytest.mark.parametrize(("level", "expected"), [(40, 230), (99, 230), (100, 100)])
def test_a_dark_colour_gets_the_luma_of_a_lit_image(level, expected):
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[:, :40] = level
    rgb[:, 40:, 1] = level  # so that the image is not grey
    assert in_good_light(rgb)[30, 10].tolist() == [expected] * 3


def test_a_grey_image_gets_the_colour_of_skin():
    tinted = in_good_light(grey(scene()))
    red, green, blue = tinted[100:140, 120:180].reshape(-1, 3).mean(0)
    assert red > green > blue


@pytest.mark.parametrize("is_still", [True, False])
def test_only_stills_are_searched_in_good_light(monkeypatch, is_still):
    seen, dark = [], scene(0.2)

    def search(rgb, **_):
        seen.append(rgb)
        return SimpleNamespace(observations=lambda: ([], True))

    monkeypatch.setattr(load, "HandSearch", search)
    find = load.search_hands(HandOptions(static_image=is_still), SimpleNamespace(palms=object()))
    assert find(dark) == ([], True)
    assert (seen[0].mean() > 2 * dark.mean()) == is_still


@pytest.mark.parametrize(("level", "is_dark"), [(99, True), (100, False)])
def test_an_image_is_dark_if_its_brightest_hundredth_is(level, is_dark):
    rgb = np.zeros((100, 100, 3), np.uint8)
    rgb[..., 0] = 40
    rgb[:2] = level, level, level  # two of a hundred rows
    assert (in_good_light(rgb) is not rgb) == is_dark
    rgb[2:] = 255
    rgb[2:, :, 0] = 0
    assert in_good_light(rgb) is rgb


@pytest.mark.parametrize(("range_", "is_grey"), [(8, True), (9, False)])
def test_an_image_is_grey_if_its_colours_hardly_differ(range_, is_grey):
    rgb = np.full((100, 100, 3), 150, np.uint8)
    rgb[..., 1] += range_
    found = in_good_light(rgb)
    assert (found is not rgb) == is_grey
    if is_grey:  # luma 155 in the colour of skin
        np.testing.assert_allclose(found[0, 0], np.array([1.2, 0.95, 0.8]) * 155, atol=1.5)


def test_a_dark_image_is_smoothed_and_scaled_in_16_bits():
    """The scale follows from the 99th percentile of the luma. A grey image then gets the colour of skin."""
    rng = np.random.default_rng(3)
    dark = rng.integers(0, 60, (200, 300, 3), np.uint8)
    dark[..., 1] //= 2
    luma = np.sort(np.rint(dark @ np.array([0.299, 0.587, 0.114])).ravel())
    offsets = np.arange(-3, 4)
    kernel = np.exp(-(offsets**2) / 2) / np.exp(-(offsets**2) / 2).sum()
    padded = np.pad(dark.astype(float), ((3, 3), (3, 3), (0, 0)), mode="reflect")
    rows = sum(kernel[i] * padded[i : i + 200] for i in range(7))
    smooth = sum(kernel[i] * rows[:, i : i + 300] for i in range(7))
    expected = smooth * 230 / luma[round(0.99 * (luma.size - 1))]
    assert np.abs(in_good_light(dark).astype(float) - expected.clip(0, 255)).max() <= 2


@pytest.mark.parametrize(("shape", "step"), [((128, 400), 1), ((255, 400), 1), ((256, 400), 2), ((400, 391), 3)])
def test_the_light_of_an_image_is_that_of_sampled_pixels(shape, step):
    """The pixels between are not seen. At least 128 are, along the shorter side."""
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[::step, ::step] = 90, 140, 90
    brightened = np.full((*shape, 3), 200, np.uint8)
    brightened[::step, ::step] = 0, 99, 0
    assert in_good_light(rgb) is rgb
    assert in_good_light(brightened) is not brightened
    if step > 1:
        other = np.zeros((*shape, 3), np.uint8)
        other[1::step, 1::step] = 90, 140, 90
        assert in_good_light(other) is not other


@pytest.mark.parametrize("level", [0, 100, 200, 230, 255])
def test_each_luma_has_a_colour_of_skin_up_to_white(level):
    rgb = np.full((20, 20, 3), level, np.uint8)
    rgb[:10] = 255  # so that it is not dark
    expected = np.clip(np.array([1.2, 0.95, 0.8]) * level, 0, 255)
    np.testing.assert_allclose(in_good_light(rgb)[15, 3], expected, atol=1)


def test_a_black_image_stays_black():
    assert not in_good_light(np.zeros((30, 40, 3), np.uint8)).any()


def test_the_second_brightest_of_a_hundred_pixels_counts():
    rgb = np.full((10, 10, 3), (10, 30, 10), np.uint8)
    rgb[0, 0], rgb[0, 1] = 99, 80
    np.testing.assert_allclose(in_good_light(rgb)[8, 8], np.array([10, 30, 10]) * 230 / 80, atol=1)
