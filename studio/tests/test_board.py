import os
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_studio.association import count_mirrored_hands, hand_chirality
from sonjit_studio.board_recognition import recognise_board
from sonjit_studio.boards import sampled_images, target_from_text
from sonjit_studio.consistency import check_views
from sonjit_studio.rig import CameraRig

from .drawn_boards import draw_seen, held_places, middled
from .rigs import random_rig

DATA = Path(os.environ.get("SONJIT_TEST_DATA", "../shared"))


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "charuco:7x5:30mm:22mm:4x4_50", "charuco:7x6:30mm:22mm:4x4_50:inverted:legacy", "checkerboard:6x5:30mm",
        "aruco:5x4:30mm:8mm:4x4_50", "aruco:1x1:120mm:0mm:4x4_50", "aprilgrid:4x3:40mm:12mm",
    ],
)  # fmt: skip
def test_corners_are_found_where_they_are_drawn(text):
    board, view = target_from_text(text), random_rig(1, 3, distance_m=0.55).cameras[0]
    most, usual = (0.2, 0.6) if board.is_grid else (0.1, 0.35)  # a marker's corner has one dark side only
    for turn in (1, 2):  # whichever way up it is held
        R, t = held_places(1, turn, tilt_rad=0.3, towards=view.centre_m, reach_m=0.02)[0]
        R = R @ matrix_from_rotation_vector(np.array([0, 0, turn * np.pi / 2]))
        place = middled(board, (R, t))
        gray = cv2.cvtColor(draw_seen(board, place, view, rays=2), cv2.COLOR_RGB2GRAY)
        points, pixels = board.find(gray)
        assert len(points) > 0.7 * len(board.points_m)
        gap = pixels - view.project(board.points_m @ R.T + place[1])[points]
        assert np.abs(gap.mean(0)).max() < most  # half a pixel off would show
        assert np.linalg.norm(gap, axis=1).mean() < usual


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "charuco:6x5:30mm:21.9mm:4x4_50:inverted",
        "charuco:5x6:30mm:22.5mm:5x5_50:legacy",
        "aruco:4x3:30mm:10mm:4x4_50",
        "aprilgrid:4x3:30mm:9mm",
    ],
)
def test_a_board_is_recognised(text):
    board = target_from_text(text)
    turns = [np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([[0, -1.1, 300], [1, 0.1, 0]])]
    grey = [cv2.warpAffine(board.draw(44, 44), turn, (420, 360), borderValue=120) for turn in turns]
    april = board.kind == "aprilgrid"
    largest = board.dictionary if april else f"{board.dictionary.partition('_')[0]}_1000"
    known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{largest}"))
    false = cv2.aruco.generateImageMarker(known, 415, 40, borderBits=2 if april else 1)
    for image in grey:  # the background holds what looks like a marker, in every image
        image[5:55, 365:415] = 255
        image[10:50, 370:410] = false
        if board.inverted:
            image[5:55, 365:415] = 255 - image[5:55, 365:415]
    found = recognise_board(grey, square_m=0.03)
    assert found.text.split(":")[:2] == board.text.split(":")[:2]
    assert (found.dictionary, found.inverted, found.legacy) == (board.dictionary, board.inverted, board.legacy)
    assert found.marker_m == pytest.approx(board.marker_m, abs=1e-3)
    assert found.square_m == pytest.approx(board.square_m, abs=1e-3)


@pytest.mark.slow
def test_a_checkerboard_that_looks_the_same_upside_down_is_reported():
    squares = np.kron((np.indices((7, 9)).sum(0) % 2).astype(np.uint8), np.full((18, 18), 255, np.uint8))
    grey = cv2.copyMakeBorder(squares, 18, 18, 18, 18, cv2.BORDER_CONSTANT, value=255)
    with pytest.raises(InputError, match="a board that cannot be used: a checkerboard of 8 x 6"):
        recognise_board([grey, np.rot90(grey).copy()])


def test_no_board_is_recognised_where_none_is():
    slope = np.tile(np.arange(160, dtype=np.uint8), (120, 1))
    assert recognise_board([slope, slope.T.copy()]) is None


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("views", "text"),
    [
        ("post_optimization/calibration/extrinsic/cam_[01].mp4", "charuco:4x5:30mm:21.9mm:4x4_50:inverted"),
        ("chessboard_intrinsic/cam_0_frame_[13]00.jpg", "checkerboard:9x6:30mm"),
        ("aruco_extrinsic/cam_0_frame_0[03]50.jpg", "aruco:1x1:30mm:0mm:4x4_50"),
    ],
)
def test_real_boards_are_recognised(views, text):
    files = sorted((DATA / "real" / "multiview").glob(views))
    if not files:
        pytest.skip("no real/multiview in SONJIT_TEST_DATA")
    found = recognise_board(sampled_images({file.stem: file for file in files}, count=2), square_m=0.03)
    assert found.text == text


