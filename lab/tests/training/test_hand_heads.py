"""Heads on the published hand networks: training data, format, evaluation, and reproducible results."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.coco_files import write_coco

from sonjit import InputError
from sonjit._util.data_files import ASSETS
from sonjit.detectors.kinds.hand_heads import ASSET, HandHeads, load_hand_heads
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.metrics.probabilities import auroc, auroc_interval, calibration_error
from sonjit_lab.training.array_rows import CalibrationImages
from sonjit_lab.training.hands import head_data, heads, samples
from sonjit_lab.training.hands.head_data import CAUSES, HandFeatures, LabelledHand, LabelledImage
from sonjit_lab.training.loop import LOG
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

from .small_runs import held_out_frames, origin, write_people

OBJECT = CAUSES.index("object")
WIDTHS = {"full": (344, 1152), "lite": (200, 672)}  # channels of the three maps, and of the last one


def views(count, seed=0, model="tiny"):
    """Return hands whose first local channel encodes visibility, and whose first mean channel encodes the side."""
    rng, (depth, means) = np.random.default_rng(seed), WIDTHS.get(model, (6, 5))
    seen, right = rng.random((count, 21)) < 0.7, rng.random(count) < 0.5
    local, mean = rng.normal(size=(count, 21, depth)), rng.normal(size=(count, means)) * 3 + 1
    local[..., 0], mean[:, 0] = np.where(seen, 2, -1) + local[..., 0], np.where(right, 9, -5) + mean[:, 0]
    return HandFeatures(
        local=local.astype(np.float16),
        shape=rng.normal(scale=0.1, size=(count, 63)).astype(np.float32),
        mean=mean.astype(np.float16),
        cause=np.where(seen, 0, rng.integers(1, 4, (count, 21))).astype(np.int8),
        right=right,
        label=np.where(right, 0.8, 0.4).astype(np.float32),
        image=np.arange(count) // 2,
        error=rng.uniform(0, 0.2, count).astype(np.float32),
    )


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return data whose features are generated, because another test covers the reading of images."""
    for name in ("a", "b"):
        write_people(tmp_path / "data" / name, images=200, people=8)
    monkeypatch.setattr(heads, "hand_features", lambda root, model, **_: views(40, len(root.name), model))
    return tmp_path / "data"


def formats(arrays):
    return {name: (arrays[name].shape, arrays[name].dtype) for name in arrays}


def test_the_arrays_equal_the_network():
    hands = views(40)
    torch.manual_seed(1)
    network = heads.HeadNetwork(6, 5, hidden=7, dropout=0.2, side_dropout=0.5).eval()
    network.fit_normalisation(hands)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(0, 0.3)
        seen, side = network(*map(torch.from_numpy, hands.inputs()))
    got = HandHeads(network.arrays()).logits(*hands.inputs())
    np.testing.assert_allclose(got[0], seen.numpy(), atol=2e-4)
    np.testing.assert_allclose(got[1], side.numpy(), atol=2e-4)


def test_platts_numbers_calibrate_probabilities():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 20_000).astype(np.float32)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(0.4 * logits - 1)))
    scale, shift = heads.platt(logits, truth)
    assert (scale, shift) == (pytest.approx(0.4, abs=0.03), pytest.approx(-1, abs=0.05))
    probabilities = 1 / (1 + np.exp(-(scale * logits + shift)))
    assert calibration_error(probabilities, truth) < 0.02 < calibration_error(1 / (1 + np.exp(-logits)), truth)


