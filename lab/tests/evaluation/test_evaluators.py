"""Properties of every evaluator: perfect scores for the ground truth, and exact scores for known errors."""

import json
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation import coco, models, protocols, run
from sonjit_lab.evaluation.predictions import Prediction, hash_of, match_predictions


def evaluate(name, model="hands-full"):
    return run.evaluator_of(protocols.load_protocol(name), models.ModelChoice(model))


def truth_as_prediction(one, **changes):
    own = Prediction(side=one.side, keypoints_px=one.keypoints_px, keypoints_m=one.keypoints_m, placed=True)
    return replace(own, **changes)


def sample_of(*instances):
    image = np.zeros((9, 9, 3), np.uint8)
    return Sample(dataset="made", id="1", image=image, width=9, height=9, instances=instances)


LABELLED = Instance(
    kind="hand",
    keypoints_px=np.ones((21, 2)),
    visible=np.ones(21, np.bool_),
    area_px2=4.0,
    read_mask=lambda: np.eye(9, dtype=np.bool_),
)


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"read_mask": lambda: np.eye(9, dtype=np.bool_)[::-1]}, False),
        ({"visible": np.arange(21) > 3}, False),
        ({"area_px2": 5.0}, False),
        ({"extra": {"clear": False}}, False),
        ({"read_mask": lambda: np.eye(9, dtype=np.bool_)}, True),
        ({"read_mask": Mock(side_effect=InputError("no such file"))}, False),
    ],
)
def test_a_sample_is_evaluated_again_if_a_label_changes(changes, is_same):
    before = sample_of(LABELLED)
    assert (hash_of(sample_of(replace(LABELLED, **changes))) == hash_of(before)) == is_same
    assert hash_of(replace(before, id="2", source="other.json", licence="CC0")) == hash_of(before)
    assert hash_of(replace(before, tags={"class": "cup"})) != hash_of(before)
    assert hash_of(replace(before, image=np.ones((9, 9, 3), np.uint8))) != hash_of(before)


def metrics(evaluated, own):
    summary = own.summary(evaluated, list(range(len(evaluated))))
    return {metric.name: metric for metric in summary.metrics}, summary


def test_bodies_are_evaluated_by_the_torso_and_their_visibility():
    own = evaluate("mediapipe-card", "body-full")
    assert own.main == "pdj"
    random = np.random.default_rng(0)
    names, reference = (load_skeleton(one).keypoints for one in ("body_blazepose33", "body_coco17"))
    points = random.uniform(0, 200, (33, 2))
    truth = np.stack([points[names.index(name)] for name in reference])
    known = np.ones(17, bool)
    body = Instance(kind="body", skeleton="body_coco17", keypoints_px=truth, visible=known, valid_px=known)
    sample = sample_of(body)
    seen = Prediction(skeleton="body_blazepose33", keypoints_px=points, visible=np.ones(33, bool))
    hidden = replace(seen, visible=np.zeros(33, bool))
    for prediction, expected in ((seen, 100.0), (hidden, 0.0)):
        found, _ = metrics(own.evaluate(sample, [prediction]), own)
        assert found["pdj"].value == expected


@pytest.mark.parametrize("skeleton", ["face_300w68", "face_wflw98", "face_mediapipe468", "face_mediapipe478"])
def test_faces_are_evaluated_by_the_distance_of_their_eyes(skeleton):
    own, random = evaluate("mediapipe-card", "face-mesh"), np.random.default_rng(0)
    points = random.uniform(0, 99, (len(load_skeleton(skeleton).keypoints), 2))
    face = Instance(kind="face", skeleton=skeleton, keypoints_px=points)
    moved = points + random.normal(0, 2, points.shape)
    found, _ = metrics(own.evaluate(sample_of(face), [Prediction(skeleton=skeleton, keypoints_px=moved)]), own)
    corners = {68: (36, 39, 42, 45), 98: (60, 64, 68, 72)}.get(len(points), (33, 133, 362, 263))
    eyes = points[list(corners[2:])].mean(0) - points[list(corners[:2])].mean(0)
    expected = 100 * np.linalg.norm(moved - points, axis=1).mean() / np.linalg.norm(eyes)
    assert found["iod_mae"].value == pytest.approx(expected)


