"""The recipe of the classifier of gestures: what it learns from hands, and which hands it leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.cli import main
from sonjit.errors import InputError, SonjitError
from sonjit.gestures.classifier import GestureClassifier
from sonjit.gestures.features import aligned
from sonjit.hand_models.rig_files import load_rig
from sonjit.synthesis.render.opengl import renderer_name
from sonjit.synthesis.scene.gestures import gestures
from sonjit.training.gestures.data import POSES, PosedHands, posed_hands
from sonjit.training.gestures.poses import posed_joints
from sonjit.training.gestures.train import GestureSettings, calibrated, gesture_metrics, train_network, whitened

POSED = ("victory", "ok", "relaxed")
SMALL = GestureSettings(steps=80, batch=64, hidden=16, embedding=8, people=0)


def posed(count, seed, free=0):
    """Hands of three poses that are random points, found with a little noise, and free ones of the first pose."""
    rng = np.random.default_rng(seed)
    bases = np.random.default_rng(0).normal(size=(len(POSED), 21, 3))
    which = np.concatenate([np.arange(count) % len(POSED), np.zeros(free, int)])
    points = (bases[which] + rng.normal(scale=0.03, size=(count + free, 21, 3))).astype(np.float32)
    pose = np.array([*(POSED[one] for one in which[:count]), *["any"] * free])
    exact = bases[which].astype(np.float32)
    left = np.zeros(len(which), np.bool_)
    return PosedHands(points, points, left, pose, np.arange(len(which)), exact, exact, left)


@pytest.mark.slow
def test_poses_are_learned_and_probabilities_calibrated():
    hands = posed(90, 1)
    network = train_network([(hands, 1.0)], SMALL)
    classifier = GestureClassifier(whitened(calibrated(network.arrays(), posed(30, 2)), [hands]))
    held_out = posed(30, 3)
    metrics = gesture_metrics(classifier, held_out)
    assert metrics["accuracy"] > 0.95
    assert metrics["none_taken_for_a_gesture"] == 0
    assert {"right_None", "right_Victory", "right_OK"} < set(metrics)
    places = classifier.place(held_out.features())
    assert places.shape == (30, classifier.width) == (30, 8)


@pytest.mark.slow
def test_hands_are_found_in_rendered_folders(tmp_path, weights):
    try:
        renderer_name()
        load_rig("Right"), load_rig("Left")
    except SonjitError as error:
        pytest.skip(str(error))
    rendered, found = tmp_path / "rendered", tmp_path / "found.npz"
    settings = ("gesture=open,victory", "hands=1", "held=none", "occluders=0", "cut=0", "distance=0.25..0.4")
    settings += ("background=plain", "person=800..999")
    asked = [part for one in settings for part in ("--set", one)]
    assert main(["synth", str(rendered), "--count", "4", "--seed", "301", *asked]) == 0
    hands = posed_hands(rendered, 2)
    assert 2 <= len(hands) <= 8
    assert set(hands.pose.tolist()) <= {"open", "victory"}
    apart = np.linalg.norm(hands.keypoints[..., :2] - hands.true_keypoints[..., :2], axis=-1).mean(1)
    assert (apart < 0.3 * np.ptp(hands.true_keypoints[..., :2], axis=1).max(1)).all()
    hands.save(found)
    twice = PosedHands.joined([PosedHands.load(found), hands])
    assert len(twice) == 2 * len(hands)
    assert len(np.unique(twice.image)) == 2 * len(np.unique(hands.image))


def test_free_poses_that_are_nearly_gestures_are_left_out():
    hands = posed(30, 1, free=5)
    assert len(hands.unambiguous(hands)) == 30


def test_exact_hands_get_the_errors_of_similar_ones():
    found, exact = posed(30, 1), posed(6, 2)
    flipped = found.pose == "ok"
    found = replace(found, left=flipped)
    seen = exact.with_errors_of(found, np.random.default_rng(0))
    assert seen.left.tolist() == (exact.pose == "ok").tolist()
    moved = np.linalg.norm(seen.keypoints - aligned(exact.truth(), exact.true_left)[:, 0], axis=-1)
    assert 0 < moved.min() < moved.max() < 0.3


@pytest.mark.slow
def test_hands_are_posed_before_the_camera():
    hands = posed_joints(1, 1, 6, np.random.default_rng(0))
    assert sorted(hands.pose.tolist()) == sorted([*gestures(), *["any"] * 6])
    assert {pose for poses in POSES.values() for pose in poses} <= set(hands.pose.tolist())
    assert (hands.keypoints_3d[..., 2] > 0.1).all()
    np.testing.assert_allclose(
        hands.keypoints[..., :2], hands.keypoints_3d[..., :2] / hands.keypoints_3d[..., 2:], atol=1e-5
    )
    assert np.isfinite(hands.features()).all()


def test_what_cannot_be_learned_is_told():
    with pytest.raises(InputError, match="two poses"):
        train_network([(posed(3, 1).take(np.array([0])), 1.0)], SMALL)
    with pytest.raises(InputError, match="in train and in held_out"):
        GestureSettings(train=("a",), held_out=("a",))
