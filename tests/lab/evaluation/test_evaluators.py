"""Properties of every evaluator: perfect scores for the ground truth, and exact scores for known errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.lab.datasets import Instance, Sample
from sonjit.lab.evaluation.metrics import areas_under_pck, mean_metric
from sonjit.lab.evaluation.models import ModelChoice
from sonjit.lab.evaluation.predictions import EvaluatedItem, Prediction, match_predictions
from sonjit.lab.evaluation.protocols import list_protocols, load_protocol
from sonjit.lab.evaluation.run import clusters_of, evaluator_of
from sonjit.lab.metrics import mnae, pck_auc
from sonjit.results.skeletons import load_skeleton

HAND = [name for name in list_protocols() if load_protocol(name).task in ("joints_3d", "two_hands", "landmarks_2d")]


def evaluate(name, model="hands-full"):
    return evaluator_of(load_protocol(name), ModelChoice(model))


def truth_as_prediction(one, **changes):
    return replace(
        Prediction(side=one.side, keypoints_px=one.keypoints_px, keypoints_m=one.keypoints_m, placed=True), **changes
    )


def made(*instances):
    image = np.zeros((9, 9, 3), np.uint8)
    return Sample(dataset="made", id="1", image=image, width=9, height=9, instances=instances)


def metrics(evaluated, own):
    summary = own.summary(evaluated, list(range(len(evaluated))))
    return {metric.name: metric for metric in summary.metrics}, summary


@pytest.mark.parametrize("name", HAND)
def test_the_truth_is_perfect(name, hand_sample):
    own = evaluate(name)
    evaluated = []
    for seed in range(6):
        sample = hand_sample(seed, ("Right", "Left") if seed % 2 else ("Right",))
        evaluated += own.evaluate(sample, [truth_as_prediction(instance) for instance in sample.instances])
    found, summary = metrics(evaluated, own)
    for one in found.values():
        best = {"lower": 0.0, "higher": 1.0 if one.unit == "" else 100.0}[one.better]
        near = 0.6 if one.name.endswith("auc") else 1e-5  # the servers add 1e-8 to norms; the least threshold is 0
        assert one.value == pytest.approx(best, abs=near), one.name
        assert one.missing == 0
    assert np.allclose(summary.values, 0, atol=1e-5)


@pytest.mark.parametrize("name", HAND)
def test_misses_are_reported_and_lower_pck(name, hand_sample):
    own = evaluate(name)
    samples = [hand_sample(seed) for seed in range(4)]
    evaluated = []
    for sample in samples[:2]:
        evaluated += own.evaluate(sample, [truth_as_prediction(instance) for instance in sample.instances])
    evaluated += [one for sample in samples[2:] for one in own.evaluate(sample, [])]
    found, summary = metrics(evaluated, own)
    main = found[own.main]
    assert main.value == pytest.approx(0, abs=1e-5)
    assert main.missing == main.counted
    assert np.isinf(summary.values[2:]).all()
    for metric in found.values():
        if metric.name.endswith("auc"):
            assert metric.value == pytest.approx(50, abs=0.6)


@pytest.mark.parametrize("name", HAND)
def test_evaluated_items_survive_their_file(name, hand_sample):
    own, sample = evaluate(name), hand_sample(3)
    prediction = truth_as_prediction(sample.instances[0], keypoints_px=sample.instances[0].keypoints_px + 0.1234)
    for predictions in ([prediction], []):
        for one in own.evaluate(sample, predictions):
            back = EvaluatedItem.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
            assert back.errors.keys() == one.errors.keys()
            assert all(np.array_equal(back.errors[key], one.errors[key], equal_nan=True) for key in one.errors)
            assert back.numbers == pytest.approx(one.numbers, nan_ok=True)
            assert (back.points_px is None) == (one.points_px is None)


def test_mnae_is_that_of_the_metrics(hand_sample):
    own = evaluate("mediapipe-card")
    samples = [hand_sample(seed) for seed in range(5)]
    random = np.random.default_rng(1)
    moved = [sample.instances[0].keypoints_px + random.normal(0, 3, (21, 2)) for sample in samples]
    evaluated = [
        one
        for sample, points in zip(samples, moved, strict=True)
        for one in own.evaluate(sample, [truth_as_prediction(sample.instances[0], keypoints_px=points)])
    ]
    found, summary = metrics(evaluated, own)
    expected = mnae(np.stack(moved), np.stack([sample.instances[0].keypoints_px for sample in samples]))
    assert found["mnae"].value == pytest.approx(100 * expected.mean)
    assert summary.values == pytest.approx(100 * expected.per_sample)
    assert [row.mean for row in summary.parts["joint"]] == pytest.approx(100 * expected.per_joint)
    assert found["mnae"].low <= found["mnae"].value <= found["mnae"].high


@given(st.lists(st.floats(0, 80), min_size=1, max_size=30), st.integers(2, 60))
def test_area_of_each_error_adds_up_to_the_auc(errors, steps):
    table = np.array(errors)[:, None]
    areas = areas_under_pck(table, 10, 50, steps)
    assert areas.mean() == pytest.approx(pck_auc(table, 10, 50, steps=steps, average="all"))


def test_bodies_are_evaluated_by_the_torso_and_their_visibility():
    own = evaluate("mediapipe-card", "body-full")
    assert own.main == "pdj"
    random = np.random.default_rng(0)
    names, reference = (load_skeleton(one).keypoints for one in ("body_blazepose33", "body_coco17"))
    points = random.uniform(0, 200, (33, 2))
    truth = np.stack([points[names.index(name)] for name in reference])
    body = Instance(
        kind="body", skeleton="body_coco17", keypoints_px=truth, visible=np.ones(17, bool), valid_px=np.ones(17, bool)
    )
    sample = Sample(dataset="made", id="1", image=np.zeros((200, 200, 3), np.uint8), width=200, height=200,
                    instances=(body,))  # fmt: skip
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
    found, _ = metrics(own.evaluate(made(face), [Prediction(skeleton=skeleton, keypoints_px=moved)]), own)
    corners = {68: (36, 39, 42, 45), 98: (60, 64, 68, 72)}.get(len(points), (33, 133, 362, 263))
    eyes = points[list(corners[2:])].mean(0) - points[list(corners[:2])].mean(0)
    expected = 100 * np.linalg.norm(moved - points, axis=1).mean() / np.linalg.norm(eyes)
    assert found["iod_mae"].value == pytest.approx(expected)


def test_eyes_of_a_turned_face_are_as_far_apart_as_in_space():
    random = np.random.default_rng(0)
    metres = random.normal((0, 0, 0.8), 0.05, (468, 3))
    pixels = 1000 * metres[:, :2] + 300  # seen from far away: a millimetre is a pixel
    face = Instance(kind="face", skeleton="face_mediapipe468", keypoints_px=pixels, keypoints_m=metres)
    moved = Prediction(skeleton="face_mediapipe468", keypoints_px=pixels + np.array((3, 4)))
    own = evaluate("mediapipe-card", "face-mesh")
    found, _ = metrics(own.evaluate(made(face), [moved]), own)
    apart = np.linalg.norm(metres[[33, 133]].mean(0) - metres[[263, 362]].mean(0))
    assert found["iod_mae"].value == pytest.approx(100 * 5 / (1000 * apart))
    flat = replace(face, keypoints_m=None)
    found, _ = metrics(own.evaluate(made(flat), [moved]), own)
    assert found["iod_mae"].value > 100 * 5 / (1000 * apart)


def test_jitter_is_computed_only_in_recordings(hand_sample):
    own, random = evaluate("mediapipe-card"), np.random.default_rng(0)
    truth = hand_sample(0).instances[0].keypoints_px
    predicted = truth + np.arange(9)[:, None, None] + random.normal(0, 1, (9, 21, 2))
    evaluated = []
    for recording, frames in (("one", range(5)), ("two", range(20, 24))):
        for index, frame in enumerate(frames, 5 * (recording == "two")):
            sample = hand_sample(0, sequence=recording, frame=frame)
            prediction = truth_as_prediction(sample.instances[0], keypoints_px=predicted[index])
            evaluated += own.evaluate(sample, [prediction])
    found, _ = metrics(evaluated, own)
    thirds = [np.linalg.norm(np.diff(part, 3, axis=0), axis=2).ravel() for part in (predicted[:5], predicted[5:])]
    assert found["jitter"].value == pytest.approx(np.concatenate(thirds).mean())
    assert found["jitter"].unit == "px/frame³"
    assert found["jitter_of_labels"].value == pytest.approx(0, abs=1e-9)
    separate = own.evaluate(hand_sample(0), [truth_as_prediction(hand_sample(0).instances[0])])
    assert "jitter" not in metrics(separate, own)[0]


def test_wrong_shapes_are_named(hand_sample):
    sample = hand_sample()
    with pytest.raises(InputError, match=r"keypoints_m \(20, 3\) for a truth of \(21, 3\)"):
        evaluate("freihand").evaluate(sample, [Prediction(keypoints_m=np.zeros((20, 3)), instance=0)])


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


def test_localization_counts_class_and_overlap():
    own = evaluate("ilsvrc-loc")
    thing = Instance(kind="object", category_id=3, box=(0, 0, 10, 10))
    sample = Sample(dataset="made", id="1", image=np.zeros((9, 9, 3), np.uint8), width=9, height=9, instances=(thing,))
    good, elsewhere, other = (
        Prediction(category_id=kind, box=box, score=score)
        for kind, box, score in ((3, (0, 0, 10, 8), 0.5), (3, (8, 8, 10, 10), 0.6), (4, (0, 0, 10, 10), 0.9))
    )
    for predictions, expected in (
        ([good], (0, 0, 0, 0, 0)),
        ([elsewhere], (100, 100, 0, 0, 100)),
        ([good, other], (100, 0, 100, 0, 0)),
        ([], (100, 100, 100, 100, 100)),
    ):
        found, _ = metrics(own.evaluate(sample, predictions), own)
        assert tuple(one.value for one in found.values()) == expected


def test_instances_that_are_all_found_have_full_precision():
    own = evaluate("coco-instances")
    evaluated = []
    for number in (1, 2):
        mask = np.zeros((40, 40), bool)
        mask[5 * number : 20, 5:30] = True
        box = (5.0, 5.0 * number, 30.0, 20.0)
        thing = Instance(kind="object", category_id=1, box=box, read_mask=lambda mask=mask: mask)
        sample = Sample(dataset="made", id=f"{number}.jpg", image=np.zeros((40, 40, 3), np.uint8), width=40, height=40,
                        instances=(thing,))  # fmt: skip
        evaluated += own.evaluate(sample, [Prediction(category_id=1, box=box, mask=mask, score=0.9)])
    found, _ = metrics(evaluated, own)
    assert found["mask_ap"].value == pytest.approx(100)
    assert found["box_ap"].value == pytest.approx(100)


def test_intervals_draw_subjects_where_enough_are_known():
    few = [("a", str(index), f"s{index % 4}") for index in range(20)]
    many = [("a", str(index), f"s{index % 6}") for index in range(20)]
    some = [("a", str(index // 2), None) for index in range(20)]
    assert clusters_of(few) == (list(range(20)), "images")
    assert clusters_of(many) == ([index % 6 for index in range(20)], "subjects")
    assert clusters_of(some) == ([index // 2 for index in range(20)], "images")


def test_intervals_of_very_many_are_as_wide_as_those_of_all():
    random = np.random.default_rng(0)
    values = random.gamma(2, 5, (20_000, 1))
    clusters, _ = clusters_of([("a", str(index), None) for index in range(len(values))])
    metric = mean_metric("x", "x", values, "", clusters=clusters)
    expected = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert metric.high - metric.low == pytest.approx(expected, rel=0.1)
    assert metric.low < values.mean() < metric.high
