"""Lenses: the radius from which a distortion maps rays inwards."""

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.cameras import CalibratedCamera, distort, distortion_jacobian, fold_radius, undistort

LENSES = {
    "k1": [-0.3, 0, 0, 0, 0],
    "k1 to k3": [0.05, 0.03, 0, 0, -0.2],
    "rational": [-0.2, 0.05, 0, 0, -0.1, 0.2, 0.03, 0.01],
    "fisheye": [-0.1, 0.02, -0.3, -0.05],
    "pincushion": [2.0, 2.7, 0, 0, -0.9],
    "pincushion fisheye": [1.4, 0.9, 0.7, -1.5],
}


@pytest.mark.parametrize("name", LENSES)
def test_rays_move_outwards_up_to_the_fold(name):
    """Compare with the largest radius that the lens shows, which numbers find."""
    lens = np.array(LENSES[name], float)
    radii = np.linspace(0, 6, 60_001)
    shown = np.linalg.norm(distort(np.stack([radii, np.zeros_like(radii)], -1), lens), axis=-1)
    first = int(np.argmax(np.diff(shown) < 0))
    assert first > 0
    assert fold_radius(lens) == pytest.approx(radii[first], abs=2e-4)


def rays_inside(lens, count=200):
    """Return random rays (N, 2) on which a lens maps every ray outwards."""
    rng = np.random.default_rng(3)
    angles, radii = rng.uniform(-np.pi, np.pi, count), rng.uniform(0, 0.8 * min(fold_radius(lens), 1.5), count)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], -1)


def skewed(name):
    """Return a lens with tangential distortion, which a fisheye lens lacks."""
    lens = np.array(LENSES[name], float)
    if len(lens) > 4:
        lens[2:4] = 0.004, -0.007
    return lens


@pytest.mark.parametrize("name", LENSES)
def test_jacobian_is_that_of_finite_differences(name):
    lens, step = skewed(name), 1e-6
    rays = rays_inside(lens)
    columns = [(distort(rays + move, lens) - distort(rays - move, lens)) / (2 * step) for move in step * np.eye(2)]
    np.testing.assert_allclose(distortion_jacobian(rays, lens), np.stack(columns, -1), atol=1e-7)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("ray", [(0.0, 0.0), (6e-5, -3e-5), (3e-4, 2e-4)])
def test_the_jacobian_is_smooth_at_the_centre(name, ray):
    """Its change from the centre is less than the square of the ray, and linear with tangential distortion."""
    lens = np.array(LENSES[name], float)
    change = distortion_jacobian(np.array([ray]), lens)[0] - np.eye(2)
    (x, y), k1 = ray, lens[0] - (1 / 3 if len(lens) == 4 else lens[5] if len(lens) == 8 else 0)
    expected = k1 * np.array([[3 * x * x + y * y, 2 * x * y], [2 * x * y, x * x + 3 * y * y]])
    np.testing.assert_allclose(change, expected, atol=1e-11)


@pytest.mark.parametrize("name", LENSES)
def test_distortion_is_that_of_opencv(name):
    lens = skewed(name)
    rays = rays_inside(lens)
    points, still = np.append(rays, np.ones((len(rays), 1)), 1)[:, None], np.zeros(3)
    project = cv2.fisheye.projectPoints if len(lens) == 4 else cv2.projectPoints
    shown = project(points, still, still, np.eye(3), lens)[0][:, 0]
    np.testing.assert_allclose(distort(rays, lens), shown, atol=1e-9)


def test_rays_of_several_lenses_are_those_of_each():
    lenses = np.stack([skewed("k1"), skewed("k1 to k3"), np.zeros(5)])
    rays = np.stack([rays_inside(lens, 40) for lens in lenses])
    shown = distort(rays, lenses[:, None])
    np.testing.assert_allclose(undistort(shown, lenses[:, None]), rays, atol=1e-8)
    for bent, lens, expected in zip(shown, lenses, rays, strict=True):
        np.testing.assert_allclose(undistort(bent, lens), expected, atol=1e-8)