def test_the_area_under_the_curve_counts_ties_half_and_draws_clusters():
    scores, truth = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])
    assert auroc(scores, truth) == 0.875
    assert auroc(-scores, truth) == 0.125
    assert np.isnan(auroc(scores, np.ones(4, np.bool_)))
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.5
    scores = truth + rng.normal(0, 1, 400)
    low, high = auroc_interval(scores, truth, range(400))
    assert low < auroc(scores, truth) < high < low + 0.12
    wide = auroc_interval(scores, truth, (np.arange(400) // 40).tolist())
    assert wide.high - wide.low != high - low


@pytest.mark.slow
def test_hands_of_images_are_read_as_the_detector_reads_them(tmp_path, weights, demo_clip):
    _, frames, records = demo_clip
    height, width = frames[0].shape[:2]

    def inside(record):
        points = [(hand, np.array(hand["xy"])) for hand in record["hands"]]
        return [hand for hand, xy in points if (xy > 0).all() and (xy < (width, height)).all()]

    best = max(range(len(frames)), key=lambda index: len(inside(records[index])))
    photo, truth = frames[best], inside(records[best])
    names, known = load_skeleton("hand_mediapipe21").keypoints, {"causes": ["visible"] * 20 + ["self"]}
    known["bbox"] = [0, 0, width, height]
    labels = [(0, hand["xy"], known | {"hand_side": hand["handedness"].lower()}) for hand in truth]
    write_coco(tmp_path, {"photo.png": photo}, labels, names, file="coco.json", images_in=".")
    plain, more = (head_data.hand_features(tmp_path, "lite", more=count) for count in (0, 2))
    assert len(plain) <= len(more)
    assert (plain.cause[:, :20] == 0).all()
    assert (plain.cause[:, 20] == CAUSES.index("self")).all()
    assert set(plain.right.tolist()) == {hand["handedness"] == "Right" for hand in truth}
    assert len(np.unique(plain.mean, axis=0)) == len(plain)  # each hand's own, not the last one's
    assert ((plain.label > 0.5) == plain.right).mean() > 0.5
    assert (more.cause == OBJECT).any()


def test_the_recipe_writes_the_shipped_format(folders, tmp_path):
    """Train with the widths of the recipe's full size, on few hands."""
    settings = {"train": "a", "held_out": "b", "steps": "2", "batch": "4"}
    results = run_recipe(TrainingRequest("hand-heads", tmp_path / "run", data=folders, settings=settings))
    with np.load(results["heads"]) as written, np.load(ASSETS / ASSET) as shipped:
        assert list(written) == list(shipped)
        assert formats(written) == formats(shipped)


def test_the_recipe_writes_the_same_heads_again(folders, tmp_path):
    settings = {"train": "a", "held_out": "b", "steps": "6", "batch": "8", "hidden": "4"}

    def run(name):
        return run_recipe(TrainingRequest("hand-heads", tmp_path / name, data=folders, settings=settings))

    results = run("one")
    assert {"full_auroc", "lite_side", "full_side_ece_before", "lite_published_side"} <= set(results)
    assert results["calibration"] == "by subject, 7 to train on and 1 held out"
    run("two")
    first, second = ((tmp_path / name / ASSET).read_bytes() for name in ("one", "two"))
    assert first == second
    assert len((tmp_path / "one" / LOG).read_text().splitlines()) == 6


def test_the_recipe_learns_visibility_and_side(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "hand_features", lambda root, model, **_: views(400, seed=ord(root.name)))
    settings = {"train": "a", "held_out": "b", "steps": "60", "batch": "32", "hidden": "8", "learning_rate": "0.01"}
    results = run_recipe(TrainingRequest("hand-heads", tmp_path / "run", data=folders, settings=settings))
    for model in WIDTHS:
        assert results[f"{model}_auroc"] > 0.8
        assert results[f"{model}_side"] > 0.75


@pytest.mark.parametrize("images", [[40, 40], [3, 40]])
def test_no_person_calibrates_and_trains(images, tmp_path):
    """Hands in every second image: the last image of a folder may have none."""
    names = ("a", "b", "a2")
    for name in names:
        write_people(tmp_path / name, images=images[name == "b"], people=images[name == "b"] // 2)
    labels = (tmp_path / "a" / "dataset.json").read_text("utf-8")
    (tmp_path / "a2" / "dataset.json").write_text(labels)  # the same people in another folder
    tables = []
    for number, name in enumerate(names):
        hands = views(4 * images[name == "b"])
        rows = hands.take(np.flatnonzero((hands.image < images[name == "b"]) & (hands.image % 2 == number % 2)))
        tables.append(replace(rows, error=1000 * number + rows.image.astype(np.float32)))
    request = TrainingRequest("hand-heads", tmp_path / "run", data=tmp_path)
    split = CalibrationImages(request, names, 0.2)
    sides = split.split(names, tables)
    assert sum(map(len, sides)) == sum(map(len, tables))

    def person(row):
        folder, image = divmod(int(row), 1000)
        data = json.loads((tmp_path / names[folder] / "dataset.json").read_text("utf-8"))
        return data["images"][image]["subject"]

    training, calibration = ({person(row) for row in side.error} for side in sides)
    assert training
    assert calibration
    assert not training & calibration
    assert split.report.text.startswith("by subject")


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("model", WIDTHS)
def test_the_shipped_heads_find_what_the_recipe_labels(model, tmp_path):
    """Evaluate hands of the bundled clip with the recipe's data and metrics, and compare with stored numbers."""
    engine = head_data.load_engine(head_data.find_weight(f"hand-{model}"), head_data.EXACT, taps=head_data.TAPS)
    rows = []
    for sample in held_out_frames(tmp_path):
        hands = [
            LabelledHand(hand.keypoints_px.astype(np.float32), np.zeros(21, np.int8), hand.side == "Right")
            for hand in samples.complete_hands(sample)
        ]
        if hands:
            scene = LabelledImage(sample.rgb(), tuple(hands))
            found = head_data._features_of(scene, [], engine, np.random.default_rng(sample.frame))
            rows += [(*row, sample.frame, error) for *row, error in found]
    features = HandFeatures(*map(np.array, zip(*rows, strict=True)))
    shipped = load_hand_heads(model)
    metrics = heads.head_metrics(shipped, shipped, features)
    for name, stored in origin(ASSET)["bundled_clip"][model].items():
        assert metrics[name] == pytest.approx(stored, abs=0.01), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "a", "held_out": "a"}, "Evaluate on other hands than in training"),
        ({"train": "nowhere"}, "no such folder"),
        ({"calibration": "0.9"}, "calibration=0.9: must be at most 0.5"),
        ({"train": ""}, "at least one folder"),
    ],
)
def test_wrong_settings_are_reported_in_one_line(tmp_path, settings, message):
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=message):
        run_recipe(TrainingRequest("hand-heads", tmp_path / "out", data=tmp_path, settings=settings))
