import numpy as np
import pytest

from sonjit_lab.networks.keypoint_detector import read_heatmaps, sigma_of


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("edge", ["left", "right", "top", "bottom", "corner", "beyond"])
def test_peaks_near_a_border_are_read_within_half_a_cell(size, edge):
    rng = np.random.default_rng(1)
    peaks = rng.uniform(size * 0.3, size * 0.7, (200, 2))
    near = rng.uniform(0, 4, (200, 2))
    match edge:
        case "left" | "right":
            peaks[:, 0] = near[:, 0] if edge == "left" else size - 1 - near[:, 0]
        case "top" | "bottom":
            peaks[:, 1] = near[:, 1] if edge == "top" else size - 1 - near[:, 1]
        case "corner":
            peaks = size - 1 - near
        case _:
            peaks[:, 0] = -near[:, 0]
    down, across = np.mgrid[:size, :size]
    away = (across - peaks[:, 0, None, None]) ** 2 + (down - peaks[:, 1, None, None]) ** 2
    found = read_heatmaps((-away / (2 * sigma_of(size) ** 2))[None].astype(np.float32))[0][0]
    off = found - np.maximum(peaks, -0.5)
    assert np.abs(off).max() < 0.01  # each axis by itself


def test_a_ridge_and_a_flat_map_stay_at_their_highest_cell():
    ridge = np.tile(-((np.arange(32) - 9.3) ** 2) / 8, (32, 1)).astype(np.float32)
    (x, y), flat = read_heatmaps(ridge[None, None])[0][0, 0], read_heatmaps(np.zeros((1, 1, 8, 8), np.float32))[0]
    assert x == pytest.approx(9.3, abs=0.01)
    assert y == 0
    assert (flat == 0).all()
