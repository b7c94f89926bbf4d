from dataclasses import replace

import numpy as np
import pytest

from sonjit.studio.automatic.detection import detect_frames
from sonjit.studio.automatic.run_folder import DetectionSettings
from sonjit.studio.triangulation.association import ViewDetections, associate_hands

from .annotated import OFF_M
from .projects import hands as drawn
from .rigs import random_rig


def hands(frames=1, seed=0):
    """Return drawn hands whose fingers bend like those of the labelled side."""
    return drawn(frames, seed) * (1, 1, -1)


def seen_by(rig, joints_m, rng, *, noise_px=2.0):
    """Return both hands in a random order in each view, with the second half of the candidates empty."""
    pixels = rig.project(joints_m.reshape(2, 21, 3)) + rng.normal(0, noise_px, (len(rig), 2, 21, 2))
    order = rng.permuted(np.tile([0, 1], (len(rig), 1)), axis=1)
    points = np.full((len(rig), 4, 21, 2), np.nan)
    points[:, :2] = np.take_along_axis(pixels, order[..., None, None], 1)
    score = np.zeros((len(rig), 4))
    score[:, :2] = 0.9
    right = np.full((len(rig), 4), 0.5)
    right[:, :2] = np.where(order == 0, 0.9, 0.1)
    return ViewDetections(points, score, right), np.argsort(order, axis=1).T


@pytest.mark.parametrize("seed", range(4))
def test_hands_are_put_together_whatever_their_order(seed):
    rng = np.random.default_rng(seed)
    rig = random_rig(8, seed)
    seen, expected = seen_by(rig, hands(1, seed)[0], rng)
    np.testing.assert_array_equal(associate_hands(rig, seen), expected)


def test_a_few_wrong_labels_are_outvoted():
    rng = np.random.default_rng(0)
    rig = random_rig(8)
    seen, expected = seen_by(rig, hands()[0], rng)
    seen.right[:3] = 1 - seen.right[:3]
    np.testing.assert_array_equal(associate_hands(rig, seen), expected)


def test_what_fits_no_other_view_is_left_out():
    rng = np.random.default_rng(1)
    rig = random_rig(6)
    seen, expected = seen_by(rig, hands()[0], rng)
    seen.points_px[2] = rng.uniform(0, 480, seen.points_px[2].shape)
    seen.score[2] = 0.95
    expected[:, 2] = -1
    np.testing.assert_array_equal(associate_hands(rig, seen), expected)


def test_one_hand_is_called_by_its_votes():
    rng = np.random.default_rng(2)
    rig = random_rig(6)
    seen, expected = seen_by(rig, hands()[0], rng)
    for view in range(6):
        gone = expected[0, view]  # the right hand is not there
        seen.points_px[view, gone], seen.score[view, gone] = np.nan, 0
    chosen = associate_hands(rig, seen)
    assert (chosen[0] == -1).all()
    np.testing.assert_array_equal(chosen[1], expected[1])


def test_nothing_seen_is_nothing_found():
    rig = random_rig(4)
    empty = ViewDetections(np.full((4, 4, 21, 2), np.nan), np.zeros((4, 4)), np.full((4, 4), 0.5))
    assert (associate_hands(rig, empty) == -1).all()


def test_crops_of_complete_hands_decide_between_candidates(made, monkeypatch):
    project, joints, detector = made
    found_in = detector.detect

    def mistaken(rgb, boxes=None):
        """Confuse hands in complete images, not in crops."""
        found = found_in(rgb, boxes)
        if boxes is not None:
            return found
        return [replace(hand, handedness="Left" if hand.handedness == "Right" else "Right") for hand in found]

    monkeypatch.setattr(detector, "detect", mistaken)
    seen = detect_frames(DetectionSettings(str(project.folder), project.rig.names), range(4))
    exact = np.moveaxis(project.rig.project(joints[:4] + OFF_M), 0, 1)
    np.testing.assert_allclose(seen.points_px, exact, atol=0.1)


def test_a_hand_that_was_lost_for_a_moment_is_the_one_that_was_there():
    rng, rig = np.random.default_rng(3), random_rig(2)
    seen, expected = seen_by(rig, hands()[0], rng)
    for view in range(2):
        gone = expected[1, view]  # the left hand is not there, and one view takes the other for it
        seen.points_px[view, gone], seen.score[view, gone] = np.nan, 0
        seen.right[view, expected[0, view]] = (0.0, 0.9)[view]
    before = np.full((2, 21, 3), np.nan)
    before[0] = hands()[0, :21] + 0.03
    before[0, 8] = np.nan
    assert (associate_hands(rig, seen, before)[0] == expected[0]).all()
    assert (associate_hands(rig, seen, before[::-1])[1] == expected[0]).all()
