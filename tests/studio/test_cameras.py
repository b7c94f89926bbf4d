import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit._util.errors import SonjitError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.hand_models.rig import RigPose, load_rig
from sonjit.studio.cameras.formats import to_opencv
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.cameras.views import open_view, views_by_camera
from sonjit.studio.cameras.world import scale_to_length, world_on_board, world_on_points
from sonjit.studio.triangulation.bones import fit_mesh, rig_with_lengths

from .rigs import FISHEYE, LENS, RATIONAL, random_rig, with_lenses

seeds = st.integers(0, 10**6)


@given(seeds)
@pytest.mark.slow
def test_an_epipolar_line_passes_through_what_the_other_camera_sees(seed):
    rig, point = random_rig(2, seed % 100), np.random.default_rng(seed).normal(0, 0.08, 3)
    one, other = rig
    if not other.inside(other.project(point)):
        return
    line = one.epipolar_line(one.project(point), other, points=300)
    step = np.linalg.norm(np.diff(line, axis=0), axis=1).max()
    assert np.linalg.norm(line - other.project(point), axis=1).min() <= step
    before = one.epipolar_line(one.project(point), other, depth_m=(0.01, np.linalg.norm(point - one.centre_m) - 0.05))
    assert len(before) == 0 or np.linalg.norm(before - other.project(point), axis=1).min() > 1


def test_cameras_are_found_by_name():
    rig = random_rig(4)
    assert rig.subset(["cam3", "cam1"]).names == ("cam3", "cam1")
    assert rig["cam2"] is rig.cameras[2]
    np.testing.assert_allclose(rig.centres_m[2], rig["cam2"].centre_m)
    with pytest.raises(InputError, match=r"'cam9' is not in the rig: it has cam0, cam1, cam2, cam3"):
        rig["cam9"]
    with pytest.raises(InputError, match="two cameras are named 'cam0'"):
        CameraRig([rig["cam0"], rig["cam0"]])
    with pytest.raises(InputError, match="0 cameras"):
        CameraRig([])


def test_a_folder_of_recordings_may_hold_tables(tmp_path):
    for name in ("cam_0.mp4", "xy.csv", "CHARUCO/xyz.csv", "cam_1/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert set(views_by_camera([str(tmp_path)])) == {"cam_0", "cam_1"}
    for name in ("frame_0050_cam0.jpg", "frame_0051_cam0.jpg"):
        (tmp_path / "cam_1" / name).touch()
    assert set(views_by_camera([str(tmp_path)])) == {"cam_0", "cam_1"}
    for name in ("camA-12.jpg", "camB-12.jpg"):
        (tmp_path / "CHARUCO" / name).touch()
    with pytest.raises(InputError, match=r"folder has images of camA, camB: name it without left="):
        views_by_camera([f"left={tmp_path / 'CHARUCO'}"])


@pytest.mark.parametrize(
    ("names", "cameras"),
    [
        ("cam_0_frame_0050 cam_0_frame_1000 cam_1_frame_0050", "cam_0 cam_1"),
        ("frame_0050_cam0 frame_1000_cam0 frame_0050_cam10 frame_0050_cam1", "cam0 cam1 cam10"),
        ("c0_0001 c1_0001 c1_0002", "c0 c1"),
        ("camA-12 camB-12", "camA camB"),
        ("view1_003 view2_003", "view1 view2"),
        ("Camera 1 (50) Camera 2 (50)", "Camera 1 Camera 2"),
        ("left01 right01 right02", "left right"),
        ("port_0_12 port_1_12 background", "port_0 port_1"),
    ],
)
def test_images_of_several_cameras_may_lie_in_one_folder(tmp_path, names, cameras):
    folder = tmp_path / "take [1]"  # no pattern
    folder.mkdir()
    split = re.findall(r"Camera \d \(\d+\)|\S+", names)
    for name in split:
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8), np.uint8))
    views = views_by_camera([str(folder)])
    assert list(views) == re.findall(r"Camera \d|\S+", cameras)
    numbers = {name: open_view(path).numbers for name, path in views.items()}
    first = min(own[0] for own in numbers.values())
    assert all(own[0] == first for own in numbers.values())  # frame sets go by the frame, not by the camera's number
    assert first in (1, 3, 12, 50)
    assert sum(map(len, numbers.values())) == len([name for name in split if name != "background"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("0_0050 1_0050", r"0_0050\.png and 1_0050\.png, and the names do not show which number is the camera's"),
        ("left_01 old_left_01 right_01", r"several recordings of one camera, left_\*\.\* and old_left_\*\.\*"),
    ],
)
def test_names_without_a_camera_are_refused(tmp_path, names, message):
    for name in names.split():
        (tmp_path / f"{name}.png").touch()
    with pytest.raises(InputError, match=message):
        views_by_camera([str(tmp_path)])


