import re

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.multiview.calibration.board import target_from_text

from .drawn_boards import draw_seen, held_places, middled
from .rigs import random_rig


@pytest.mark.slow
@pytest.mark.parametrize("text", ["charuco:7x5:30mm:22mm:4x4_50", "checkerboard:6x5:30mm"])
def test_corners_are_found_where_they_are_drawn(text):
    board, rig = target_from_text(text), random_rig(2, 3, distance_m=0.55)
    for view in rig:
        for turn in (0, 2) if view is rig.cameras[0] else (1, 3):  # whichever way up it is held
            R, t = held_places(1, turn, tilt_rad=0.3, towards=view.centre_m, reach_m=0.02)[0]
            R = R @ matrix_from_rotation_vector(np.array([0, 0, turn * np.pi / 2]))
            place = middled(board, (R, t))
            gray = cv2.cvtColor(draw_seen(board, place, view, rays=2), cv2.COLOR_RGB2GRAY)
            points, pixels = board.find(gray)
            assert len(points) > 0.7 * len(board.points_m)
            gap = pixels - view.project(board.points_m @ R.T + place[1])[points]
            assert np.abs(gap.mean(0)).max() < 0.1  # half a pixel off would show
            assert np.linalg.norm(gap, axis=1).mean() < 0.35


def test_a_board_prints_in_its_true_size():
    """The drawing's dark runs, filled anew, are a board whose corners are where they should be."""
    board = target_from_text("charuco:7x5:30mm:22mm:4x4_50")
    svg = board.svg()
    assert 'width="270mm" height="210mm"' in svg
    edge, scale = 30.0, float(re.search(r"scale\(([\d.]+)\)", svg)[1])
    px_per_mm = 4
    page = np.full((210 * px_per_mm, 270 * px_per_mm), 255, np.uint8)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)", svg):
        left, top = (int((edge + scale * int(value)) * px_per_mm) for value in (x, y))
        page[top : top + int(scale * px_per_mm), left : left + int(scale * int(width) * px_per_mm)] = 0
    points, pixels = board.find(page)
    assert len(points) == len(board.points_m)
    np.testing.assert_allclose(pixels, (board.points_m[:, :2] * 1000 + edge) * px_per_mm, atol=0.6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("board", "write charuco:8x6"),
        ("charuco:8x6:30mm", "write charuco:8x6"),
        ("charuco:8x6:30mm:40mm:4x4_50", "do not fit into squares"),
        ("charuco:8x6:30:22mm:4x4_50", "measure a square"),
        ("charuco:8x6:30mm:22mm:9x9", "'9x9' is not known"),
        ("charuco:2x6:30mm:22mm:4x4_50", "at least 4 x 4"),
        ("checkerboard:9x7:25mm", "looks the same upside down"),
        ("none.json", "cannot be read"),
    ],
)
def test_a_wrong_board_is_named(text, message):
    with pytest.raises(InputError, match=message):
        target_from_text(text)
