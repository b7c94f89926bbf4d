"""300W, 300VW, WFLW, COCO and COCO-WholeBody from official layouts to reports, compared with separate formulas."""

import json
import math

import cv2
import numpy as np
import pytest

from sonjit.cli import main
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import rle_from_mask
from sonjit_lab.metrics import COCO_SIGMAS, FACE_SIGMAS, FOOT_SIGMAS, HAND_SIGMAS

from .official import average_precision


def evaluated(capsys, protocol, root, predictions, *more):
    out = predictions.parent / "out"
    files = {"--root": root, "--predictions": predictions, "--out": out}
    arguments = ["eval", "--protocol", protocol, *(str(part) for pair in files.items() for part in pair)]
    assert main([*arguments, *more]) == 0, capsys.readouterr().err
    (run,) = json.loads((out / "eval.json").read_text())["runs"]
    assert (out / "report.html").is_file()
    return {metric["name"]: metric["value"] for metric in run["metrics"]}


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((200, 220, 3), 90, np.uint8))


def write_pts(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x:.4f} {y:.4f}" for x, y in points + 1)  # counts from 1
    path.write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")


def faces(random, count, points):
    truth = random.uniform(20, 180, (count, points, 2)).round(4)
    return truth, truth + random.normal(0, np.linspace(1, 20, count)[:, None, None], truth.shape)


def ced(errors, limit):
    steps = sorted(error for error in errors if error < limit)
    edges = [*steps, limit]
    area = sum((edges[i + 1] - edges[i]) * (i + 1) for i in range(len(steps))) / len(errors) / limit
    return 100 * np.mean([error > limit for error in errors]), 100 * area


def image_errors(truth, predicted, right, left):
    apart = np.linalg.norm(truth[:, right].mean(1) - truth[:, left].mean(1), axis=1)
    return 100 * np.sqrt(((predicted - truth) ** 2).sum(2)).mean(1) / apart


def check(found, errors, limit, ending=""):
    failed, area = ced(errors.tolist(), limit)
    assert found[f"nme{ending}"] == pytest.approx(errors.mean(), abs=1e-6)
    assert found[f"fr{ending}"] == pytest.approx(failed, abs=1e-6)
    assert found[f"auc{ending}"] == pytest.approx(area, abs=1e-6)


PARTS_OF_300W = {"_common": slice(0, 5), "_challenging": slice(5, 8)}
PARTS_OF_300VW = {f"_category_{one}": slice(2 * one - 2, 2 * one) for one in (1, 2, 3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "folders", "labels", "left_out", "parts"),
    [
        ("300w", ["helen/testset"] * 3 + ["lfpw/testset"] * 2 + ["ibug"] * 3, "", "afw", PARTS_OF_300W),
        ("300vw", ["114/imgs"] * 2 + ["203/imgs"] * 2 + ["410/imgs"] * 2, "annot", "001/annot", PARTS_OF_300VW),
    ],
)
def test_faces_of_300(capsys, tmp_path, protocol, folders, labels, left_out, parts):
    root, names = tmp_path / protocol, []
    truth, predicted = faces(np.random.default_rng(1), len(folders), 68)
    for number, folder in enumerate(folders):
        names.append(f"{folder}/{number:06}.png")
        image(root / names[-1])
        place = (root / names[-1]).with_suffix(".pts")
        write_pts(place.parents[1] / labels / place.name if labels else place, truth[number])
    write_pts(root / left_out / "000001.pts", truth[0])  # of the training set
    np.savez(tmp_path / "p.npz", id=names, keypoints_px=predicted)
    found = evaluated(capsys, protocol, root, tmp_path / "p.npz")
    errors = image_errors(truth, predicted, [36], [45])
    check(found, errors, 8)
    for ending, part in parts.items():
        check(found, errors[part], 8, ending)
    if protocol == "300w":
        pupils = image_errors(truth, predicted, range(36, 42), range(42, 48))
        assert found["nme_pupils"] == pytest.approx(pupils.mean(), abs=1e-6)


