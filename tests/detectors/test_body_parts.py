"""Steps of body detection: alignment, crops, heatmaps, masks, smoothing."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.detectors.kinds.body import (
    Bodies,
    BodyObservation,
    BodySmoother,
    MaskSmoother,
    box_from_alignment,
    mask_from_logits,
)
from sonjit.detectors.smoothing import OneEuro
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


def test_the_box_is_centred_on_the_hips_and_the_body_is_upright_in_it():
    box = box_from_alignment(np.array([[100.0, 200.0], [100.0, 120.0]]))
    assert box == pytest.approx((100, 200, 200, 200, 0))
    lying = box_from_alignment(np.array([[100.0, 200.0], [180.0, 200.0]]))
    assert lying.rotation == pytest.approx(math.pi / 2)


def test_a_body_has_the_colours_of_its_torso():
    values = np.zeros((39, 5), np.float32)
    values[[11, 12, 23, 24], :2] = [[160, 100], [100, 100], [150, 190], [110, 190]]
    rgb = np.zeros((256, 256, 3), np.uint8)
    for row, colour in enumerate(([200, 10, 10], [10, 200, 10], [10, 10, 200])):
        rgb[100 + 30 * row : 130 + 30 * row, 100:161] = colour
    bodies = Bodies(None, FakeNetwork(values.reshape(1, -1), np.zeros((1, 117), np.float32)))
    seen = bodies.observe(rgb, RotatedBox(128, 128, 256, 256))
    np.testing.assert_allclose(seen.colours, [200, 10, 10, 10, 200, 10, 10, 10, 200])


def test_mask_lies_where_the_box_lies():
    logits = np.full((64, 64), -20, np.float32)
    logits[16:48, 16:48] = 20
    box = RotatedBox(120, 70, 80, 80, 0.5)
    mask = mask_from_logits(logits, box, 200, 150)
    assert mask.shape == (150, 200)
    assert mask.dtype == np.float32
    corners = cv2.boxPoints(((120, 70), (40, 40), math.degrees(0.5)))
    drawn = cv2.fillPoly(np.zeros((150, 200), np.uint8), [corners.round().astype(np.int32)], 1)
    assert ((mask > 0.5) & (drawn > 0)).sum() / ((mask > 0.5) | (drawn > 0)).sum() > 0.93
    assert mask[0, 0] == mask[-1, 0] == 0


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_mask_smoothing_is_the_published_formula(before, now):
    smooth = MaskSmoother()
    smooth(np.array([[before]], np.float32))
    t = (now - 0.5) ** 2
    series = t * (5.68842 + t * (-0.748699 + t * (-57.8051 + t * (291.309 - 624.717 * t))))
    expected = now + (before - now) * (1 - min(1, series)) * 0.7
    assert smooth(np.array([[now]], np.float32))[0, 0] == pytest.approx(expected, abs=1e-3)


def test_smoothing_starts_with_what_is_seen_and_then_drags():
    smoother = BodySmoother("published")
    first = smoother(seen(), 0.0)
    np.testing.assert_array_equal(first.keypoints, seen().keypoints)
    moved = smoother(seen(shift=3, visibility=0), 1 / 30)
    assert (moved.keypoints[:, 0] < seen(shift=3).keypoints[:, 0]).all()
    assert (moved.keypoints[:, 0] > seen().keypoints[:, 0]).all()
    np.testing.assert_allclose(moved.visibility, 0.9, atol=1e-6)
    assert 200 < moved.alignment[0, 0] < 203


def test_without_smoothing_only_the_next_box_is_calmed():
    smoother = BodySmoother(None)
    smoother(seen(), 0.0)
    moved = smoother(seen(shift=3, visibility=0), 1 / 30)
    np.testing.assert_array_equal(moved.keypoints, seen(shift=3).keypoints)
    np.testing.assert_array_equal(moved.visibility, 0)
    assert 200 < moved.alignment[0, 0] < 203


def test_a_user_defined_filter_takes_image_and_world_keypoints():
    smoother = BodySmoother(OneEuro())
    smoother(seen(), 0.0)
    moved = smoother(seen(shift=3, visibility=0), 1 / 30)
    assert (moved.keypoints != seen(shift=3).keypoints).any()
    assert (moved.keypoints_3d != seen(shift=3).keypoints_3d).any()
    np.testing.assert_array_equal(moved.visibility, 0)


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


def test_people_side_by_side_are_two_and_hips_on_hips_one():
    kind = Bodies(None, FakeNetwork(None, None))
    person = RotatedBox(300, 300, 500, 500)
    assert kind.is_same_instance(person, RotatedBox(320, 310, 480, 480, 0.2))
    assert not kind.is_same_instance(person, RotatedBox(400, 300, 500, 500))
