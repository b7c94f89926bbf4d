"""Compare Sonjit's evaluators with the released evaluation code of data sets, on difficult generated results.

    python benchmarks/official_metrics.py --freihand FOLDER --ho3d FOLDER --dexycb FOLDER --interhand FOLDER

Each folder is a checkout of the repository of the data set's authors. Data sets without folder are skipped. The
official functions run as they are. Only what they import for other purposes (plots, point clouds) is replaced, and
`numpy.trapz`, which NumPy 2 calls `trapezoid`. Prints a table in Markdown. The exit status is 1 if a value differs by
more than the tolerance.

Not compared: 300W, whose released code is for MATLAB; Open3D's distances in FreiHAND's F-score, which are replaced by
HO-3D's NumPy version of the same function. `official_coco.py` compares COCO's metrics.
"""

import argparse
import ast
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation import landmarks, predictions, protocols
from sonjit_lab.papers.interhand import evaluator as two_hands

Array = NDArray[np.float64]
TOLERANCE = 1e-6
"""Largest accepted difference, in the unit of the metric."""
_SAMPLES, _JOINTS, _VERTICES = 6, 21, 97  # few vertices: the metrics of meshes take any number
_MANO_KNUCKLE, _KNUCKLE = 4, 9  # middle finger in HO-3D's and MediaPipe's order
_IMAGE = np.zeros((4, 4, 3), np.uint8)


@dataclass(frozen=True)
class Row:
    """One compared value."""

    script: str
    case: str
    metric: str
    official: float
    own: float

    @property
    def agrees(self) -> bool:
        """Whether the values are equal within the tolerance; NaN equals NaN."""
        both_unknown = math.isnan(self.official) and math.isnan(self.own)
        return both_unknown or abs(self.official - self.own) <= TOLERANCE


@dataclass(frozen=True)
class Hands:
    """Hands in metres: joints (N, 21, 3) and vertices (N, V, 3)."""

    joints: Array
    vertices: Array