@pytest.mark.slow
def test_wflw(capsys, tmp_path):
    root, names = tmp_path / "WFLW", [f"0--Parade/{number}.jpg" for number in range(7)]
    truth, predicted = faces(np.random.default_rng(3), 7, 98)
    flags = np.random.default_rng(4).integers(0, 2, (7, 6))
    flags[0] = 1
    lines = []
    for name, points, own in zip(names, truth, flags, strict=True):
        image(root / "WFLW_images" / name)
        lines.append(" ".join([*map(str, points.ravel()), "10", "10", "190", "190", *map(str, own), name]))
    file = root / "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n")
    kept = slice(0, 6)  # nothing was predicted of the last: a failure
    np.savez(tmp_path / "p.npz", id=[f"WFLW_images/{name}" for name in names[kept]], keypoints_px=predicted[kept])
    found = evaluated(capsys, "wflw", root, tmp_path / "p.npz")
    errors = image_errors(truth, predicted, [60], [72])
    assert found["nme"] == pytest.approx(errors[kept].mean(), abs=1e-6)
    errors[6] = np.inf
    assert (found["fr"], found["auc"]) == pytest.approx(ced(errors.tolist(), 10), abs=1e-6)
    for index, attribute in enumerate(("pose", "expression", "illumination", "make_up", "occlusion", "blur")):
        own = errors[flags[:, index] == 1]
        assert found[f"nme_{attribute}"] == pytest.approx(own[np.isfinite(own)].mean(), abs=1e-6)
        assert (found[f"fr_{attribute}"], found[f"auc_{attribute}"]) == pytest.approx(ced(own.tolist(), 10), abs=1e-6)
    (run,) = json.loads((tmp_path / "out/eval.json").read_text())["runs"]
    by_pose = {one["name"]: one["mean"] for one in run["parts"]["subset"]}["pose"]
    assert by_pose == pytest.approx(found["nme_pose"], abs=1e-6)
    assert {"light", "sharpness", "size", "part"} <= run["parts"].keys()


PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
SIGMAS = dict(zip(PARTS, (COCO_SIGMAS, FOOT_SIGMAS, FACE_SIGMAS, HAND_SIGMAS, HAND_SIGMAS), strict=True))
METRICS = {"keypoints": "body", "foot_kpts": "foot", "face_kpts": "face"} | {
    f"{side}hand_kpts": f"{side}hand" for side in ("left", "right")
}


def similarity(person, found, fields):
    true, own = (np.concatenate([one[field] for field in fields]).reshape(-1, 3) for one in (person, found))
    sigmas = np.concatenate([SIGMAS[field] for field in fields])
    known = true[:, 2] > 0
    apart = own[:, :2] - true[:, :2]
    if not known.any():
        corner, size = np.array(person["bbox"]).reshape(2, 2)
        apart = np.maximum(0, corner - size - own[:, :2]) + np.maximum(0, own[:, :2] - corner - 2 * size)
        known = ~known
    return np.exp(-(apart**2).sum(1) / (2 * person["area"] * (2 * sigmas) ** 2))[known].mean()


def precision(people, results, fields):
    labelled = [any(v for field in fields for v in person[field][2::3]) for person in people]
    truth = [(person["image_id"], person, counts) for person, counts in zip(people, labelled, strict=True)]
    found = [(result["image_id"], result, result["score"]) for result in results]
    return average_precision(truth, found, lambda person, result: similarity(person, result, fields))


