"""HO-3D, FreiHAND, DexYCB and FPHA the whole way, against their official formulas written anew.

Made data in the official layouts go through `sonjit eval` with tiny networks of random weights. What the servers would
be sent, or the journal where a set has no server, is then evaluated by formulas that share no code with the project.
"""

import base64
import json
import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from lab.tests.papers.layouts import (
    FLIP,
    TO_MEDIAPIPE,
    hand_pose,
    made_mano,
    picture,
    posed,
    write_dexycb,
    write_freihand,
    write_ho3d,
)
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import cKDTree

from sonjit import InputError
from sonjit.cli import main
from sonjit_lab.evaluation.prediction_files import encode_submission
from sonjit_lab.evaluation.predictions import Prediction
from sonjit_lab.evaluation.protocols import load_protocol
from sonjit_lab.hand_models import load_mano
from sonjit_lab.networks import create_network, save_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    files = {}
    for seed, side in enumerate(("right", "left")):
        np.savez(folder / f"{side}.npz", **made_mano(seed, side))
        files[side] = str(folder / f"{side}.npz")
    mano = {side: load_mano(file, side) for side, file in files.items()}
    for name, more in (("handoccnet", {"mano": mano["right"]}), ("ho3d", {}), ("dexycb", {})):
        deformer = {"mano": mano["right"], "mano_left": mano["left"], "variant": name}
        network = create_network(
            "deformer" if name != "handoccnet" else name, "demo", size="tiny", **(more or deformer)
        )
        files[name] = str(folder / f"{name}.safetensors")
        save_checkpoint(network, folder / f"{name}.safetensors")
    return files


@pytest.fixture
def evaluated(models, tmp_path, capsys):
    """Return a function that gives the metrics of eval.json and the report of `sonjit eval`."""

    def run(protocol, root, model, *more):
        name, weights = ("handoccnet", models[model]) if model == "handoccnet" else ("deformer", models[model])
        out = tmp_path / "out"
        given = ("--weights", weights, "--mano", models["right"], "--mano-left", models["left"], "--out", out)
        status = main(["eval", *map(str, ("--protocol", protocol, "--root", root, "--model", name, *given, *more))])
        assert status == 0, capsys.readouterr().err
        (only,) = json.loads((out / "eval.json").read_text())["runs"]
        return {metric["name"]: metric["value"] for metric in only["metrics"]}, only, (out / "report.md").read_text()

    return run


def server_means(errors):
    limits = np.linspace(0, 0.05, 100)
    shares = np.mean([(errors[:, k, None] <= limits).mean(0) for k in range(errors.shape[1])], 0)
    return 1000 * errors.mean(0).mean(), 100 * np.trapezoid(shares, limits) / 0.05


def procrustes(truth, points):
    centred, own = truth - truth.mean(0), points - points.mean(0)
    size, own_size = np.linalg.norm(centred) + 1e-8, np.linalg.norm(own) + 1e-8
    turn, scale = orthogonal_procrustes(centred / size, own / own_size)
    return own / own_size @ turn.T * scale * size + truth.mean(0)


def bone(truth, points, end):
    scale = np.linalg.norm(truth[end] - truth[0]) / np.linalg.norm(points[end] - points[0])
    return (points - points[0]) * scale + truth[0]


def f_score(truth, points, limit):
    near = (cKDTree(points).query(truth)[0] < limit).mean(), (cKDTree(truth).query(points)[0] < limit).mean()
    return 100 * 2 * near[0] * near[1] / sum(near) if sum(near) else 0.0


