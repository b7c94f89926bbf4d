"""Lenses: the radius from which a distortion maps rays inwards."""

import cv2
import numpy as np
import pytest

from sonjit.geometry.cameras import distort, distortion_jacobian, fold_radius, undistort

LENSES = {
    "k1": [-0.3, 0, 0, 0, 0],
    "k1 to k3": [0.05, 0.03, 0, 0, -0.2],
    "rational": [-0.2, 0.05, 0, 0, -0.1, 0.2, 0.03, 0.01],
    "fisheye": [-0.1, 0.02, -0.3, -0.05],
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
