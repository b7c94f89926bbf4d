"""Contradictions of facts that an input states twice are one line each; consistent facts are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit_lab.redundant_facts import clock_notes, hand_notes, image_size_notes, intrinsics_notes

HANDS = np.random.default_rng(0).normal(0, 0.05, (8, 21, 3))
NOISE = np.random.default_rng(1).normal(0, 0.005, (8, 21, 3))
NAMES = ("a", "b", "c")


@settings(max_examples=40)
@given(
    st.floats(5, 240), st.integers(2, 200), st.floats(0, 0.45), st.lists(st.integers(0, 199), max_size=40),
    st.integers(0, 9),
)  # fmt: skip
def test_equal_clocks_have_no_note(fps, count, jitter, gaps, seed):
    rng = np.random.default_rng(seed)
    times = np.tile(np.arange(count) / fps, (3, 1)) + rng.uniform(-jitter / 2, jitter / 2, (3, count)) / fps
    times[1, [gap for gap in gaps if 2 < gap < count]] = np.nan
    rates = [np.median(np.diff(own[np.isfinite(own)])) * fps for own in times]
    if max(abs(rate - 1) for rate in rates) < 0.001:
        assert clock_notes(NAMES, range(count), times) == []


@pytest.mark.parametrize("fps", [24, 29.97, 60, 120])
@pytest.mark.parametrize("lost", [1, 6])
def test_lost_images_of_one_view_are_named(fps, lost):
    times = np.tile(np.round(np.arange(90) / fps, 3), (3, 1))
    times[1, 40:] = np.round(np.arange(40 + lost, 90 + lost) / fps, 3)
    (note,) = clock_notes(NAMES, range(90), times)
    assert note.startswith("images 40 of a and b are ")
    assert "50 of 90 images" in note
    assert "sonjit annotate sync" in note


def test_other_rates_are_named_and_unknown_times_are_not():
    times = np.tile(np.arange(90) / 50, (3, 1))
    times[2] = np.arange(90) / 25
    (note,) = clock_notes(NAMES, range(90), times)
    assert note.startswith("frame rates differ: c 25 and the others 50 images per second")
    assert clock_notes(NAMES, range(90), np.full((3, 90), np.nan)) == []
    assert clock_notes(NAMES[:1], range(90), times[:1]) == []


@pytest.mark.parametrize(("scale", "unit"), [(1000, "millimetres"), (100, "centimetres"), (39.37, "inches"), (7, None)])
def test_units_of_predictions_are_guessed(scale, unit):
    (note,) = hand_notes(zip(scale * (HANDS + NOISE), HANDS, strict=True))
    assert (f"are they in {unit}?" in note) if unit else "check their unit" in note


@pytest.mark.parametrize("axes", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_mirrored_predictions_are_named(axes):
    assert hand_notes(zip(HANDS + NOISE, HANDS, strict=True)) == []
    turned = (HANDS + NOISE) @ np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    right = turned * np.sign(np.linalg.det(np.linalg.lstsq(HANDS[0], turned[0], rcond=None)[0]))
    assert hand_notes(zip(right, HANDS, strict=True)) == []
    (note,) = hand_notes(zip(right * axes, HANDS, strict=True))
    assert note.startswith("8 of 8 alignments are reflections")


def test_flat_and_unknown_hands_have_no_side():
    flat = HANDS * (1, 1, 0)
    assert hand_notes(zip(flat * (-1, 1, 1), flat, strict=True)) == []
    assert hand_notes(zip(np.full_like(HANDS, np.nan), HANDS, strict=True)) == []


def test_intrinsics_of_another_image_size_are_named():
    K = np.array([[900, 0, 960], [0, 900, 540], [0, 0, 1.0]])
    assert intrinsics_notes([("x", K, 1920, 1080), ("y", K, 1800, 1200)]) == []
    (note,) = intrinsics_notes([("x", K, 960, 540)])
    assert "images of about 1920 x 1080 pixels, not 960 x 540" in note


def test_image_sizes_are_compared():
    assert image_size_notes("x", (None, None), (640, 480)) == image_size_notes("x", (640, 480), (640, 480)) == []
    assert "turned by 90 degrees" in image_size_notes("x", (480, 640), (640, 480))[0]
    assert "1280 x 960" in image_size_notes("x", (1280, 960), (640, 480))[0]
