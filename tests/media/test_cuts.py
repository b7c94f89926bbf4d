"""Scenes of videos whose parts stay, or change places."""

import cv2
import numpy as np
import pytest

from sonjit.media.cuts import Scenes

HEIGHT, WIDTH = 360, 640


def picture(seed, width=WIDTH, height=HEIGHT):
    """Return an image of coloured patches (height, width, 3)."""
    patches = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)


def keypoints(x, y, size=60.0):
    return np.array([[x - size / 2, y - size / 2, 0], [x + size / 2, y + size / 2, 0]], np.float32)


@pytest.mark.parametrize("columns", [2, 4])
def test_tiles_that_change_places_move_their_instances_along(columns):
    tiles = [picture(seed, WIDTH // columns) for seed in range(columns)]
    scenes = Scenes()
    for number in range(10):
        assert scenes.number(np.hstack(tiles), number / 25) == 1
    moved = np.hstack([*tiles[1:], tiles[0]])
    assert scenes.number(moved, 0.4) == 2
    middle = WIDTH / columns / 2
    for column in range(columns):
        left = column * WIDTH / columns
        shift = scenes.shift_of(keypoints(left + middle, HEIGHT / 2), moved)
        expected = (column - 1) % columns * WIDTH / columns - left
        np.testing.assert_allclose(shift, (expected, 0), atol=WIDTH / 48)


def test_the_part_beside_changed_slides_stays():
    scenes, inset = Scenes(), picture(1, 200, 120)
    slides = [picture(2), picture(3) // 4]
    for slide in slides:
        slide[-120:, -200:] = inset
    assert [scenes.number(slides[index >= 5], index / 25) for index in range(10)] == [1] * 5 + [2] * 5
    np.testing.assert_array_equal(scenes.shift_of(keypoints(WIDTH - 100, HEIGHT - 60), slides[1]), 0)
    assert scenes.shift_of(keypoints(200, 150), slides[1]) is None


def test_a_pan_changes_no_places():
    wide, scenes = picture(4, 2 * WIDTH), Scenes()
    frames = [wide[:, start : start + WIDTH] for start in range(0, WIDTH, 100)]
    assert {scenes.number(frame, index / 25) for index, frame in enumerate(frames)} == {1}
