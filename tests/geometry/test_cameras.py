"""Lenses: the radius from which a distortion maps rays inwards."""

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.cameras import (
    CalibratedCamera,
    Intrinsics,
    check_camera,
    distort,
    distortion_jacobian,
    fold_radius,
    translation_to_view,
    undistort,
)

LENSES = {
    "k1": [-0.3, 0, 0, 0, 0],
    "k1 to k3": [0.05, 0.03, 0, 0, -0.2],
    "rational": [-0.2, 0.05, 0, 0, -0.1, 0.2, 0.03, 0.01],
    "fisheye": [-0.1, 0.02, -0.3, -0.05],
    "pincushion": [2.0, 2.7, 0, 0, -0.9],
    "pincushion fisheye": [1.4, 0.9, 0.7, -1.5],
    "thin prism": [-0.2, 0.05, 0, 0, -0.1, 0.2, 0.03, 0.01, 0, 0, 0, 0],
    "tilted": [-0.2, 0.05, 0, 0, -0.1, 0.2, 0.03, 0.01, 0, 0, 0, 0, 0, 0],
}


def model_of(name):
    return "fisheye" if "fisheye" in name else "pinhole"


@pytest.mark.parametrize("name", LENSES)
def test_rays_move_outwards_up_to_the_fold(name):
    """Compare with the largest radius that the lens shows, which numbers find."""
    lens = np.array(LENSES[name], float)
    radii = np.linspace(0, 6, 60_001)
    shown = np.linalg.norm(distort(np.stack([radii, np.zeros_like(radii)], -1), lens, model_of(name)), axis=-1)
    first = int(np.argmax(np.diff(shown) < 0))
    assert first > 0
    assert fold_radius(lens, model_of(name)) == pytest.approx(radii[first], abs=2e-4)


def rays_inside(lens, count=200, model="pinhole"):
    """Return random rays (N, 2) on which a lens maps every ray outwards."""
    rng = np.random.default_rng(3)
    angles, radii = rng.uniform(-np.pi, np.pi, count), rng.uniform(0, 0.8 * min(fold_radius(lens, model), 1.5), count)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], -1)


def skewed(name):
    """Return a lens with tangential distortion, prisms and a tilt, which a fisheye lens lacks."""
    lens = np.array(LENSES[name], float)
    if len(lens) > 4:
        lens[2:4] = 0.004, -0.007
    if len(lens) > 8:
        lens[8:12] = 0.003, -0.001, -0.004, 0.002
    if len(lens) > 12:
        lens[12:] = 0.02, -0.03
    return lens


@pytest.mark.parametrize("name", LENSES)
def test_jacobian_is_that_of_finite_differences(name):
    model = model_of(name)
    lens, step = skewed(name), 1e-6
    rays = rays_inside(lens, model=model)
    columns = [
        (distort(rays + move, lens, model) - distort(rays - move, lens, model)) / (2 * step)
        for move in step * np.eye(2)
    ]
    np.testing.assert_allclose(distortion_jacobian(rays, lens, model), np.stack(columns, -1), atol=1e-7)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("ray", [(0.0, 0.0), (6e-5, -3e-5), (3e-4, 2e-4)])
def test_the_jacobian_is_smooth_at_the_centre(name, ray):
    """Its change from the centre is less than the square of the ray, and linear with tangential distortion."""
    lens = np.array(LENSES[name], float)
    change = distortion_jacobian(np.array([ray]), lens, model_of(name))[0] - np.eye(2)
    (x, y), k1 = ray, lens[0] - (1 / 3 if "fisheye" in name else lens[5] if len(lens) >= 8 else 0)
    expected = k1 * np.array([[3 * x * x + y * y, 2 * x * y], [2 * x * y, x * x + 3 * y * y]])
    np.testing.assert_allclose(change, expected, atol=1e-11)


