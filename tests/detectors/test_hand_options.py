"""Options of hands: visibility, calibrated sides, refined keypoints, sizes and distances."""

import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.detectors.kinds.hand_heads import (
    BEFORE,
    BEHIND,
    sampled_maps,
)
from sonjit.detectors.kinds.hands import (
    _BUNDLE_TURN_RAD,
    HandObservation,
    Hands,
    HandSizes,
    box_around_hand,
    box_from_palm,
    load_hands,
)
from sonjit.detectors.options import HandOptions
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox
from sonjit.geometry.cameras import Intrinsics, assumed_camera
from sonjit.media import Header, load_frames, open_writer
from sonjit.results import Frame, Hand
from sonjit.results.skeletons import load_skeleton

MODELS = ("full", "lite")
FINGER = [6, 7, 8, 10, 11, 12]  # the index and middle fingers' last three


@pytest.fixture(scope="module")
def looked(hands, photo):
    """Return by model the hands without and with visibility."""
    return {
        model: tuple(hands(model=model, static_image=True, **more).detect(photo) for more in ({}, {"visibility": True}))
        for model in MODELS
    }


@pytest.mark.parametrize("model", MODELS)
def test_visibility_is_optional_and_does_not_change_keypoints(hands, photo, model):
    """Compare in f32, because bf16 fuses and rounds the layers of the network differently."""
    options = {"model": model, "static_image": True, "precision": "f32"}
    plain, seen = (hands(**options, **more).detect(photo) for more in ({}, {"visibility": True}))
    assert plain
    assert len(plain) == len(seen)
    for one, other in zip(plain, seen, strict=True):
        assert one.visibility is None
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
        np.testing.assert_allclose(one.keypoints_3d, other.keypoints_3d, atol=1e-6)
        assert one.score == pytest.approx(other.score, abs=1e-6)


@pytest.mark.parametrize(("model", "colour"), [("full", (128, 128, 128)), ("lite", (30, 60, 140))])
def test_what_is_painted_over_is_seen_less(hands, photo, looked, model, colour):
    hand = looked[model][1][0]
    points = hand.keypoints[FINGER, :2]
    margin = 0.1 * np.ptp(hand.keypoints[:, 0])
    (left, top), (right, low) = (
        np.floor(points.min(0) - margin).astype(int),
        np.ceil(points.max(0) + margin).astype(int),
    )
    painted = photo.copy()
    painted[max(top, 0) : low, max(left, 0) : right] = colour
    detector = hands(model=model, static_image=True, visibility=True, min_presence_score=0.0)
    (after,) = detector.detect(painted, boxes=[box_around_hand(hand.keypoints)])
    assert after.visibility[FINGER].mean() < hand.visibility[FINGER].mean() - 0.2


@pytest.mark.slow
def test_hands_of_the_demo_are_on_the_right_side(hands, demo_clip):
    _, frames, truth = demo_clip
    detector = hands(static_image=True, visibility=True)
    sides = []
    for rgb, record in list(zip(frames, truth, strict=True))[::24]:
        for hand in detector.detect(rgb):
            distances = [
                np.linalg.norm(np.array(one["xy"]) - hand.keypoints[:, :2], axis=1).mean() for one in record["hands"]
            ]
            sides.append(record["hands"][int(np.argmin(distances))]["handedness"] == hand.handedness)
    assert len(sides) > 5
    assert np.mean(sides) > 0.9


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv"])
def test_tables_keep_visibility(tmp_path, looked, ending):
    frame = Frame.from_results(0, None, looked["full"][1])
    path = tmp_path / f"hands{ending}"
    with open_writer(path, Header(source="photo.jpg", width=8, height=8, fps=None, model="hands-full")) as writer:
        writer.write(frame)
    for wrote, read in zip(frame.hands, load_frames(path)[1][0].hands, strict=True):
        np.testing.assert_array_equal(wrote.visibility, read.visibility)


def test_a_keypoint_s_score_is_its_visibility(looked):
    (hand, *_), (plain, *_) = looked["full"][1], looked["full"][0]
    fields = hand.to_dict()
    for name in ("keypoints", "keypoints3D"):
        assert [np.float32(point["score"]) for point in fields[name]] == hand.visibility.tolist()
        assert "score" not in plain.to_dict()[name][0]
    assert Hand.from_dict(hand.to_dict(full=True)) == hand


