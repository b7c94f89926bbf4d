"""HO-3D, FreiHAND, DexYCB and FPHA the whole way, against their official formulas written anew.

Made data in the official layouts go through `sonjit eval` with tiny networks of random weights. What the servers would
be sent, or the journal where a set has no server, is then evaluated by formulas that share no code with the project.
"""

import base64
import json
import math
import pickle
from itertools import pairwise

import cv2
import numpy as np
import pytest
import yaml
from lab.tests.mano_fields import file_fields
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import cKDTree

from sonjit import InputError
from sonjit.cli import main
from sonjit_lab.evaluation.prediction_files import encode_submission
from sonjit_lab.evaluation.predictions import Prediction
from sonjit_lab.evaluation.protocols import load_protocol
from sonjit_lab.hand_models import load_mano
from sonjit_lab.hand_models.placeholders import placeholder_mano
from sonjit_lab.networks import create_network, save_checkpoint

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
TIPS = (745, 317, 444, 556, 673)
TO_MEDIAPIPE = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
FLIP = np.array([1.0, -1.0, -1.0])
K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


def made_mano(seed, side):
    """Return the fields of a MANO file: the hand of tubes with random blends, components and mean pose."""
    rng = np.random.default_rng(seed)
    fields = {name: np.asarray(value, np.float64) for name, value in file_fields(placeholder_mano(side)).items()}
    return fields | {
        "weights": 0.8 * fields["weights"] + 0.2 / 16,
        "v_template": fields["v_template"] + rng.normal(0, 0.002, (778, 3)),
        "shapedirs": rng.normal(0, 0.001, (778, 3, 10)),
        "posedirs": rng.normal(0, 0.0003, (778, 3, 135)),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": rng.normal(0, 0.15, 45),
        "f": rng.integers(0, 778, (1538, 3)),
    }


def posed(fields, pose, betas, trans, *, flat, pca=False):
    """Return vertices and joints in MANO's order with tips, by linear blend skinning in NumPy."""
    fingers = pose[3:] @ fields["hands_components"] if pca else pose[3:]
    angles = np.concatenate([pose[:3], fingers + (0 if flat else fields["hands_mean"])]).reshape(16, 3)
    turns = np.stack([cv2.Rodrigues(angle)[0] for angle in angles])
    shaped = fields["v_template"] + fields["shapedirs"] @ betas
    rest = fields["J_regressor"] @ shaped
    bent = shaped + fields["posedirs"] @ (turns[1:] - np.eye(3)).ravel()
    rotations, places = [turns[0]], [rest[0]]
    for joint in range(1, 16):
        up = PARENTS[joint]
        rotations.append(rotations[up] @ turns[joint])
        places.append(places[up] + rotations[up] @ (rest[joint] - rest[up]))
    each = np.stack([(bent - rest[j]) @ rotations[j].T + places[j] for j in range(16)], 1)
    vertices = (fields["weights"][..., None] * each).sum(1)
    return vertices + trans, np.concatenate([places, vertices[list(TIPS)]]) + trans


