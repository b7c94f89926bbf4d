"""Backgrounds and effects: deterministic by seed, with the named change and correct labels."""

from dataclasses import fields, replace
from typing import get_args

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit_lab.synthesis.backgrounds import BackgroundFolder, BackgroundKind, Effects, apply_effects, draw_background
from sonjit_lab.synthesis.drawables import NO_PART
from sonjit_lab.synthesis.renderer import Buffers

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


def test_blurred_backdrop_keeps_the_hand_sharp_and_its_colour_inside():
    buffers = scene()
    got = taken(buffers, backdrop_px=5)
    assert (got[buffers.cover == 1] == buffers.rgb[buffers.cover == 1]).all()
    behind = got[buffers.cover == 0].astype(int)
    lowest, highest = buffers.rgb[buffers.cover == 0].min(0), buffers.rgb[buffers.cover == 0].max(0)
    assert (behind >= lowest - 2).all()
    assert (behind <= highest + 2).all()
    assert len(np.unique(behind[:, 0])) > 4


@pytest.mark.parametrize(
    ("named", "measure"),
    [
        ({"exposure": -1}, np.mean),
        ({"low_light": 1}, np.mean),
        ({"vignette": 1}, lambda rgb: rgb[:9, :9].mean() / rgb[36, 48].mean()),
        ({"warmth": -1}, lambda rgb: rgb[..., 0].mean() - rgb[..., 2].mean()),
        ({"noise": 1}, lambda rgb: -rgb[:20, :40].std()),
        ({"compression": 1}, lambda rgb: -abs(rgb[..., 0].astype(float) - scene().rgb[..., 0]).mean()),
    ],
)
def test_each_has_its_direction(named, measure):
    assert measure(taken(**named)) < measure(scene().rgb)


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


def test_invalid_numbers_are_refused():
    with pytest.raises(InputError, match="noise=nan"):
        Effects(noise=float("nan"))


@pytest.mark.nightly_after(6)
@pytest.mark.parametrize("kind", get_args(BackgroundKind))
@pytest.mark.parametrize("size", [(256, 256), (97, 41), (3, 200), (1, 1)])
def test_any_size_and_the_same_again(kind, size):
    first, again, other = (draw_background(kind, size, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (size[1], size[0], 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    assert (first == again).all()
    assert (first != other).any()


def test_unknown_kind_names_those_that_are():
    with pytest.raises(InputError, match="clutter"):
        draw_background("sea", (8, 8), np.random.default_rng(0))


def test_folder_gives_pieces_of_its_images(tmp_path):
    (tmp_path / "deep").mkdir()
    ramp = np.zeros((40, 90, 3), np.uint8)
    ramp[..., 2], ramp[..., 1] = np.arange(90) * 2, np.arange(40)[:, None] * 3  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "deep" / "ramp.png"), ramp)
    (tmp_path / "notes.txt").write_text("no image")
    folder = BackgroundFolder(tmp_path)
    pieces = [folder.draw((64, 32), np.random.default_rng(seed)) for seed in range(12)]
    for piece in pieces:
        assert piece.shape == (32, 64, 3)
        assert piece[..., 2].max() == 0
        assert (np.diff(piece[..., 1].astype(int), axis=0) >= 0).all()
        across = np.diff(piece[..., 0].astype(int), axis=1)
        assert (across >= 0).all() or (across <= 0).all()
    assert len({piece.tobytes() for piece in pieces}) > 6
    assert (folder.draw((64, 32), np.random.default_rng(3)) == pieces[3]).all()


def test_a_folder_without_images_is_reported(tmp_path):
    with pytest.raises(InputError, match="contains no image"):
        BackgroundFolder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        BackgroundFolder(tmp_path / "none")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    with pytest.raises(InputError, match=r"broken\.png"):
        BackgroundFolder(tmp_path).draw((8, 8), np.random.default_rng(0))
