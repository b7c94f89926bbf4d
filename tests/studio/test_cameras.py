import math
import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit._util.errors import SonjitError
from sonjit.geometry.cameras import CalibratedCamera, distort, distortion_jacobian, fold_radius, undistort
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.hand_models.rig import RigPose, load_rig
from sonjit.studio.cameras.formats import to_opencv
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.cameras.views import open_view, views_by_camera
from sonjit.studio.cameras.world import scale_to_length, world_on_board, world_on_points
from sonjit.studio.triangulation.bones import fit_mesh, rig_with_lengths
from sonjit.studio.triangulation.triangulation import triangulate

from .rigs import FISHEYE, LENS, RATIONAL, random_rig, with_lenses

seeds = st.integers(0, 10**6)


@given(seeds)
def test_straightened_rays_are_bent_back_exactly(seed):
    rng = np.random.default_rng(seed)
    lens = rng.normal(0, [0.3, 0.1, 1e-3, 1e-3, 0.02])
    reach = min(fold_radius(lens), 1.5) * 0.7
    rays = rng.uniform(-reach, reach, (5, 4, 2)) / math.sqrt(2)
    np.testing.assert_allclose(undistort(distort(rays, lens), lens), rays, atol=1e-9)


def test_a_lens_distorts_as_in_opencv():
    import cv2

    points = np.random.default_rng(0).uniform((-0.5, -0.5, 1.5), (0.5, 0.5, 2.5), (50, 3))
    K = np.diag([500, 600, 1.0])
    theirs = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, LENS)[0][:, 0]
    ours = RigCamera("a", 9, 9, CalibratedCamera(K, np.eye(3), np.zeros(3), LENS)).project(points)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@given(seeds)
def test_the_slope_of_bending_is_that_of_small_steps(seed):
    rng = np.random.default_rng(seed)
    lens, rays, step = rng.normal(0, 0.1, 5), rng.uniform(-0.5, 0.5, (7, 2)), 1e-6
    for axis in range(2):
        move = np.eye(2)[axis] * step
        steps = (distort(rays + move, lens) - distort(rays - move, lens)) / (2 * step)
        np.testing.assert_allclose(distortion_jacobian(rays, lens)[..., axis], steps, atol=1e-7)


def test_beyond_the_fold_of_a_lens_nothing_is_seen():
    view = RigCamera(
        "a", 640, 480, CalibratedCamera(np.diag([500, 500, 1.0]), np.eye(3), np.zeros(3), LENS * [2, 0, 0, 0, 0])
    )
    angle = np.linspace(0, 1.4, 200)
    seen = view.project(np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1))[:, 0]
    known = np.isfinite(seen)
    assert known[0]
    assert not known[-1]
    assert (np.diff(seen[known]) > 0).all()  # without the fold it would come back into the image
    assert np.isnan(view.camera.undistorted_rays(np.array([[5000.0, 0]]))).all()


@given(seeds)
@pytest.mark.slow
def test_a_ray_meets_what_its_pixel_shows(seed):
    rig, point = random_rig(3, seed % 50), np.random.default_rng(seed).normal(0, 0.1, (4, 3))
    for view in rig:
        there = view.directions(view.project(point))
        apart = point - view.centre_m
        np.testing.assert_allclose(there * np.linalg.norm(apart, axis=1)[:, None], apart, atol=1e-8)


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


def test_an_epipolar_line_bends_with_the_lens():
    one, other = random_rig(2, 4)
    line = one.epipolar_line(np.array([100.0, 60]), other)
    assert _off_straight(line) > 1
    assert _off_straight(other.camera.undistorted_rays(line) * 1000) < 1e-6


def _off_straight(line):
    """Return the distance in pixels of a line from the straight line between its ends."""
    x, y = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    return np.abs((line - line[0]) @ [-y, x]).max()


def test_what_is_behind_the_other_camera_has_no_line():
    K = np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1.0]])
    one = RigCamera("a", 640, 480, CalibratedCamera(K, np.eye(3), np.zeros(3)))
    turned = np.diag([-1.0, 1, -1])
    other = RigCamera("b", 640, 480, CalibratedCamera(K, turned, -turned @ [0, 0, -1.0]))  # behind, looking away
    assert one.epipolar_line(np.array([320.0, 240]), other).shape == (0, 2)
    assert one.epipolar_line(np.array([np.nan, 240]), other).shape == (0, 2)


@given(seeds)
def test_a_moved_rig_sees_the_moved_world(seed):
    rng = np.random.default_rng(seed)
    R, t, scale = matrix_from_rotation_vector(rng.normal(size=3)), rng.normal(size=3), rng.uniform(0.5, 2)
    rig, points = random_rig(4, seed % 20), rng.normal(0, 0.1, (6, 3))
    np.testing.assert_allclose(rig.moved(R, t, scale).project(scale * points @ R.T + t), rig.project(points), atol=1e-6)


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


def test_a_rig_requires_the_position_of_each_camera():
    with pytest.raises(InputError, match="its pose is unknown"):
        RigCamera("a", 640, 480, CalibratedCamera(np.eye(3)))


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


def test_cameras_of_different_lenses_triangulate_together():
    rig = with_lenses(random_rig(4), [LENS, RATIONAL, FISHEYE, None])
    points = np.random.default_rng(1).normal(0, 0.1, (30, 3))
    np.testing.assert_allclose(triangulate(rig, rig.project(points)).points_m, points, atol=1e-9)


@given(seeds)
def test_rational_lenses_turn_back_at_their_fold(seed):
    lens = np.random.default_rng(seed).normal(0, [0.3, 0.2, 0, 0, 0.1, 0.3, 0.2, 0.1])
    r = min(fold_radius(lens), 3.0) * np.linspace(0.01, 0.999, 400)
    shown = distort(np.stack([r, 0 * r], 1), lens)[:, 0]
    assert (np.diff(shown) > 0).all()


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


def test_without_a_complete_hand_there_is_no_mesh(hand):
    pose, complete, off = fit_mesh(hand, np.full((2, 21, 3), np.nan))
    assert pose is None
    assert not len(complete)
    assert np.isnan(off).all()


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