def test_what_the_network_shows_of_a_hand_goes_with_it_and_into_no_file(hands, photo, looked):
    (hand, *_) = looked["full"][1]
    assert hand.appearance.shape == (21, 66)
    assert hand.appearance.dtype == np.float32
    assert (hand.appearance[:, :-2] >= 0).all()
    assert hand.appearance[:, :-2].any()
    np.testing.assert_allclose(hand.appearance[:, -2:].mean(0), 0, atol=1e-5)
    assert (hand.appearance[:, -2:] ** 2).mean() == pytest.approx(1, rel=1e-4)
    assert "appearance" not in hand.to_dict(full=True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(hand)).appearance, hand.appearance)
    assert replace(hand, appearance=None) == hand
    kind = load_hands(HandOptions(static_image=True, precision="f32"))
    (box, *_) = kind.find(photo, 0.5)
    seen = kind.observe(photo, box)
    assert seen.appearance is not None
    assert kind.propagate(seen, np.zeros(2, np.float32), 0.5).appearance is None
    with sonjit.create_detector("hands", search="fast") as stream:
        assert all(result.appearance is None for result in stream.detect(photo))


@pytest.mark.slow
def test_onnx_runtime_sees_the_same(weights, photo):
    found = []
    options = {"visibility": True, "precision": "f32", "search": "fast"}
    for engine in ("openvino", "onnxruntime"):
        with sonjit.create_detector("hands", engine=engine, **options) as detector:
            found.append(detector.detect(photo))
    assert len(found[0]) == len(found[1]) > 0
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other.keypoints, one.keypoints, atol=0.05)
        np.testing.assert_allclose(other.visibility, one.visibility, atol=1e-3)
        assert other.handedness_score == pytest.approx(one.handedness_score, abs=1e-3)


TIPS = [4, 8, 12, 16, 20]


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


def test_expected_errors_are_pixels(hands, photo):
    """Check that errors double with the image size, and that published keypoints have none."""
    options = {"static_image": True, "precision": "f32", "search": "fast"}
    large = np.repeat(np.repeat(photo, 2, 0), 2, 1)
    (one, *_), (other, *_) = (hands(**options, keypoints="refined").detect(rgb) for rgb in (photo, large))
    assert 0.002 < (one.error_px / extent(one)).mean() < 0.1
    np.testing.assert_allclose(other.error_px, 2 * one.error_px, rtol=0.2)
    assert hands(**options).detect(photo)[0].error_px is None


SIZE = (640, 480)
CAMERA = Intrinsics(700.0, 700.0, 320.0, 240.0)
BONES = np.array(load_skeleton("hand_mediapipe21").bones)
USUAL = [0.235, 0.193, 0.156, 0.127, 0.528, 0.219, 0.127, 0.101, 0.513, 0.239, 0.14, 0.108, 0.49, 0.216, 0.129, 0.099,
         0.469, 0.167, 0.1, 0.081]  # fmt: skip


def test_neighbours_of_keypoints_follow_the_fingers():
    assert (BEFORE[0], BEHIND[0]) == (0, 9)
    for first in (1, 5, 9, 13, 17):
        finger = [0, *range(first, first + 4)]
        assert [BEFORE[point] for point in finger[1:]] == finger[:-1]
        assert [BEHIND[point] for point in finger[1:]] == [*finger[2:], finger[-1]]


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
    sized, far_m, _ = HandSizes(0.2, CAMERA).measure((points * seen_as / 0.2).astype(np.float32), pixels, SIZE, None)
    assert far_m == pytest.approx(np.linalg.norm(place), rel=1e-3)
    np.testing.assert_allclose(bone_lengths(sized), bone_lengths(points), rtol=1e-3)
    assert sized.dtype == np.float32


def test_what_is_assumed_raises_the_error():
    points, place = a_hand(0.173), np.array([0.0, 0.0, 0.5])
    pixels = assumed_camera(*SIZE).project(points + place)
    ask = [(None, None), (0.173, None), (None, assumed_camera(*SIZE)), (0.173, assumed_camera(*SIZE))]
    found = [HandSizes(*given).measure(points.astype(np.float32), pixels, SIZE, None) for given in ask]
    assert [distance_m for _, distance_m, _ in found] == pytest.approx([0.5] * 4, rel=1e-3)
    nothing_known, length_known, camera_known, both = (error_m for *_, error_m in found)
    assert nothing_known > length_known > both > 0
    assert nothing_known > camera_known > both


