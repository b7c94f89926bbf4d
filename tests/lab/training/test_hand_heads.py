"""Heads on the published hand networks: training data, evaluation, and reproducible results."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.detectors.kinds.hand_heads import ASSET, HandHeads
from sonjit.lab.training import hand_heads as recipe
from sonjit.lab.training.hand_heads import (
    CAUSES,
    HandFeatures,
    HeadNetwork,
    LabelledHand,
    LabelledImage,
    calibration_error,
    hand_features,
    platt,
)
from sonjit.lab.training.recipes import TrainingRequest, run_recipe
from sonjit.lab.training.run_folder import LOG
from sonjit.results.skeletons import load_skeleton

from ...support.coco_files import write_coco  # noqa: TID252  # one helper for all packages

OBJECT = CAUSES.index("object")


def views(count, seed=0):
    """Return hands whose first local channel encodes visibility, and whose first mean channel encodes the side."""
    rng = np.random.default_rng(seed)
    seen, right = rng.random((count, 21)) < 0.7, rng.random(count) < 0.5
    local, mean = rng.normal(size=(count, 21, 6)), rng.normal(size=(count, 5)) * 3 + 1
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
def image():
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (90, 120, 3), np.uint8)
    points = rng.uniform(20, 80, (21, 2)).astype(np.float32)
    return LabelledImage(rgb, (LabelledHand(points, np.zeros(21, np.int8), right=True),))


def test_the_arrays_equal_the_network():
    hands = views(40)
    torch.manual_seed(1)
    network = HeadNetwork(6, 5, hidden=7, dropout=0.2, side_dropout=0.5).eval()
    network.fit_normalisation(hands)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(0, 0.3)
        seen, side = network(*map(torch.from_numpy, hands.inputs()))
    got = HandHeads(network.arrays()).logits(*hands.inputs())
    np.testing.assert_allclose(got[0], seen.numpy(), atol=2e-4)
    np.testing.assert_allclose(got[1], side.numpy(), atol=2e-4)


def test_platts_numbers_make_probabilities_honest():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 20_000).astype(np.float32)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(0.4 * logits - 1)))
    scale, shift = platt(logits, truth)
    assert (scale, shift) == (pytest.approx(0.4, abs=0.03), pytest.approx(-1, abs=0.05))
    probabilities = 1 / (1 + np.exp(-(scale * logits + shift)))
    assert calibration_error(probabilities, truth) < 0.02 < calibration_error(1 / (1 + np.exp(-logits)), truth)


@pytest.mark.slow
def test_hands_of_images_are_looked_at_as_the_detector_does(tmp_path, weights, demo_clip):
    _, frames, records = demo_clip
    height, width = frames[0].shape[:2]

    def whole(record):
        points = [(hand, np.array(hand["xy"])) for hand in record["hands"]]
        return [hand for hand, xy in points if (xy > 0).all() and (xy < (width, height)).all()]

    best = max(range(len(frames)), key=lambda index: len(whole(records[index])))
    photo, truth = frames[best], whole(records[best])
    names, known = load_skeleton("hand_mediapipe21").keypoints, {"causes": ["visible"] * 20 + ["self"]}
    known["bbox"] = [0, 0, width, height]
    labels = [(0, hand["xy"], known | {"hand_side": hand["handedness"].lower()}) for hand in truth]
    write_coco(tmp_path, {"photo.png": photo}, labels, names, file="coco.json", images_in=".")
    plain, more = (hand_features(tmp_path, "lite", more=count) for count in (0, 2))
    assert len(plain) <= len(more)
    assert (plain.cause[:, :20] == 0).all()
    assert (plain.cause[:, 20] == CAUSES.index("self")).all()
    sides = {hand["handedness"] == "Right" for hand in truth}
    assert set(plain.right.tolist()) == sides
    assert len(np.unique(plain.mean, axis=0)) == len(plain)  # each hand's own, not the last one's
    assert (more.cause == OBJECT).any()


@pytest.mark.slow
def test_the_recipe_writes_the_same_heads_again(tmp_path, monkeypatch):
    """Use generated features, because another test covers the reading of images."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
    seen = []

    def made_up(root, model, **_):
        seen.append((root.name, model))
        return views(60, seed=len(root.name) + (model == "lite"))

    monkeypatch.setattr(recipe, "hand_features", made_up)
    settings = {"train": "a", "held_out": "b", "steps": "6", "batch": "8", "hidden": "4"}

    def run(name):
        return run_recipe(TrainingRequest("hand-heads", tmp_path / name, data=tmp_path / "data", settings=settings))

    results = run("one")
    assert {"full_auroc", "lite_side", "full_side_ece_before", "lite_published_side"} <= set(results)
    run("two")
    first, second = ((tmp_path / name / ASSET).read_bytes() for name in ("one", "two"))
    assert first == second
    assert len((tmp_path / "one" / LOG).read_text().splitlines()) == 6
    run("one")  # what was read is kept
    assert sorted(seen) == sorted(2 * [(name, model) for name in "ab" for model in ("full", "lite")])


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