@pytest.mark.parametrize("name", LENSES)
def test_every_ray_inside_the_fold_is_found_again_and_no_other(name):
    """Undo lenses close to the fold, where Newton's method from the distorted ray leaves the range of the lens."""
    lens = np.array(LENSES[name], float)
    edge = min(fold_radius(lens), 3.0)
    angles = np.random.default_rng(7).uniform(-np.pi, np.pi, 400)
    rays = edge * np.linspace(0, 0.999, 400)[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    np.testing.assert_allclose(undistort(distort(rays, lens), lens), rays, atol=1e-6)
    if np.isfinite(fold_radius(lens)):
        most = np.linalg.norm(distort(np.array([edge, 0.0]), lens))
        beyond = 1.01 * most * np.array([[1.0, 0], [0.6, -0.8], [0, -1]])
        assert np.isnan(undistort(beyond, lens)).all()
    assert undistort(rays[3], lens).shape == (2,)
    assert np.isnan(undistort(np.array([[np.nan, 0.1], [0.1, np.inf]]), lens)).all()


def test_the_fold_of_a_lens_without_one_is_infinite():
    assert fold_radius(np.zeros(5)) == fold_radius(np.array([0.1, 0, 0, 0])) == np.inf
    assert fold_radius(np.array([0, 0, 0, 0, 0, -0.25, 0, 0])) == pytest.approx(2)  # its denominator is 0 there
    assert CalibratedCamera(np.eye(3)).fold == np.inf


@pytest.mark.parametrize("name", LENSES)
def test_a_calibrated_camera_projects_as_opencv_and_back(name):
    lens, rng = skewed(name), np.random.default_rng(5)
    K = np.array([[600, 0, 310], [0, 580, 250], [0, 0, 1.0]])
    R, t = cv2.Rodrigues(np.array([0.2, -0.3, 0.1]))[0], np.array([0.1, -0.2, 2.5])
    camera = CalibratedCamera(K, R, t, lens)
    world = rng.uniform(-0.5, 0.5, (30, 3))
    project = cv2.fisheye.projectPoints if len(lens) == 4 else cv2.projectPoints
    expected = project(world[:, None], cv2.Rodrigues(R)[0], t, K, lens)[0][:, 0]
    seen = camera.from_world(world)
    np.testing.assert_allclose(camera.project(seen), expected, atol=1e-6)
    np.testing.assert_allclose(camera.undistorted_rays(expected), seen[:, :2] / seen[:, 2:], atol=1e-8)
    assert camera.intrinsics == (600, 580, 310, 250)
    assert camera.is_fisheye == (len(lens) == 4)
    assert camera.fold == fold_radius(lens)


def test_points_behind_a_camera_or_beyond_the_fold_have_no_pixel():
    camera = CalibratedCamera(np.diag([500.0, 500, 1]), distortion=np.array([-1 / 3, 0, 0, 0, 0]))
    shown = camera.project(np.array([[0.99, 0, 1], [0, 1.01, 1], [0, 0, -1], [0, 0, 0], [0, 1.98, 2]]))
    assert np.isnan(shown).any(-1).tolist() == [False, True, True, True, False]
    plain = CalibratedCamera(np.diag([500.0, 400, 1]))
    np.testing.assert_allclose(plain.project(np.array([9.0, 3, 3])), (1500, 400))
    np.testing.assert_allclose(plain.undistorted_rays(np.array([1500.0, 400])), (3, 1))
    assert not plain.is_fisheye


@pytest.mark.parametrize("missing", ["R", "t"])
def test_a_camera_without_a_pose_refuses_points_of_the_world(missing):
    pose = {"R": np.eye(3), "t": np.zeros(3)} | {missing: None}
    with pytest.raises(InputError, match="place in the world is not known"):
        CalibratedCamera(np.eye(3), **pose).from_world(np.zeros((1, 3)))
