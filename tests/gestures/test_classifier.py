"""The shipped classifier on posed hands, and on hands without a clear gesture."""

from importlib import resources

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.gestures import classifier, custom, gesture_of
from sonjit.results import Hand
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
        ("asl", "vocabulary", lambda values: np.array('{"shapes": [], "directions": {}}')),
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