@pytest.mark.parametrize("lens", [LENS, RATIONAL, FISHEYE])
def test_lenses_are_opencvs(lens):
    view = with_lenses(random_rig(1), [lens], zoom=0.5).cameras[0]
    points = np.random.default_rng(0).normal(0, 0.25, (50, 3))
    K = to_opencv(view.camera.K)
    if len(lens) == 4:
        want = cv2.fisheye.projectPoints(points[:, None], cv2.Rodrigues(view.R)[0], view.t, K, lens)[0]
    else:
        want = cv2.projectPoints(points, cv2.Rodrigues(view.R)[0], view.t, K, lens)[0]
    np.testing.assert_allclose(view.project(points), want.reshape(-1, 2) + 0.5, atol=1e-6)
    rays = view.camera.undistorted_rays(view.project(points))
    seen = view.camera.from_world(points)
    np.testing.assert_allclose(rays, seen[:, :2] / seen[:, 2:], atol=1e-9)


@pytest.fixture(scope="module")
def hand():
    try:
        return load_rig("Right")
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")


def test_a_mesh_lies_where_its_own_joints_are(hand):
    lengths = 1.1 * hand.lengths
    unknown = lengths.copy()
    unknown[3] = np.nan
    rig = rig_with_lengths("Right", unknown)
    np.testing.assert_allclose(rig.lengths, lengths, rtol=1e-6)
    rest = RigPose(np.eye(3)[None], np.array([[0.1, 0, 0.5]]), np.zeros((1, 5, 3, 3)))
    points = rig.keypoints(rest).repeat(3, axis=0)
    points[1, 5] = np.nan
    pose, complete, off = fit_mesh(rig, points)
    assert complete.tolist() == [0, 2]
    assert len(rig.keypoints(pose)) == 2
    assert np.isnan(off[1])
    assert off[[0, 2]].max() < 1e-3


vectors = st.lists(st.floats(-2, 2), min_size=3, max_size=3).map(np.array)


@given(vectors, vectors)
def test_a_board_on_the_floor_is_the_origin_and_up_is_z(turn, place):
    R, t = matrix_from_rotation_vector(turn), place
    turned, moved = world_on_board(R, t)
    on_board = np.array([[0, 0, 0], [1, 0, 0], [0, 0, -1.0]])  # its z points into the floor
    there = (on_board @ R.T + t) @ turned.T + moved
    np.testing.assert_allclose(there, [[0, 0, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9)


def test_three_points_are_the_floor():
    points = np.array([[1.0, 2, 3], [1, 4, 3], [0, 2, 3]])
    R, t = world_on_points(*points)
    np.testing.assert_allclose(points @ R.T + t, [[0, 0, 0], [2, 0, 0], [0, 1, 0]], atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)


def test_what_gives_no_world_is_one_line():
    with pytest.raises(InputError, match="lie on one line"):
        world_on_points(*np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]))
    for one, other, measured in (([0, 0, 0], [0, 0, 0], 1), ([0, 0, 0], [1, 0, 0], 0)):
        with pytest.raises(InputError, match="gives no scale"):
            scale_to_length(np.array(one), np.array(other), measured)
    assert scale_to_length(np.zeros(3), np.array([0, 2, 0]), 1) == 0.5