def people_and_results(random):
    people, results = [], []
    for number in range(10):
        size = random.uniform(60, 120)
        person = {"id": number + 1, "image_id": number // 2 + 1, "category_id": 1, "iscrowd": 0, "area": size**2}
        corner = (number % 2) * 100
        person["bbox"] = [corner, 0, size, size]
        find = {"image_id": person["image_id"], "category_id": 1, "score": float(random.uniform(0.2, 1))}
        for field, count in PARTS.items():
            points = random.uniform((corner, 0), (corner + size, size), (count, 2)).round(2)
            off = random.normal(0, size * np.array(SIGMAS[field])[:, None] * random.uniform(0.2, 3), points.shape)
            person[field] = np.column_stack([points, np.full(count, 2)]).ravel().tolist()
            find[field] = np.column_stack([points + off, np.full(count, 1)]).ravel().tolist()
        if number % 4 == 1:
            person["lefthand_kpts"], person["foot_kpts"] = [0.0] * 63, [0.0] * 18
        for part in ("face", "lefthand", "righthand", "foot"):
            person[f"{part}_valid"] = any(person[f"{part}_kpts"])
            person[f"{part}_box"] = person["bbox"]
        people.append(person)
        results.append(find)
    return people, results


PROTOCOLS = {"coco-wholebody": "coco_wholebody_val_v1.0", "coco-keypoints": "person_keypoints_val2017"}


def text_id(number):
    return f"{6 - number:012}.jpg"


def write_people(folder, protocol, people, results):
    images = []
    for number in range(1, 6):
        name = f"{number:012}.jpg"
        image(folder / "coco/val2017" / name)
        own = text_id(number) if isinstance(people[0]["image_id"], str) else number
        images.append({"id": own, "file_name": name, "width": 220, "height": 200})
    (folder / "coco/annotations").mkdir()
    data = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (folder / f"coco/annotations/{PROTOCOLS[protocol]}.json").write_text(json.dumps(data))
    (folder / "r.json").write_text(json.dumps(results))


@pytest.mark.parametrize(
    ("protocol", "id_of_image", "id_of_result"),
    [
        ("coco-wholebody", int, int),
        ("coco-keypoints", int, float),
        ("coco-keypoints", int, str),
        ("coco-wholebody", text_id, text_id),
    ],
)
def test_people(capsys, tmp_path, protocol, id_of_image, id_of_result):
    people, results = people_and_results(np.random.default_rng(5))
    people = [row | {"image_id": id_of_image(row["image_id"])} for row in people]
    results = [row | {"image_id": id_of_result(row["image_id"])} for row in results]
    write_people(tmp_path, protocol, people, results)
    found = evaluated(capsys, protocol, tmp_path / "coco", tmp_path / "r.json")
    parts = {name: [field] for field, name in METRICS.items()} | {"wholebody": list(PARTS)}
    for name, fields in parts.items() if protocol == "coco-wholebody" else [("body", ["keypoints"])]:
        expected = precision(
            people, [row | {"image_id": type(people[0]["image_id"])(row["image_id"])} for row in results], fields
        )
        assert 1 < expected < 99
        assert found[f"{name}_ap"] == pytest.approx(expected, abs=1e-6), name


@pytest.fixture
def bodies():
    people, results = people_and_results(np.random.default_rng(5))
    keys = ("image_id", "category_id", "score", "keypoints")
    return people, [{key: result[key] for key in keys} for result in results]


def flagged(*flags):
    def change(results):
        for result, flag in zip(results, 5 * flags, strict=True):
            result["keypoints"][2::3] = [flag] * 17
        return results

    return change


def at_the_origin(results):
    max(results, key=lambda result: result["score"])["keypoints"] = [0.0] * 51
    return results


def of_another_category(results):
    for result in results[:3]:
        result["category_id"] = 2
    return results[3:]


@pytest.mark.parametrize("change", [flagged(0, 0), flagged(0, 1), flagged(-1, 0.3), at_the_origin, of_another_category])
def test_coco_ignores_flags_and_other_categories_and_counts_results_at_the_origin(capsys, tmp_path, bodies, change):
    people, results = bodies
    counted = change(results)
    write_people(tmp_path, "coco-keypoints", people, results)
    found = evaluated(capsys, "coco-keypoints", tmp_path / "coco", tmp_path / "r.json")
    assert found["body_ap"] == pytest.approx(precision(people, counted, ["keypoints"]), abs=1e-6)


def test_boxes_of_results_give_their_area(capsys, tmp_path, bodies):
    people, _ = bodies
    person = people[0] | {"area": 60.0**2}
    truth = {key: person[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 0.5}
    wide = np.column_stack([np.linspace(0, 200, 17), np.linspace(0, 200, 17)[::-1], np.ones(17)]).ravel().tolist()
    false = truth | {"keypoints": wide, "score": 0.9}
    for name, boxes, expected in (("none", None, 100), ("small", [0, 0, 50, 50], 50), ("large", [0, 0, 99, 99], 100)):
        (folder := tmp_path / name).mkdir()
        results = [one | ({} if boxes is None else {"bbox": boxes}) for one in (truth, false)]
        write_people(folder, "coco-keypoints", [person], results)
        found = evaluated(capsys, "coco-keypoints", folder / "coco", folder / "r.json")
        assert found["body_ap_medium"] == pytest.approx(expected), name


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("score", math.nan, "finite numbers in"), ("score", "0.5", "finite numbers in"),
        ("image_id", 1.5, "an integer or text"), ("category_id", "1", "an integer"),
        ("bbox", [0, 0, 9, math.inf], "finite numbers in"), ("keypoints", [math.nan] * 51, "finite numbers in"),
    ],
)  # fmt: skip
def test_results_with_other_values_are_refused(refusal, tmp_path, bodies, field, value, kind):
    """Refuse NaN, because COCO's evaluation counts it inconsistently."""
    people, results = bodies
    results[2][field] = value
    write_people(tmp_path, "coco-keypoints", people, results)
    given = ["--root", tmp_path / "coco", "--predictions", tmp_path / "r.json", "--out", tmp_path / "e"]
    line = refusal("eval", "--protocol", "coco-keypoints", "--data", "coco", *given)
    assert f"record 2 requires {kind} {field}" in line


