"""The shipped classifier on posed hands, and on hands without a clear gesture."""

import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.gestures import classifier, custom, gesture_of
from sonjit.results import Gesture, Hand
from sonjit_lab.training.alphabets import POSES

TOO_EXACT = {"flat_out", "flat", "rigid", "slack_open"}
"""Poses that are recognised only in detections, because the hand network never finds them so flat."""


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_features_do_not_depend_on_position_size_side_or_rotation(side, posed):
    (plain,) = classifier.features_of([posed("victory", side)])
    assert plain.shape == (classifier.FEATURES,)
    hand = posed("victory", side, roll_deg=130)
    hand.keypoints = hand.keypoints * 3 + np.float32([40, -7, 0])
    np.testing.assert_allclose(classifier.features_of([hand])[0], plain, atol=1e-4)
    other = "Left" if side == "Right" else "Right"
    mirror = np.float32([-1, 1, 1])
    hand = posed("victory", side)
    mirrored = Hand(other, 1.0, hand.keypoints * mirror, hand.keypoints_3d * mirror)
    np.testing.assert_allclose(classifier.features_of([mirrored])[0], plain, atol=1e-4)


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.parametrize("roll_deg", [0, 180])
@pytest.mark.parametrize("side", ["Left", "Right"])
def test_poses_are_recognised_in_every_direction(side, roll_deg, posed):
    wrong = {}
    for shape, poses in POSES.items():
        for pose in poses:
            hand = posed(pose, side, roll_deg)
            predicted, expected = gesture_of(hand), classifier.VOCABULARY.name(shape, hand.keypoints)
            if (predicted.name if predicted else None) != expected:
                wrong[pose] = predicted
    assert set(wrong) <= TOO_EXACT, wrong


def test_ordinary_hands_make_no_gesture(posed):
    predicted = {
        pose: gesture_of(posed(pose)) for pose in ("relaxed", "half", "claw", "cup", "middle_tip", "beak", "hold")
    }
    assert not any(predicted.values()), predicted


@pytest.mark.parametrize(
    ("roll_deg", "name"), [(0, "Up"), (40, "Up"), (90, "Right"), (180, "Down"), (-90, "Left"), (-140, "Down")]
)
def test_a_direction_is_that_in_the_image(roll_deg, name, posed):
    assert classifier.VOCABULARY.name("Pointing", posed("point", roll_deg=roll_deg).keypoints) == f"Pointing_{name}"


def test_the_direction_of_a_thumb_is_that_from_its_base_to_its_tip():
    points = np.zeros((21, 3), np.float32)
    points[[2, 3, 4], :2] = (0, 0), (40, -20), (0, -30)
    assert classifier.VOCABULARY.name("Thumb", points) == "Thumb_Up"
    points[:, 1] *= -1
    assert classifier.VOCABULARY.name("Thumb", points) == "Thumb_Down"


def test_points_of_something_else_are_refused():
    with pytest.raises(InputError, match=r"\(N, 21, 3\)"):
        classifier.gesture_features(np.zeros((1, 33, 3)), np.zeros((1, 33, 3)), np.array([True]))


def cut(values):
    return values[:-1]


def directed(finger, names):
    """Return a change of a vocabulary that gives the letter A these directions."""

    def change(values):
        data = json.loads(str(values))
        return np.array(json.dumps(data | {"directions": {"A": {"finger": finger, "names": names}}}))

    return change


