"""Backgrounds: any size, deterministic by seed, and pieces of the images of a folder."""

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.synthesis.backgrounds import BACKGROUND_KINDS, BackgroundFolder, draw_background


@pytest.mark.parametrize("kind", BACKGROUND_KINDS)
@pytest.mark.parametrize("size", [(256, 256), (97, 41), (3, 200), (1, 1)])
def test_any_size_and_the_same_again(kind, size):
    first, again, other = (draw_background(kind, size, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (size[1], size[0], 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("kind", BACKGROUND_KINDS)
def test_they_differ_in_light_and_colour(kind):
    means = [draw_background(kind, (64, 64), np.random.default_rng(seed)).mean((0, 1)) for seed in range(40)]
    assert np.std(means, axis=0).min() > 15


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
