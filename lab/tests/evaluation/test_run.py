"""Complete evaluations on frames of the bundled clip, which has exact labels."""

import json

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.cli import main
from sonjit_lab.datasets import open_dataset
from sonjit_lab.evaluation import EvaluationRequest, ModelChoice, coco, evaluate, models, save_report
from sonjit_lab.evaluation.run import clusters_of
from sonjit_lab.metrics import box_iou

from .official import average_precision

CARD = "mediapipe-card"


def request(root, *, model=None, predictions=None, protocol=CARD, **options):
    return EvaluationRequest(protocol, ModelChoice(model, predictions), root, data=("folder",), **options)


def save_truth(folder, path, **changes):
    rows = [(sample.id, instance) for sample in open_dataset("folder", folder) for instance in sample.instances]
    arrays = {
        "id": np.array([name for name, _ in rows]),
        "side": np.array([one.side for _, one in rows]),
        "keypoints_px": np.stack([one.keypoints_px for _, one in rows]),
        "keypoints_m": np.stack([one.keypoints_m for _, one in rows]),
        "placed": np.array(True),
    }
    np.savez(path, **{key: array for key, array in (arrays | changes).items() if array is not None})
    return str(path)


@pytest.mark.slow
def test_predictions_that_are_the_truth_are_perfect(clip_folder, tmp_path):
    file = save_truth(clip_folder, tmp_path / "truth.npz")
    for protocol in (CARD, "freihand", "interhand2.6m", "dexycb-s0"):
        record = evaluate(request(clip_folder, predictions=file, protocol=protocol), tmp_path).record
        (run,) = record["runs"]
        main = next(metric for metric in run["metrics"] if metric["name"] == run["main"])
        assert main["value"] == pytest.approx(0, abs=1e-3), protocol
        assert main["missing"] == 0
        assert run["evaluated"] > 0


@pytest.mark.slow
def test_both_modes_of_hands_end_to_end(weights, clip_folder, tmp_path):
    outcome = evaluate(request(clip_folder, model="hands-lite"), tmp_path)
    save_report(outcome, tmp_path)
    record = json.loads((tmp_path / "eval.json").read_text())
    assert [run["mode"] for run in record["runs"]] == ["tracking", "reacquisition"]
    assert record["complete"]
    assert all(len(file["sha256"]) == 64 for file in record["model"]["files"])
    for run in record["runs"]:
        main = next(metric for metric in run["metrics"] if metric["name"] == "mnae")
        assert main["low"] < main["value"] < main["high"]
        assert main["value"] < 30
        assert len(run["parts"]["joint"]) == 21
        for one in run["worst"]:
            assert (tmp_path / one["file"]).read_bytes()[:2] == b"\xff\xd8"
    report = (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    for text in (report, page):
        assert "MNAE" in text
        assert "Hand tracking, model card" in text
        assert record["data_sha256"] in text
    assert page.count("<svg") == report.count(".svg)")


@pytest.mark.slow
def test_resuming_another_run_names_the_difference(clip_folder, tmp_path):
    file = save_truth(clip_folder, tmp_path / "truth.npz")
    evaluate(request(clip_folder, predictions=file), tmp_path)
    with pytest.raises(InputError, match="another protocol"):
        evaluate(request(clip_folder, predictions=file, protocol="stb", resume=True), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"id": None}, "requires id"),
        (lambda _: {"keypoints_px": np.zeros((3, 21, 2))}, r"keypoints_px is \(3, 21, 2\)"),
        (lambda _: {"points": np.zeros(3)}, "Unknown array 'points'"),
        (lambda count: {"side": np.array(["right"] * count)}, "Unknown side 'right'. Choose from Right, Left"),
        (lambda count: {"instance": np.full(count, -1)}, "instance requires integers of at least 0"),
        (lambda count: {"instance": np.arange(count) + 50}, "instances; there is no 5"),
        (lambda count: {"instance": np.zeros(count, int)}, "two rows are of one instance"),
        (lambda count: {"score": np.full(count, np.nan)}, "score requires finite numbers"),
        (lambda count: {"placed": np.ones(count, bool)}, "must be one boolean"),
        (lambda _: {"side": None, "keypoints_px": None}, "has several rows"),
    ],
)
def test_wrong_predictions_are_refused(clip_folder, tmp_path, change, message):
    count = sum(len(sample.instances) for sample in open_dataset("folder", clip_folder))
    file = save_truth(clip_folder, tmp_path / "p.npz", **change(count))
    with pytest.raises(InputError, match=message):
        evaluate(request(clip_folder, predictions=file), tmp_path)


