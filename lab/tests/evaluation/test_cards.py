"""Groups, cards and published tables: correct numbers, no values for small groups, and errors."""

import copy
import json
from dataclasses import asdict, replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tests.support.coco_files import write_coco

from sonjit._util.errors import InputError
from sonjit._util.json_text import json_from
from sonjit.cli import main
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, palm_squares
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation import (
    EvaluationRequest,
    ModelChoice,
    cards,
    evaluate,
    models,
    open_unit_table,
    predictions,
    save_report,
    write_units,
)
from sonjit_lab.evaluation.groups import factors_of, load_group_file, verdict
from sonjit_lab.evaluation.predictions import Prediction
from sonjit_lab.evaluation.protocols import list_protocols, load_protocol
from sonjit_lab.evaluation.published import GroupSummary, check_summary, load_table
from sonjit_lab.evaluation.report import worst_of
from sonjit_lab.evaluation.run import evaluator_of, run_record


def units(values, found=None):
    count = len(values)
    return {
        "dataset": ["made"] * count,
        "sample": [str(index) for index in range(count)],
        "instance": [0] * count,
        "subject": [None] * count,
        "value": values,
        "found": found or [True] * count,
        "group": [{}] * count,
    }


@pytest.fixture(scope="module")
def evaluated(clip_folder, tmp_path_factory):
    from sonjit_lab.datasets import open_dataset

    out = tmp_path_factory.mktemp("card")
    random = np.random.default_rng(0)
    rows = [(sample.id, instance) for sample in open_dataset("folder", clip_folder) for instance in sample.instances]
    points = np.stack([one.keypoints_px for _, one in rows]) + random.normal(0, 2, (len(rows), 21, 2))
    np.savez(out / "mine.npz", id=np.array([name for name, _ in rows]), keypoints_px=points)
    request = EvaluationRequest(
        "mediapipe-card", ModelChoice(predictions=str(out / "mine.npz")), clip_folder, data=("folder",)
    )
    save_report(evaluate(request, out), out)
    return out / "eval.json"


def test_groups_have_their_means_and_the_worst_is_named():
    values = [1.0, 3.0, 10.0, 14.0, None, 2.0]
    groups = [{"sample": str(index), "gender": "fm"[2 <= index < 4]} for index in range(6)]
    (factor,) = factors_of(units(values, [True] * 4 + [False, True]), groups, better="lower", fewest=2)
    women, men = factor.rows
    assert (women.name, women.mean, women.count, women.missing) == ("f", 2.0, 3, 1)
    assert (men.mean, men.least, men.greatest) == (12.0, 10.0, 14.0)
    assert men.stdev == pytest.approx(np.std([10, 14], ddof=1))
    assert (factor.worst, factor.average, factor.gap, factor.range) == ("m", 7.0, 5.0, 10.0)
    assert all(f"{word} the goal" in verdict(factor, goal, "%") for word, goal in (("within", 5.0), ("beyond", 4.9)))
    assert "No goal was set" in verdict(factor, float("nan"), "%")
    (factor,) = factors_of(units(values), groups, better="higher", fewest=2)
    assert factor.worst == "f"


@pytest.mark.parametrize("names", ["x", "00"])
def test_groups_without_samples_of_the_evaluation_or_with_two_rows_of_one_are_refused(names):
    with pytest.raises(InputError, match="different rows of 0" if names == "00" else "contains no sample .* sample 0"):
        factors_of(units([1.0]), [{"sample": x, "age": str(i)} for i, x in enumerate(names)], better="lower")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no row"),
        ("sample,age\n", "no row"),
        ("who,age\na,1\n", "column subject or sample"),
        ("sample\na\n", "factor"),
    ],
)
def test_errors_of_group_files_name_the_requirement(tmp_path, text, message):
    file = tmp_path / "g.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_group_file(file)
    with pytest.raises(InputError, match="cannot be read"):
        load_group_file(tmp_path / "none.csv")


@pytest.mark.slow
def test_cards_contain_the_groups_of_the_data_set(evaluated):
    record = predictions.load_evaluation(evaluated)
    files = cards.card_files([record], cards.CardRequest(fewest=2, goal=1.0))
    assert {"mine.md", "mine.html"} <= files.keys()
    text = files["mine.md"]
    main = next(metric for metric in record["runs"][0]["metrics"] if metric["name"] == "mnae")
    assert f"{main['value']:.2f} %" in text
    for part in ("MNAE by gender", "MNAE by fitzpatrick", "fitzpatrick x gender", "the goal of 1 %", "are too few"):
        assert part in text
    assert files["mine.html"].count("<svg") == sum(name.endswith(".svg") for name in files)


