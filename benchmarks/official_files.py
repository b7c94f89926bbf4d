"""Compare evaluations of result files with the released programs of FreiHAND, HO-3D and DexYCB.

    python benchmarks/official_files.py --freihand FOLDER --ho3d FOLDER --dexycb FOLDER

Each folder is a checkout of the repository of the data set's authors. The command makes a small data set in the
official layout and difficult result files. `sonjit eval --predictions --submission` evaluates each result file and
writes the file for the server, which the official program then evaluates. Only plots are left out of it, and Open3D's
distances are replaced by HO-3D's in NumPy. Prints a table in Markdown. The exit status is 1 if a value differs by more
than the last printed digit.
"""

# pyright: reportUnknownLambdaType=false
from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import pickle
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from official_metrics import Array, Row, official, table  # pyright: ignore[reportImplicitRelativeImport]

from sonjit.cli import main as sonjit
from sonjit.lab.datasets.reading import MANO

_COUNT, _JOINTS, _VERTICES = 3, 21, 778
_DIGITS = 4  # scores.txt has six digits of centimetres and shares
_MISSING = "an image without a row"
_OPENGL = np.array([1.0, -1.0, -1.0])
_CAMERA = [[500.0, 0.0, 112.0], [0.0, 500.0, 112.0], [0.0, 0.0, 1.0]]
_VALUES = {
    "freihand": {
        "xyz_mean3d": "absolute_mpjpe", "xyz_auc3d": "absolute_auc", "xyz_al_mean3d": "pa_mpjpe",
        "xyz_al_auc3d": "pa_auc", "mesh_mean3d": "absolute_mpvpe", "mesh_auc3d": "absolute_mesh_auc",
        "mesh_al_mean3d": "pa_mpvpe", "mesh_al_auc3d": "pa_mesh_auc", "f_score_5": "absolute_f5",
        "f_al_score_5": "pa_f5", "f_score_15": "absolute_f15", "f_al_score_15": "pa_f15",
    },
    "ho3d-v2": {
        "xyz_mean3d": "mpjpe", "xyz_auc3d": "auc", "xyz_procrustes_al_mean3d": "pa_mpjpe",
        "xyz_procrustes_al_auc3d": "pa_auc", "xyz_scale_trans_al_mean3d": "st_mpjpe",
        "xyz_scale_trans_al_auc3d": "st_auc", "mesh_mean3d": "mpvpe", "mesh_auc3d": "mesh_auc",
        "mesh_al_mean3d": "pa_mpvpe", "mesh_al_auc3d": "pa_mesh_auc", "f_score_5": "f5", "f_al_score_5": "pa_f5",
        "f_score_15": "f15", "f_al_score_15": "pa_f15",
    },
}  # fmt: skip
"""Sonjit's metric for each value of `scores.txt`."""


_WITH_MISSING = (
    "absolute_auc", "absolute_mesh_auc", "absolute_f5", "absolute_f15", "auc", "mesh_auc", "f5", "f15",
)  # fmt: skip
"""Metrics of unaligned points, in which a missing hand counts as an error."""


class Hands(SimpleNamespace):
    """Data set of one hand per image: joints (N, 21, 3) and vertices (N, 778, 3) in metres, in the camera's axes."""

    joints: Array
    vertices: Array


def made_hands(rng: np.random.Generator) -> Hands:
    """Return random hands before the camera."""
    centre = rng.uniform((-0.05, -0.05, 0.5), (0.05, 0.05, 0.9), (_COUNT, 1, 3))
    around = [centre + rng.normal(0, 0.03, (_COUNT, count, 3)) for count in (_JOINTS, _VERTICES)]
    return Hands(joints=around[0], vertices=around[1])