def picture(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


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


def hand_pose(rng):
    return np.concatenate([rng.normal(0, 0.3, 3), rng.normal(0, 0.2, 45)])


@pytest.fixture(scope="module")
def ho3d(models, tmp_path_factory):
    """Write HO-3D's evaluation split with the ground truth: recordings of five frames and of two."""
    root, rng, fields = tmp_path_factory.mktemp("ho3d"), np.random.default_rng(3), dict(np.load(models["right"]))
    names = [f"AP1{one}/{frame:04}" for one, count in ((0, 5), (4, 2)) for frame in range(count)]
    xyz, verts = [], []
    for seed, name in enumerate(names):
        sequence, frame = name.split("/")
        place = np.array([0.02 * seed - 0.05, 0.03, -0.6])
        vertices, joints = posed(fields, hand_pose(rng), rng.normal(0, 1, 10), place, flat=True)
        xyz.append(joints.tolist())
        verts.append(vertices.tolist())
        pixels = (joints * FLIP) @ K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        box = [*pixels.min(0).tolist(), *pixels.max(0).tolist()]
        corners = place + np.array([[x, y, z] for x in (-0.03, 0.06) for y in (0, 0.1) for z in (-0.02, 0.02)])
        meta = {
            "camMat": K, "handJoints3D": joints[0], "handBoundingBox": box,
            "objRot": np.zeros((3, 1)), "objTrans": place, "objName": "021_bleach_cleanser", "objCorners3D": corners,
        }  # fmt: skip
        file = root / f"evaluation/{sequence}/meta/{frame}.pkl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(meta, protocol=2))
        picture(root / f"evaluation/{sequence}/rgb/{frame}.png", (640, 480), seed)
    (root / "evaluation.txt").write_text("\n".join(names) + "\n")
    (root / "evaluation_xyz.json").write_text(json.dumps(xyz))
    (root / "evaluation_verts.json").write_text(json.dumps(verts))
    return root, (np.array(xyz), np.array(verts))


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


def test_ho3d_without_its_truth_gives_only_the_submission(ho3d, evaluated, tmp_path):
    root = tmp_path / "HO3D_v2"
    root.mkdir()
    (root / "evaluation").symlink_to(ho3d[0] / "evaluation")
    (root / "evaluation.txt").write_text((ho3d[0] / "evaluation.txt").read_text())
    _, run, _ = evaluated("ho3d-v2", root, "handoccnet", "--submission", tmp_path / "pred.json")
    assert run["evaluated"] == 0
    joints, vertices = map(np.array, json.loads((tmp_path / "pred.json").read_text()))
    assert joints.shape == (7, 21, 3)
    assert vertices.shape == (7, 778, 3)
    assert np.allclose(joints[:, 0], ho3d[1][0][:, 0])


@pytest.mark.slow
def test_freihand_as_its_server_evaluates_it(models, evaluated, tmp_path):
    root, rng, fields = tmp_path / "FreiHAND", np.random.default_rng(5), dict(np.load(models["right"]))
    camera = np.array([[480.0, 0, 112], [0, 480, 112], [0, 0, 1]])
    xyz, verts, mano = [], [], []
    for number in range(4):
        pose, betas = hand_pose(rng), rng.normal(0, 1, 10)
        vertices, joints = posed(fields, pose, betas, np.array([0, 0.03, 0.7]), flat=False)
        xyz.append(joints[list(TO_MEDIAPIPE)])
        verts.append(vertices)
        mano.append([[*pose, *betas, 0.0, 0.0, 1.0]])
        picture(root / f"evaluation/rgb/{number:08}.jpg", (224, 224), number)
    tables = {"K": [camera.tolist()] * 4, "scale": [0.03] * 4, "xyz": np.array(xyz).tolist(),
              "verts": np.array(verts).tolist(), "mano": mano}  # fmt: skip
    for name, table in tables.items():
        (root / f"evaluation_{name}.json").write_text(json.dumps(table))
    ours, run, _ = evaluated("freihand", root, "handoccnet", "--submission", tmp_path / "pred.json")
    sent = tuple(map(np.array, json.loads((tmp_path / "pred.json").read_text())))
    agree(ours, server((np.array(xyz), np.array(verts)), sent, plain="absolute_", end=9))
    assert run["evaluated"] == 4
    (root / "evaluation_verts.json").unlink()  # then MANO's parameters give the true vertices, by their mean pose
    assert evaluated("freihand", root, "handoccnet")[0]["pa_mpvpe"] == pytest.approx(ours["pa_mpvpe"], abs=1e-5)


@pytest.fixture(scope="module")
def dexycb(models, tmp_path_factory):
    """Write a hundred recordings of DexYCB's third subject. The twenty of the test split s0 have images."""
    root, rng = tmp_path_factory.mktemp("dexycb"), np.random.default_rng(7)
    fields = {side: dict(np.load(models[side])) for side in ("right", "left")}
    (root / "calibration/intrinsics").mkdir(parents=True)
    intrinsics = {"color": {"fx": 600.0, "fy": 600.0, "ppx": 320.0, "ppy": 240.0}}
    (root / "calibration/intrinsics/840412060917_640x480.yml").write_text(yaml.safe_dump(intrinsics))
    betas = rng.normal(0, 1, 10)
    for side in fields:
        folder = root / f"calibration/mano_c_{side}"
        folder.mkdir()
        (folder / "mano.yml").write_text(yaml.safe_dump({"betas": betas.tolist()}))
    truth = []
    for number in range(100):
        folder = root / f"20200813-subject-03/20200813_{number:06}"
        side = ("right", "left")[number // 5 % 2]
        frames = 5 if number == 4 else 1
        meta = {"serials": ["840412060917"], "num_frames": frames, "ycb_ids": [3, 11], "ycb_grasp_ind": 1,
                "mano_sides": [side], "mano_calib": [f"c_{side}"]}  # fmt: skip
        folder.mkdir(parents=True)
        (folder / "meta.yml").write_text(yaml.safe_dump(meta))
        if number % 5 != 4:
            continue
        for frame in range(frames):
            pose, place = hand_pose(rng), np.array([0.01 * frame, 0.02, 0.7])
            vertices, joints = posed(fields[side], pose, betas, place, flat=False, pca=True)
            joints = joints[list(TO_MEDIAPIPE)]
            pixels = joints @ K.T
            pixels = pixels[:, :2] / pixels[:, 2:]
            seg = np.zeros((480, 640), np.uint8)
            low, high = pixels.min(0), pixels.max(0)
            cut = round(low[1] + (high[1] - low[1]) * rng.uniform(0, 1))
            seg[cut:480, round(low[0]) - 20 : round(high[0]) + 20] = 11  # the object hides what is below
            seg[300:, :40] = 3
            absent = number == 99
            labels = folder / f"840412060917/labels_{frame:06}.npz"
            picture(labels.with_name(f"color_{frame:06}.jpg"), (640, 480), 10 * number + frame)
            np.savez_compressed(
                labels, seg=seg, pose_y=np.zeros((2, 3, 4)), joint_2d=np.where(absent, -1, pixels[None]),
                pose_m=np.where(absent, 0, np.concatenate([pose, place])[None]),
                joint_3d=np.where(absent, -1, joints[None]),
            )  # fmt: skip
            nearest = np.floor(pixels + 0.5).astype(int)
            hidden = np.mean(seg[nearest[:, 1], nearest[:, 0]] == 11)
            truth.append(None if absent else (joints, vertices, hidden, side))
    return root, truth


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