def test_all_frames_of_a_track_have_the_same_bone_lengths():
    sizes, one, rng = HandSizes(0.2, CAMERA), track(), np.random.default_rng(1)
    lengths = []
    for seed in range(60):
        points = a_hand(rng.uniform(0.15, 0.25), seed) + rng.normal(scale=0.003, size=(21, 3))
        pixels = CAMERA.project(points + np.array([0, 0, 0.6]))
        lengths.append(bone_lengths(sizes.measure(points.astype(np.float32), pixels, SIZE, one)[0]))
    late = np.array(lengths[30:])
    assert (late.std(0) / late.mean(0)).max() < 0.01
    assert late[:, [8, 9, 10, 11]].sum(1) == pytest.approx(0.2, rel=1e-4)


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
        ({"kind": "face", "visibility": True}, "face has no option visibility"),
        ({"kind": "body", "visibility": True}, "body has no option visibility"),
        ({"visibility": True, "landmark_model": "mine.tflite"}, "published networks"),
        (
            {"keypoints": "refined", "landmark_model": "a.tflite"},
            r'keypoints="refined" cannot be combined with a.tflite',
        ),
        ({"hand_length": 0.19}, "hand_length=0.19 requires distance=True"),
        ({"camera": "1,1,1,1"}, "camera=.* requires distance=True"),
        ({"distance": True, "camera": "500"}, "give fx,fy,cx,cy in pixels"),
        ({"distance": True, "hand_length": 19.0}, "hand_length=19.0: give a number from 0.02 to 0.5"),
    ],
)
def test_options_that_do_not_fit_are_refused(weights, options, message):
    with pytest.raises(InputError, match=message):
        sonjit.create_detector(**options)


def test_first_crops_of_a_bundle_are_turned_by_90_radians_instead_of_degrees():
    points = np.full((7, 2), 50.0)
    points[2, 1] -= 30  # the knuckle of the middle finger is above the wrist
    palm = Detection(0.9, np.array([20.0, 20, 80, 80]), points)
    assert box_from_palm(palm).rotation == pytest.approx(0)
    turned = box_from_palm(palm, _BUNDLE_TURN_RAD).rotation
    assert np.exp(1j * turned) == pytest.approx(np.exp(1j * 90) / 1j)


class HandNetwork:
    """Landmark network whose wrist is at the brightest pixel of the crop, with the other keypoints above it."""

    precision = "f32"

    def __init__(self, more=0):
        self.input = np.zeros((1, 224, 224, 3), np.uint8)
        self.more = more

    def run(self):
        y, x = np.unravel_index(int(self.input[0].sum(2).argmax()), (224, 224))
        points = np.zeros((21 + self.more, 3), np.float32)
        points[:, 0], points[:, 1], points[:, 2] = x + np.arange(21 + self.more), y - 5 * np.arange(21 + self.more), 4
        world = np.tile(np.array([0.03, 0.02, 0.01], np.float32), (21 + self.more, 1))
        return [points.reshape(1, -1), np.float32([[0.9]]), np.float32([[0.8]]), world.reshape(1, -1)]


def spot(x, y, size=(500, 400)):
    rgb = np.zeros((*size[::-1], 3), np.uint8)
    rgb[y - 2 : y + 3, x - 2 : x + 3] = 255
    return cv2.GaussianBlur(rgb, (0, 0), 2)


@pytest.mark.parametrize("rotation", [0.0, 0.5])
@pytest.mark.parametrize(("x", "y"), [(250, 200), (40, 30), (480, 380)])
def test_a_hand_in_the_mirrored_image_has_places_and_side_of_the_image(x, y, rotation):
    hands = Hands(None, HandNetwork(), mirrored=False)
    rgb, box = spot(x, y), RotatedBox(x - 10.0, y + 5.0, 112, 112, rotation)
    plain, other = hands.observe(rgb, box), hands.observe_mirrored(rgb, box)
    for seen in (plain, other):
        assert np.abs(seen.keypoints[0, :2] - (x, y)).max() < 1.6
    assert (plain.left, other.left) == pytest.approx((0.2, 0.8))
    sin, cos = math.sin(rotation), math.cos(rotation)
    up, across = np.array([sin, -cos]), np.array([cos, sin])
    for seen, sign in ((plain, 1), (other, -1)):  # the fingers bend to the other side
        step = seen.keypoints[20, :2] - seen.keypoints[0, :2]
        np.testing.assert_allclose(step, 50 * up + sign * 10 * across, atol=0.01)
    np.testing.assert_allclose(plain.keypoints[:, 2], other.keypoints[:, 2])
    turned = (0.03 * cos - 0.02 * sin, 0.03 * sin + 0.02 * cos)
    np.testing.assert_allclose(plain.keypoints_3d[0], (*turned, 0.01), atol=1e-6)


