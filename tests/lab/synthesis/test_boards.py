"""Boards: OpenCV finds their corners at the exact positions, also through a lens, and calibrates a camera with them."""

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.synthesis.drawable import Light, Lighting
from sonjit.lab.synthesis.objects import charuco_board, checkerboard
from sonjit.lab.synthesis.renderer import Renderer

SIZE = (480, 360)
LIGHTING = Lighting((Light((-0.3, -0.4, -0.85), (0.7, 0.7, 0.7)),), (0.3, 0.3, 0.3))
GREY = np.full((8, 8, 3), 110, np.uint8)
LENS = np.array([-0.25, 0.1, 0.001, -0.002, 0.0])


@pytest.fixture(scope="module")
def photograph():
    """Return a function that renders a board: a grey image, the corners in pixels, the buffers."""
    try:
        renderer = Renderer()
    except JobError as error:
        pytest.skip(str(error))
    with renderer:

        def take(board, camera, turn=(0, 0, 0), shift=(0, 0, 0)):
            rotation = matrix_from_rotation_vector(np.array(turn, float))
            middle = np.array([*board.size_m, 0]) / 2
            translation = np.array([0, 0, 0.55]) + shift - rotation @ middle
            got = renderer.render([board.drawable(rotation, translation)], camera, SIZE, LIGHTING, GREY)
            truth = camera.project(camera.from_world(board.placed(rotation, translation)))
            return cv2.cvtColor(got.rgb, cv2.COLOR_RGB2GRAY), truth, got

        yield take


def camera(distortion=None):
    K = np.array([[460.0, 0, 243.3], [0, 450, 177.8], [0, 0, 1]])
    return CalibratedCamera(K, np.eye(3), np.zeros(3), distortion)


def turned(count, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.uniform(-0.6, 0.6, 3), rng.uniform(-0.04, 0.04, 3) * [1, 1, 2]) for _ in range(count)]


def refined(grey, truth):
    """Refine corners with OpenCV from a start one pixel off. OpenCV has integer coordinates in pixel centres."""
    start = np.ascontiguousarray(
        truth + np.where(np.arange(truth.size).reshape(truth.shape) % 3, 0.8, -0.9) - 0.5, np.float32
    )
    rule = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-3)
    return cv2.cornerSubPix(grey, start.reshape(-1, 1, 2), (5, 5), (-1, -1), rule).reshape(-1, 2) + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("lens", [None, LENS], ids=["plain", "lens"])
def test_corners_are_found_where_they_are(photograph, lens):
    for turn, shift in turned(4):
        grey, truth, _ = photograph(checkerboard(9, 6, 0.03), camera(lens), turn, shift)
        errors = refined(grey, truth) - truth
        assert np.linalg.norm(errors, axis=1).max() < 0.2
        assert abs(errors.mean(0)).max() < 0.05


def test_checkerboard_is_found_unaided(photograph):
    grey, truth, _ = photograph(checkerboard(9, 6, 0.03), camera(), (0.2, -0.3, 0.1))
    found, corners = cv2.findChessboardCorners(grey, (8, 5))
    assert found
    corners = corners.reshape(-1, 2) + 0.5
    assert min(abs(each - truth).max() for each in (corners, corners[::-1])) < 0.5


def test_charuco_corners_are_found_by_name(photograph):
    board = charuco_board(8, 6, 0.033, 0.025)
    markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    detector = cv2.aruco.CharucoDetector(cv2.aruco.CharucoBoard((8, 6), 0.033, 0.025, markers))
    grey, truth, _ = photograph(board, camera(LENS), (0.25, -0.2, 0.3))
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
