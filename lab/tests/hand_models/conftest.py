"""Rigged hands, and possible poses."""

import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_lab.hand_models.rig import RigPose


@pytest.fixture(scope="session")
def some_poses():
    """Return a function that gives bent hands in front of a camera, with smooth motion."""

    def make(count):
        rng = np.random.default_rng(11)
        time = np.linspace(0, 2, count)[:, None]
        waves = np.sin(time * rng.uniform(1, 3, 60) + rng.uniform(0, 6, 60))  # (N, 60) in -1..1
        angles = np.zeros((count, 5, 3, 3))
        angles[..., 1] = 0.45 + 0.4 * waves[:, :15].reshape(count, 5, 3)
        angles[:, 1:, 0, 0] = 0.15 * waves[:, 15:19]
        angles[:, 0, :, 1] *= 0.4
        rotation = matrix_from_rotation_vector(2.5 * waves[:, 20:23])
        return RigPose(rotation, 0.1 * waves[:, 23:26] + (0, 0, 0.6), angles)

    return make
