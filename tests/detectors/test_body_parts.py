"""Steps of body detection: alignment, crops, heatmaps, masks, smoothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.detectors.kinds.body import Bodies, BodyObservation, BodySmoother, MaskSmoother
from sonjit.geometry.boxes import RotatedBox
from sonjit.results.skeletons import load_skeleton


class FakeNetwork:
    """Landmark network with constant output."""

    precision = "f32"

    def __init__(self, image, world, mask=None, score=0.9):
        self.input = np.zeros((1, 256, 256, 3), np.uint8)
        heatmaps = np.full((1, 64, 64, 39), -9, np.float32)
        self.outputs = [image, np.array([[score]], np.float32), heatmaps, world]
        self.outputs += [] if mask is None else [mask]

    def run(self):
        return self.outputs


def seen(shift=0.0, visibility=1.0, mask=None):
    rng = np.random.default_rng(0)
    points = rng.uniform(100, 300, (33, 3)).astype(np.float32) + np.float32(shift)
    return BodyObservation(
        score=0.9,
        keypoints=points,
        keypoints_3d=points / 200,
        visibility=np.full(33, visibility, np.float32),
        presence=np.ones(33, np.float32),
        alignment=np.array([[200 + shift, 200], [200 + shift, 80]], np.float32),
        mask=mask,
    )


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_mask_smoothing_is_the_published_formula(before, now):
    smooth = MaskSmoother()
    smooth(np.array([[before]], np.float32))
    t = (now - 0.5) ** 2
    series = t * (5.68842 + t * (-0.748699 + t * (-57.8051 + t * (291.309 - 624.717 * t))))
    expected = now + (before - now) * (1 - min(1, series)) * 0.7
    assert smooth(np.array([[now]], np.float32))[0, 0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("smooth", [True, False])
def test_masks_are_smoothed_where_requested(smooth):
    smoother = BodySmoother("published", mask=smooth)
    smoother(seen(mask=np.zeros((4, 4), np.float32)), 0.0)
    mask = smoother(seen(mask=np.full((4, 4), 0.5, np.float32)), 1 / 30).mask
    np.testing.assert_allclose(mask, 0.15 if smooth else 0.5, atol=1e-6)


def test_a_selfie_view_changes_the_names_of_left_and_right():
    rng = np.random.default_rng(2)
    image, world = rng.uniform(0, 256, (1, 195)).astype(np.float32), rng.normal(size=(1, 117)).astype(np.float32)
    box, rgb = RotatedBox(50, 50, 90, 90, 0.3), np.zeros((100, 100, 3), np.uint8)
    plain, selfie = (
        Bodies(None, FakeNetwork(image, world), mirrored=mirrored).observe(rgb, box) for mirrored in (False, True)
    )
    index = load_skeleton("body_blazepose33").index
    left, right, nose = index("left_wrist"), index("right_wrist"), index("nose")
    for name in ("keypoints", "keypoints_3d", "visibility", "presence"):
        a, b = getattr(plain, name), getattr(selfie, name)
        np.testing.assert_array_equal(a[[left, right, nose]], b[[right, left, nose]])
    np.testing.assert_array_equal(plain.alignment, selfie.alignment)