@pytest.mark.parametrize("name", LENSES)
def test_distortion_is_that_of_opencv(name):
    lens = skewed(name)
    rays = rays_inside(lens, model=model_of(name))
    points, still = np.append(rays, np.ones((len(rays), 1)), 1)[:, None], np.zeros(3)
    project = cv2.fisheye.projectPoints if "fisheye" in name else cv2.projectPoints
    shown = project(points, still, still, np.eye(3), lens)[0][:, 0]
    np.testing.assert_allclose(distort(rays, lens, model_of(name)), shown, atol=1e-9)


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
    model = model_of(name)
    lens = np.array(LENSES[name], float)
    edge = min(fold_radius(lens, model), 3.0)
    angles = np.random.default_rng(7).uniform(-np.pi, np.pi, 400)
    rays = edge * np.linspace(0, 0.999, 400)[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    np.testing.assert_allclose(undistort(distort(rays, lens, model), lens, None, model), rays, atol=1e-6)
    if np.isfinite(fold_radius(lens, model)):
        most = np.linalg.norm(distort(np.array([edge, 0.0]), lens, model))
        beyond = 1.01 * most * np.array([[1.0, 0], [0.6, -0.8], [0, -1]])
        assert np.isnan(undistort(beyond, lens, None, model)).all()
    assert undistort(rays[3], lens, None, model).shape == (2,)
    assert np.isnan(undistort(np.array([[np.nan, 0.1], [0.1, np.inf]]), lens, None, model)).all()


def test_the_fold_of_a_lens_without_one_is_infinite():
    assert fold_radius(np.zeros(5)) == fold_radius(np.array([0.1, 0, 0, 0]), "fisheye") == np.inf
    assert fold_radius(np.array([0, 0, 0, 0, 0, -0.25, 0, 0])) == pytest.approx(2)  # its denominator is 0 there
    assert CalibratedCamera(np.eye(3)).fold == np.inf


@pytest.mark.parametrize("name", LENSES)
def test_a_calibrated_camera_projects_as_opencv_and_back(name):
    lens, rng = skewed(name), np.random.default_rng(5)
    K = np.array([[600, 0, 310], [0, 580, 250], [0, 0, 1.0]])
    R, t = cv2.Rodrigues(np.array([0.2, -0.3, 0.1]))[0], np.array([0.1, -0.2, 2.5])
    camera = CalibratedCamera(K, R, t, lens, model_of(name))
    world = rng.uniform(-0.5, 0.5, (30, 3))
    project = cv2.fisheye.projectPoints if "fisheye" in name else cv2.projectPoints
    expected = project(world[:, None], cv2.Rodrigues(R)[0], t, K, lens)[0][:, 0]
    seen = camera.from_world(world)
    np.testing.assert_allclose(camera.project(seen), expected, atol=1e-6)
    np.testing.assert_allclose(camera.undistorted_rays(expected), seen[:, :2] / seen[:, 2:], atol=1e-8)
    assert camera.intrinsics == (600, 580, 310, 250)
    assert camera.is_fisheye == ("fisheye" in name)
    assert camera.fold == fold_radius(lens, model_of(name))


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


@pytest.mark.parametrize(
    ("lens", "fold"),
    [
        ([-1 / 12, 0, 0, 0], np.inf),  # at an angle of 2 rad, behind the camera
        ([-1 / 3, 0, 0, 0], np.tan(1.0)),
        ([0, -1 / 5, 0, 0], np.tan(1.0)),
        ([0, 0, -1 / 7, 0], np.tan(1.0)),
        ([0, 0, 0, -1 / 9], np.tan(1.0)),
        ([0, 0, 0, 0, -1 / 7], 1.0),
        ([0, -1 / 5, 0, 0, 0], 1.0),
        ([-1 / 3, 0, 0, 0, 0, 0, 0, 0], 1.0),
        ([0, 0, 0, 0, 0, 1, 0, 0], 1.0),  # r / (1 + r²)
        ([0, 0, 0, 0, 0, 0, 0, -1 / 64], 2.0),
        ([0, 0, 0, 0, 0, 0, -1 / 16, 0], 2.0),
        ([1, 0, 0, 0, 0, 0.5, 0, 0], np.inf),
    ],
)
def test_the_fold_is_where_a_lens_turns_inwards(lens, fold):
    """A radius grows by d(r radial)/dr, a fisheye's angle by d(shown angle)/d(angle)."""
    assert fold_radius(np.array(lens, float), "fisheye" if len(lens) == 4 else "pinhole") == pytest.approx(fold)


@pytest.mark.parametrize("name", [*LENSES, "wide"])
def test_rays_of_lenses_with_tangential_distortion_are_found_again(name):
    """Also where the first steps of Newton's method leave the range of the lens."""
    model = model_of(name)
    lens = np.array([-0.45, 0.25, 0.01, -0.02, -0.06]) if name == "wide" else skewed(name)
    edge = 0.93 * min(fold_radius(lens, model), 2.0)
    angles = np.random.default_rng(2).uniform(-np.pi, np.pi, (3, 100))
    rays = edge * np.linspace(0.01, 1, 100)[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    shown = distort(rays, lens, model)
    found = undistort(shown, lens, None, model)
    again = distort(found, lens, model)
    np.testing.assert_allclose(again[np.isfinite(found)], shown[np.isfinite(found)], atol=1e-9)
    assert np.isfinite(found).all(-1).mean() > 0.97
    np.testing.assert_allclose(found, undistort(shown, lens, fold_radius(lens, model), model), atol=0, equal_nan=True)
    near = np.linalg.norm(rays, axis=-1) < 0.7 * edge
    np.testing.assert_allclose(found[near], rays[near], atol=1e-8)


def test_no_ray_is_found_beyond_a_given_reach():
    lens, rays = np.array([0.1, 0, 0, 0, 0]), np.array([[0.3, 0.4], [0.6, -0.8], [-0.9, 0], [0.7, 0]])
    found = undistort(distort(rays, lens), lens, 0.8)
    assert np.isfinite(found).all(-1).tolist() == [True, False, False, True]
    every = undistort(np.stack([distort(rays, lens)] * 2), np.stack([lens[None]] * 2), np.array([[0.8], [2.0]]))
    np.testing.assert_allclose(every[0], found, atol=1e-12)
    np.testing.assert_allclose(every[1], rays, atol=1e-9)


def test_a_camera_whose_axes_are_skewed_projects_and_back():
    K = np.array([[600, 4.0, 310], [0, 580, 250], [0, 0, 1.0]])
    points = np.random.default_rng(1).uniform(-1, 1, (5, 4, 3)) + np.array([0, 0, 3])
    camera, homogeneous = CalibratedCamera(K), points @ K.T
    expected = homogeneous[..., :2] / homogeneous[..., 2:]
    np.testing.assert_allclose(camera.project(points), expected)
    np.testing.assert_allclose(camera.undistorted_rays(expected), points[..., :2] / points[..., 2:], atol=1e-12)


def test_pixels_of_an_unequal_camera_belong_to_points_at_their_depths():
    camera, points = Intrinsics(600, 400, 310, 250), np.array([[[0.3, -0.4, 2.0], [1.0, 0.5, 4.0]]])
    shown = np.array([[[400, 170], [460, 300]]])
    np.testing.assert_allclose(camera.project(points), shown)
    np.testing.assert_allclose(camera.back_project(shown, points[..., 2]), points)


@pytest.mark.parametrize(("depth", "is_seen"), [(0.051, True), (0.049, False)])
def test_points_are_placed_in_front_of_the_camera_or_nowhere(depth, is_seen):
    """The nearest point is 0.05 nearer than the origin of the points."""
    camera = Intrinsics(600, 400, 310, 250)
    points = np.array([[0.02, 0.01, 0.0], [-0.02, 0.03, 0.01], [0.01, -0.02, 0.03], [0.0, 0.02, -0.05]])
    place = np.array([0.001, -0.002, depth])
    shift = translation_to_view(points, camera.project(points + place), camera)
    if is_seen:
        np.testing.assert_allclose(shift, place, atol=1e-9)
    else:
        assert shift is None


def test_points_that_fit_no_place_have_the_translation_of_least_squares():
    """The misfit is that of rays at depth 1, times the depth of each point."""
    camera, rng = Intrinsics(600, 400, 310, 250), np.random.default_rng(4)
    points = rng.normal(0, 0.1, (9, 3))
    shown = camera.project(points + np.array([0.1, -0.2, 1.5])) + rng.normal(0, 20, (9, 2))
    rays = (shown - (310, 250)) / (600, 400)

    def misfit(place):
        x, y, z = (points + place).T
        return np.sum((x - rays[:, 0] * z) ** 2 + (y - rays[:, 1] * z) ** 2)

    place = translation_to_view(points, shown, camera)
    for step in (*(1e-3 * np.eye(3)), *(-1e-3 * np.eye(3))):
        assert misfit(place) < misfit(place + step)
    assert translation_to_view(points, np.where(np.arange(18).reshape(9, 2) == 5, np.inf, shown), camera) is None
    assert translation_to_view(np.where(np.arange(27).reshape(9, 3) == 5, np.nan, points), shown, camera) is None


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
def test_pinholes_of_every_number_of_coefficients_are_those_of_opencv_over_the_image(count):
    every = [-0.28, 0.11, 6e-4, -9e-4, -0.02, 0.01, -0.02, 0.003, 2e-3, -1e-3, 1e-3, 3e-3, 0.02, -0.015]
    lens, K = np.array(every[:count]), np.array([[900.0, 0, 655], [0, 905, 352], [0, 0, 1]])
    across, down = np.meshgrid(np.linspace(-0.8, 0.8, 17), np.linspace(-0.45, 0.45, 11))
    rays = np.stack([across, down], -1).reshape(-1, 2)
    points = np.c_[rays, np.ones(len(rays))]
    shown = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, lens)[0][:, 0]
    assert (shown.min(0) < 50).all()
    assert (shown.max(0) > (1240, 680)).all()
    camera = CalibratedCamera(K, distortion=lens)
    np.testing.assert_allclose(camera.project(points), shown, atol=1e-6)
    np.testing.assert_allclose(camera.undistorted_rays(shown), rays, atol=1e-9)


def test_the_model_and_not_the_number_of_coefficients_gives_them_their_meaning():
    lens, K = np.array([-0.2, 0.05, 1e-3, 2e-3]), np.diag([500.0, 500, 1])
    pinhole, fisheye = CalibratedCamera(K, distortion=lens), CalibratedCamera(K, distortion=lens, model="fisheye")
    assert (pinhole.is_fisheye, len(pinhole.distortion)) == (False, 5)
    assert (fisheye.is_fisheye, len(fisheye.distortion)) == (True, 4)
    point = np.array([[[0.5, 0.2, 1.0]]])
    for camera, project in ((pinhole, cv2.projectPoints), (fisheye, cv2.fisheye.projectPoints)):
        expected = project(point, np.zeros(3), np.zeros(3), K, lens)[0].ravel()
        np.testing.assert_allclose(camera.project(point).ravel(), expected, atol=1e-9)
    for model, count in (("fisheye", 5), ("pinhole", 6), ("omni", 5)):
        with pytest.raises(InputError, match=r"distortion of a|camera model"):
            check_camera(CalibratedCamera(K, distortion=np.zeros(count), model=model), "rig.json: camera 1")