@pytest.mark.slow
def test_impossible_evaluations_are_refused(evaluated, tmp_path):
    record = json.loads(evaluated.read_text())
    file = tmp_path / "eval.json"
    main = next(metric for metric in record["runs"][0]["metrics"] if metric["name"] == "mnae")
    main["value"] = max(record["runs"][0]["units"]["value"]) + 1
    file.write_text(json.dumps(record))
    with pytest.raises(predictions.ImpossibleTableError, match="is outside of its values"):
        predictions.load_evaluation(file)
    for text, message in (("{", "is damaged or not JSON"), ("{}", "is not an eval.json"), ('{"protocol":{},"model":{},"data":[],"runs":[{}]}', "damaged")):  # fmt: skip  # noqa: E501
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            predictions.load_evaluation(file)


def run_of(name, evaluated):
    """Return a protocol and its run of samples with their predictions."""
    protocol = load_protocol(name)
    evaluator = evaluator_of(protocol, ModelChoice("hands-full"))
    lines = [
        predictions.JournalLine(place, "made", str(place), None, "", tuple(evaluator.evaluate(*pair)))
        for place, pair in enumerate(evaluated)
    ]
    return protocol, run_record(evaluator, "predictions", lines)


@pytest.mark.parametrize(("width", "more", "main"), [(0.7, False, 100), (1.0, True, 50)])
def test_precision_over_all_images_may_differ_from_that_of_each(width, more, main, tmp_path):
    points = np.random.default_rng(0).uniform(50, 150, (21, 2))
    labelled = Instance(kind="hand", skeleton="hand_mediapipe21", keypoints_px=points)
    image = Sample(dataset="made", id="0", image=np.zeros((200, 200, 3), np.uint8), width=200, height=200)
    hand = replace(image, instances=(labelled,))
    x, y, side, _ = palm_squares(points[None, labelled.keypoint_indices(PALM_KEYPOINTS)])[0]
    palm = Prediction(
        box=(x - side / 2, y - side / 2, x + (width - 0.5) * side, y + side / 2), category_id=1, score=0.5
    )
    pairs = [(hand, [palm]), *([(image, [replace(palm, score=0.9)])] if more else [])]
    protocol, run = run_of("mediapipe-palm", pairs)
    assert predictions.main_metric(run)["value"] == pytest.approx(main)
    assert run["units"]["value"][0] == pytest.approx(100)
    (tmp_path / "eval.json").write_text(
        json_from({"protocol": asdict(protocol), "model": {}, "data": [], "runs": [run]})
    )
    predictions.load_evaluation(tmp_path / "eval.json")


def test_groups_count_labels_and_no_false_detections(tmp_path):
    labelled = Instance(kind="hand", side="Right", box=(10.0, 10.0, 50.0, 60.0), extra={"clear": True})
    image = Sample(dataset="made", id="0", image=np.zeros((200, 200, 3), np.uint8), width=200, height=200)
    found = [
        Prediction(skeleton="hand_mediapipe21", score=score, box=box, keypoints_px=np.array([box[:2], box[2:]]))
        for score, box in ((0.9, labelled.box), (0.8, labelled.box), (0.7, (100.0, 100.0, 140.0, 150.0)))
    ]
    hand = replace(image, instances=(labelled,))
    _, run = run_of("detection", [(hand, found), (hand, found[2:]), (hand, found[:1]), (hand, found[:1])])
    groups = [{"sample": str(place), "place": "in" if place < 2 else "out"} for place in range(4)]
    (factor,) = factors_of(run["units"], groups, better="higher", fewest=2)
    assert [(row.name, row.mean, row.count, row.missing) for row in factor.rows] == [
        ("in", 50, 2, 1),
        ("out", 100, 2, 0),
    ]
    assert len(worst_of(run, higher_is_better=True)) == 4  # two false, one duplicate and one missed
    with open_unit_table(str(tmp_path / "units.json")) as table:
        write_units(Mock(record={"runs": [run]}), table)
    rows = json.loads((tmp_path / "units.json").read_text())
    assert [(row["sample"], row["value"]) for row in rows] == [("0", 100), ("1", 0), ("2", 100), ("3", 100)]