@pytest.mark.parametrize(
    ("file", "name", "change"),
    [
        ("gestures", "shape", cut), ("gestures", "shape", lambda values: values[None]),
        ("gestures", "shape", lambda values: values + 60), ("gestures", "shape", lambda values: values - 60),
        ("gestures", "bias_2", lambda values: values + np.inf),
        ("gestures", "weights_0", lambda values: values * np.nan),
        ("gestures", "weights_1", lambda values: values.astype(complex)),
        ("gestures", "weights_0", lambda values: np.array("[" * 5000)), ("gestures", "with_image.weights_1", cut),
        ("gestures", "with_image.weights_0", lambda values: values[..., :-1]), ("gestures", "with_image.shape", cut),
        ("gestures", "with_image.calibration", cut), ("gestures", "with_image.calibration", lambda values: -values),
        ("gestures", "with_image.calibration", lambda values: values * 0 + 100.5),
        ("gestures", "shape", lambda values: values * 0 - 1),
        ("gestures", "bias_0", lambda values: values[:1]), ("gestures", "bias_0", lambda values: values[:, None]),
        ("gestures", "with_image.bias_2", lambda values: values[None]),
        ("gestures", "weights_0", lambda values: values[None]),
        ("asl", "vocabulary", lambda values: np.array("[" * 5000)),
        ("asl", "vocabulary", lambda values: np.array('{"shapes": [], "directions": {}}')),
        ("asl", "vocabulary", lambda values: np.array('{"shapes": [], "directions": []}')),
        ("asl", "vocabulary", lambda values: np.array(str(values).replace('"A"', "3"))),
        ("asl", "vocabulary", directed([5, 21], ["a"] * 4)), ("asl", "vocabulary", directed([-1, 8], ["a"] * 4)),
        ("asl", "vocabulary", directed([5, 8.5], ["a"] * 4)), ("asl", "vocabulary", directed([5], ["a"] * 4)),
        ("asl", "vocabulary", directed([5, 8], ["a"] * 3)), ("asl", "vocabulary", directed([5, 8], [*"abc", 4])),
        ("asl", "motion_reaches", lambda values: np.array(["a", "b"])),
        ("asl", "motion_reaches", lambda values: np.zeros(1)),
        ("asl", "motion_names", lambda values: np.array([1.5, 2.5])),
        ("asl", "motion_of", lambda values: values.astype(str)), ("asl", "motion_of", None),
        ("asl", "motion_steps", lambda values: values.astype(str)),
        ("asl", "motion_steps", lambda values: np.zeros((4, 3))),
        ("asl", "motion_lengths", lambda values: values.astype(float)),
        ("asl", "motion_lengths", lambda values: np.array(["1"] * len(values))),
    ],
)  # fmt: skip
def test_a_damaged_file_of_gestures_is_refused_in_one_line(tmp_path, file, name, change):
    with resources.as_file(resources.files("sonjit") / "_util" / "assets" / f"{file}.npz") as shipped:
        arrays = dict(np.load(shipped))
    value = arrays.pop(name)
    np.savez(path := tmp_path / "damaged.npz", **arrays | ({name: change(value)} if change else {}))
    with pytest.raises(InputError, match=r"damaged\.npz") as caught:
        custom.LearnedGestures.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_vocabulary_is_the_same_after_a_file():
    text = classifier.VOCABULARY.to_json()
    again = classifier.Vocabulary.from_json(text)
    assert again.to_json() == text
    assert again.names == classifier.GESTURES
    assert again.shapes == classifier.SHAPES
    assert {shape: (one.finger, one.names) for shape, one in again.directions.items()} == {
        "Pointing": ((5, 8), ("Pointing_Up", "Pointing_Right", "Pointing_Down", "Pointing_Left")),
        "Thumb": ((2, 4), ("Thumb_Up", None, "Thumb_Down", None)),
    }
    assert classifier.GESTURES[:8] == (
        *("Pointing_Up", "Pointing_Right", "Pointing_Down", "Pointing_Left", "Thumb_Up", "Thumb_Down"),
        *("Closed_Fist", "Open_Palm"),
    )
    assert len(classifier.GESTURES) == len(set(classifier.GESTURES)) == 20


def test_aligned_points_are_upright_right_hands_of_one_size():
    points = np.random.default_rng(3).normal(size=(2, 2, 21, 3)).astype(np.float32) * 7 + 40
    found = classifier.aligned(points, np.array([False, True]))
    palms = found[:, :, [0, 5, 9, 13, 17]]
    np.testing.assert_allclose(palms.mean(2), 0, atol=1e-5)
    np.testing.assert_allclose((found**2).sum(3).mean(2), 1, atol=1e-5)
    wrist, index, middle, ring, _ = palms[:, 0].transpose(1, 0, 2)
    way = (index + ring) / 4 + middle / 2 - wrist
    np.testing.assert_allclose(way[:, 0], 0, atol=1e-5)
    assert (way[:, 1] < 0).all()  # up in the image
    mirrored = classifier.aligned(points * np.float32([-1, 1, 1]), np.array([True, False]))
    np.testing.assert_allclose(mirrored, found, atol=1e-5)
    further = classifier.aligned(2 * points, np.array([False, True]), points)
    np.testing.assert_allclose(np.diff(further, axis=2), 2 * np.diff(found, axis=2), atol=1e-4)