def test_a_board_prints_in_its_true_size():
    """Check that the dark areas of the drawing, filled again, are a board with correct corners."""
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
        ("charuco:8x6:30mm:40mm:4x4_50", "do not fit into squares"),
        ("charuco:8x6:30:22mm:4x4_50", "measure a square"),
        ("charuco:8x6:30mm:22mm:9x9", "unknown marker dictionary '9x9'"),
        ("charuco:7x5:30mm:22mm:4x4_50:legacy", ":legacy applies only to"),
        ("aruco:5x4:30mm:0mm:4x4_50", "requires a gap"),
        ("checkerboard:9x7:25mm", "looks the same upside down"),
        ("none.json", "cannot be read"),
    ],
)
def test_a_wrong_board_is_named(text, message):
    with pytest.raises(InputError, match=message):
        target_from_text(text)


FRAMES = 30


@pytest.fixture(scope="module")
def seen():
    """Return six cameras and their pixels of a moving hand (6, F, 21, 2)."""
    rng = np.random.default_rng(2)
    rig = random_rig(6, 11)
    hand = rng.normal(0, 0.06, (21, 3))
    path = np.cumsum(rng.normal(0, 0.03, (FRAMES, 3)), 0)
    path -= path.mean(0)
    pixels = rig.project(hand + 0.6 * path[:, None])
    return rig, pixels + rng.normal(0, 1, pixels.shape)


def test_swapped_cameras_are_named_together(seen):
    rig, pixels = seen
    _, faults = check_views(rig, pixels[[0, 4, 2, 3, 1, 5]])
    assert {fault.kind for fault in faults} == {"swapped"}
    assert {fault.camera for fault in faults} == {"cam1", "cam4"}
    assert "'cam1' and 'cam4' are swapped" in faults[0].message


def _mistakes():
    def pixels_of(change):
        def made(rig, pixels):
            pixels = pixels.copy()
            pixels[2] = change(pixels[2])
            return rig, pixels

        return made

    def camera_of(**change):
        def made(rig, pixels):
            views = list(rig)
            given = {name: value(views[2]) for name, value in change.items()}
            views[2] = replace(views[2], camera=replace(views[2].camera, **given))
            return CameraRig(views), pixels

        return made

    def wrong_lens(view):
        K = view.camera.K.copy()
        K[[0, 1], [0, 1]] *= 1.4
        return K

    turn = matrix_from_rotation_vector(np.array([0.05, -0.3, 0.02]))
    yield "mirrored", pixels_of(lambda seen: np.stack([640 - seen[..., 0], seen[..., 1]], -1))
    yield "turned", pixels_of(lambda seen: np.stack([480 - seen[..., 1], seen[..., 0]], -1))
    yield "turned", pixels_of(lambda seen: np.stack([seen[..., 1], 640 - seen[..., 0]], -1))
    yield "resized", pixels_of(lambda seen: seen / 2)
    yield "late", pixels_of(lambda seen: np.roll(seen, 4, axis=0))
    yield "unknown", pixels_of(lambda seen: np.random.default_rng(0).uniform(0, 480, seen.shape))
    yield "unchecked", pixels_of(lambda seen: np.full_like(seen, np.nan))
    yield "lens", camera_of(K=wrong_lens)
    yield "moved", camera_of(R=lambda view: turn @ view.R, t=lambda view: turn @ view.t + [0.1, 0, 0.05])


@pytest.mark.nightly_after(4)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mistake"), [pytest.param(*mistake, id=f"{mistake[0]}{n}") for n, mistake in enumerate(_mistakes())]
)
def test_a_mistake_is_called_by_its_name(seen, kind, mistake):
    assert {fault.camera: fault.kind for fault in check_views(*mistake(*seen))[1]} == {"cam2": kind}


def test_of_two_cameras_neither_is_believed(seen):
    rig, pixels = seen
    two = rig.subset(["cam0", "cam1"])
    assert check_views(two, pixels[:2])[0] == two.names
    with pytest.raises(InputError, match="no two of the cameras cam0, cam1 agree"):
        check_views(two, pixels[[1, 0]])
    with pytest.raises(InputError, match="points_px must have shape"):
        check_views(two, pixels)


def test_right_hands_turn_one_way_and_left_ones_the_other(demo_clip):
    _, _, truth = demo_clip
    hands = [(hand["handedness"], np.array(hand["xyz_m"])) for frame in truth for hand in frame["hands"]]
    right, wrong = count_mirrored_hands(hands)
    assert right > 100
    assert wrong == 0
    mirrored = [(side, points * [-1, 1, 1]) for side, points in hands]
    assert count_mirrored_hands(mirrored) == (0, right)
    together = np.stack([points for _, points in hands])
    np.testing.assert_allclose(hand_chirality(together), [hand_chirality(points) for _, points in hands])
    assert count_mirrored_hands([("Left", np.full((21, 3), np.nan))]) == (0, 0)