def server(truth, sent, *, plain, end):
    results = {}
    for name, align in ((plain, lambda t, p: p), ("pa_", procrustes), ("st_", lambda t, p: bone(t, p, end))):
        joints = np.array([np.linalg.norm(align(t, p) - t, axis=1) for t, p in zip(truth[0], sent[0], strict=True)])
        results[f"{name}mpjpe"], results[f"{name}auc"] = server_means(joints)
        if name == "st_":
            continue
        moved = [align(t, p) for t, p in zip(truth[1], sent[1], strict=True)]
        mesh = np.array([np.linalg.norm(p - t, axis=1) for t, p in zip(truth[1], moved, strict=True)])
        results[f"{name}mpvpe"], results[f"{name}mesh_auc"] = server_means(mesh)
        for limit in (5, 15):
            scores = [f_score(t, p, limit / 1000) for t, p in zip(truth[1], moved, strict=True)]
            results[f"{name}f{limit}"] = np.mean(scores)
    return results


def agree(ours, theirs):
    assert theirs
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-5), name  # a ten-thousandth of what servers print, in cm


@pytest.fixture(scope="module")
def ho3d(models, tmp_path_factory):
    root = tmp_path_factory.mktemp("ho3d")
    return root, write_ho3d(root, dict(np.load(models["right"])))


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("model", ["handoccnet", "ho3d"])
def test_ho3d_as_its_server_evaluates_it(ho3d, evaluated, tmp_path, model):
    root, truth = ho3d
    ours, run, report = evaluated("ho3d-v2", root, model, "--submission", tmp_path / "pred.json")
    joints, vertices = map(np.array, json.loads((tmp_path / "pred.json").read_text()))
    assert np.allclose(joints[:, 0], truth[0][:, 0])
    assert np.abs(np.diff(joints, axis=0)).max() > 1e-4  # another image, another hand
    agree(ours, server(truth, (joints, vertices), plain="", end=4))
    assert run["evaluated"] == 7
    assert "| HandOccNet" in report
    first = [slice(0, 5), slice(5, 7)]
    moving = [(joints - joints[:, :1])[part] * FLIP for part in first]
    true = [(truth[0] - truth[0][:, :1])[part] * FLIP for part in first]
    second = [np.diff(m, 2, axis=0) - np.diff(t, 2, axis=0) for m, t in zip(moving, true, strict=True)]
    agree(ours, {
        "acceleration_error": 1000 * np.linalg.norm(np.concatenate(second), axis=2).mean(),
        "jitter": 1000 * np.linalg.norm(np.diff(moving[0], 3, axis=0), axis=2).mean(),
        "jitter_of_labels": 1000 * np.linalg.norm(np.diff(true[0], 3, axis=0), axis=2).mean(),
    })  # fmt: skip


def test_ho3d_without_its_truth_gives_only_the_submission(ho3d, evaluated, tmp_path, capsys):
    root = tmp_path / "HO3D_v2"
    root.mkdir()
    (root / "evaluation").symlink_to(ho3d[0] / "evaluation")
    (root / "evaluation.txt").write_text((ho3d[0] / "evaluation.txt").read_text())
    _, run, _ = evaluated("ho3d-v2", root, "handoccnet", "--submission", tmp_path / "pred.json")
    assert run["evaluated"] == 0
    assert "nothing was evaluated: no label in 7 images is one that ho3d-v2 requires" in capsys.readouterr().err
    joints, vertices = map(np.array, json.loads((tmp_path / "pred.json").read_text()))
    assert joints.shape == (7, 21, 3)
    assert vertices.shape == (7, 778, 3)
    assert np.allclose(joints[:, 0], ho3d[1][0][:, 0])


@pytest.mark.nightly
@pytest.mark.slow
def test_freihand_as_its_server_evaluates_it(models, evaluated, tmp_path):
    root = tmp_path / "FreiHAND"
    xyz, verts = write_freihand(root, dict(np.load(models["right"])))
    ours, run, _ = evaluated("freihand", root, "handoccnet", "--submission", tmp_path / "pred.json")
    sent = tuple(map(np.array, json.loads((tmp_path / "pred.json").read_text())))
    agree(ours, server((xyz, verts), sent, plain="absolute_", end=9))
    assert run["evaluated"] == 4
    (root / "evaluation_verts.json").unlink()  # then MANO's parameters give the true vertices, by their mean pose
    assert evaluated("freihand", root, "handoccnet")[0]["pa_mpvpe"] == pytest.approx(ours["pa_mpvpe"], abs=1e-5)


