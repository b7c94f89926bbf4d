"""InterNet and RootNet by the published protocols, from files in the official layouts to the report.

The networks are real ones, tiny and with random weights. What the report must say is worked out here anew from the
formulas of the released code: its boxes, its affine, its bins, its means.
"""

import json
import pickle
import re

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from lab.tests.papers.layouts import FOCAL, MIDDLE, around, write_interhand

from sonjit import InputError
from sonjit.cli import main
from sonjit_lab.datasets import open_dataset
from sonjit_lab.evaluation import ModelChoice
from sonjit_lab.networks import create_network, network_entry, save_checkpoint
from sonjit_lab.papers.interhand.model import InterNetModel

TINY = {name: network_entry(name).tiny for name in ("internet", "rootnet")}
SIDE, BINS = 32, 8


def network(name, folder, **options):
    made = create_network(name, "demo", **TINY[name], **options).eval()
    file = folder / f"{name}.safetensors"
    save_checkpoint(made, file)
    return made, str(file)


def metrics_of(folder, *call):
    assert main([*map(str, ["eval", *call, "--out", folder / "eval"])]) == 0
    (run,) = json.loads((folder / "eval" / "eval.json").read_text())["runs"]
    assert (folder / "eval" / "report.html").is_file()
    return {metric["name"]: metric["value"] for metric in run["metrics"]}, run


# What the released code does, once more.


def square(box):
    x, y, w, h = box
    side = 1.25 * max(w, h)
    return np.array([x + w / 2 - side / 2, y + h / 2 - side / 2, side, side])


def cut_out(image, area, side):
    """Return a bilinear crop, black outside. Pixel u of the crop lies at the area's corner + u * size / side."""
    x = area[0] + np.arange(side) * area[2] / side
    y = area[1] + np.arange(side) * area[3] / side
    padded = np.zeros((image.shape[0] + 400, image.shape[1] + 400, 3))
    padded[200:-200, 200:-200] = image
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[None, :, None], (y - y0)[:, None, None]
    at = lambda dy, dx: padded[(y0 + dy + 200)[:, None], (x0 + dx + 200)[None]]  # noqa: E731
    found = (at(0, 0) * (1 - fx) + at(0, 1) * fx) * (1 - fy) + (at(1, 0) * (1 - fx) + at(1, 1) * fx) * fy
    return torch.from_numpy(found.astype(np.float32) / 255).permute(2, 0, 1)[None]


def seen_by(internet, image, area):
    """Return joints in image pixels and mm from their root, mm between the roots, and probabilities."""
    with torch.inference_mode():
        out = internet(cut_out(image, area, SIDE))
    x, y, z = out["joint_coord"][0].double().numpy().T
    places = np.column_stack([area[0] + x / BINS * area[2], area[1] + y / BINS * area[3]])
    apart = (float(out["rel_root_depth"]) / BINS * 2 - 1) * 200
    return places, (z / BINS * 2 - 1) * 200, apart, out["hand_type"][0].double().numpy()


def back(places, depth):
    return np.column_stack([(places - MIDDLE) / FOCAL * depth[:, None], depth])


def root_depth(rootnet, image, area):
    crop = cut_out(image, area, rootnet.side)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    k = np.sqrt(300 * 300 * FOCAL[0] * FOCAL[1] / (area[2] * area[3]))
    with torch.inference_mode():
        found = rootnet((crop * rootnet.input_scale - mean) / std, torch.tensor([[k]], dtype=torch.float32))
    return float(found["coord"][0, 2])


