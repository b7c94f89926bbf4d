"""Lenses: the radius from which a distortion maps rays inwards."""

import numpy as np
import pytest

from sonjit.geometry.cameras import distort, fold_radius

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