def test_a_hand_is_observed_in_pixels_and_in_a_selfie_view_of_the_other_side():
    rgb, box = spot(250, 200), RotatedBox(250.0, 200.0, 112, 112)
    plain, selfie = (Hands(None, HandNetwork(3), mirrored=mirrored).observe(rgb, box) for mirrored in (False, True))
    assert plain.keypoints.shape == plain.keypoints_3d.shape == (21, 3)
    np.testing.assert_allclose(plain.keypoints[:, 2], 4 / 224 / 0.4 * 112, rtol=1e-5)
    np.testing.assert_allclose(plain.extra[0] - plain.keypoints[0, :2], (10.5, -52.5), atol=1e-3)
    assert (plain.score, plain.left, selfie.left) == pytest.approx((0.9, 0.2, 0.8))
    assert Hands(None, HandNetwork(), mirrored=False).observe(rgb, box).extra is None


def test_an_occluded_hand_moves_with_hidden_keypoints():
    hands = Hands(None, HandNetwork(3), mirrored=False)
    seen = replace(hands.observe(spot(250, 200), RotatedBox(250.0, 200, 112, 112)), visibility=np.ones(21, np.float32))
    moved = hands.propagate(seen, np.float32([5, -6]), 0.3)
    np.testing.assert_allclose(moved.keypoints, seen.keypoints + np.float32([5, -6, 0]))
    np.testing.assert_allclose(moved.extra, seen.extra + np.float32([5, -6]))
    assert moved.score == 0.3
    assert not moved.visibility.any()
    plain = hands.propagate(replace(seen, extra=None, visibility=None), np.float32([5, -6]), 0.3)
    assert (plain.extra, plain.visibility) == (None, None)


@pytest.mark.parametrize(
    ("left", "of_track", "side", "score"),
    [(0.7, None, "Left", 0.7), (0.3, None, "Right", 0.7), (0.7, 0.2, "Right", 0.8), (0.5, None, "Right", 0.5)],
)
def test_a_track_decides_the_side_of_its_hand(left, of_track, side, score):
    hands, points = Hands(None, HandNetwork(), mirrored=False), np.ones((21, 3), np.float32)
    one = None if of_track is None else SimpleNamespace(id=4, left=of_track)
    visibility = np.ones(21, np.float32)
    found = hands.result(spot(9, 9), HandObservation(0.9, points, points, left, visibility=visibility), one)
    assert (found.handedness, found.handedness_score) == (side, pytest.approx(score))
    assert found.id == (None if of_track is None else 4)
    assert found.visibility is visibility
    hidden = Hands(None, HandNetwork(), mirrored=False, visibility=False)
    assert (
        hidden.result(spot(9, 9), HandObservation(0.9, points, points, left, visibility=visibility), one).visibility
        is None
    )


@pytest.mark.parametrize("turn", [0.0, 1.0, -2.5])
def test_the_crop_of_a_hand_is_twice_as_large_as_its_palm_and_turned_with_it(turn):
    """The palm is 40 wide and 60 high; the crop moves by a tenth of its height towards the fingers."""
    points = np.zeros((21, 2))
    points[0] = 0, 60
    points[[1, 2, 3]] = -20, 30
    points[[5, 6]], points[[9, 10]], points[[13, 14]], points[[17, 18]] = (-10, 0), (0, 0), (10, 0), (20, 0)
    points[[4, 7, 8, 11, 12, 15, 16, 19, 20]] = 500, -500  # they do not count
    cos, sin = math.cos(turn), math.sin(turn)
    box = box_around_hand(points @ np.array([[cos, sin], [-sin, cos]]) + 300)
    assert box.rotation == pytest.approx(turn)
    assert box.width == box.height == pytest.approx(120)
    assert (box.cx, box.cy) == pytest.approx((300 - 24 * sin, 300 + 24 * cos))


def test_maps_are_interpolated_between_the_centres_of_their_cells():
    """A map of the columns and one of the rows give the positions, at most at the centres of the outer cells."""
    positions = np.random.default_rng(2).uniform(-0.1, 1.1, (21, 2)).astype(np.float32)
    maps = []
    for side in (7, 14):
        rows, columns = np.indices((side, side), np.float32) + 0.5
        maps.append(np.stack([columns, rows, columns * rows])[None] / side)
    found = sampled_maps(maps, positions)
    for first, side in ((0, 7), (3, 14)):
        x, y = np.clip(positions, 0.5 / side, 1 - 0.5 / side).T
        np.testing.assert_allclose(found[:, first : first + 3], np.stack([x, y, x * y * side], 1), atol=1e-4)