@pytest.mark.nightly
@pytest.mark.slow
def test_metrics_without_values_for_each_image_have_no_groups(evaluated):
    points = np.random.default_rng(0).uniform(50, 150, (17, 2))
    labelled = Instance(kind="body", skeleton="body_coco17", keypoints_px=points)
    image = Sample(dataset="made", id="0", image=np.zeros((200, 200, 3), np.uint8), width=200, height=200)
    found = Prediction(skeleton="body_coco17", keypoints_px=points, score=0.9)
    protocol, run = run_of("coco-keypoints", 3 * [(replace(image, instances=(labelled,)), [found])])
    record = predictions.load_evaluation(evaluated) | {"protocol": asdict(protocol), "runs": [run]}
    request = cards.CardRequest(groups=[{"sample": str(n), "light": "day"} for n in range(3)], fewest=1)
    text = cards.card_files([record], request)["mine.md"]
    assert "body AP is computed over all images at once, and has no values by group." in text
    assert "too small" not in text


@pytest.fixture(scope="module")
def own_network(tmp_path_factory, weights):
    from sonjit_lab.networks import create_network
    from sonjit_lab.networks.export import export_network
    from sonjit_lab.networks.registry import network_entry

    folder = tmp_path_factory.mktemp("run")
    network = create_network("hand-lite", "published").eval()
    with torch.no_grad():
        network.handedness.weight.mul_(-1)
    export_network(network, network_entry("hand-lite").inputs, folder / "mine.onnx")
    environment = {"command": ["sonjit", "train", "hand-lite"], "versions": {"torch": "9.9"}}
    settings = {"recipe": "hand-lite", "data": "gloves.json", "steps": 120, "environment": environment}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "result.json").write_text(json.dumps({"results": {"held_out_error_px": 1.25}}))
    return folder / "mine.onnx"


def record_of(evaluated, choice):
    record = copy.deepcopy(predictions.load_evaluation(evaluated))
    record["model"] = models.describe_model(choice)
    return record


@pytest.mark.nightly
@pytest.mark.slow
def test_the_card_of_an_own_network_shows_its_own_maps_and_nothing_of_the_published_one(evaluated, own_network):
    own = record_of(evaluated, ModelChoice(name="hands-lite", landmark_model=str(own_network)))
    published = record_of(evaluated, ModelChoice(name="hands-lite"))
    plots = {cards.landmark_file(record)["sha256"]: cards.hand_maps_plot(record) for record in (own, published)}
    files = cards.card_files([own, published], cards.CardRequest(maps=plots))
    assert files["own-mine-maps.svg"] != files["hands-lite-maps.svg"]
    handedness = [
        svg.split("handedness")[1][:3000] for svg in (files["own-mine-maps.svg"], files["hands-lite-maps.svg"])
    ]
    assert handedness[0] != handedness[1]
    text = files["hands-lite-with-mine.onnx.md"]
    assert text.split("---\n")[1].startswith('license: "other"')
    for part in ("Not stated", "not stated (`sonjit card --training-data`)", "own-mine-maps.svg", "data: gloves.json"):
        assert part in text
    for part in ("sonjit train hand-lite", "torch 9.9", "held_out_error_px at the end of the training: 1.25"):
        assert part in text
    assert "apache-2.0" not in text
    assert "gloves, or hidden" not in text
    assert "license: apache-2.0" in files["hands-lite.md"]
    request = cards.CardRequest(
        name="Glove hands", licence="cc-by-4.0", training_data="2,000 hands in gloves", intended_use=("work gloves",)
    )
    text = cards.card_files([own], request)["Glove-hands.md"]
    for part in ('license: "cc-by-4.0"', 'name: "Glove hands"', "Weights: cc-by-4.0", "2,000 hands", "* work gloves"):
        assert part in text
    with pytest.raises(InputError, match="apply only to evaluations of one network of your own"):
        cards.card_files([published], request)
    other = copy.deepcopy(own)
    other["model"]["files"][0]["sha256"] = "0" * 64  # another file of this name
    for given in (request, cards.CardRequest()):
        with pytest.raises(InputError, match="of different networks"):
            cards.card_files([own, other], given)


