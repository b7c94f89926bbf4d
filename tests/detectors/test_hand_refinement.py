"""Refined keypoints: their effect, their scope, and tracking with the published keypoints."""

import numpy as np
import pytest

from sonjit._util.errors import InputError

TIPS = [4, 8, 12, 16, 20]
MODELS = ("full", "lite")


def extent(hand):
    return np.linalg.norm(np.ptp(hand.keypoints[:, :2], axis=0))


@pytest.mark.parametrize("model", MODELS)
def test_refined_keypoints_are_near_the_published_ones_and_nothing_else_changes(hands, photo, model):
    options = {"model": model, "static_image": True, "precision": "f32"}
    published, refined = (hands(**options, keypoints=name).detect(photo) for name in ("published", "refined"))
    assert published
    assert len(published) == len(refined)
    for one, other in zip(published, refined, strict=True):
        moved = np.linalg.norm(one.keypoints[:, :2] - other.keypoints[:, :2], axis=1) / extent(one)
        assert 0.002 < moved.mean() < 0.1
        assert moved[TIPS].max() < 1e-4
        assert 0 < np.abs(one.keypoints_3d - other.keypoints_3d).mean() < 0.03
        assert (one.handedness, one.id) == (other.handedness, other.id)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert other.keypoints.dtype == other.keypoints_3d.dtype == np.float32


def test_tracking_follows_the_published_keypoints(hands, demo_clip):
    runs = {}
    for keypoints in ("published", "refined"):
        detector = hands(keypoints=keypoints, precision="f32", smoothing=None)
        boxes = []
        for rgb in demo_clip[1][:3]:
            detector.detect(rgb)
            boxes.append([track.box for track in detector._tracker.active])
        runs[keypoints] = boxes
    for published, refined in zip(*runs.values(), strict=True):
        np.testing.assert_allclose(published, refined, atol=1e-2)


@pytest.mark.parametrize("options", [{"smoothing": "one_euro"}, {"flip_horizontal": True, "static_image": True}])
def test_gestures_do_not_depend_on_the_refinement(hands, demo_clip, options):
    """Check that gestures are classified by the published keypoints."""
    images = demo_clip[1][60:66]
    runs = []
    for keypoints in ("published", "refined"):
        detector = hands(keypoints=keypoints, precision="f32", search="fast", gestures="canned", **options)
        runs.append([hand for rgb in images for hand in detector.detect(rgb)])
    published, refined = runs
    assert len(published) == len(refined) >= 6
    for one, other in zip(published, refined, strict=True):
        assert other.published is not None
        assert one.published is None
        for points, same in zip(other.gesture_points, one.gesture_points, strict=True):
            np.testing.assert_allclose(points, same, atol=1e-3)
        assert not np.allclose(one.keypoints, other.keypoints, atol=0.1)
        assert (one.gesture is None) == (other.gesture is None)
        if one.gesture:
            assert other.gesture == (one.gesture.name, pytest.approx(one.gesture.score, abs=1e-3))


def test_a_landmark_network_of_a_file_is_not_refined(hands, weights):
    with pytest.raises(InputError, match=r'keypoints="refined" cannot be combined with .*hand_landmark_lite.tflite'):
        hands(model="lite", keypoints="refined", landmark_model=str(weights["hand-lite"]))


def test_expected_errors_are_pixels(hands, photo):
    """Check that errors double with the image size, and that published keypoints have none."""
    options = {"static_image": True, "precision": "f32", "search": "fast"}
    large = np.repeat(np.repeat(photo, 2, 0), 2, 1)
    (one, *_), (other, *_) = (hands(**options, keypoints="refined").detect(rgb) for rgb in (photo, large))
    assert 0.002 < (one.error_px / extent(one)).mean() < 0.1
    np.testing.assert_allclose(other.error_px, 2 * one.error_px, rtol=0.2)
    assert hands(**options).detect(photo)[0].error_px is None