def cases(truth: Hands, names: Sequence[str], rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Return the arrays of result files by the name of their difficulty."""
    joints = truth.joints + rng.normal(0, 0.01, truth.joints.shape)
    vertices = truth.vertices + rng.normal(0, 0.01, truth.vertices.shape)
    base = {"id": np.array(names), "keypoints_m": joints, "vertices_m": vertices, "placed": np.array(True)}

    def rows(chosen: Iterable[int]) -> dict[str, Any]:
        order = list(chosen)
        return {name: array if array.ndim == 0 else array[order] for name, array in base.items()}

    unknown = joints.copy()
    unknown[1, 5] = np.nan
    half = rows([*range(_COUNT), 0])
    half["id"] = np.array([*names, "another/image.jpg"])
    both = rows([*range(_COUNT), *range(_COUNT)])
    both["side"] = np.array(["Right"] * _COUNT + ["Left"] * _COUNT)
    return {
        "noise of 10 mm": base,
        "exact": base | {"keypoints_m": truth.joints, "vertices_m": truth.vertices},
        "other order of rows": rows(reversed(range(_COUNT))),
        "a second hand in each image": both,
        "a row of another image": half,
        "mirrored": base | {"keypoints_m": joints * (-1, 1, 1), "vertices_m": vertices * (-1, 1, 1)},
        "without extent": base | {"keypoints_m": 0 * joints + 0.5, "vertices_m": 0 * vertices + 0.5},
        "float32": base | {"keypoints_m": joints.astype(np.float32), "vertices_m": vertices.astype(np.float32)},
        _MISSING: rows(range(_COUNT - 1)),
        "a joint unknown": base | {"keypoints_m": unknown},
        "half of the vertices": base | {"vertices_m": vertices[:, ::2]},
        "no rows": rows([]),
    }


def write_images(root: Path, files: Sequence[str], size: tuple[int, int]) -> None:
    """Write black images (height, width)."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / file), np.zeros((*size, 3), np.uint8))


def write_freihand(root: Path, truth: Hands) -> list[str]:
    """Write the evaluation split in FreiHAND's layout and return the names of its samples."""
    names = [f"evaluation/rgb/{index:08d}.jpg" for index in range(_COUNT)]
    write_images(root, names, (224, 224))
    for name, value in {
        "K": [_CAMERA] * _COUNT, "scale": [0.03] * _COUNT, "xyz": truth.joints.tolist(),
        "verts": truth.vertices.tolist(),
    }.items():  # fmt: skip
        (root / f"evaluation_{name}.json").write_text(json.dumps(value))
    return names


def write_ho3d(root: Path, truth: Hands) -> list[str]:
    """Write the evaluation split in the layout of HO-3D v2 and return the names of its samples."""
    names = [f"evaluation/SM1/rgb/{index:04d}.png" for index in range(_COUNT)]
    write_images(root, names, (480, 640))
    (root / "evaluation.txt").write_text("".join(f"SM1/{index:04d}\n" for index in range(_COUNT)))
    joints = np.empty_like(truth.joints)
    joints[:, list(MANO)] = truth.joints * _OPENGL
    (root / "evaluation/SM1/meta").mkdir()
    for index in range(_COUNT):
        meta = {
            "camMat": np.array(_CAMERA), "handJoints3D": joints[index, 0], "handBoundingBox": [0, 0, 224, 224],
            "objName": None,
        }  # fmt: skip
        (root / f"evaluation/SM1/meta/{index:04d}.pkl").write_bytes(pickle.dumps(meta, 2))
    for name, value in (("xyz", joints), ("verts", truth.vertices * _OPENGL)):
        (root / f"evaluation_{name}.json").write_text(json.dumps(value.tolist()))
    return names


def write_dexycb(root: Path, truth: Hands) -> list[str]:
    """Write one recording in DexYCB's layout, whose first frame shows no hand, and return the names of the others."""
    folder = root / "20200709-subject-01/20200709_141754"
    names = [f"{folder.relative_to(root)}/836212060125/color_{index + 1:06d}.jpg" for index in range(_COUNT)]
    write_images(root, [names[0].replace("000001", "000000"), *names], (480, 640))
    calibration = root / "calibration"
    for part in ("intrinsics", "mano_20200514-subject-01_right"):
        (calibration / part).mkdir(parents=True)
    betas = "\n".join("- 0.0" for _ in range(10))
    (calibration / "mano_20200514-subject-01_right/mano.yml").write_text(f"betas:\n{betas}\n")
    (calibration / "intrinsics/836212060125_640x480.yml").write_text(
        "color:\n  fx: 500.0\n  fy: 500.0\n  ppx: 320.0\n  ppy: 240.0\n"
    )
    (folder / "meta.yml").write_text(
        f"serials: ['836212060125']\nnum_frames: {_COUNT + 1}\nextrinsics: '1'\n"
        "mano_calib: [20200514-subject-01_right]\nmano_sides: [right]\nycb_ids: [2]\nycb_grasp_ind: 0\n"
    )
    for index in range(_COUNT + 1):
        joints = np.full((1, _JOINTS, 3), -1.0) if index == 0 else truth.joints[index - 1 : index]
        np.savez(
            folder / f"836212060125/labels_{index:06d}.npz", seg=np.zeros((480, 640), np.uint8),
            pose_y=np.zeros((1, 3, 4)), pose_m=np.zeros((1, 51)), joint_3d=joints,
            joint_2d=np.zeros((1, _JOINTS, 2)) + 50,
        )  # fmt: skip
    return names


def own(protocol: str, root: Path, arrays: dict[str, Any], folder: Path) -> dict[str, float] | str:
    """Evaluate a result file and write the submission. Return the metrics, or the message of the error."""
    np.savez(folder / "results.npz", **arrays)
    split = "all" if protocol == "dexycb-s0" else "evaluation"
    given = ["--protocol", protocol, "--split", split, "--root", str(root), "--out", str(folder / "out")]
    given += ["--predictions", str(folder / "results.npz"), "--submission", str(submission_of(protocol, folder))]
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = sonjit(["eval", *given])
    if status:
        return errors.getvalue().strip().splitlines()[-1]
    report = json.loads((folder / "out/eval.json").read_text())
    return {
        metric["name"]: math.nan if metric["value"] is None else metric["value"]
        for metric in report["runs"][0]["metrics"]
    }


def submission_of(protocol: str, folder: Path) -> Path:
    """Return the path of the file for the server."""
    return folder / ("pred.txt" if protocol == "dexycb-s0" else "pred.json")


class Released:
    """Released evaluation programs.

    Args:
        freihand: Checkout of FreiHAND.
        ho3d: Checkout of HO-3D.
        dexycb: Checkout of DexYCB's toolkit.
    """

    def __init__(self, freihand: Path, ho3d: Path, dexycb: Path) -> None:
        from scipy.linalg import orthogonal_procrustes

        self._folders = {"freihand": freihand, "ho3d-v2": ho3d, "dexycb-s0": freihand}
        self._dexycb = dexycb
        self._given: dict[str, Any] = {
            "os": os, "json": json, "orthogonal_procrustes": orthogonal_procrustes, "print": lambda *_: None,
            "json_load": lambda path: json.loads(Path(path).read_text()), "db_size": lambda *_, **__: _COUNT,
            "createHTML": lambda *_: None, "curve": lambda *_: None,
        }  # fmt: skip
        self._fscore = official(ho3d / "eval.py", ["calculate_fscore"], {})["calculate_fscore"]

    def evaluate(self, protocol: str, root: Path, folder: Path) -> dict[str, float] | str:
        """Return the values of the program by Sonjit's names in Sonjit's units, or the message of its error."""
        names = ["main", "_search_pred_file", "align_w_scale", "align_sc_tr", "align_by_trafo"]
        base = self._folders[protocol]
        self._given["EvalUtil"] = official(base / "utils/eval_util.py", ["EvalUtil"], {})["EvalUtil"]
        scope = official(base / "eval.py", names, self._given)
        scope["calculate_fscore"] = self._fscore
        try:
            if protocol == "dexycb-s0":
                return self._evaluate_dexycb(root, folder, scope)
            more = {"version": "v2"} if protocol == "ho3d-v2" else {}
            with contextlib.chdir(folder), contextlib.redirect_stderr(io.StringIO()):  # progress
                scope["main"](str(root), str(folder), str(folder), **more)
        except (TypeError, ValueError, AssertionError) as error:
            return f"{type(error).__name__} {error}".strip()
        lines = [line.split(": ") for line in (folder / "scores.txt").read_text().splitlines()]
        values = {name: float(value) for name, value in lines}
        return {
            metric: values[name] * (10 if name.endswith("mean3d") else 100)  # centimetres and shares
            for name, metric in _VALUES[protocol].items()
            if values[name] != -1 or "mesh" not in name
        }

    def _evaluate_dexycb(self, root: Path, folder: Path, scope: dict[str, Any]) -> dict[str, float]:
        names = ["HPEEvaluator._load_results", "HPEEvaluator.evaluate"]
        quiet = SimpleNamespace(info=lambda *_: None)
        given = self._given | {
            "align_w_scale": scope["align_w_scale"], "get_logger": lambda *_: quiet, "tabulate": lambda *_, **__: "",
            "_AUC_VAL_MIN": 0.0, "_AUC_VAL_MAX": 50.0, "_AUC_STEPS": 100,
        }  # fmt: skip
        script = official(self._dexycb / "dex_ycb_toolkit/hpe_eval.py", names, given)
        labels = sorted(root.rglob("labels_*.npz"))
        joints = {index: 1000 * np.load(path)["joint_3d"].reshape(_JOINTS, 3) for index, path in enumerate(labels)}
        visible = {index: points for index, points in joints.items() if not (points == -1000).all()}
        me = SimpleNamespace(
            _out_dir=str(folder), _name="all", _anno={"joint_3d": visible},
            _load_results=lambda path: script["_load_results"](None, path),
        )  # fmt: skip
        found = script["evaluate"](me, str(submission_of("dexycb-s0", folder)))
        prefixes = {"absolute": "absolute_", "root-relative": "", "procrustes": "pa_"}
        return {
            prefix + name: found[alignment][name] * (100 if name == "auc" else 1)
            for alignment, prefix in prefixes.items()
            for name in ("mpjpe", "auc")
        }


def compare(protocol: str, released: Released) -> list[Row]:
    """Return a row for each value that both compute."""
    write = {"freihand": write_freihand, "ho3d-v2": write_ho3d, "dexycb-s0": write_dexycb}[protocol]
    script = {"freihand": "FreiHAND eval.py", "ho3d-v2": "HO-3D eval.py", "dexycb-s0": "DexYCB hpe_eval.py"}[protocol]
    truth = made_hands(np.random.default_rng(11))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        names = write(root, truth)
        for case, arrays in cases(truth, names, np.random.default_rng(12)).items():
            if protocol == "dexycb-s0":
                arrays = {name: array for name, array in arrays.items() if name != "vertices_m"}
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                mine = own(protocol, root, arrays, folder)
                theirs = mine if isinstance(mine, str) else released.evaluate(protocol, root, folder)
            if case == _MISSING and not isinstance(theirs, str) and not isinstance(mine, str):
                # The official mean contains zeros in place of the hand. Sonjit's mean excludes it. Areas contain it.
                theirs = {name: theirs[name] for name in _WITH_MISSING if name in theirs}
            if isinstance(theirs, str) or isinstance(mine, str):
                by = "Sonjit" if isinstance(mine, str) else "the official code"
                rows.append(Row(script, case, f"refused by {by}: {theirs}", math.nan, math.nan))
                continue
            rows += [
                Row(script, case, name, round(value, _DIGITS), round(mine[name], _DIGITS))
                for name, value in theirs.items()
            ]
    return rows


def main() -> int:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("freihand", "ho3d", "dexycb"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # pyright: ignore[reportAttributeAccessIssue]
    released = Released(given.freihand, given.ho3d, given.dexycb)
    with np.errstate(all="ignore"):
        rows = [row for protocol in ("freihand", "ho3d-v2", "dexycb-s0") for row in compare(protocol, released)]
    sys.stdout.write(table(rows))
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