GROUPS = [{"region": "a" if n < 24 else "b", "skin_tone": str(1 + n % 3), "gender": "fm"[n % 2]} for n in range(48)]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("protocol", "skeleton", "metric", "columns"),
    [("300w", "face_300w68", "NME", {"eyes": (36, 45)}), ("mediapipe-card", "body_coco17", "PDJ", {"torso": (5, 12)})],
)
@pytest.mark.slow
def test_groups_of_faces_and_bodies_are_compared(tmp_path, protocol, skeleton, metric, columns):
    random, names = np.random.default_rng(7), load_skeleton(skeleton).keypoints
    truth = random.uniform(20, 180, (48, len(names), 2)).round(2)
    spread = np.array([12 if one["gender"] == "m" else 6 for one in GROUPS])
    predicted = truth + random.normal(0, spread[:, None, None], truth.shape)
    grey, kind = np.full((200, 200, 3), 90, np.uint8), skeleton.partition("_")[0]
    places = enumerate(zip(truth, GROUPS, strict=True))
    labels = [(number, points, {"bbox": [0, 0, 200, 200], "group": group}) for number, (points, group) in places]
    write_coco(tmp_path, {f"{number}.png": grey for number in range(48)}, labels, names, category=kind)
    ids = [f"images/{number}.png" for number in range(48)]
    np.savez(tmp_path / "p.npz", id=ids, keypoints_px=predicted, visible=np.ones(truth.shape[:2]))
    arguments = ["--protocol", protocol, "--data", "folder", "--root", tmp_path, "--predictions", tmp_path / "p.npz"]
    assert main(["eval", *map(str, arguments), "--out", str(tmp_path / "out")]) == 0
    assert main(["card", str(tmp_path / "out/eval.json"), "--out", str(tmp_path / "cards"), "--fewest", "8"]) == 0
    card = (tmp_path / "cards/p.md").read_text()
    ((first, second),) = columns.values()
    sizes = np.linalg.norm(truth[:, first] - truth[:, second], axis=1)
    errors = np.linalg.norm(predicted - truth, axis=2) / sizes[:, None]
    values = 100 * (errors if metric == "NME" else errors < 0.2).mean(1)
    for factor in ("region", "skin_tone", "gender"):
        assert f"{metric} by {factor}" in card
        for group in {one[factor] for one in GROUPS}:
            inside = np.array([one[factor] == group for one in GROUPS])
            (row,) = [line for line in card.splitlines() if line.startswith(f"| {group} |")]
            assert f"| {group} | {values[inside].mean():.2f} | {values[inside].std(ddof=1):.2f} |" in row
            assert f" {inside.sum()} " in row


@pytest.mark.parametrize(
    "changed",
    [{"mean": 20.0}, {"mean": 2.0}, {"stdev": 9.0}, {"stdev": -1.0}, {"discrepancy": 7.0}, {"low": 12.0, "high": 5.0}],
)
def test_invalid_values_are_refused(changed):
    sound = {"low": 5.0, "high": 10.0, "mean": 7.0, "stdev": 2.0, "discrepancy": 5.0, "count": 3}
    check_summary(GroupSummary("any", "age", **sound))
    with pytest.raises(predictions.ImpossibleTableError, match="any, age"):
        check_summary(GroupSummary("any", "age", **(sound | changed)))


@pytest.mark.parametrize("name", list_protocols())
def test_protocols_are_complete(name):
    from sonjit_lab.datasets import dataset_entry
    from sonjit_lab.evaluation.models import ModelChoice
    from sonjit_lab.evaluation.run import evaluator_of

    protocol = load_protocol(name)
    for one in protocol.data:
        entry = dataset_entry(one.set)
        assert set(one.splits) <= set(entry.splits)
        assert set(one.options) <= set(entry.options)
    for table in protocol.tables:
        load_table(table)
    assert evaluator_of(protocol, ModelChoice("hands-full")).main == protocol.main


@pytest.mark.parametrize("value", ["1", '"all"', "[1]", "{name = 1}", "[{unknown = 1}]"])
def test_a_protocol_with_values_of_another_type_is_refused_in_one_line(tmp_path, value):
    path = tmp_path / "own.toml"
    path.write_text(f'title = "Own"\nsource = ""\ntask = "detection"\nmain = "recall"\nunit = "%"\ndata = {value}\n')
    with pytest.raises(InputError, match=r"own\.toml: data\[0\]"):
        load_protocol(str(path))
