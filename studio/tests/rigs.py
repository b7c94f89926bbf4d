"""Rigs of random cameras around a hand, for all multi-view tests."""

from dataclasses import replace

import numpy as np

from sonjit.geometry.cameras import CalibratedCamera
from sonjit_studio.rig import CameraRig, RigCamera

LENS = np.array([-0.22, 0.06, 4e-4, -7e-4, 0.004])


def random_rig(cameras=6, seed=0, *, lens=True, distance_m=1.0, half=False):
    """Return cameras at about 1 m that look at the origin, with different lenses. With `half`, none is below."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(cameras):
        out = rng.normal(size=3)
        out[2] = abs(out[2]) if half else out[2]
        ahead = -out / np.linalg.norm(out)
        right = np.cross(rng.normal(size=3), ahead)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(ahead, right), ahead])
        K = np.array([[rng.uniform(500, 900), 0, 322], [0, rng.uniform(500, 900), 236], [0, 0, 1.0]])
        centre = -ahead * distance_m * rng.uniform(0.8, 1.2)
        bent = LENS * rng.uniform(0.5, 1.2, 5) if lens else None
        made.append(RigCamera(f"cam{number}", 640, 480, CalibratedCamera(K, R, -R @ centre, bent)))
    return CameraRig(made)


RATIONAL = np.array([0.9, 0.15, 1e-3, -5e-4, 0.01, 1.1, 0.3, 0.02])
PRISM = np.array([*RATIONAL, 2e-3, -1e-3, 1e-3, 3e-3])
TILTED = np.array([*PRISM, 0.02, -0.015])
FISHEYE = np.array([0.03, -0.01, 0.004, -0.001])


def with_lenses(rig, lenses, *, zoom=1.0):
    """Return the rig with the given lenses in turn, and other focal lengths."""
    made = []
    for number, view in enumerate(rig):
        K = view.camera.K * np.array([[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]])
        lens = lenses[number % len(lenses)]
        model = "fisheye" if lens is FISHEYE else "pinhole"
        made.append(replace(view, camera=replace(view.camera, K=K, distortion=lens, model=model)))
    return CameraRig(made)


def assert_same_rig(one, other, atol=1e-9):
    assert one.names == other.names
    for a, b in zip(one, other, strict=True):
        assert (a.width, a.height) == (b.width, b.height)
        np.testing.assert_allclose(a.camera.K, b.camera.K, atol=atol)
        np.testing.assert_allclose(a.R, b.R, atol=atol)
        np.testing.assert_allclose(a.t, b.t, atol=atol)
        lenses = [np.zeros(5) if c.camera.distortion is None else c.camera.distortion for c in (a, b)]
        assert a.camera.model == b.camera.model
        assert len(lenses[0]) == len(lenses[1])
        np.testing.assert_allclose(*lenses, atol=atol)