def average_precision(scores, positive):
    order = np.argsort(-np.array(scores))
    hits = np.array(positive, bool)[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


# InterHand2.6M


def interhand_metrics(records, internet, area_of, depths_of):
    single, interacting = [[] for _ in range(42)], [[] for _ in range(42)]
    apart, hits, scores, present, depth_off = [], [], [], [], []
    for record in records:
        path, kind, truth, valid, annotation, _ = record
        image = cv2.imread(str(path))[..., ::-1]
        places, z, rel, hand_type = seen_by(internet, image, area_of(record))
        depths = depths_of(record, image)
        predicted = back(places, z + np.repeat(depths, 21))
        errors = np.zeros(42)
        for root, part in ((20, slice(0, 21)), (41, slice(21, 42))):
            errors[part] = np.linalg.norm((predicted[part] - predicted[root]) - (truth[part] - truth[root]), axis=1)
        for joint in np.flatnonzero(valid):
            (interacting if kind == "interacting" else single)[joint].append(errors[joint])
        if kind == "interacting" and valid[20] and valid[41]:
            right = back(places[[20]], z[[20]] + depths[0])[0]
            left = back(places[[41]], z[[41]] + depths[0] + rel)[0]
            apart.append(np.linalg.norm((left - right) - (truth[41] - truth[20])))
        expected = {"right": (1, 0), "left": (0, 1), "interacting": (1, 1)}[kind]
        if annotation["hand_type_valid"]:
            hits.append(all((p > 0.5) if w else (p < 0.5) for p, w in zip(hand_type, expected, strict=True)))
            scores.append(hand_type)
            present.append(expected)
        roots = [root for root in (20, 41) if valid[root]]
        depth_off.append(np.mean([abs(depths[root // 21] - truth[root, 2]) for root in roots]))
    scores, present = np.array(scores), np.array(present)
    mean = lambda table: np.mean([np.mean(column) for column in table])  # noqa: E731
    precisions = [average_precision(scores[:, side], present[:, side]) for side in (0, 1)]
    return {
        "mpjpe": mean([a + b for a, b in zip(single, interacting, strict=True)]),
        "mpjpe_single": mean(single),
        "mpjpe_interacting": mean(interacting),
        "mrrpe": np.mean(apart),
        "handedness": np.mean(hits),
        "handedness_ap_right": precisions[0],
        "handedness_ap_left": precisions[1],
        "handedness_ap": np.mean(precisions),
        "root_depth": np.mean(depth_off),
    }


@pytest.mark.slow
def test_interhand_in_labelled_boxes(tmp_path):
    records = write_interhand(tmp_path / "set")
    internet, file = network("internet", tmp_path, layout="interhand")
    true_depths = lambda record, _: record[2][[20, 41], 2]  # noqa: E731
    expected = interhand_metrics(records, internet, lambda record: square(record[4]["bbox"]), true_depths)
    del expected["root_depth"]  # is given
    call = ["--protocol", "interhand2.6m", "--root", tmp_path / "set", "--model", "internet", "--weights", file]
    found, run = metrics_of(tmp_path, *call)
    assert found == pytest.approx(expected, rel=1e-6)
    assert run["evaluated"] == len(records)
    report = (tmp_path / "eval" / "report.md").read_text("utf-8")
    assert "MMPose InterNet, ResNet-50, test H+M" in report


@pytest.mark.nightly
@pytest.mark.slow
def test_interhand_with_rootnets_results_and_with_rootnet(tmp_path):
    records = write_interhand(tmp_path / "set")
    rng = np.random.default_rng(8)
    given = [
        {
            "annot_id": record[4]["id"],
            "bbox": (square(record[4]["bbox"]) + rng.normal(0, 2, 4) * [1, 1, 0, 0]).tolist(),
            "abs_depth": rng.normal(600, 60, 2).tolist(),
        }
        for record in records
    ]
    by_id = {one["annot_id"]: one for one in given}
    (tmp_path / "rootnet.json").write_text(json.dumps(given))
    internet, file = network("internet", tmp_path, layout="interhand")
    call = ["--protocol", "interhand2.6m", "--root", tmp_path / "set", "--model", "internet", "--weights", file]
    expected = interhand_metrics(
        records,
        internet,
        lambda record: np.array(by_id[record[4]["id"]]["bbox"]),
        lambda record, _: np.array(by_id[record[4]["id"]]["abs_depth"]),
    )
    found, _ = metrics_of(tmp_path, *call, "--boxes", tmp_path / "rootnet.json")
    assert found == pytest.approx(expected, rel=1e-6)

    rootnet, root_file = network("rootnet", tmp_path, input_scale=1, side=64)

    def depths(record, image):
        boxes = [record[4]["bbox"]] if record[1] != "interacting" else record[5]
        own = [root_depth(rootnet, image, square(box)) for box in boxes]
        return np.array({"right": [*own, np.nan], "left": [np.nan, *own], "interacting": own}[record[1]])

    expected = interhand_metrics(records, internet, lambda record: square(record[4]["bbox"]), depths)
    found, _ = metrics_of(tmp_path, *call, "--root-weights", root_file)
    assert found == pytest.approx(expected, rel=1e-5)  # RootNet's crops and weights are float32


# STB and RHD


def epe(hands):
    errors = np.array([
        np.where(valid, np.linalg.norm((predicted - predicted[0]) - (truth - truth[0]), axis=1), np.nan)
        for predicted, truth, valid in hands
    ])  # fmt: skip
    return float(np.nanmean(errors, 0).mean())


@pytest.mark.nightly
@pytest.mark.slow
def test_stb(tmp_path):
    """Return the errors of STB's 21 joints relative to the palm centre. Left hands are in the first slot."""
    root, rng = tmp_path / "set", np.random.default_rng(2)
    (root / "labels").mkdir(parents=True)
    (root / "images/B1Counting").mkdir(parents=True)
    truth = rng.normal((0, 0, 600), 35, (4, 21, 3))
    scipy.io.savemat(root / "labels/B1Counting_BB.mat", {"handPara": truth.transpose(2, 1, 0)})
    internet, file = network("internet", tmp_path, layout="stb")
    focal, middle = np.full(2, 822.79041), np.array([318.47345, 250.31296])
    hands, hits = [], []
    for number, joints in enumerate(truth):
        image = rng.integers(0, 256, (480, 640, 3), np.uint8)
        cv2.imwrite(str(root / f"images/B1Counting/BB_left_{number}.png"), image[..., ::-1])
        wrist = 2 * joints[0] - joints[9]  # derived: the box holds it as the data set does
        shown = np.vstack([wrist, joints[1:]])
        area = square(around(shown[:, :2] / shown[:, 2:] * focal + middle))
        places, z, _, hand_type = seen_by(internet, image, area)
        depth = z[:21] + joints[0, 2]
        predicted = np.column_stack([(places[:21] - middle) / focal * depth[:, None], depth])
        hands.append((predicted, joints, np.ones(21, bool)))
        hits.append(hand_type[0] < 0.5 < hand_type[1])
    call = ["--protocol", "stb", "--root", root, "--model", "internet", "--weights", file]
    found, run = metrics_of(tmp_path, *call)
    assert found["epe"] == pytest.approx(epe(hands), rel=1e-6)
    assert found["handedness"] == np.mean(hits)
    assert "root_depth" not in found
    names = [one["name"] for one in run["parts"]["joint"]]
    assert names[0] == "palm_center"
    assert main(list(map(str, [*call, "--layout", "rhd", "--out", tmp_path / "other"]))) == 2


@pytest.mark.nightly
@pytest.mark.slow
def test_rhd(tmp_path):
    root, rng = tmp_path / "set", np.random.default_rng(4)
    (root / "evaluation/color").mkdir(parents=True)
    internet, file = network("internet", tmp_path, layout="rhd")
    matrix = np.diag([*FOCAL, 1.0])
    matrix[:2, 2] = MIDDLE
    labels, hands, hits, given = {}, [], [], []
    for number in range(4):
        image = rng.integers(0, 256, (320, 320, 3), np.uint8)
        cv2.imwrite(str(root / f"evaluation/color/{number:05d}.png"), image[..., ::-1])
        metres = rng.normal((0, 0, 0.5), 0.04, (42, 3))
        seen = (rng.random(42) > 0.2).astype(float)
        seen[[0, 21]] = 1
        if number % 2:
            seen[21:] = 0  # no right hand
        pixels = metres[:, :2] / metres[:, 2:] * FOCAL + MIDDLE
        labels[number] = {"xyz": metres, "uv_vis": np.column_stack([pixels, seen]), "K": matrix}
        for part, present in ((slice(0, 21), (0, 1)), (slice(21, 42), (1, 0))):
            valid = seen[part] > 0
            if not valid.any():
                continue
            area = square(around(pixels[part][valid]))
            places, z, _, hand_type = seen_by(internet, image, area)
            truth = metres[part] * 1000
            hands.append((back(places[part], z[part] + truth[0, 2]), truth, valid))
            hits.append(all((p > 0.5) if w else (p < 0.5) for p, w in zip(hand_type, present, strict=True)))
            side, name = "Left" if present == (0, 1) else "Right", f"evaluation/color/{number:05d}.png"
            given.append({"sample": name, "side": side, "bbox": area.tolist(), "abs_depth": truth[0, 2]})
    with (root / "evaluation/anno_evaluation.pickle").open("wb") as stream:
        pickle.dump(labels, stream)
    call = ["--protocol", "rhd", "--root", root, "--model", "internet", "--weights", file]
    found, run = metrics_of(tmp_path, *call)
    assert found["epe"] == pytest.approx(epe(hands), rel=1e-6)
    assert found["handedness"] == np.mean(hits)
    assert run["evaluated"] == len(hands)
    (tmp_path / "boxes.json").write_text(json.dumps(given))
    again, _ = metrics_of(tmp_path, *call, "--boxes", tmp_path / "boxes.json")
    assert again == pytest.approx({**found, "root_depth": 0}, rel=1e-6, abs=1e-6)
    for one in given:
        del one["side"]  # of which hand of an image with two?
    (tmp_path / "boxes.json").write_text(json.dumps(given))
    with pytest.raises(InputError, match=r"no record of evaluation/color/00000\.png, Left"):
        InterNetModel(file, boxes=tmp_path / "boxes.json", device=torch.device("cpu")).find(
            open_dataset("rhd", root, "evaluation")[0], image, "ground-truth boxes"
        )


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ('[{"bbox": [0, 0, 9, 9]}]', "record 0 has neither annot_id nor sample"),
        ('[{"annot_id": 1, "bbox": [0, 9, 9]}]', r"record 0: bbox is \[0, 9, 9\]; must be \[x, y, width, height\]"),
        ('[{"annot_id": 1, "bbox": [0, 0, 9, 9], "abs_depth": [1, 2, 3]}]', r"abs_depth is \[1, 2, 3\]"),
        (f'[{{"annot_id": 1, "bbox": [0, 0, 9, 1{400 * "0"}]}}]', "record 0: bbox is"),
        ('[{"annot_id": 1, "bbox": [0, 0, 9, 9], "abs_depth": {}}]', "abs_depth is {}"),
        ('[{"annot_id": 1, "bbox": [0, 0, 9, 9]}]', "no record of 100 or images/test/Capture0"),
    ],
)
def test_boxes_that_do_not_fit_are_one_line(records, message, tmp_path, capsys):
    write_interhand(tmp_path / "set")
    _, file = network("internet", tmp_path, layout="interhand")
    (tmp_path / "boxes.json").write_text(records)
    call = ["eval", "--protocol", "interhand2.6m", "--root", tmp_path / "set", "--model", "internet"]
    more = ["--weights", file, "--boxes", tmp_path / "boxes.json", "--out", tmp_path / "eval"]
    assert main([*map(str, [*call, *more])]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("sonjit:")]
    assert re.search(message, line), line


def test_options_without_effect_are_refused():
    for option in ({"layout": "stb"}, {"boxes": "b.json"}, {"root_weights": "r.pt"}):
        with pytest.raises(InputError, match="applies only to --model internet"):
            ModelChoice("hands-full", **option)
    for option in ({"name": "hands-full", "localize_by": "cam"}, {"name": "mask-rcnn", "view": "crop"}):
        with pytest.raises(InputError, match="applies only to classifiers"):
            ModelChoice(**option)
    with pytest.raises(InputError, match="--root-input-scale requires --root-weights"):
        ModelChoice("internet", weights="demo", root_input_scale=255)
