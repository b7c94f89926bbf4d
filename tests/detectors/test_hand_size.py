"""Bone lengths of tracked hands and their distance from the camera."""

from types import SimpleNamespace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.detectors.kinds.hand_size import HandSizes
from sonjit.geometry.cameras import Intrinsics, assumed_camera
from sonjit.results.skeletons import load_skeleton

SIZE = (640, 480)
CAMERA = Intrinsics(700.0, 700.0, 320.0, 240.0)
BONES = np.array(load_skeleton("hand_mediapipe21").bones)
USUAL = [0.235, 0.193, 0.156, 0.127, 0.528, 0.219, 0.127, 0.101, 0.513, 0.239, 0.14, 0.108, 0.49, 0.216, 0.129, 0.099,
         0.469, 0.167, 0.1, 0.081]  # fmt: skip


def bone_lengths(points):
    return np.linalg.norm(points[BONES[:, 1]] - points[BONES[:, 0]], axis=1)


def hand_length(points):
    return np.linalg.norm(np.diff(points[[0, 9, 10, 11, 12]], axis=0), axis=1).sum()


def a_hand(length_m=0.2, seed=0):
    """Return points (21, 3) of a typical hand with a length around its centre, with random bone directions."""
    rng, points = np.random.default_rng(seed), np.zeros((21, 3))
    for (parent, child), length in zip(BONES, USUAL, strict=True):
        direction = rng.normal(size=3) + np.array([0, -3, 0])
        points[child] = points[parent] + length * direction / np.linalg.norm(direction)
    points *= length_m / hand_length(points)
    return points - points.mean(0)


def track(occluded_s=None):
    class Track(SimpleNamespace):
        __hash__ = object.__hash__

    return Track(occluded_s=occluded_s)


@pytest.mark.parametrize("seen_as", [0.1, 0.2])
def test_a_hand_of_known_length_has_its_distance_whatever_size_the_network_sees(seen_as):
    points, place = a_hand(), np.array([0.1, -0.05, 0.6])
    pixels = CAMERA.project(points + place)
    sized = HandSizes(0.2, CAMERA).measure((points * seen_as / 0.2).astype(np.float32), pixels, SIZE, None)
    assert sized.distance_m == pytest.approx(np.linalg.norm(place), rel=1e-3)
    np.testing.assert_allclose(bone_lengths(sized.keypoints_3d), bone_lengths(points), rtol=1e-3)
    assert sized.keypoints_3d.dtype == np.float32


def test_what_is_assumed_raises_the_error():
    points, place = a_hand(0.173), np.array([0.0, 0.0, 0.5])
    pixels = assumed_camera(*SIZE).project(points + place)
    ask = [(None, None), (0.173, None), (None, assumed_camera(*SIZE)), (0.173, assumed_camera(*SIZE))]
    found = [HandSizes(*given).measure(points.astype(np.float32), pixels, SIZE, None) for given in ask]
    assert [one.distance_m for one in found] == pytest.approx([0.5] * 4, rel=1e-3)
    nothing_known, length_known, camera_known, both = (one.error_m for one in found)
    assert nothing_known > length_known > both > 0
    assert nothing_known > camera_known > both


def test_all_frames_of_a_track_have_the_same_bone_lengths():
    sizes, one, rng = HandSizes(0.2, CAMERA), track(), np.random.default_rng(1)
    lengths = []
    for seed in range(60):
        points = a_hand(rng.uniform(0.15, 0.25), seed) + rng.normal(scale=0.003, size=(21, 3))
        pixels = CAMERA.project(points + np.array([0, 0, 0.6]))
        lengths.append(bone_lengths(sizes.measure(points.astype(np.float32), pixels, SIZE, one).keypoints_3d))
    late = np.array(lengths[30:])
    assert (late.std(0) / late.mean(0)).max() < 0.01
    assert late[:, [8, 9, 10, 11]].sum(1) == pytest.approx(0.2, rel=1e-4)


def test_an_occluded_hand_keeps_the_lengths_of_its_track():
    sizes, one = HandSizes(0.2, CAMERA), track()
    seen, hidden = a_hand(seed=1).astype(np.float32), (a_hand(seed=2) * [1, 2, 1]).astype(np.float32)
    pixels = CAMERA.project(seen + np.array([0, 0, 0.6]))
    lengths = bone_lengths(sizes.measure(seen, pixels, SIZE, one).keypoints_3d)
    one.occluded_s = 0.1
    np.testing.assert_allclose(bone_lengths(sizes.measure(hidden, pixels, SIZE, one).keypoints_3d), lengths, rtol=1e-4)


def test_hands_of_a_stream_have_distances_and_keep_the_points_of_gestures(hands, demo_clip):
    runs = [
        [hand for rgb in demo_clip[1][60:63] for hand in hands(search="fast", precision="f32", **options).detect(rgb)]
        for options in ({"keypoints": "refined"}, {"distance": True, "hand_length": 0.19, "camera": "500,500,320,240"})
    ]
    plain, sized = runs
    assert len(plain) == len(sized) > 0
    for one, other in zip(plain, sized, strict=True):
        assert (one.distance_m, one.distance_error_m) == (None, None)
        assert 0.2 < other.distance_m < 1.5
        assert 0 < other.distance_error_m < 0.3 * other.distance_m
        assert hand_length(other.keypoints_3d) == pytest.approx(0.19, rel=1e-3)
        np.testing.assert_allclose(other.keypoints, one.keypoints, atol=1e-3)
        np.testing.assert_allclose(other.gesture_points.keypoints_3d, one.gesture_points.keypoints_3d, atol=1e-6)
        again = type(other).from_dict(other.to_dict(full=True))
        assert again == other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hand_length": 0.19}, "hand_length requires distance=True"),
        ({"camera": "1,1,1,1"}, "camera requires distance=True"),
        ({"distance": True, "camera": "500"}, "give fx,fy,cx,cy in pixels"),
        ({"distance": True, "hand_length": 19.0}, "hand_length=19.0: give a number from 0.02 to 0.5"),
    ],
)
def test_options_that_do_not_fit_are_refused(hands, options, message):
    with pytest.raises(InputError, match=message):
        hands(**options)
