"""Points to evaluate: seeded, so that a failure comes back."""

import numpy as np
import pytest


@pytest.fixture
def points():
    """`points(seed, n)`: predicted and true hands (n, 21, 3) in mm, some 60 cm away, and which joints are valid."""

    def make(seed=0, n=6, noise=8.0):
        random = np.random.default_rng(seed)
        truth = random.normal(0, 40, (n, 21, 3)) + np.array([0, 0, 600])
        return truth + random.normal(0, noise, truth.shape), truth, random.random((n, 21)) > 0.2

    return make
