"""Seeded points for evaluations."""

import numpy as np
import pytest


@pytest.fixture
def points():
    """Return predicted and true hands (n, 21, 3) in mm at 60 cm, and which joints are valid, from a seed."""

    def make(seed=0, n=6, noise=8.0):
        random = np.random.default_rng(seed)
        truth = random.normal(0, 40, (n, 21, 3)) + np.array([0, 0, 600])
        return truth + random.normal(0, noise, truth.shape), truth, random.random((n, 21)) > 0.2

    return make