def test_a_whole_body_has_its_own_score_and_the_points_of_parts_without_flags(capsys, tmp_path):
    """Check that COCO-WholeBody's code ignores flags of whole bodies, and reads `wholebody_score` if it exists."""
    people, results = people_and_results(np.random.default_rng(5))
    rng = np.random.default_rng(1)
    for one in results:
        one["wholebody_score"] = float(rng.random())
    for one in results[::2]:
        one["lefthand_kpts"][2::3] = [0] * 21
    write_people(tmp_path, "coco-wholebody", people, results)
    found = evaluated(capsys, "coco-wholebody", tmp_path / "coco", tmp_path / "r.json")
    scored = [result | {"score": result["wholebody_score"]} for result in results]
    assert found["wholebody_ap"] == pytest.approx(precision(people, scored, list(PARTS)), abs=1e-6)
    assert found["body_ap"] == pytest.approx(precision(people, results, ["keypoints"]), abs=1e-6)


SIDE = 100
EMPTY = rle_from_mask(np.zeros((SIDE, SIDE), np.bool_))


def square(x, side=40):
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20 : 20 + side, x : x + side] = True
    return rle_from_mask(mask)


def annotation(number, image, x, **changes):
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 1600,
        "bbox": [x, 20, 40, 40], "segmentation": square(x),
    } | changes  # fmt: skip


@pytest.fixture
def judged(tmp_path, capsys):

    def run(annotations, results, protocol="coco-instances", names=("000001.jpg", "000002.jpg"), data="coco"):
        root = tmp_path / "coco"
        images = [{"id": i, "file_name": name, "width": SIDE, "height": SIDE} for i, name in enumerate(names, 1)]
        for name in names:
            file = root / "val2017" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.zeros((SIDE, SIDE, 3), np.uint8))
        truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "hand"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / "instances_val2017.json").write_text(json.dumps(truth))
        (root / "val2017" / "dataset.json").write_text(json.dumps(truth))
        (tmp_path / "results.json").write_text(json.dumps(results))
        folder = root if data == "coco" else root / "val2017"
        given = ["--data", data, "--root", str(folder), "--out", str(tmp_path / "out")]
        status = main(["eval", "--protocol", protocol, *given, "--predictions", str(tmp_path / "results.json")])
        error = capsys.readouterr().err
        if status:
            assert status == 2
            assert error.count("\n") == 1
            return error
        report = json.loads((tmp_path / "out" / "eval.json").read_text())
        assert error.splitlines()[:-1] == [f"sonjit: {note}" for note in report["skipped"]]
        return {metric["name"]: metric["value"] for metric in report["runs"][0]["metrics"]}

    return run


TRUTH = [annotation(1, 1, 10), annotation(2, 2, 30)]
RESULTS = [
    {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": square(10)},
    {"image_id": 2, "category_id": 1, "score": 0.8, "segmentation": square(30)},
]


def test_masks_without_boxes_are_evaluated(judged):
    found = judged(TRUTH, RESULTS)
    assert found["mask_ap"] == found["box_ap"] == pytest.approx(100)


def test_an_empty_mask_is_a_false_positive(judged):
    found = judged(TRUTH, [RESULTS[0] | {"segmentation": EMPTY, "score": 1.0}, *RESULTS])
    assert found["mask_ap"] == pytest.approx(100 * 2 / 3)


def test_scores_keep_all_their_digits(judged):
    wrong = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": square(60, 20)}
    right = [row | {"score": 0.5 + 1e-7} for row in RESULTS]
    assert judged(TRUTH, [wrong, *right])["mask_ap"] == pytest.approx(100)


def test_an_object_whose_box_has_no_extent_is_not_found(judged):
    found = judged([TRUTH[0] | {"bbox": [10, 20, 0, 40]}, TRUTH[1]], RESULTS)
    assert found["box_ap"] == pytest.approx(25.2475, abs=1e-3)  # half is found, after a false positive
    assert found["mask_ap"] == pytest.approx(100)


def test_images_are_those_of_the_annotation_file_whatever_their_names_are(judged):
    for names in (("a/000001.jpg", "b/000001.jpg"), ("000000.jpg", "000001.jpg"), ("000002.jpg", "000001.jpg")):
        assert judged(TRUTH, RESULTS, names=names, data="folder")["mask_ap"] == pytest.approx(100)


def test_records_of_unknown_images_and_categories_are_counted(judged, tmp_path):
    more = [RESULTS[0] | {"image_id": 7}, RESULTS[0] | {"category_id": 3, "score": 0.1}]
    assert judged(TRUTH, [*RESULTS, *more])["mask_ap"] == pytest.approx(100)
    notes = json.loads((tmp_path / "out" / "eval.json").read_text())["skipped"]
    assert notes[0] == "1 of 4 predictions are of images that are not evaluated, such as 7"
    assert "1 of 4 predictions have a category_id that the data set lacks, such as 3; it has 1 (hand)" in notes[1]
    assert "such as 7" in (tmp_path / "out" / "report.md").read_text()


def test_no_results_find_nothing(judged, tmp_path):
    assert judged(TRUTH, [])["box_ap"] == 0
    (note,) = json.loads((tmp_path / "out" / "eval.json").read_text())["skipped"]
    assert note.endswith("results.json has no predictions")


def test_corners_in_place_of_sizes_are_noted(judged, tmp_path):
    boxes = [row | {"bbox": [60, 20, 100, 60]} for row in RESULTS]
    judged(TRUTH, boxes)
    (note,) = json.loads((tmp_path / "out" / "eval.json").read_text())["skipped"]
    assert note.startswith("2 of 2 boxes reach beyond their image")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.5, 0.5]}, "record 1 requires one number in score"),
        ({"bbox": [1, 2, 3]}, "record 1 requires x, y, width, height in bbox"),
        ({"bbox": [50, 50, -40, -40]}, "record 1 requires x, y, width, height in bbox"),
        ({"bbox": [10, 20, 40, 40]}, "record 1 or record 0 lacks bbox"),
        ({"category_id": "1"}, "record 1 requires an integer category_id"),
    ],
)
def test_wrong_records_are_refused(judged, change, message):
    assert message in judged(TRUTH, [RESULTS[0], RESULTS[1] | change])