def test_hands_that_are_not_placed_have_no_absolute_error(hand_sample):
    own, sample = evaluate("freihand"), hand_sample()
    prediction = truth_as_prediction(sample.instances[0], placed=False)
    found, _ = metrics(own.evaluate(sample, [prediction]), own)
    assert "absolute_mpjpe" not in found
    assert found["pa_mpjpe"].value == pytest.approx(0, abs=1e-5)


def test_each_prediction_is_matched_to_the_nearest_instance_once(hand_sample):
    sample = hand_sample(0, ("Right", "Left"))
    first, second = sample.instances
    second = replace(second, keypoints_px=first.keypoints_px + 60)
    near = Prediction(keypoints_px=first.keypoints_px + 2)
    far = Prediction(keypoints_px=second.keypoints_px + 3)
    twice = Prediction(keypoints_px=first.keypoints_px + 4)
    lost = Prediction(keypoints_px=first.keypoints_px + 9000)
    found = match_predictions([(0, first), (1, second)], [lost, twice, far, near])
    assert found == {0: near, 1: far}
    assert match_predictions([(0, first)], [lost]) == {}


def test_categories_with_other_ids_are_refused(hand_sample):
    sample = hand_sample()
    hand = replace(sample.instances[0], category="left_hand", category_id=2)
    sample = replace(sample, instances=(hand,))
    found = Prediction(category_id=1, category="left_hand", score=0.9, box=(1.0, 1.0, 9.0, 9.0))
    evaluator = coco.InstanceEvaluator(protocols.load_protocol("coco-instances"))
    with pytest.raises(InputError, match="category left_hand has the id 2 in the data set and 1 in the model"):
        evaluator.evaluate(sample, [found])
    assert evaluator.evaluate(sample, [replace(found, category_id=2), replace(found, category="cup")])


@pytest.mark.parametrize(("protocol", "error"), [("ilsvrc-loc", 0), ("cub200", 100)])
def test_overlaps_include_the_last_pixels_of_imagenets_boxes(protocol, error):
    thing = Instance(kind="object", box=(1, 1, 3, 8), category_id=0)  # 3 x 8 px to compute_overlap.m
    (item,) = evaluate(protocol).evaluate(sample_of(thing), [Prediction(box=(1, 1, 7, 9), category_id=0)])
    assert item.numbers["localization_error_1"] == error


@pytest.mark.parametrize(("score", "right"), [(0.9, 1), (np.nan, 0)])
def test_hand_types_count_without_valid_joints_or_scores(score, right):
    hand, own = Instance(kind="hand", side="Right", keypoints_m=np.full((21, 3), np.nan)), evaluate("interhand2.6m")
    sample = replace(sample_of(hand), tags={"hand_type": "right"})
    found, _ = metrics(own.evaluate(sample, [Prediction(side="Right", score=score)]), own)
    assert found["handedness"].value == right


def test_a_damaged_split_is_not_replaced_by_another(tmp_path):
    files = {name: tmp_path / f"annotations/person_keypoints_{name}2017.json" for name in ("train", "val")}
    for folder, name in (("annotations", "x"), ("train2017", "a.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    image = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}
    files["train"].write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
    protocol = protocols.load_protocol("coco-keypoints")
    assert protocols.ProtocolData(protocol, tmp_path).describe()[0]["split"] == "train2017"  # the only one
    files["val"].write_text("{")
    with pytest.raises(InputError, match=r"keypoints_val2017\.json"):
        protocols.ProtocolData(protocol, tmp_path)
