"""Boards: OpenCV finds their corners at the exact positions, also through a lens, and calibrates a camera with them."""

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.synthesis.objects import charuco_board, checkerboard
from sonjit.lab.synthesis.renderer import Light, Lighting

SIZE = (480, 360)
LIGHTING = Lighting((Light((-0.3, -0.4, -0.85), (0.7, 0.7, 0.7)),), (0.3, 0.3, 0.3))
GREY = np.full((8, 8, 3), 110, np.uint8)
LENS = np.array([-0.25, 0.1, 0.001, -0.002, 0.0])


@pytest.fixture
def photograph(renderer):
    """Return a function that renders a board: a grey image, and the corners in pixels."""

    def take(board, camera, turn):
        rotation = matrix_from_rotation_vector(np.array(turn, float))
        translation = np.array([0, 0, 0.55]) - rotation @ np.array([*board.size_m, 0]) / 2
        got = renderer.render([board.drawable(rotation, translation)], camera, SIZE, LIGHTING, GREY)
        truth = camera.project(camera.from_world(board.placed(rotation, translation)))
        return cv2.cvtColor(got.rgb, cv2.COLOR_RGB2GRAY), truth

    return take


def camera(distortion=None):
    K = np.array([[460.0, 0, 243.3], [0, 450, 177.8], [0, 0, 1]])
    return CalibratedCamera(K, np.eye(3), np.zeros(3), distortion)


def test_checkerboard_is_found_unaided(photograph):
    grey, truth = photograph(checkerboard(9, 6, 0.03), camera(), (0.2, -0.3, 0.1))
    found, corners = cv2.findChessboardCorners(grey, (8, 5))
    assert found
    corners = corners.reshape(-1, 2) + 0.5
    assert min(abs(each - truth).max() for each in (corners, corners[::-1])) < 0.5


def test_charuco_corners_are_found_by_name(photograph):
    board = charuco_board(8, 6, 0.033, 0.025)
    markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    detector = cv2.aruco.CharucoDetector(cv2.aruco.CharucoBoard((8, 6), 0.033, 0.025, markers))
    grey, truth = photograph(board, camera(LENS), (0.25, -0.2, 0.3))
    corners, names, _, _ = detector.detectBoard(grey)
    assert len(names) > 25
    errors = np.linalg.norm(corners.reshape(-1, 2) + 0.5 - truth[names.reshape(-1)], axis=1)
    assert np.median(errors) < 0.15


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: checkerboard(2, 6, 0.03), "2 x 6"),
        (lambda: checkerboard(9, 6, 0), "0 m"),
        (lambda: charuco_board(8, 6, 0.03, 0.03), "do not fit"),
        (lambda: charuco_board(40, 40, 0.03, 0.02), "800 markers"),
    ],
)
def test_impossible_boards_are_reported(make, says):
    with pytest.raises(InputError, match=says):
        make()
