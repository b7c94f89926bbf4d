"""Every metric compared with the numbers of the references and of released evaluations."""

import json
import math
import re

import numpy as np
import pytest
import torch

from sonjit.geometry.cameras import Intrinsics
from sonjit_lab import metrics
from sonjit_lab.explain import enlarge
from sonjit_lab.metrics import joint_errors, mean_error
from sonjit_lab.papers.deformer import network as deformer
from sonjit_lab.papers.interhand import internet
from sonjit_lab.training.losses import maxmse

pytestmark = pytest.mark.golden


def both_averages(errors):
    return {"flat": mean_error(errors, "all"), "joint_mean": mean_error(errors)}


def pck(case, pred, gt, valid):
    errors, limits = joint_errors(pred, gt, valid), case["params"]["thresholds_mm"]
    strict = case["params"]["compare"] == "<"
    return {
        name: dict(
            zip(map(str, limits), metrics.pck_curve(errors, limits, average=average, strict=strict), strict=True)
        )
        for name, average in (("joint_mean", "joint"), ("flat", "all"))
    }


def pck_auc(case, pred, gt, valid):
    errors = joint_errors(pred, gt, valid)

    def of(name):
        low, high, steps = map(int, re.fullmatch(r"(\d+)-(\d+)mm_(\d+)steps", name).groups())
        return metrics.pck_auc(errors, low, high, steps=steps)

    return {name: of(name) for name in case["expected"]}


def f_score(case, pred, gt):
    def of(name):
        aligned, kind, number, part = re.fullmatch(r"(PA_|pa_)?(F@|mesh_error)([\d.]*)_?(\w*)", name).groups()
        own = metrics.similarity_aligned(pred[None], gt[None]).predicted[0] if aligned else pred
        if kind == "mesh_error":
            return mean_error(joint_errors(own[None], gt[None]))
        return getattr(metrics.f_score(own, gt, float(number)), part or "f_score")

    return {name: of(name) for name in case["expected"]}


def interhand_mpjpe(_, pred, gt, valid, hand_type):
    errors = metrics.two_hand_errors(pred, gt, valid)
    by_joint = metrics.two_hand_mpjpe(errors, hand_type == 2)._asdict()
    flat = metrics.two_hand_mpjpe(errors, hand_type == 2, average="all")._asdict()
    return by_joint | {f"{name}_flat": value for name, value in flat.items()}


def handedness(_, prob_right_left, gt_right_left, valid):
    return {
        "accuracy": metrics.handedness_accuracy(prob_right_left, gt_right_left, valid),
        "ap_right": metrics.average_precision(prob_right_left[valid, 0], gt_right_left[valid, 0]),
        "ap_left": metrics.average_precision(prob_right_left[valid, 1], gt_right_left[valid, 1]),
    }


def mnae(case, pred, gt, group):
    found = metrics.mnae(pred, gt, wrist=case["params"]["wrist"], knuckle=case["params"]["middle_mcp"])
    report = metrics.group_report(found.per_sample, group.tolist())
    return {
        "mnae": found.mean,
        "per_joint": found.per_joint,
        "per_sample": found.per_sample,
        "groups": {
            "groups": report.groups,
            "means": report.means,
            "average": report.average,
            "stdev_pop": report.stdev_population,
            "stdev_sample": report.stdev_sample,
            "range": report.range,
            "max_minus_min": report.max_minus_min,
            "worst_vs_average_higher_is_better": report.worst_vs_average(higher_is_better=True),
            "worst_vs_average_lower_is_better": report.worst_vs_average(higher_is_better=False),
        },
    }


def pdj(_, pred, gt, pred_visible, gt_visible):
    seen = {"predicted_visible": pred_visible, "true_visible": gt_visible}
    return {"diag": metrics.pdj(pred, gt, **seen), "mid": metrics.pdj(pred, gt, **seen, torso="middle")}


def cam_box(case, cam):
    large = enlarge(cam, *case["params"]["size"])
    threshold = case["params"]["threshold"]
    return {
        "box_conn8": metrics.box_from_map(large, threshold),
        "box_conn4": metrics.box_from_map(large, threshold, connectivity=4),
        "upsampled_sum": large.sum(dtype=np.float64),
        "thr50": metrics.box_from_map(large, 0.5),
    }