@pytest.fixture(scope="module")
def dexycb(models, tmp_path_factory):
    root = tmp_path_factory.mktemp("dexycb")
    return root, write_dexycb(root, {side: dict(np.load(models[side])) for side in ("right", "left")})


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("model", ["handoccnet", "dexycb"])
def test_dexycb_as_its_toolkit_evaluates_it(dexycb, evaluated, tmp_path, model):
    root, truth = dexycb
    ours, run, report = evaluated("dexycb-s0", root, model, "--submission", tmp_path / "results.txt")
    rows = [line.split(",") for line in (tmp_path / "results.txt").read_text().splitlines()]
    sent = {int(row[0]): np.array(row[1:], float).reshape(21, 3) / 1000 for row in rows}
    known = [index for index, one in enumerate(truth) if one is not None]
    assert sorted(sent) == known
    joints, points = np.array([truth[place][0] for place in known]), np.array([sent[place] for place in known])
    aligned = np.array([procrustes(t, p) for t, p in zip(joints, points, strict=True)])
    for name, predicted, true in (
        ("absolute_", points, joints),
        ("", points - points[:, :1], joints - joints[:, :1]),
        ("pa_", aligned, joints),
    ):
        mean, area = server_means(np.linalg.norm(predicted - true, axis=2))
        agree(ours, {f"{name}mpjpe": mean, f"{name}auc": area})
    errors = np.linalg.norm(aligned - joints, axis=2)
    hidden = np.array([truth[place][2] for place in known])
    filled = 0
    for low, high in pairwise((0.25, 0.5, 0.75, 1.0)):
        inside = (hidden >= low) & ((hidden < high) | (high == 1))
        filled += inside.any()
        if inside.any():
            agree(ours, {f"pa_mpjpe {100 * low:g}-{100 * high:g} %": 1000 * errors[inside].mean()})
    assert filled > 1
    assert "[40]" in report
    assert run["evaluated"] == len(known)
    assert all(math.isfinite(ours[name]) for name in ("pa_f15", "pa_mpvpe"))


@pytest.mark.nightly
@pytest.mark.slow
def test_fpha_by_its_joints(evaluated, models, tmp_path):
    root, rng, fields = tmp_path / "FPHA", np.random.default_rng(9), dict(np.load(models["right"]))
    order = (0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20)
    lines, truth = [], []
    for frame in range(4):
        _, joints = posed(fields, hand_pose(rng), np.zeros(10), np.array([0.0, 0, 0.4]), flat=True)
        own = np.empty((21, 3))
        own[list(order)] = 1000 * joints[list(TO_MEDIAPIPE)]
        lines.append(f"{frame:04} " + " ".join(map(repr, own.ravel().tolist())))
        truth.append(own[list(order)])
        picture(root / f"Video_files/Subject_2/pour_juice/1/color/color_{frame:04}.jpeg", (480, 270), frame)
    file = root / "Hand_pose_annotation_v1/Subject_2/pour_juice/1/skeleton.txt"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n")
    ours, _, report = evaluated("fpha", root, "handoccnet")
    journal = (tmp_path / "out/evaluated-ground-truth-boxes.jsonl").read_text().splitlines()[1:]
    found = [np.array(json.loads(line)["evaluated"][0]["motion"])[0] for line in journal]
    alignments = [similarity(t, p) for t, p in zip(truth, found, strict=True)]
    agree(ours, {"pa_mpjpe": np.mean([np.linalg.norm(p - t, axis=1) for t, p in zip(truth, alignments, strict=True)])})
    assert "10.8" in report


def similarity(truth, points):
    own, true = points - points.mean(0), truth - truth.mean(0)
    left, sizes, right = np.linalg.svd(true.T @ own)
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    return (sizes * signs).sum() / np.square(own).sum() * own @ (left * signs @ right).T + truth.mean(0)