def test_features_are_the_aligned_points_and_all_distances_but_those_of_the_thumbs_first_joint():
    image, metres = np.random.default_rng(4).normal(size=(2, 3, 21, 3)).astype(np.float32)
    left = np.array([True, False, True])
    found, points = (
        classifier.gesture_features(image, metres, left),
        classifier.aligned(np.stack([image, metres], 1), left),
    )
    kept = [0, *range(2, 21)]
    distances = [
        [np.linalg.norm(one[a] - one[b]) for a in kept for b in kept if a > b] for hand in points for one in hand
    ]
    assert found.shape == (3, 506)
    np.testing.assert_array_equal(found[:, :126], points.reshape(3, -1))
    np.testing.assert_allclose(found[:, 126:], np.reshape(distances, (3, -1)), atol=1e-5)


def classifier_of(shares, with_image=None, calibration=None):
    """Return a classifier that gives every hand the same probabilities: poses of `None`, a fist, and two of a palm."""
    f32 = np.float32
    arrays = {"weights_0": np.zeros((classifier.FEATURES, 2), f32), "weights_1": np.zeros((2, 3), f32)}
    arrays |= {"weights_2": np.zeros((3, 4), f32), "shape": np.array([0, 1, 2, 2])}
    arrays |= {"bias_0": np.zeros(2, f32), "bias_1": np.zeros(3, f32), "bias_2": np.log(f32(shares))}
    if with_image is not None:
        own = {"weights_0": np.zeros((classifier.FEATURES, 5), f32), "weights_1": np.zeros((21 * 66 + 5, 2), f32)}
        own |= {f"bias_{number}": np.zeros(size, f32) for number, size in enumerate((5, 2, 3))}
        own |= {"weights_2": np.zeros((2, 3), f32), "weights_3": np.zeros((3, 4), f32), "shape": arrays["shape"]}
        own |= {"bias_3": np.log(f32(with_image))} | ({} if calibration is None else {"calibration": calibration})
        arrays |= {f"with_image.{name}": value for name, value in own.items()}
    arrays |= {"vocabulary": np.array(classifier.Vocabulary(("None", "Fist", "Palm")).to_json())}
    return classifier.GestureClassifier.from_arrays(arrays, "made")


def test_a_gesture_is_the_most_probable_shape_from_a_least_score(posed):
    hand = posed("open")
    assert classifier_of([0.2, 0.3, 0.25, 0.25])(hand) == Gesture("Palm", pytest.approx(0.5))
    assert classifier_of([0.2, 0.46, 0.2, 0.14])(hand) == Gesture("Fist", pytest.approx(0.46))
    assert classifier_of([0.2, 0.44, 0.2, 0.16])(hand) is None
    assert classifier_of([0.6, 0.2, 0.1, 0.1])(hand) is None


def test_the_network_with_appearance_is_calibrated(posed):
    hand, shares = posed("open"), [0.6, 0.1, 0.1, 0.2]
    seen = replace(hand, appearance=np.zeros((21, 66), np.float32))
    classify = classifier_of([0.1, 0.7, 0.1, 0.1], shares)
    assert classify(hand).name == "Fist"
    assert classify(seen) is None
    appearance = np.zeros((1, 21, 66), np.float32)
    plain = classify.probabilities(classifier.features_of([hand]), appearance)
    np.testing.assert_allclose(plain, [[0.6, 0.1, 0.3]], rtol=1e-5)
    powers = [0.5 * 0.6**2, 0.1**2, 0.3**2]
    classify = classifier_of([0.1, 0.7, 0.1, 0.1], shares, np.float32([2, 0.5]))
    probabilities = classify.probabilities(classifier.features_of([hand]), appearance)
    np.testing.assert_allclose(probabilities, [np.divide(powers, sum(powers))], rtol=1e-5)
    classify = classifier_of([0.1, 0.7, 0.1, 0.1], [0.4, 0.1, 0.1, 0.4], np.float32([1, 0.5]))
    assert classify(seen) == Gesture("Palm", pytest.approx(0.5 / 0.8))


def test_the_shipped_classifier_is_loaded_once():
    assert classifier.load_gestures() is classifier.load_gestures()
