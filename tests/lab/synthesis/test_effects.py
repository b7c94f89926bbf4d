"""Effects: no change when off, the named change when on, correct labels, and noise by seed."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.lab.synthesis.backgrounds import Effects, apply_effects
from sonjit.lab.synthesis.drawable import NO_PART, Buffers

NAMES = [each.name for each in fields(Effects)]
ON = {"motion_px": 9.0, "motion_deg": 30.0, "backdrop_px": 4.0, "defocus_px": 2.0}


def scene(right=(120, 140, 200), height=72, width=96, square=24):
    """Return an image of two halves with a dark square in the centre."""
    rgb = np.full((height, width, 3), (200, 180, 160), np.uint8)
    rgb[:, width // 2 :] = right
    top, left = (height - square) // 2, (width - square) // 2
    cover = np.zeros((height, width), np.float32)
    cover[top : top + square, left : left + square] = 1
    rgb[cover == 1] = (60, 40, 30)
    there = cover == 1
    return Buffers(
        rgb,
        cover,
        np.where(there, np.float32(0.5), np.float32(0)),
        np.zeros((height, width, 3), np.float32),
        there.astype(np.uint8),
        np.where(there, np.uint8(0), np.uint8(NO_PART)),
    )


def taken(buffers=None, seed=0, **named):
    buffers = buffers or scene()
    return apply_effects(buffers.rgb, buffers, Effects(**named), np.random.default_rng(seed))


def darkness(rgb):
    """Return the share of the square in each pixel of a uniform scene."""
    return (160 - rgb[..., 2].astype(float)) / 130


EVEN = (200, 180, 160)


def middle(weights):
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


def test_nothing_on_changes_nothing():
    assert (taken() == scene().rgb).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "motion_deg"])
def test_each_changes_the_image_and_again_the_same(name):
    buffers = scene()
    before = buffers.rgb.copy()
    named = {name: ON.get(name, 0.8)}
    got = taken(buffers, **named)
    assert got.shape == before.shape
    assert got.dtype == np.uint8
    assert (got != before).any()
    assert (buffers.rgb == before).all()
    assert (taken(**named) == got).all()


@given(named=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1)), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_any_mixture_is_the_same_again(named, seed):
    named = {name: value * ON.get(name, 1.0) for name, value in named.items()}
    assert (taken(seed=seed, **named) == taken(seed=seed, **named)).all()


@given(degrees=st.floats(0, 360), length=st.floats(2, 15))
@settings(max_examples=20)
def test_motion_smears_about_the_place_and_along_the_line(degrees, length):
    before, after = darkness(scene(EVEN).rgb), darkness(taken(scene(EVEN), motion_px=length, motion_deg=degrees))
    assert middle(after) == pytest.approx(middle(before), abs=0.25)
    assert after.sum() == pytest.approx(before.sum(), rel=0.05)
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    y, x = np.mgrid[: before.shape[0], : before.shape[1]]
    places = np.stack([x, y], -1) - middle(before)

    def spread(axis, weights):
        return (((places @ axis) ** 2) * weights).sum() / weights.sum()

    grown = spread(along, after) - spread(along, before)
    assert grown == pytest.approx(length**2 / 12, rel=0.35, abs=0.6)
    assert spread(along[::-1] * [-1, 1], after) == pytest.approx(spread(along[::-1] * [-1, 1], before), abs=1.0)


def test_motion_does_not_change_the_backdrop():
    got = taken(motion_px=8, motion_deg=0)
    assert (got[:20] == scene().rgb[:20]).all()


def test_blurred_backdrop_keeps_the_hand_sharp_and_its_colour_inside():
    buffers = scene()
    got = taken(buffers, backdrop_px=5)
    assert (got[buffers.cover == 1] == buffers.rgb[buffers.cover == 1]).all()
    behind = got[buffers.cover == 0].astype(int)
    lowest, highest = buffers.rgb[buffers.cover == 0].min(0), buffers.rgb[buffers.cover == 0].max(0)
    assert (behind >= lowest - 2).all()
    assert (behind <= highest + 2).all()
    assert len(np.unique(behind[:, 0])) > 4


def test_defocus_keeps_light_and_place():
    got = taken(scene(EVEN), defocus_px=3)
    assert got.mean() == pytest.approx(scene(EVEN).rgb.mean(), abs=0.5)
    assert middle(darkness(got)) == pytest.approx(middle(darkness(scene(EVEN).rgb)), abs=0.05)


@given(st.floats(0.3, 2.5))
@settings(max_examples=10)
def test_exposure_brightens_and_darkens(stops):
    plain = scene().rgb.mean()
    assert taken(exposure=-stops).mean() < plain < taken(exposure=stops).mean()


def test_warmth_is_orange_one_way_and_blue_the_other():
    def balance(rgb):
        return rgb[..., 0].mean() - rgb[..., 2].mean()

    assert balance(taken(warmth=1)) > balance(scene().rgb) > balance(taken(warmth=-1))


def test_noise_grows_with_strength_and_with_light():
    def spread(rgb):
        return (rgb.astype(float) - scene().rgb).std(axis=-1)

    assert spread(taken(noise=0.2)).mean() < spread(taken(noise=1)).mean()
    hand = scene().cover == 1
    loud = spread(taken(noise=1))
    assert loud[hand].mean() < loud[~hand].mean()
    assert (taken(noise=1).astype(float) - scene().rgb).mean() == pytest.approx(0, abs=0.3)
    assert (taken(seed=1, noise=1) != taken(seed=2, noise=1)).any()


def test_low_light_is_darker_and_noisier():
    got = taken(low_light=1)
    assert got.mean() < 0.7 * scene().rgb.mean()
    assert got[:20, :40].std() > 2


def test_infrared_is_grey_and_evens_skin():
    light = scene()
    dark = replace(light, rgb=np.where(light.cover[..., None] == 1, np.uint8(20), light.rgb))
    pale = replace(light, rgb=np.where(light.cover[..., None] == 1, np.uint8(190), light.rgb))
    seen = [taken(each, infrared=1) for each in (dark, pale)]
    for got in seen:
        assert (got == got[..., :1]).all()
        assert got[light.cover == 1].mean() > got[light.cover == 0].mean()
    assert abs(seen[0][light.cover == 1].mean() - seen[1][light.cover == 1].mean()) < 5
    noisy = taken(infrared=1, noise=1)
    assert (noisy == noisy[..., :1]).all()


def test_vignette_darkens_corners_most():
    got = taken(vignette=1).astype(float) / scene().rgb
    assert got[0, 0].mean() < 0.5
    assert got[36, 48].mean() > 0.97


def test_compression_loses_more_the_harder_it_presses():
    rng = np.random.default_rng(0)
    buffers = replace(scene(), rgb=rng.integers(0, 256, (72, 96, 3), np.uint8))
    losses = [abs(taken(buffers, compression=each).astype(float) - buffers.rgb).mean() for each in (0.1, 0.5, 1)]
    assert losses == sorted(losses)


def test_no_background_at_all_is_no_trouble():
    full = replace(scene(), cover=np.ones((72, 96), np.float32))
    assert taken(full, motion_px=5, backdrop_px=3).shape == (72, 96, 3)


def test_invalid_numbers_are_refused():
    with pytest.raises(InputError, match="noise=nan"):
        Effects(noise=float("nan"))