def official(file: Path, names: Sequence[str], scope_names: Mapping[str, object]) -> dict[str, Any]:
    """Return functions and classes of a script by name, without running its imports.

    `Class.method` is a function. `scope_names` are the values of the global names that the functions use.
    """
    tree = ast.parse(file.read_text("utf-8"))
    nodes: list[ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names and node in tree.body:
            nodes.append(node)
        if isinstance(node, ast.ClassDef):
            nodes += [
                part for part in node.body if isinstance(part, ast.FunctionDef) and f"{node.name}.{part.name}" in names
            ]
    scope: dict[str, Any] = {"np": np, **scope_names}
    exec(compile(ast.Module(nodes, []), str(file), "exec"), scope)
    return scope


def cases(truth: Hands, rng: np.random.Generator) -> dict[str, Hands]:
    """Return predictions by the name of their difficulty."""

    def changed(change: Callable[[Array], Array]) -> Hands:
        return Hands(change(truth.joints), change(truth.vertices))

    def noisy(points: Array) -> Array:
        return points + rng.normal(0, 0.01, points.shape)

    folded = noisy(truth.joints)
    folded[:, _KNUCKLE] = folded[:, 0]
    return {
        "noise of 10 mm": changed(noisy),
        "exact": truth,
        "middle knuckle on the wrist": Hands(folded, noisy(truth.vertices)),
        "mirrored": changed(lambda points: noisy(points) * (-1, 1, 1)),
        "all points equal": changed(lambda points: np.broadcast_to(points[:, :1], points.shape).copy()),
        "all zero": changed(np.zeros_like),
        "a thousandth of the size": changed(lambda points: 1e-3 * noisy(points)),
        "far away": changed(lambda points: noisy(points) + 100.0),
        "one hand unknown": changed(lambda points: np.where(np.arange(_SAMPLES)[:, None, None] == 2, np.nan, points)),
    }


def own_metrics(protocol: str, truth: Hands, predicted: Hands, *, mesh: bool) -> dict[str, float]:
    """Return Sonjit's metrics by name."""
    evaluator = landmarks.JointEvaluator(protocols.load_protocol(protocol))
    items = []
    for index in range(_SAMPLES):
        vertices = {"vertices_m": truth.vertices[index]} if mesh else {}
        hand = Instance(
            kind="hand", side="Right", skeleton="hand_mediapipe21", keypoints_m=truth.joints[index], **vertices
        )
        sample = Sample(dataset="made", id=str(index), image=_IMAGE, width=4, height=4, instances=(hand,))
        found = predictions.Prediction(
            side="Right", keypoints_m=predicted.joints[index], placed=True, instance=0,
            vertices_m=predicted.vertices[index] if mesh else None,
        )  # fmt: skip
        items += evaluator.evaluate(sample, [found])
    summary = evaluator.summary(items, list(range(_SAMPLES)))
    return {metric.name: metric.value for metric in summary.metrics}


def compare_servers(freihand: Path | None, ho3d: Path | None, dexycb: Path | None) -> list[Row]:
    """Compare the metrics of FreiHAND, HO-3D v2 and DexYCB."""
    from scipy.linalg import orthogonal_procrustes

    rng = np.random.default_rng(0)
    centre = rng.uniform((-0.1, -0.1, 0.4), (0.1, 0.1, 0.9), (_SAMPLES, 1, 3))
    truth = Hands(*(centre + rng.normal(0, 0.04, (_SAMPLES, count, 3)) for count in (_JOINTS, _VERTICES)))
    rows: list[Row] = []
    for script, folder in (("FreiHAND eval.py", freihand), ("HO-3D eval.py", ho3d), ("DexYCB hpe_eval.py", dexycb)):
        if folder is None:
            continue
        base = freihand if script.startswith("DexYCB") else folder  # its toolkit imports FreiHAND's
        if base is None:
            raise SystemExit("--dexycb requires --freihand, whose functions it imports")
        util = official(base / "utils" / "eval_util.py", ["EvalUtil"], {})["EvalUtil"]
        names = ["align_w_scale", "align_sc_tr", "calculate_fscore"]
        scope = official(base / "eval.py", names, {"orthogonal_procrustes": orthogonal_procrustes})
        if script.startswith("FreiHAND"):
            if ho3d is None:
                raise SystemExit("--freihand requires --ho3d, whose F-score runs without Open3D")
            scope["calculate_fscore"] = official(ho3d / "eval.py", ["calculate_fscore"], {})["calculate_fscore"]
        for case, predicted in cases(truth, np.random.default_rng(1)).items():
            rows += _compare_server(script, case, truth, predicted, util, scope)
    return rows


def _compare_server(
    script: str, case: str, truth: Hands, predicted: Hands, util: Callable[..., Any], scope: Mapping[str, Any]
) -> list[Row]:
    protocol = {"F": "freihand", "H": "ho3d-v2", "D": "dexycb-s0"}[script[0]]
    mesh = script[0] != "D"
    alignments = {"F": ("absolute_", "pa_"), "H": ("", "st_", "pa_"), "D": ("absolute_", "", "pa_")}[script[0]]
    errors = {name: util() for name in alignments}
    meshes = {name: util(num_kp=_VERTICES) for name in (alignments[0], "pa_")}
    fscores: dict[str, list[float]] = {prefix + name: [] for prefix in meshes for name in ("f5", "f15")}
    try:
        for index in range(_SAMPLES):
            joints = _aligned_joints(script, truth.joints[index], predicted.joints[index].copy(), scope)
            for name, (true, found) in joints.items():
                errors[name].feed(true, np.ones(_JOINTS), found)
            if not mesh:
                continue
            true, found = truth.vertices[index], predicted.vertices[index].copy()
            offset = truth.joints[index][0] - predicted.joints[index][0]  # HO-3D's server requires the labelled wrist
            moved = found if "absolute_" in errors else found + offset
            for prefix, points in ((alignments[0], moved), ("pa_", scope["align_w_scale"](true, found))):
                meshes[prefix].feed(true, np.ones(_VERTICES), points)
                for name, limit in (("f5", 0.005), ("f15", 0.015)):
                    fscores[prefix + name].append(scope["calculate_fscore"](true, points, limit)[0])
    except ValueError as error:  # SciPy refuses NaN
        return [Row(script, case, f"refused by the official code: {error}", math.nan, math.nan)]
    own = own_metrics(protocol, truth, predicted, mesh=mesh)
    rows: list[Row] = []
    for found_by, names in ((errors, ("mpjpe", "auc")), (meshes if mesh else {}, ("mpvpe", "mesh_auc"))):
        for prefix, measured in found_by.items():
            mean, _, auc, _, _ = measured.get_measures(0.0, 0.05, 100)
            values = dict(zip(names, (1000 * mean, 100 * auc), strict=True))
            rows += [Row(script, case, f"{prefix}{name}", value, own[prefix + name]) for name, value in values.items()]
    for name, values in fscores.items() if mesh else ():
        rows.append(Row(script, case, name, 100 * float(np.mean(values)), own[name]))
    return rows


def _aligned_joints(script: str, true: Array, found: Array, scope: Mapping[str, Any]) -> dict[str, tuple[Array, Array]]:
    """Return the labelled and the predicted joints (21, 3) that a server compares, by the prefix of the metric."""
    joints: dict[str, tuple[Array, Array]] = {}
    if script[0] == "H":
        order = list(range(_JOINTS))  # with the middle knuckle at HO-3D's index; the wrist stays first
        order[_MANO_KNUCKLE], order[_KNUCKLE] = _KNUCKLE, _MANO_KNUCKLE
        joints["st_"] = (true[order], scope["align_sc_tr"](true[order], found[order]))
    else:
        joints["absolute_"] = (true, found)
    if script[0] != "F":
        joints[""] = (true - true[0], found - found[0])
    return joints | {"pa_": (true, scope["align_w_scale"](true, found))}


def compare_interhand(folder: Path) -> list[Row]:
    """Compare MPJPE, MRRPE and handedness of InterHand2.6M."""
    rng = np.random.default_rng(2)
    transforms = official(folder / "common" / "utils" / "transforms.py", ["pixel2cam", "cam2pixel"], {})
    size, depth_m = 64, 0.4
    cfg = SimpleNamespace(
        output_hm_shape=(size, size, size), input_img_shape=(size, size), bbox_3d_size=1000 * depth_m,
        bbox_3d_size_root=1000 * depth_m, output_root_hm_shape=size,
    )  # fmt: skip
    lines: list[str] = []

    def note(*values: object) -> None:
        lines.append(" ".join(map(str, values)))

    given = {"cfg": cfg, "pixel2cam": transforms["pixel2cam"], "trans_point2d": np.asarray, "print": note}
    evaluate = official(folder / "data" / "InterHand2.6M" / "dataset.py", ["Dataset.evaluate"], given)["evaluate"]
    focal, centre = np.array([600.0, 600.0]), np.array([32.0, 32.0])
    rows: list[Row] = []
    for case in ("noise of 10 mm", "joints without labels", "wrong hands", "unknown hand type", "ties at 0.5"):
        truth, predicted, valid, types, scores, known = _two_hands(rng, case)
        lines.clear()
        data, answers = _official_input(
            truth, predicted, valid, types, known, focal, centre, cfg, transforms["cam2pixel"]
        )
        answers["hand_type"] = np.array(scores)
        names = [{"name": str(index)} for index in range(2 * _JOINTS)]
        roots = {"right": 0, "left": _JOINTS}
        kinds = {"right": np.arange(_JOINTS), "left": np.arange(_JOINTS, 2 * _JOINTS)}
        me = SimpleNamespace(datalist=data, joint_num=_JOINTS, root_joint_idx=roots, joint_type=kinds, skeleton=names)
        evaluate(me, answers)
        own = _own_two_hands(truth, predicted, valid, types, scores, known)
        for metric, start in (
            ("mpjpe", "MPJPE for all hand sequences: "),
            ("mpjpe_single", "MPJPE for single hand sequences: "),
            ("mpjpe_interacting", "MPJPE for interacting hand sequences: "),
            ("mrrpe", "MRRPE: "),
            ("handedness", "Handedness accuracy: "),
        ):
            value = next((float(line.removeprefix(start)) for line in lines if line.startswith(start)), math.nan)
            mine = own.get(metric, math.nan)
            if metric.startswith("mpjpe"):
                mine = round(mine, 2)  # output of the official code
            elif metric == "handedness":
                mine /= 100 if mine > 1 else 1
            rows.append(Row("InterHand2.6M dataset.py", case, metric, value, mine))
    return rows


def _two_hands(
    rng: np.random.Generator, case: str
) -> tuple[Array, Array, NDArray[np.bool_], list[str], list[tuple[float, float]], list[bool]]:
    types = ["right", "left", "interacting", "interacting", "right", "left"]
    centre = rng.uniform((-0.05, -0.05, 0.6), (0.05, 0.05, 0.9), (_SAMPLES, 2, 1, 3))
    truth = (centre + rng.normal(0, 0.03, (_SAMPLES, 2, _JOINTS, 3))).reshape(_SAMPLES, 2 * _JOINTS, 3)
    predicted = truth + rng.normal(0, 0.01, truth.shape)
    valid = np.ones((_SAMPLES, 2 * _JOINTS), np.bool_)
    for index, kind in enumerate(types):
        if kind == "right":
            valid[index, _JOINTS:] = False
        if kind == "left":
            valid[index, :_JOINTS] = False
    if case == "joints without labels":
        valid[2, [3, 7, 30]] = False
        valid[0, [5]] = False
    right = {"right": (0.9, 0.1), "left": (0.1, 0.9), "interacting": (0.8, 0.7)}
    scores = [right[kind] for kind in types]
    if case == "wrong hands":
        scores[0], scores[2] = (0.9, 0.8), (0.9, 0.2)
    if case == "ties at 0.5":
        scores[0], scores[3] = (0.5, 0.1), (0.5, 0.9)
    known = [case != "unknown hand type" or index != 1 for index in range(_SAMPLES)]
    return truth, predicted, valid, types, scores, known


def _official_input(
    truth: Array, predicted: Array, valid: NDArray[np.bool_], types: Sequence[str], known: Sequence[bool],
    focal: Array, centre: Array, cfg: SimpleNamespace, cam2pixel: Callable[..., Array],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
    """Return labels in millimetres and predictions in cells, as InterNet gives them, with the true root depths."""
    data: list[dict[str, Any]] = []
    coordinates: list[Array] = []
    offsets: list[float] = []
    half, cells = cfg.bbox_3d_size / 2, cfg.output_root_hm_shape
    for index in range(_SAMPLES):
        camera = 1000 * truth[index]
        depth = {"right": camera[0, 2], "left": camera[_JOINTS, 2]}
        data.append(
            {
                "bbox": None,
                "cam_param": {"focal": focal, "princpt": centre},
                "joint": {"cam_coord": camera.copy(), "valid": valid[index].astype(float)},
                "hand_type": types[index],
                "hand_type_valid": known[index],
                "abs_depth": depth,
            }
        )
        pixels = cam2pixel(1000 * predicted[index], focal, centre)
        roots = np.repeat([depth["right"], depth["left"]], _JOINTS)
        pixels[:, 2] = ((pixels[:, 2] - roots) / half + 1) / 2 * cells
        coordinates.append(pixels)
        # MRRPE derives the left root from the depth of the right one and the predicted distance.
        predicted_root = 1000 * predicted[index, _JOINTS, 2]
        own = (pixels[_JOINTS, 2] / cells * 2 - 1) * half
        offsets.append(((predicted_root - own - depth["right"]) / half + 1) / 2 * cells)
    return data, {"joint_coord": coordinates, "rel_root_depth": offsets, "inv_trans": [None] * _SAMPLES}


def _own_two_hands(
    truth: Array, predicted: Array, valid: NDArray[np.bool_], types: Sequence[str],
    scores: Sequence[tuple[float, float]], known: Sequence[bool],
) -> dict[str, float]:  # fmt: skip
    evaluator = two_hands.TwoHandEvaluator(protocols.load_protocol("interhand2.6m"))
    items = []
    for index, kind in enumerate(types):
        sides = {"Right": slice(0, _JOINTS), "Left": slice(_JOINTS, 2 * _JOINTS)}
        hands = tuple(
            Instance(
                kind="hand", side="Right" if side == "Right" else "Left", skeleton="hand_mediapipe21",
                keypoints_m=truth[index, part], valid_m=valid[index, part],
            )
            for side, part in sides.items() if kind in (side.lower(), "interacting")
        )  # fmt: skip
        tags = {"hand_type": kind, "hand_type_valid": known[index]}
        sample = Sample(dataset="made", id=str(index), image=_IMAGE, width=4, height=4, instances=hands, tags=tags)
        found = [
            predictions.Prediction(side=side, score=score, keypoints_m=predicted[index, part], placed=True)
            for (side, part), score in zip(sides.items(), scores[index], strict=True)
        ]
        items += evaluator.evaluate(sample, found)
    return {metric.name: metric.value for metric in evaluator.summary(items, list(range(len(items)))).metrics}


def print_table(rows: Sequence[Row]) -> int:
    """Print the largest difference for each script and case, and every value that differs. Return 1 if one differs."""
    lines = ["| script | case | values | largest difference |", "|---|---|---:|---:|"]
    for script, case in dict.fromkeys((row.script, row.case) for row in rows):
        own = [row for row in rows if (row.script, row.case) == (script, case)]
        if len(own) == 1 and own[0].metric.startswith("refused"):
            lines.append(f"| {script} | {case} | – | {own[0].metric} |")
            continue
        gaps = [0.0 if row.agrees and math.isnan(row.official) else abs(row.official - row.own) for row in own]
        lines.append(f"| {script} | {case} | {len(own)} | {max(gaps):.1g} |")
    lines += [
        f"\n{row.script}, {row.case}, {row.metric}: official {row.official:.8g}, own {row.own:.8g}"
        for row in rows
        if not row.agrees
    ]
    print("\n".join(lines))
    return 0 if all(row.agrees for row in rows) else 1


def main() -> int:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("freihand", "ho3d", "dexycb", "interhand"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # pyright: ignore[reportAttributeAccessIssue]
    with np.errstate(all="ignore"):
        rows = compare_servers(options.freihand, options.ho3d, options.dexycb)
        rows += compare_interhand(options.interhand) if options.interhand else []
    return print_table(rows)


if __name__ == "__main__":
    sys.exit(main())