def localization_error(case, gt_class, gt_boxes, pred_classes, pred_boxes):
    predictions = [list(zip(*both, strict=True)) for both in zip(pred_classes, pred_boxes, strict=True)]
    truth = list(zip(gt_class, gt_boxes, strict=True))
    overlap = case["params"]["iou"]
    return {
        name: metrics.localization_error(predictions, truth, int(name.removeprefix("top")), overlap=overlap)
        for name in case["expected"]
    }


def scale_translation(case, pred, gt):
    joints = {"root": case["params"]["root"], "end": case["params"]["ref"]}
    return {
        "ho3d_rule": mean_error(joint_errors(*metrics.bone_aligned(pred, gt, **joints))),
        "least_squares": mean_error(joint_errors(*metrics.scale_translation_aligned(pred, gt))),
    }


def fusion(case, **arrays):
    """Compare the frame in the middle, for which the network fuses poses."""
    parts = (torch.from_numpy(arrays[name])[None] for name in ("theta", "forward", "backward", "confidence"))
    case["expected"]["fused"] = case["expected"]["fused"][len(arrays["theta"]) // 2]
    return {"fused": deformer.fused_pose(deformer.Motion(*parts))[0]}


METRICS = {
    "mpjpe": lambda _, pred, gt, valid: both_averages(joint_errors(pred, gt, valid)),
    "root_relative_mpjpe": lambda case, pred, gt, valid: both_averages(
        joint_errors(*metrics.root_relative(pred, gt, valid, root=case["params"]["root"]))
    ),
    "pa_mpjpe": lambda _, pred, gt, valid: {
        "strict_all_joints": metrics.pa_mpjpe(pred, gt, average="all"),
        "strict_valid_only": metrics.pa_mpjpe(pred, gt, valid, average="all"),
        "aligned": metrics.similarity_aligned(pred, gt).predicted,
    },
    "pa_mpjpe_mirrored_prediction": lambda _, pred, gt: {
        "no_reflection": metrics.pa_mpjpe(pred, gt),
        "reflection_allowed": metrics.pa_mpjpe(pred, gt, mirror=True),
    },
    "scale_translation_align": scale_translation,
    "pck": pck,
    "pck_auc": pck_auc,
    "epe": lambda _, pred, gt, valid: dict(
        zip(("mean_of_joint_means", "mean_of_joint_medians"), metrics.end_point_error(pred, gt, valid), strict=True)
    ),
    "pck_ties": lambda case, pred, gt, valid: {
        name: metrics.pck(joint_errors(pred, gt, valid), case["params"]["threshold"], strict=name == "lt")
        for name in ("le", "lt")
    },
    "f_score": f_score,
    "f_score_different_vertex_count": f_score,
    "interhand_mpjpe": interhand_mpjpe,
    "mrrpe": lambda _, pred, gt, valid, hand_type: metrics.mrrpe(pred, gt, valid, interacting=hand_type == 2),
    "handedness": handedness,
    "mnae": mnae,
    "pdj": pdj,
    "iod_mae": lambda _, pred, gt: metrics.iod_mae(pred, gt).mean,
    "nme_interocular_300w": lambda _, pred, gt: metrics.nme_300w(pred, gt).mean,
    "maxmse": lambda _, **given: dict(
        zip(("grad", "loss"), torch.func.grad_and_value(maxmse)(*map(torch.from_numpy, given.values())), strict=True)
    ),
    "accel_error": lambda _, pred, gt, valid: {
        "all": metrics.acceleration_error(pred, gt),
        "valid_triples": metrics.acceleration_error(pred, gt, valid),
    },
    "dynamic_fusion": fusion,
    "cam_bbox": cam_box,
    "cam_bbox_connectivity": cam_box,
    "localization_error": localization_error,
}


def differences(found, expected, tol, where=""):
    """Return the differences as lines."""
    if isinstance(expected, dict):
        return [
            line for name, value in expected.items() for line in differences(found[name], value, tol, f"{where}.{name}")
        ]
    if expected is None:
        return [] if found is None else [f"{where}: {found} instead of none"]
    numbers = np.array([float(one) for one in np.ravel(np.array(expected, object))])  # "nan" and "inf" are text
    got = np.ravel(np.asarray(found, np.float64))
    if got.shape != numbers.shape:
        return [f"{where}: {got.size} values instead of {numbers.size}"]
    scale = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    equal = np.isclose(got, numbers, rtol=min(tol, 1e-6), atol=min(tol, 1e-9) * scale, equal_nan=True)
    return [] if equal.all() else [f"{where}: {got[~equal][0]} instead of {numbers[~equal][0]}"]


@pytest.mark.files("goldens/metrics/*.json")
def test_metrics(file):
    cases = json.loads(file.read_text("utf-8"))["cases"]
    assert cases
    unknown = {case["metric"] for case in cases} - set(METRICS)
    assert not unknown, f"no metric here is called {sorted(unknown)}"
    wrong = []
    with np.load(file.with_suffix(".npz")) as arrays:
        for case in cases:
            inputs = {name: arrays[key] for name, key in case["inputs"].items()} | case.get("inline", {})
            found = METRICS[case["metric"]](case, **inputs)
            wrong += differences(found, case["expected"], case["tol"], f"{case['id']} {case['metric']}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.files("goldens/metrics/coco/expected.json")
def test_coco(file, data):
    cases = json.loads(file.read_text("utf-8"))["cases"]
    evaluated = {name: case for name, case in cases.items() if isinstance(case, dict)}
    assert evaluated
    absent = []
    for name, case in evaluated.items():
        truth, results = file.parent / case["gt"], json.loads((file.parent / case["dt"]).read_text("utf-8"))
        if not truth.is_file():  # a real sample, which stands elsewhere
            truth = next(data.glob(f"real/datasets/**/{truth.name}"), truth)
        if not truth.is_file():
            absent.append(case["gt"])
            continue
        sigmas = case.get("sigmas") if isinstance(case.get("sigmas"), list) else None
        found = metrics.coco_precision(truth, results, case["type"], sigmas=sigmas)
        by_category = {str(category): value for category, value in found.ap50_per_category.items()}
        expected = {key: math.nan if value == -1 else value for key, value in case["stats"].items()}
        assert not differences({**found.stats, "AP50_per_category": by_category}, expected, 1e-9, name)
    if absent:
        pytest.skip(f"all others agree; {data} has no {', '.join(absent)}")


@pytest.mark.files("goldens/metrics/coco/expected.json")
def test_similarity_of_keypoints(file):
    cases = json.loads(file.read_text("utf-8"))["cases"]
    pairs = cases["oks_pairs"]
    assert pairs
    body = next(case for case in cases.values() if isinstance(case, dict) and "17" in str(case.get("sigmas")))
    truth = {
        annotation["id"]: annotation
        for annotation in json.loads((file.parent / body["gt"]).read_text("utf-8"))["annotations"]
    }
    results = json.loads((file.parent / body["dt"]).read_text("utf-8"))
    for pair in pairs:
        true, result = truth[pair["gt_id"]], results[pair["dt_index"]]
        x, y, width, height = true["bbox"]
        keypoints = np.array(true["keypoints"]).reshape(-1, 3)
        found = metrics.object_keypoint_similarity(
            np.array(result["keypoints"]).reshape(-1, 3)[:, :2],
            keypoints[:, :2],
            keypoints[:, 2],
            area=true["area"],
            box=(x, y, x + width, y + height),
        )
        assert math.isclose(found, pair["oks"], rel_tol=1e-6, abs_tol=1e-300), pair


MIDDLE_KNUCKLE = 4  # in HO-3D's order


@pytest.mark.files("goldens/networks/protocols_mesh*.npz")
def test_ho3d(file):
    with np.load(file) as given:
        pred, gt = given["m.pred"], given["m.gt"]
        found = {
            "raw": (pred, gt),
            "root": metrics.root_relative(pred, gt),
            "sc_tr": metrics.bone_aligned(pred, gt, end=MIDDLE_KNUCKLE),
            "pa": metrics.similarity_aligned(pred, gt, mirror=True),
        }
        for name, aligned in found.items():
            errors = joint_errors(*aligned)
            assert mean_error(errors) == pytest.approx(float(given[f"m.out.{name}_mean"]), rel=1e-6)
            area = metrics.pck_auc(errors, 0, 0.05)
            assert area == pytest.approx(float(given[f"m.out.{name}_auc"]), rel=1e-6, abs=1e-9)
        np.testing.assert_allclose(found["sc_tr"].predicted, given["m.sc_tr"], rtol=1e-6, atol=3e-8)
        np.testing.assert_allclose(found["pa"].predicted, given["m.procrustes"], rtol=1e-6, atol=3e-8)
        rigid = metrics.similarity_aligned(pred, gt).predicted
        np.testing.assert_allclose(rigid, given["m.rigid_align_pred_to_gt"], rtol=1e-6, atol=3e-8)


@pytest.mark.files("goldens/networks/protocols_mesh*.npz")
def test_f_scores_of_meshes(file):
    with np.load(file) as given:
        pred, gt = given["m.pred_verts"], given["m.gt_verts"]
        aligned = metrics.similarity_aligned(pred, gt, mirror=True).predicted
        for name, meshes in (("f", pred), ("f_al", aligned)):
            found = np.array([metrics.f_scores(*pair, (0.005, 0.015)) for pair in zip(meshes, gt, strict=True)])
            for column, millimetres in enumerate((5, 15)):
                expected = given[f"m.out.{name}_{millimetres}"][:, [0, 2, 1]]  # it calls precision recall
                np.testing.assert_allclose(found[:, column], expected, rtol=1e-6)


@pytest.mark.files("goldens/networks/protocols_internet*.npz")
def test_interhand(file):
    with np.load(file) as given:
        seen, camera = seen_hands(given)
        two, gt, valid = given["ih.hand_type_idx"] == 2, given["ih.gt_cam"], given["ih.valid"]
        own = given["ih.abs_depth"].astype(np.float64)
        errors = metrics.two_hand_errors(joints(seen, own, "interhand", camera), gt, valid)
        exact = given["ih.exact.mpjpe_all_single_inter"]
        assert metrics.two_hand_mpjpe(errors, two) == pytest.approx(exact, rel=1e-6)
        printed = given["ih.out.per_joint_all_single_inter"]
        for hands, row in zip((errors, errors[~two], errors[two]), printed, strict=True):
            np.testing.assert_allclose(metrics.joint_means(hands), row, atol=5.1e-3)  # two decimals
        from_right = np.stack([own[:, 0], own[:, 0] + seen.rel_root_mm], 1)
        offset = metrics.mrrpe(joints(seen, from_right, "interhand", camera), gt, valid, interacting=two)
        assert offset == pytest.approx(float(given["ih.out.mrrpe"]), rel=1e-6)
        present = np.array([[1, 0], [0, 1], [1, 1]])[given["ih.hand_type_idx"]]
        hits = metrics.handedness_accuracy(given["ih.pred.hand_type"], present, given["ih.hand_type_valid"])
        assert hits == pytest.approx(float(given["ih.out.handedness"]), rel=1e-6)


@pytest.mark.files("goldens/networks/protocols_internet*.npz")
def test_stb(file):
    with np.load(file) as given:
        seen, camera = seen_hands(given)
        samples = len(given["stb.gt_cam_raw21"])
        seen = internet.TwoHands(*(array[:samples] for array in seen))
        depth = given["stb.abs_depth"].astype(np.float64)
        layout, left = internet.LAYOUTS["stb"], np.arange(samples) % 2 == 0
        both = joints(seen, np.stack([depth, depth], 1), "stb", camera)
        hands = [both[row, layout.joints("Left" if left[row] else "Right")] for row in range(samples)]
        error = metrics.mpjpe(hands, given["stb.gt_cam_raw21"], root=0)
        assert error == pytest.approx(float(given["stb.out.epe"]), abs=5.1e-3)  # two decimals
        hits = metrics.handedness_accuracy(given["ih.pred.hand_type"][:samples], np.stack([~left, left], 1))
        assert hits == pytest.approx(float(given["stb.out.handedness"]), rel=1e-6)


def seen_hands(given):
    names = ("joint_coord", "rel_root_depth", "hand_type")
    outputs = {name: torch.from_numpy(given[f"ih.pred.{name}"]) for name in names}
    camera = Intrinsics(*given["ih.focal"].tolist(), *given["ih.princpt"].tolist())
    return internet.two_hands_from_outputs(outputs, given["ih.pred.inv_trans"]), camera


def joints(seen, roots_mm, layout, camera):
    return internet.joints_in_camera(seen, roots_mm, internet.LAYOUTS[layout], camera)
