"""Releases of the annotator are evaluated like any data set."""

import json

import cv2
import numpy as np
import pytest

from sonjit.cli import main
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.studio.annotation.project import create_project
from sonjit.studio.automatic.run_folder import FOLDER, Labels
from sonjit.studio.cameras.rig import CameraRig, RigCamera

CARD = """
title = "The bundled clip"
licence = "CC-BY-4.0"
consent = "rendered"
contact = "a@example.org"
[captures.project]
subject = "1"
split = "test"
"""


@pytest.mark.slow
def test_a_release_of_the_annotator_is_evaluated_and_not_written_again(weights, demo_clip, tmp_path, capsys):
    _, frames, truth = demo_clip
    clip = json.loads(demo_clip[0].with_suffix(".json").read_text("utf-8"))
    chosen = [20, 150, 200]
    matrix = np.array([[clip["fx"], 0, clip["cx"]], [0, clip["fx"], clip["cy"]], [0, 0, 1]])
    camera = CalibratedCamera(matrix, np.eye(3), np.zeros(3))
    rig = CameraRig(RigCamera(name, clip["width"], clip["height"], camera) for name in ("a", "b"))
    for view in rig:
        (tmp_path / view.name).mkdir()
        for index in chosen:
            cv2.imwrite(str(tmp_path / view.name / f"{index}.png"), np.ascontiguousarray(frames[index][..., ::-1]))
    create_project(tmp_path / "project", rig, {view.name: tmp_path / view.name for view in rig}).close()
    points = np.full((len(chosen), 2, 21, 3), np.nan)
    for row, index in enumerate(chosen):
        for hand in truth[index]["hands"]:
            points[row, int(hand["handedness"] == "Left")] = hand["xyz_m"]
    known = np.isfinite(points).all(-1)
    some = np.zeros(known.shape)
    seen = np.repeat(known[:, None], len(rig), 1)
    covariance = np.zeros((*known.shape, 3, 3))
    labels = Labels(np.array(chosen), points, covariance, known.astype(int), some.astype(int), some, seen, some[..., 0])
    labels.save(tmp_path / "project" / FOLDER / "run" / "labels")
    (tmp_path / "project" / FOLDER / "current.json").write_text('{"run": "run"}')
    (tmp_path / "card.toml").write_text(CARD)
    call = ["annotate", "release", tmp_path / "project", tmp_path / "out", "--card", tmp_path / "card.toml"]
    assert main(list(map(str, call))) == 0
    capsys.readouterr()

    sums = (tmp_path / "out" / "SHA256SUMS").read_text()
    assert main(list(map(str, call))) == 2
    assert capsys.readouterr().err.splitlines() == [f"sonjit: {tmp_path / 'out'} already exists: choose another folder"]
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == sums

    call = ["eval", "--protocol", "interhand2.6m", "--model", "hands-lite", "--root", tmp_path / "out"]
    assert main(list(map(str, [*call, "--mode", "reacquisition", "--out", tmp_path / "eval"]))) == 0
    assert "MPJPE" in capsys.readouterr().out
    (run,) = json.loads((tmp_path / "eval" / "eval.json").read_text())["runs"]
    main_metric = next(metric for metric in run["metrics"] if metric["name"] == run["main"])
    assert run["evaluated"] == len(chosen) * len(rig)
    assert 0 < main_metric["value"] < 40
