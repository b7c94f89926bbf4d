"""Hands in images: properties that hold for all images, and the bundled clip compared with its ground truth."""

import numpy as np
import pytest

DEMO_FRAMES = 150


def keypoints_of(hands):
    return np.array([hand.keypoints[:, :2] for hand in hands])


@pytest.fixture(scope="session")
def demo_run(hands, demo_clip):
    """Return the hands of the first frames of the bundled clip with default options. Both hands enter in them."""
    _, frames, _ = demo_clip
    detector = hands(smoothing="one_euro")
    return [detector.detect(rgb, time=i / 30) for i, rgb in enumerate(frames[:DEMO_FRAMES])]


@pytest.fixture(scope="session")
def demo_matches(demo_clip, demo_run):
    """Return (frame, true hand, detected hand or None) for every hand that lies within the image."""
    _, frames, truth = demo_clip
    height, width = frames[0].shape[:2]
    matches = []
    for index, (record, found) in enumerate(zip(truth[:DEMO_FRAMES], demo_run, strict=True)):
        for true in record["hands"]:
            points = np.array(true["xy"])
            if ((points < 0) | (points > (width, height))).any():
                continue
            near = [(np.linalg.norm(hand.keypoints[:, :2] - points, axis=1).mean(), i) for i, hand in enumerate(found)]
            distance, i = min(near, default=(np.inf, -1))
            matches.append((index, true, found[i] if distance < 0.2 * np.ptp(points, axis=0).max() else None))
    return matches


@pytest.mark.slow
def test_every_complete_hand_of_the_demo_is_found(demo_matches):
    assert demo_matches
    assert [(index, true["handedness"]) for index, true, hand in demo_matches if hand is None] == []


@pytest.mark.slow
def test_nothing_else_is_found_in_the_demo(demo_clip, demo_run):
    records = demo_clip[2][:DEMO_FRAMES]
    assert all(len(found) <= len(record["hands"]) for found, record in zip(demo_run, records, strict=True))


@pytest.mark.slow
def test_left_and_right_of_the_demo_are_right(demo_matches):
    right = [hand.handedness == true["handedness"] for _, true, hand in demo_matches if hand]
    assert np.mean(right) >= 0.99


@pytest.mark.slow
def test_ids_of_the_demo_stay(demo_matches):
    ids = {}
    for _, true, hand in demo_matches:
        ids.setdefault(true["handedness"], set()).add(hand.id)
    assert [len(known) for known in ids.values()] == [1] * len(ids)
    assert len(set().union(*ids.values())) == len(ids)


@pytest.mark.slow
def test_keypoints_of_the_demo_are_near_the_truth(demo_matches):
    errors = []
    for _, true, hand in demo_matches:
        points = np.array(true["xy"])
        errors.append(np.linalg.norm(hand.keypoints[:, :2] - points, axis=1).mean() / np.ptp(points, axis=0).max())
    assert np.mean(errors) < 0.05  # of the hand's size; the truth is of rig joints, which lie a little elsewhere


@pytest.mark.parametrize("model", ["lite", "full"])
def test_a_result_is_well_formed(hands, model, photo):
    found = hands(model=model).detect(photo)
    assert found
    for number, hand in enumerate(found, 1):
        assert hand.keypoints.shape == hand.keypoints_3d.shape == (21, 3)
        assert hand.keypoints.dtype == hand.keypoints_3d.dtype == np.float32
        assert np.isfinite(hand.keypoints).all()
        assert 0.5 < hand.score <= 1
        assert 0.5 <= hand.handedness_score <= 1
        assert hand.handedness in ("Left", "Right")
        assert hand.id == number
        assert 0.05 < np.ptp(hand.keypoints_3d, axis=0).max() < 0.3  # metres
        assert type(hand.score) is type(hand.handedness_score) is float


def test_results_are_the_callers_own(hands, demo_clip):
    detector = hands()
    first = detector.detect(demo_clip[1][0])
    kept = [hand.keypoints.copy() for hand in first]
    for rgb in demo_clip[1][1:4]:
        detector.detect(rgb)
    for hand, keypoints in zip(first, kept, strict=True):
        np.testing.assert_array_equal(hand.keypoints, keypoints)
        with pytest.raises(ValueError, match="read-only"):
            hand.keypoints[:] = 0
    assert detector.detect(demo_clip[1][4])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mirrored_image_gives_the_mirrored_hands(hands, photo, mirrored):
    options = {"static_image": True, "precision": "f32"}
    found = hands(**options, mirrored=mirrored).detect(photo)
    again = hands(**options, mirrored=not mirrored).detect(photo[:, ::-1])
    again.sort(key=lambda hand: -hand.keypoints[0, 0])
    found.sort(key=lambda hand: hand.keypoints[0, 0])
    assert [hand.handedness for hand in again] == [hand.handedness for hand in found]
    expected = keypoints_of(found) * (-1, 1) + (photo.shape[1], 0)
    # The network was not made to be symmetric: a few pixels are its own.
    assert np.linalg.norm(keypoints_of(again) - expected, axis=-1).mean() < 5


def test_saying_mirrored_turns_the_label_around_and_nothing_else(hands, photo):
    plain = hands(static_image=True, precision="f32").detect(photo)
    turned = hands(static_image=True, precision="f32", mirrored=True).detect(photo)
    assert [{h.handedness, t.handedness} for h, t in zip(plain, turned, strict=True)] == [{"Left", "Right"}] * len(
        plain
    )
    np.testing.assert_array_equal(keypoints_of(plain), keypoints_of(turned))


def test_flipping_is_of_the_output_only(hands, photo):
    plain = hands(static_image=True, precision="f32").detect(photo)
    flipped = hands(static_image=True, precision="f32", flip_horizontal=True).detect(photo)
    for a, b in zip(plain, flipped, strict=True):
        np.testing.assert_allclose(b.keypoints[:, 0], photo.shape[1] - a.keypoints[:, 0], atol=1e-3)
        np.testing.assert_array_equal(b.keypoints[:, 1:], a.keypoints[:, 1:])
        np.testing.assert_array_equal(b.keypoints_3d, a.keypoints_3d * np.array([-1, 1, 1], np.float32))
        assert (b.handedness, b.score) == (a.handedness, a.score)


@pytest.mark.parametrize(
    "turned_in", [lambda p: p[..., [0, 1, 2, 0]], lambda p: p.astype(np.uint16) * 257, np.asfortranarray]
)
def test_the_same_image_in_another_form_gives_the_same_hands(hands, photo, turned_in):
    detector = hands(static_image=True)
    assert detector.detect(turned_in(photo)) == detector.detect(photo)


@pytest.mark.parametrize("size", [(1, 1), (900, 1), (7, 20_000)], ids=str)
@pytest.mark.parametrize("search", ["fast", "auto", "thorough"])
@pytest.mark.slow
def test_images_with_nothing_in_them(hands, size, search):
    for level in (0, 255):
        assert hands(search=search).detect(np.full((*size, 3), level, np.uint8)) == []


def test_a_hand_that_disappears_is_lost_and_keeps_its_id_if_it_reappears_soon(hands, photo):
    detector = hands()
    ids = [hand.id for hand in detector.detect(photo, time=0.0)]
    assert detector.detect(np.zeros_like(photo), time=0.1) == []
    assert [hand.id for hand in detector.detect(photo, time=0.2)] == ids
    detector.detect(np.zeros_like(photo), time=0.3)
    assert not set(ids) & {hand.id for hand in detector.detect(photo, time=9.0)}
    detector.reset()
    assert [hand.id for hand in detector.detect(photo)] == ids