def test_results_of_another_task_are_refused(judged):
    people = [{"image_id": 1, "category_id": 1, "score": 0.9, "keypoints": [1, 1, 1] * 17}]
    assert "a prediction has neither box nor mask" in judged(TRUTH, people)
    error = judged(TRUTH, [RESULTS[0] | {"bbox": [10, 20, 40, 40]}], protocol="coco-keypoints", data="folder")
    assert "a prediction has no keypoints" in error


@pytest.fixture
def hands_of_coco(tmp_path):
    """Return a folder of labelled hands of 21 keypoints, the labels, and predictions in COCO's results format."""
    people, results = people_and_results(np.random.default_rng(7))
    keys = ("image_id", "category_id", "score")
    hands = [{**row, "keypoints": row["righthand_kpts"], "num_keypoints": 21} for row in people]
    found = [{key: row[key] for key in keys} | {"keypoints": row["righthand_kpts"]} for row in results]
    images = []
    for number in range(1, 6):
        image(tmp_path / f"images/{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 220, "height": 200})
    names = list(load_skeleton("hand_mediapipe21").keypoints)
    categories = [{"id": 1, "name": "hand", "keypoints": names}]
    labels = [
        {key: row[key] for key in ("id", "image_id", "category_id", "bbox", "area", "keypoints")} for row in hands
    ]
    data = {"images": images, "annotations": labels, "categories": categories}
    (tmp_path / "dataset.json").write_text(json.dumps(data))
    (tmp_path / "r.json").write_text(json.dumps(found))
    return tmp_path, hands, found


def test_results_of_21_keypoints_are_hands(capsys, hands_of_coco):
    folder, hands, results = hands_of_coco
    rows = [row | {"righthand_kpts": row["keypoints"]} for row in results]
    expected = precision(hands, rows, ["righthand_kpts"])
    assert 1 < expected < 99
    found = evaluated(capsys, "coco-hand-keypoints", folder, folder / "r.json", "--data", "folder")
    assert found["hand_ap"] == pytest.approx(expected, abs=1e-6)
    found = evaluated(capsys, "mediapipe-card", folder, folder / "r.json", "--data", "folder")
    assert 0 < found["mnae"] < 200


def test_keypoints_of_another_kind_or_number_are_refused(capsys, hands_of_coco, refusal):
    folder, _, results = hands_of_coco
    common = ("--data", "folder", "--root", str(folder), "--predictions", str(folder / "r.json"), "--out", str(folder))
    line = refusal("eval", "--protocol", "coco-keypoints", *common)
    assert "the data set has no body; evaluate it with --protocol coco-hand-keypoints" in line
    (folder / "r.json").write_text(json.dumps([row | {"keypoints": row["keypoints"][:60]} for row in results]))
    line = refusal("eval", "--protocol", "coco-hand-keypoints", *common)
    assert "60 numbers; expected x, y and a flag of 17, or of 21, 23, 33" in line
