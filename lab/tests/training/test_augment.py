"""Augmentation: labels follow the image, and mirroring exchanges the sides."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit_lab.training.augment import Augmentation, AugmentationSettings, draw_augmentation

SIDE = 80
MOVES = st.builds(
    Augmentation,
    mirror=st.booleans(),
    rotation_rad=st.floats(-3, 3),
    scale=st.floats(0.7, 1.3),
    shift=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    brightness=st.floats(0.8, 1.2),
)


@given(st.integers(25, 55), st.integers(25, 55), MOVES)
def test_a_painted_dot_follows_its_keypoint(x, y, drawn):
    image = np.full((SIDE, SIDE, 3), 20, np.uint8)
    image[y - 3 : y + 4, x - 3 : x + 4] = 200
    box = drawn.box(RotatedBox(SIDE / 2, SIDE / 2, SIDE, SIDE))
    changed = drawn.image(crop(image, box, SIDE, SIDE, border="zero"))
    ((found_x, found_y),) = drawn.points(points_into_crop(np.array([[x, y]], float), box, SIDE), SIDE)
    if 6 < found_x < SIDE - 7 and 6 < found_y < SIDE - 7:
        rows, columns = np.nonzero(changed[..., 0] > 90)
        np.testing.assert_allclose([columns.mean(), rows.mean()], [found_x, found_y], atol=0.6)


def test_colours_change_by_what_was_drawn():
    grey = np.full((8, 8, 3), 100, np.uint8)
    np.testing.assert_array_equal(Augmentation(channels=(1.2, 1.0, 0.5)).image(grey)[0, 0], [120, 100, 50])
    np.testing.assert_array_equal(Augmentation(brightness=3.0).image(grey)[0, 0], [255] * 3)
    red = np.zeros((8, 8, 3), np.float32) + np.array([200, 0, 0], np.float32)
    np.testing.assert_allclose(Augmentation(saturation=0.0).image(red)[0, 0], [0.299 * 200] * 3, rtol=1e-4)
    np.testing.assert_allclose(Augmentation(hue=1 / 3).image(red)[0, 0], [0, 200, 0], atol=0.1)
    np.testing.assert_allclose(Augmentation(hue=-1 / 3).image(red)[0, 0], [0, 0, 200], atol=0.1)
    half = grey.copy()
    half[:4] = 200
    np.testing.assert_array_equal(np.unique(Augmentation(contrast=0.5).image(half)), [125, 175])
    edge = Augmentation(blur_px=1.0).image(half)[:, 0, 0].astype(int)
    assert (np.diff(edge) <= 0).all()
    assert len(set(edge)) > 3
    assert Augmentation().image(half) is half


def test_what_is_drawn_lies_within_the_settings_and_comes_from_the_generator():
    settings = AugmentationSettings(
        0.5, 60, 0.6, (0.75, 1.25), 0.15, ("rotation", "scale"), 0.1, 0.2, 0.3, 0.2, 0.1, 2, 0.5
    )
    drawn = [draw_augmentation(settings, np.random.default_rng(seed)) for seed in range(500)]
    assert drawn[3] == draw_augmentation(settings, np.random.default_rng(3))
    assert 0.4 < np.mean([one.mirror for one in drawn]) < 0.6
    assert 0.4 < np.mean([one.reverse for one in drawn]) < 0.6
    assert 0.3 < np.mean([one.rotation_rad == 0 for one in drawn]) < 0.5
    turns = np.array([one.rotation_rad for one in drawn if one.rotation_rad])
    assert 0.9 < turns.std() / math.radians(30) < 1.1
    assert abs(turns).max() == pytest.approx(math.radians(60))
    assert {round(one.scale, 6) for one in drawn} >= {0.75, 1.25}  # a deviation off is the limit
    for name, middle, most in (
        *(("scale", 1, 0.25), ("shift", 0, 0.15), ("brightness", 1, 0.1), ("contrast", 1, 0.2)),
        *(("saturation", 1, 0.3), ("channels", 1, 0.2), ("hue", 0, 0.1), ("blur_px", 1, 1)),
    ):
        off = np.abs(np.array([getattr(one, name) for one in drawn]) - middle)
        assert 0.9 * most < off.max() <= most + 1e-9, name
    assert draw_augmentation(AugmentationSettings(), np.random.default_rng(0)) == Augmentation()
    even = AugmentationSettings(rotation_deg=60, scale=(0.5, 2.0))
    scales = [draw_augmentation(even, np.random.default_rng(seed)).scale for seed in range(300)]
    assert np.histogram(scales, 3, (0.5, 2.0))[0].min() > 70


@pytest.mark.parametrize(
    "wrong", [{"mirror": 2}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"hue": 1}, {"blur_px": -1}, {"rotation_deg": 200}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        AugmentationSettings(**wrong)
