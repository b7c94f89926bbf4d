"""The recipe of the gesture classifier: its training, and the hands that it excludes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sonjit._util.errors import InputError
from sonjit.cli import main
from sonjit.gestures import CustomMotions, LearnedGestures, classifier
from sonjit_lab.training import gesture_appearance, gesture_data, gestures
from sonjit_lab.training.alphabets import load_alphabet
from sonjit_lab.training.array_rows import CalibrationImages
from sonjit_lab.training.recipes import TrainingRequest, held_out_change, run_recipe, settings_from

from .small_runs import write_people

POSED = ("victory", "ok", "relaxed")
SMALL = gestures.GestureSettings(steps=80, batch=64, hidden=16, embedding=8, people=0)


def posed(count, seed, free=0):
    """Return hands of three random poses with detection noise, and free hands of the first pose."""
    rng = np.random.default_rng(seed)
    bases = np.random.default_rng(0).normal(size=(len(POSED), 21, 3))
    which = np.concatenate([np.arange(count) % len(POSED), np.zeros(free, int)])
    points = (bases[which] + rng.normal(scale=0.03, size=(count + free, 21, 3))).astype(np.float32)
    pose = np.array([*(POSED[one] for one in which[:count]), *["any"] * free])
    exact = bases[which].astype(np.float32)
    left = np.zeros(len(which), np.bool_)
    return gesture_data.PosedHands(points, points, left, pose, np.arange(len(which)), exact, exact, left)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.usefixtures("weights", "renderer", "rigs")
def test_hands_are_found_in_rendered_folders(tmp_path):
    rendered, found = tmp_path / "rendered", tmp_path / "found.npz"
    settings = ("gesture=open,victory", "hands=1", "held=none", "occluders=0", "cut=0", "distance=0.25..0.4")
    settings += ("background=plain", "person=800..999")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert main(["synth", str(rendered), "--count", "4", "--seed", "301", *arguments]) == 0
    hands = gesture_data.posed_hands(rendered, crops=2)
    assert 2 <= len(hands) <= 8
    assert set(hands.pose.tolist()) <= {"open", "victory"}
    apart = np.linalg.norm(hands.keypoints[..., :2] - hands.true_keypoints[..., :2], axis=-1).mean(1)
    assert (apart < 0.3 * np.ptp(hands.true_keypoints[..., :2], axis=1).max(1)).all()
    shown = gesture_data.detect_hands(rendered, more=1)
    np.testing.assert_array_equal(shown.keypoints[: len(np.unique(shown.image))][0], hands.keypoints[0])
    assert shown.appearance.shape == (len(shown), 21, 66)
    assert shown.errors().max() <= 0.2
    assert len(set(shown.true_left.tolist())) == 2  # some are mirrored
    hands.save(found)
    twice = gesture_data.PosedHands.concatenate([gesture_data.PosedHands.load(found), hands])
    assert len(twice) == 2 * len(hands)
    assert len(np.unique(twice.image)) == 2 * len(np.unique(hands.image))
    labels = json.loads((rendered / "coco.json").read_text())
    labels["annotations"][0]["keypoints"][:3] = 0, 0, 0  # not labelled, as where it is far outside
    (rendered / "coco.json").write_text(json.dumps(labels))
    assert len(gesture_data.posed_hands(rendered, crops=1)) == len(np.unique(hands.image)) - 1


def seen(count, seed):
    """Return hands with equal keypoints, whose poses differ only in the maps."""
    hands = posed(count, seed)
    rng = np.random.default_rng(seed)
    same = {name: np.repeat(getattr(posed(1, 0), name), count, 0) for name in ("keypoints", "keypoints_3d")}
    places = 0.5 + 0.1 * same["keypoints"][..., :2]
    maps = [rng.normal(size=(count, *shape)) for shape in gesture_data.MAPS]
    maps[0][:, :3] += 3 * (hands.pose[:, None] == np.array(POSED))[..., None, None]
    rows = [one.reshape(count, -1) for one in (*maps, places)]
    return gesture_data.DetectedHands(**{**vars(hands), **same}, appearance=np.concatenate(rows, 1).astype(np.float16))


def test_the_arrays_equal_the_network_of_the_image(tmp_path):
    hands = seen(6, 3)
    features = hands.features() + np.random.default_rng(0).normal(size=(6, classifier.FEATURES)).astype(np.float32)
    torch.manual_seed(0)
    network = gesture_appearance.AppearanceNetwork(3, 8, 5, 16).eval()
    network.fit_normalisation(hands, features)
    torch.nn.init.normal_(network.move.weight)
    maps, places = gesture_data.split_maps(hands.appearance)
    inputs = [torch.from_numpy(target_map) for target_map in maps], torch.from_numpy(places), torch.from_numpy(features)
    with torch.no_grad():
        logits, keypoints, corrected = network(*inputs)
    assert keypoints.shape == (6, 126)
    assert (corrected - inputs[1]).abs().mean() > 0.01
    plain = gestures.GestureSettings(steps=1, batch=4, hidden=4, embedding=4, people=0)
    request = TrainingRequest("gestures", tmp_path)
    weights = gestures.train_network([(posed(6, 1), 1.0)], plain, request, posed(6, 1)).arrays()
    both = classifier.GestureClassifier(weights | network.arrays(np.array([2, 0, 1])))
    shown = gestures.with_appearance(hands, network.heads()).appearance
    around = corrected.numpy() - corrected.numpy().mean(1, keepdims=True)
    scale = np.sqrt((around**2).mean((1, 2), keepdims=True))
    np.testing.assert_allclose(shown[..., -2:], around / scale, atol=1e-4)
    by_image = both.probabilities(features, shown)
    np.testing.assert_allclose(by_image[:, [2, 0, 1]], torch.softmax(logits, 1).numpy(), atol=1e-4)


@pytest.mark.nightly
@pytest.mark.slow
def test_nobody_calibrates_and_trains_the_networks_of_keypoints_and_of_the_image(tmp_path, monkeypatch):
    """Exchange the poses of the people for calibration: both networks stay the same, and their calibration changes.

    The folder of the image's network contains a person of the other folder.
    """
    folders = {"train": 60, "tilted": 40, "held": 20}
    for name, images in folders.items():
        write_people(tmp_path / name, images=images, people=10)
    labels = tmp_path / "tilted" / "dataset.json"
    labels.write_text(labels.read_text("utf-8").replace('"tilted3"', '"train3"'), "utf-8")
    settings = {
        "train": "train", "held_out": "held", "steps": "20", "batch": "16", "hidden": "8", "embedding": "128",
        "people": "0", "calibration": "0.3", "seen.folders": "train,tilted", "seen.steps": "5", "seen.batch": "8",
        "seen.hidden": "16", "seen.channels": "4", "seen.correction": "8",
    }  # fmt: skip

    def run(out, change):
        request = TrainingRequest("gestures", tmp_path / out, data=tmp_path, settings=settings)
        split = CalibrationImages(request, ("train", "tilted"), 0.3)

        def changed(make, name):
            hands = make(folders[name], len(name))
            if name == "held" or not change:
                return hands
            _, chosen = split.split([name], [hands])
            pose = np.where(np.isin(hands.image, chosen.image), np.roll(POSED, 1)[hands.image % 3], hands.pose)
            return replace(hands, pose=pose)

        monkeypatch.setattr(gesture_data, "posed_hands", lambda root, *_, crops: changed(posed, root.name))
        monkeypatch.setattr(gesture_data, "detect_hands", lambda root, *_, more, maps: changed(seen, root.name))
        results = run_recipe(request)
        assert results["calibration"].startswith("by subject")
        return [dict(np.load(results[file]).items()) for file in ("classifier", "heads")]

    (first, first_heads), (second, second_heads) = run("one", change=False), run("two", change=True)
    assert all(np.array_equal(first_heads[name], second_heads[name]) for name in first_heads)
    differs = {name for name in first if not np.array_equal(first[name], second[name])}
    assert differs
    assert differs <= {"weights_2", "bias_2", *(name for name in first if name.endswith("calibration"))}
    ratio = first["weights_2"].astype(np.float64) / second["weights_2"]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.01)  # another temperature of the same layer


def test_unlearnable_data_is_reported(tmp_path):
    one = posed(3, 1).take(np.array([0]))
    with pytest.raises(InputError, match="two poses"):
        gestures.train_network([(one, 1.0)], SMALL, TrainingRequest("gestures", tmp_path), one)
    with pytest.raises(InputError, match="in held_out and in train or seen"):
        gestures.GestureSettings(train=("a",), held_out=("a",))
    with pytest.raises(InputError, match="seen applies only to the shipped gestures"):
        gestures.GestureSettings(seen=gesture_appearance.AppearanceSettings(folders=("a",)), alphabet="asl")
    with pytest.raises(InputError, match=r"rendered=0.6 and flawless=0.5"):
        gestures.GestureSettings(rendered=0.6, flawless=0.5)
    with pytest.raises(InputError, match="seen requires folders"):
        settings_from(gestures.GestureSettings, {"seen": {"steps": 5}})
    with pytest.raises(InputError, match="seen is not a table"):  # settings of what is left out
        run_recipe(TrainingRequest("gestures", tmp_path, data=tmp_path, settings={"seen": "none", "seen.steps": "5"}))


def test_manual_alphabets_are_read_from_files(tmp_path):
    asl = load_alphabet("asl")
    letters = {*asl.vocabulary.names, *asl.moving}
    assert letters == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert asl.shapes_of(["front_fist", "open", "any"]).tolist() == [asl.vocabulary.shapes.index("S"), 0, 0]
    own = tmp_path / "own.toml"
    own.write_text('none = ["open"]\n[letters]\nQ = ["fist", "tight_fist"]\n')
    assert load_alphabet(str(own)).vocabulary.names == ("Q",)
    huge = f"1{400 * '0'}"
    for wrong, message in {
        '[letters]\nQ = ["fist"]\n': "not a manual alphabet",
        'none = []\n[letters]\nQ = ["fits"]\n': "Unknown pose fits",
        'none = ["fist"]\n[letters]\nQ = ["fist"]\n': "fist occurs twice",
        'none = []\n[letters]\n[moving]\nJ = {pose="fist", place=[[0, 0]], yaw_deg=[0], roll_deg=[0]}': "two places",
        'none = []\n[letters]\n[directed]\nT = {poses=["two"], finger=[5, 8], letters=["U"]}': "not four names",
        'none = []\n[letters]\n[directed]\nT = {poses=["two"], finger=[5, 21], letters=["U", "", "", ""]}': "keypoints",
        f'none = []\n[letters]\n[moving]\nJ = {{pose="fist", place=[[{huge}]], yaw_deg=[0], roll_deg=[]}}': "too large",
    }.items():
        own.write_text(wrong)
        with pytest.raises(InputError, match=message):
            load_alphabet(str(own))
    for name in ("esperanto", str(tmp_path / "none.toml")):
        with pytest.raises(InputError, match=r"esperanto|none\.toml"):
            load_alphabet(name)


@pytest.mark.nightly
@pytest.mark.slow
def test_drawn_letters_are_distinguished_also_of_other_people():
    asl = load_alphabet("asl")
    motions = CustomMotions.learn(gesture_data.drawn_letters(asl, np.random.default_rng(0)))
    for recording in gesture_data.drawn_letters(asl, np.random.default_rng(7)):
        predicted = [motions.classify(way) for way in recording.ways]
        assert [one and one[0] for one in predicted] == [recording.name] * len(predicted)


@pytest.mark.slow
def test_letters_are_trained_into_a_file_that_recognises_them(tmp_path, monkeypatch, capfd):
    """Run the recipe on posed hands in place of detections in images."""
    asl = load_alphabet("asl")
    trained, held_out = (
        gesture_data.posed_joints(1, count, 10, np.random.default_rng(count), alphabet=asl, yaw_deg=40.0)
        for count in (4, 1)
    )
    for name in ("train-letters", "train-others", "held-letters", "held-others"):
        write_people(tmp_path / name, images=len(trained) if name.startswith("train") else len(held_out), people=16)

    def found(root, progress=None, *, crops):
        return trained if root.name.startswith("train") else held_out

    monkeypatch.setattr("sonjit_lab.training.gesture_data.posed_hands", found)
    settings = ("crops=1", "exact=true", "steps=150", "batch=128", "people=0", "hidden=64", "embedding=32")
    arguments = [part for setting in settings for part in ("--set", setting)]
    words = ["train", "spelling", "--data", str(tmp_path), "--out", str(tmp_path / "run"), *arguments]
    assert main([*words, "--require-better"]) == 0
    assert "calibration: by subject, " in capfd.readouterr().out
    change = held_out_change(tmp_path / "run")
    assert change.metric == "accuracy"
    assert change.after > 2 * change.before
    letters = LearnedGestures.load(tmp_path / "run" / "gestures.npz")
    assert set(letters.names) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    rows = (tmp_path / "run" / "confusion.csv").read_text().splitlines()
    assert rows[0] == "shape,hands,right,told as"
    right = [float(row.split(",")[2]) for row in rows[1:]]
    assert len(right) == 22
    assert np.mean(right) > 0.6
    file = tmp_path / "broken.npz"
    np.savez(file, weights_0=np.zeros((3, 4)), vocabulary="{}")
    with pytest.raises(InputError, match="not a classifier of gestures"):
        LearnedGestures.load(file)
