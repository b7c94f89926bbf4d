"""Recordings take the images that `detect` takes, copy what they keep, and belong to one stream."""

import numpy as np
import pytest
from PIL import Image

import sonjit
from sonjit import InputError


@pytest.fixture(scope="module")
def detector():
    with sonjit.create_detector("hands") as created:
        yield created


@pytest.fixture
def images(demo_clip):
    return [np.ascontiguousarray(rgb) for rgb in demo_clip[1][20:28]]


def seen(results):
    return [(hand.id, hand.handedness, hand.keypoints.tolist()) for hand in results]


def test_a_reused_buffer_gives_the_results_of_copies(detector, images):
    def reused():
        buffer = np.empty_like(images[0])
        for k, rgb in enumerate(images):
            buffer[:] = rgb
            yield buffer, k / 30

    expected = [seen(found) for found in detector.detect_frames([(rgb, k / 30) for k, rgb in enumerate(images)])]
    assert any(expected)
    for k, found in enumerate(detector.detect_frames(reused())):
        assert seen(found) == expected[k]
        np.testing.assert_array_equal(found.image, images[k])


def test_results_know_the_image_that_the_caller_keeps(detector, images):
    found = list(detector.detect_frames([(rgb, k / 30) for k, rgb in enumerate(images)]))
    np.testing.assert_array_equal(found[3].image, images[3])


FORMS = {
    "grey": lambda rgb: rgb[:, :, 1],
    "RGBA": lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)]),
    "16 bits": lambda rgb: rgb.astype(np.uint16) * 257,
    "PIL": Image.fromarray,
    "view": lambda rgb: np.asfortranarray(rgb),
    "path": str,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_image_is_taken_as_by_detect(detector, images, form, tmp_path):
    rgb = images[4]
    if form == "path":
        path = tmp_path / "image.png"
        Image.fromarray(rgb).save(path)
        given = str(path)
    else:
        given = FORMS[form](rgb)
    detector.reset()
    alone = seen(detector.detect(given, time=0.0))
    (found,) = detector.detect_frames([(given, 0.0)])
    assert [hand[:2] for hand in seen(found)] == [hand[:2] for hand in alone]


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [
        (np.zeros((8, 8, 3)), "scale to uint8"),
        (np.zeros((8, 8, 3), bool), "pass uint8 RGB"),
        (np.zeros((3, 8, 9), np.uint8), "transpose"),
        (np.zeros((2, 8, 8, 3), np.uint8), "one by one"),
        (np.zeros((2, 40_000, 3), np.uint8), "shrink it"),
        (None, "give a"),
    ],
)
def test_what_is_no_image_is_refused_after_the_frames_before_it(detector, images, bad, remedy):
    found = []
    with pytest.raises(InputError, match=remedy):
        found.extend(detector.detect_frames([(images[0], 0.0), (images[1], 0.1), (bad, 0.2)]))
    assert len(found) == 2


def test_frames_without_times_name_the_pair(detector, images):
    with pytest.raises(InputError, match=r"give \(image, seconds\)"):
        list(detector.detect_frames(images))


def test_an_image_of_another_size_begins_a_new_scene(detector, images):
    rgb = images[4]
    other = {"turned": np.rot90(rgb), "half": rgb[::2, ::2], "again": rgb}
    frames = [rgb, rgb, *[view for view in other.values() for _ in range(2)]]
    shown = list(detector.detect_frames([(np.ascontiguousarray(view), k / 30) for k, view in enumerate(frames)]))
    detector.reset()
    streamed = [detector.detect(np.ascontiguousarray(view), time=k / 30) for k, view in enumerate(frames)]
    for found in (shown, streamed):
        assert len(found) == len(frames)
        for results, view in zip(found, frames, strict=True):
            for hand in results:
                assert hand.keypoints[:, 0].max() < view.shape[1] * 1.2
                assert hand.keypoints[:, 1].max() < view.shape[0] * 1.2
    whole, half = shown[0], shown[4]
    assert whole
    assert half
    np.testing.assert_allclose(half[0].keypoints[:, :2] * 2, whole[0].keypoints[:, :2], atol=12)


def test_a_second_open_recording_is_refused_by_the_first(detector, images):
    long = [(rgb, float(k)) for k, rgb in enumerate(images)]
    first, second = detector.detect_frames(long), detector.detect_frames(long)
    next(first)
    assert len(list(second)) == len(images)
    with pytest.raises(InputError, match="another recording"):
        list(first)


def test_a_reset_begins_a_new_stream_with_the_next_frame(detector, images):
    long = [(rgb, float(k)) for k, rgb in enumerate(images)]
    found = []
    for k, results in enumerate(detector.detect_frames(long)):
        found.append(results)
        if k == 2:
            detector.reset()
    assert len(found) == len(images)