@pytest.mark.slow
def test_methods_are_drawn_one_a_row(ho3d, models, tmp_path, capsys):
    root, _ = ho3d
    for name, weights in (("handoccnet", "handoccnet"), ("deformer", "ho3d")):
        given = ["--root", root, "--model", name, "--weights", models[weights], "--mano", models["right"]]
        main(["eval", "--protocol", "ho3d-v2", *map(str, given), "--out", str(tmp_path / name)])
    figure = tmp_path / "compare.png"
    runs = [f"single view={tmp_path / 'handoccnet'}", str(tmp_path / "deformer")]
    capsys.readouterr()
    assert main(["compare", *runs, "--root", str(root), "--save", str(figure), "--columns", "3"]) == 0
    drawn = cv2.imread(str(figure))
    rows = drawn.reshape(3, -1, drawn.shape[1], 3)
    assert drawn.shape[1] > 3 * rows.shape[1]
    assert (rows[0] != rows[1]).any()
    assert (rows[1] != rows[2]).any()
    assert main(["compare", *runs, "--root", str(root), "--save", str(figure), "--samples", "nowhere"]) != 0
    assert "--samples nowhere: not among those" in capsys.readouterr().err
    main(["eval", "--protocol", "ho3d-v2", *map(str, given), "--limit", "3", "--out", str(tmp_path / "less")])
    assert main(["compare", runs[0], str(tmp_path / "less"), "--root", str(root), "--save", str(figure)]) != 0
    assert "has another data than" in capsys.readouterr().err


def test_submissions_that_no_server_takes_are_refused(ho3d, models, tmp_path, capsys):
    given = ["eval", "--root", str(ho3d[0]), "--model", "handoccnet", "--weights", models["handoccnet"],
             "--mano", models["right"], "--out", str(tmp_path)]  # fmt: skip
    assert main([*given, "--protocol", "fpha", "--data", "ho3d-v2:evaluation", "--submission", "p.json"]) != 0
    assert "challenge server, not to fpha" in capsys.readouterr().err
    assert main([*given, "--protocol", "ho3d-v2", "--submission", "p.zip"]) != 0
    assert "ho3d-v2 requires a .json file" in capsys.readouterr().err
    (tmp_path / "evaluation").symlink_to(ho3d[0] / "evaluation")
    frames = (ho3d[0] / "evaluation.txt").read_text().split()
    (tmp_path / "evaluation.txt").write_text("\n".join([*frames[:2], "AP10/9999", *frames[2:]]))
    given[2] = str(tmp_path)
    assert main([*given, "--protocol", "ho3d-v2", "--submission", str(tmp_path / "p.json"), "--skip-bad"]) != 0
    assert "requires all images, but 1 are left out: #2: " in capsys.readouterr().err
    (tmp_path / "evaluation.txt").write_text("\n".join([*frames, frames[0]]))
    assert main([*given, "--protocol", "ho3d-v2", "--submission", str(tmp_path / "p.json")]) != 0
    assert "evaluation.txt: names a frame twice" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["freihand", "ho3d-v2", "dexycb-s0"])
def test_unknown_points_are_refused_in_submissions(hand_sample, protocol):
    sample = hand_sample()
    vertices = np.zeros((778, 3))
    joints = np.array(sample.instances[0].keypoints_m)
    assert encode_submission(load_protocol(protocol), sample, [Prediction(keypoints_m=joints, vertices_m=vertices)])
    if protocol == "dexycb-s0":  # whose toolkit refuses a file without a labelled hand
        assert not any(base64.b64decode(encode_submission(load_protocol(protocol), sample, [])))
    joints[5] = np.nan
    with pytest.raises(InputError, match="joint 5 is unknown"):
        encode_submission(load_protocol(protocol), sample, [Prediction(keypoints_m=joints, vertices_m=vertices)])
    if protocol != "dexycb-s0":
        joints[5], vertices[7, 1] = 0, np.inf
        with pytest.raises(InputError, match="vertex 7 is unknown"):
            encode_submission(load_protocol(protocol), sample, [Prediction(keypoints_m=joints, vertices_m=vertices)])
