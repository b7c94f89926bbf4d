"""The recipe of the classifier of gestures: what it learns from hands, and which hands it leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.cli import main
from sonjit.errors import InputError, SonjitError
from sonjit.gestures import CustomMotions, LearnedGestures
from sonjit.gestures.classifier import GestureClassifier
from sonjit.gestures.features import aligned
from sonjit.hand_models.rig_files import load_rig
from sonjit.synthesis.render.opengl import renderer_name
from sonjit.training.gestures.alphabets import POSES, load_alphabet, shipped_gestures
from sonjit.training.gestures.data import PosedHands, posed_hands
from sonjit.training.gestures.poses import drawn_letters, posed_joints
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
    assert places.shape == (30, 8)
    own = [places[held_out.pose == name] for name in POSED]
    np.testing.assert_allclose(np.var([one.mean(0) for one in own], axis=0), classifier.spread, rtol=0.3, atol=0.5)


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
    assert (found.errors() > 0).all()
    assert not found.exact().errors().any()
    assert not found.exact().left.any()


@pytest.mark.slow
def test_hands_are_posed_before_the_camera():
    hands = posed_joints(1, 1, 6, np.random.default_rng(0))
    assert sorted(hands.pose.tolist()) == sorted([*shipped_gestures().posed, *["any"] * 6])
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


def test_manual_alphabets_are_read_from_files(tmp_path):
    asl = load_alphabet("asl")
    letters = {*asl.vocabulary.names, *asl.moving}
    assert letters == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert asl.shapes_of(["front_fist", "open", "any"]).tolist() == [asl.vocabulary.shapes.index("S"), 0, 0]
    own = tmp_path / "own.toml"
    own.write_text('none = ["open"]\n[letters]\nQ = ["fist", "tight_fist"]\n')
    assert load_alphabet(str(own)).vocabulary.names == ("Q",)
    for wrong, said in {
        '[letters]\nQ = ["fist"]\n': "no manual alphabet",
        'none = []\n[letters]\nQ = ["fits"]\n': "no pose is called fits",
        'none = ["fist"]\n[letters]\nQ = ["fist"]\n': "fist stands there twice",
        'none = []\n[letters]\n[moving]\nJ = {pose="fist", place=[[0, 0]], yaw_deg=[0], roll_deg=[0]}': "two places",
        'none = []\n[letters]\n[directed]\nT = {poses=["two"], finger=[5, 8], letters=["U"]}': "give four",
    }.items():
        own.write_text(wrong)
        with pytest.raises(InputError, match=said):
            load_alphabet(str(own))
    for name in ("esperanto", str(tmp_path / "none.toml")):
        with pytest.raises(InputError, match=r"esperanto|none\.toml"):
            load_alphabet(name)


@pytest.mark.slow
def test_drawn_letters_are_told_apart_and_by_other_people():
    asl = load_alphabet("asl")
    motions = CustomMotions.learn(drawn_letters(asl, np.random.default_rng(0)))
    for recording in drawn_letters(asl, np.random.default_rng(7)):
        told = [motions.tell(way) for way in recording.ways]
        assert [one and one[0] for one in told] == [recording.name] * len(told)


@pytest.mark.slow
def test_letters_are_trained_into_a_file_that_tells_them(tmp_path, monkeypatch):
    """The whole recipe, on hands that are posed in place of what the network finds in images."""
    for name in ("train-letters", "train-others", "held-letters", "held-others"):
        (tmp_path / name).mkdir()
    asl = load_alphabet("asl")
    trained, held = (posed_joints(1, count, 10, np.random.default_rng(count), asl, 40.0) for count in (4, 1))

    def found(root, crops, progress=None):
        return trained if root.name.startswith("train") else held

    monkeypatch.setattr("sonjit.training.gestures.train.posed_hands", found)
    settings = ("crops=1", "exact=true", "steps=150", "batch=128", "people=0", "hidden=64", "embedding=32")
    asked = [part for one in settings for part in ("--set", one)]
    code = main(["train", "spelling", "--data", str(tmp_path), "--out", str(tmp_path / "run"), *asked])
    assert code == 0
    letters = LearnedGestures.load(tmp_path / "run" / "gestures.npz")
    assert set(letters.names) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    rows = (tmp_path / "run" / "confusion.csv").read_text().splitlines()
    assert rows[0] == "shape,hands,right,told as"
    right = [float(row.split(",")[2]) for row in rows[1:]]
    assert len(right) == 22
    assert np.mean(right) > 0.6
    file = tmp_path / "broken.npz"
    np.savez(file, weights_0=np.zeros((3, 4)), vocabulary="{}")
    with pytest.raises(InputError, match="no classifier of gestures"):
        LearnedGestures.load(file)