def test_predictions_of_something_else_are_refused(clip_folder, tmp_path):
    np.savez(tmp_path / "p.npz", id=np.array(["elsewhere.png"]), keypoints_px=np.zeros((1, 21, 2)))
    with pytest.raises(InputError, match=r"names no sample of the data set; it names elsewhere\.png"):
        evaluate(request(clip_folder, predictions=str(tmp_path / "p.npz")), tmp_path)
    (tmp_path / "p.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        evaluate(request(clip_folder, predictions=str(tmp_path / "p.npz")), tmp_path)


@pytest.mark.slow
def test_tables_of_sonjit_are_predictions(weights, hands, clip_folder, tmp_path):
    from sonjit.media import open_source, open_writer
    from sonjit.media.tables.base import Header
    from sonjit.results import Frame

    detector = hands(model="lite", static_image=True)
    with open_source(str(clip_folder / "images")) as source, open_writer(tmp_path / "p.json", Header("x")) as writer:
        for frame in source:
            found = detector.detect(frame.rgb)
            writer.write(Frame.from_results(frame.index, None, found, source=source.frame_source(frame.index)))
    evaluation_request = request(clip_folder, predictions=str(tmp_path / "p.json"))
    (from_file,) = evaluate(evaluation_request, tmp_path).record["runs"]
    (direct,) = evaluate(request(clip_folder, model="hands-lite", modes=("reacquisition",)), tmp_path).record["runs"]
    assert from_file["evaluated"] == direct["evaluated"]
    runs = (from_file, direct)
    mnae = [next(metric["value"] for metric in run["metrics"] if metric["name"] == "mnae") for run in runs]
    assert mnae[0] == pytest.approx(mnae[1], rel=0.2)  # it holds at most two hands, the other four


def test_a_device_must_be_there(clip_folder, tmp_path):
    evaluation_request = EvaluationRequest(
        CARD, ModelChoice("hands-lite", device="toaster"), clip_folder, data=("folder",)
    )
    with pytest.raises(InputError, match="no device 'TOASTER'; devices here: "):
        evaluate(evaluation_request, tmp_path)
    with pytest.raises(InputError, match=r"--device toaster: PyTorch cannot use it here .*; give cpu or auto"):
        models.open_model(ModelChoice("internet", device="toaster"))
    with pytest.raises(InputError, match="--device cannot be combined with --predictions"):
        ModelChoice(predictions="mine.npz", device="gpu")


def test_missing_data_and_unknown_models_are_named(clip_folder, tmp_path):
    with pytest.raises(InputError, match="has no folder of mediapipe-card's data sets"):
        evaluate(EvaluationRequest(CARD, ModelChoice("hands-full"), clip_folder), tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        evaluate(EvaluationRequest(CARD, ModelChoice("hands-full"), tmp_path / "none"), tmp_path)
    for name in ("hands-huge", "feet", "internet-2"):
        with pytest.raises(InputError, match=r"Choose from .*(hands-full|full)"):
            evaluate(request(clip_folder, model=name), tmp_path)
    with pytest.raises(InputError, match="requires its checkpoint"):
        evaluate(request(clip_folder, model="internet"), tmp_path)


def test_a_model_that_is_missing_is_no_bad_sample(clip_folder, tmp_path):
    choice = ModelChoice("hands-full", landmark_model=str(tmp_path / "nowhere.onnx"))
    with pytest.raises(InputError, match=r"nowhere\.onnx"):
        evaluate(EvaluationRequest(CARD, choice, clip_folder, data=("folder",), skip_bad=True), tmp_path)


def test_a_set_with_nothing_to_evaluate_gives_no_metrics(clip_folder, tmp_path):
    file = save_truth(clip_folder, tmp_path / "truth.npz")
    empty = tmp_path / "empty"
    (empty / "images").mkdir(parents=True)
    data = json.loads((clip_folder / "dataset.json").read_text())
    name = data["images"][0]["file_name"]
    (empty / "images" / name).write_bytes((clip_folder / "images" / name).read_bytes())
    (empty / "dataset.json").write_text(json.dumps(data | {"images": data["images"][:1], "annotations": []}))
    for protocol in (CARD, "freihand", "interhand2.6m", "ilsvrc-loc"):
        outcome = evaluate(request(empty, predictions=file, protocol=protocol), tmp_path)
        save_report(outcome, tmp_path)
        (run,) = json.loads((tmp_path / "eval.json").read_text())["runs"]
        assert run["evaluated"] == 0
        assert all(metric["value"] is None and metric["counted"] == 0 for metric in run["metrics"])


PALM = [0, 5, 9, 13, 17, 1, 2]  # wrist, knuckles, the thumb's two lower joints


def square(points):
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low).max() / 2
    return (*(middle - half), *(middle + half))


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def covered(box, area):
    width, height = (min(box[i + 2], area[i + 2]) - max(box[i], area[i]) for i in (0, 1))
    return max(width, 0) * max(height, 0) >= 0.5 * (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.nightly
@pytest.mark.slow
def test_the_published_palm_detector_has_its_average_precision(weights, clip_folder, tmp_path):
    arguments = ["--protocol", "mediapipe-palm", "--model", "palm-full", "--data", "folder", "--root", str(clip_folder)]
    assert main(["eval", *arguments, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "eval.json").read_text())
    found = {metric["name"]: metric["value"] for metric in record["runs"][0]["metrics"]}
    model, truth, boxes = coco.PalmModel("palm-full", None, None, None), [], []
    for sample in open_dataset("folder", clip_folder):
        palms = [square(instance.keypoints_px[PALM]) for instance in sample.instances]
        is_inside = [0 < x < sample.width and 0 < y < sample.height for x, y in map(centre, palms)]
        truth += [(sample.id, palm, True) for palm, inside in zip(palms, is_inside, strict=True) if inside]
        cut = [palm for palm, inside in zip(palms, is_inside, strict=True) if not inside]
        found_here = model.find(sample, sample.rgb(), "reacquisition")
        boxes += [
            (sample.id, one.box, one.score) for one in found_here if not any(covered(one.box, palm) for palm in cut)
        ]
    assert found["ap"] == pytest.approx(average_precision(truth, boxes, box_iou, [0.5]), abs=1e-6)
    assert found["ap"] > 50
    assert found["ap_strict"] < found["ap"]
    assert record["model"]["files"][0]["name"] == "palm-full"
    assert "95.7" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("known", "drawn", "count"),
    [((6, 2), "subjects", 8), ((24, 2), "recordings", 24), ((None, 2), "recordings", 24), ((24, 12), "images", 48)],
)
def test_intervals_resample_people_else_recordings_else_images(known, drawn, count):
    per_subject, per_recording = known
    keys = [
        ("set", per_subject and f"s{image // per_subject}", f"r{image // per_recording}", str(image))
        for image in range(48)
    ]
    clusters, name = clusters_of(keys)
    assert (name, len(set(clusters))) == (drawn, count)


def test_contradictory_labels_of_public_sets_are_evaluated_and_named(tmp_path):
    """Write a set of which the second of two hands has unknown keypoints at 0, 0 that are marked as known."""
    folder = tmp_path / "hand_labels" / "manual_test"
    folder.mkdir(parents=True)
    hands = {"a_l": np.random.default_rng(0).uniform(20, 60, (21, 2)), "b_l": np.full((21, 2), 40.0)}
    hands["b_l"] = np.where(np.arange(21)[:, None] < 3, 0, hands["a_l"])
    for name, points in hands.items():
        cv2.imwrite(str(folder / f"{name}.jpg"), np.full((80, 80, 3), 90, np.uint8))
        labels = {"hand_pts": np.column_stack([points, np.ones(21)]).tolist(), "is_left": 1}
        (folder / f"{name}.json").write_text(json.dumps(labels))
    ids = [f"hand_labels/manual_test/{name}.jpg" for name in hands]
    np.savez(tmp_path / "p.npz", id=ids, keypoints_px=np.stack([*hands.values()]), side=["Left", "Left"])
    data = ("panoptic-hand:test",)
    outcome = evaluate(
        EvaluationRequest(CARD, ModelChoice(None, str(tmp_path / "p.npz")), tmp_path, data=data), tmp_path
    )
    (run,) = outcome.record["runs"]
    assert run["evaluated"] == 2
    (doubt,) = run["doubtful"]
    assert "b_l.jpg, left hand: 3 of 21 labelled keypoints are at (0, 0)" in doubt
    assert [note for note in outcome.summary.notes if note.startswith("1 of 2 samples have labels that contradict")]
    save_report(outcome, tmp_path)
    assert "labels that contradict each other: panoptic-hand" in (tmp_path / "report.html").read_text("utf-8")
