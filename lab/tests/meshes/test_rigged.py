"""Rigged hands on lifted keypoints: their positions in files and in the image."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import sonjit
from sonjit._util.errors import SonjitError
from sonjit.geometry.cameras import Intrinsics
from sonjit.media import open_source
from sonjit.results import Frame, Hand
from sonjit.runs import Outputs, run_input
from sonjit.runs.task import Lift
from sonjit_lab.hand_models import hand_mesh
from sonjit_lab.meshes import run

ASSETS = Path(sonjit.__file__).parent / "_util" / "assets"
CLIP = json.loads((ASSETS / "demo.json").read_text("utf-8"))
CAMERA = Intrinsics(CLIP["fx"], CLIP["fx"], CLIP["cx"], CLIP["cy"])
START = next(index for index, frame in enumerate(CLIP["frames"]) if len(frame["hands"]) == 2)


def true_hands(index):
    """Return the clip's hands with keypoints in camera space."""
    return [
        Hand(
            record["handedness"],
            0.9,
            np.column_stack([record["xy"], np.zeros(21)]).astype(np.float32),
            np.float32(record["xyz_m"]),
            id=number,
        )
        for number, record in enumerate(CLIP["frames"][index]["hands"])
    ]


@pytest.fixture
def rigged():
    """Return a model that accepts lifted hands, with the clip's camera as an assumed one."""
    try:
        return hand_mesh.RiggedHands(lambda *_: hand_mesh.Sight(CAMERA, assumed=True), lifted_by="internet")
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull rigs")


def test_lifted_hands_stand_where_they_are_and_show_where_they_are_seen(rigged):
    frames = [true_hands(index) for index in range(START, START + 4)]
    for number, hands in enumerate(frames):
        rigged.add_frame(Frame(number, number / 30, hands), np.zeros((480, 640, 3), np.uint8))
    rigged.finish()
    assert rigged.model == "rig+internet"
    for number, hands in enumerate(frames):
        meshes = rigged.meshes(number)
        assert len(meshes) == len(hands)
        for mesh, hand in zip(meshes, hands, strict=True):
            points = np.array([[p["x"], p["y"], p["z"]] for p in mesh.record["keypoints3D"]])
            assert np.linalg.norm(points - hand.keypoints_3d, axis=1).mean() < 0.01
            np.testing.assert_allclose(mesh.pixels[:, :2], CAMERA.project(mesh.vertices), atol=1e-6)


class Seeing:
    """Detector that finds the same hands in every image."""

    def __init__(self, hands):
        self.hands = hands

    def detect(self, rgb, time=None):
        return list(self.hands)

    def lift(self, rgb, hands):
        return self.hands

    def reset(self):
        pass


def test_hands_that_lifting_cannot_place_are_left_out_and_counted(rigs, tmp_path, monkeypatch):
    hands = true_hands(START)
    nowhere = [
        replace(hands[0], keypoints_3d=hands[0].keypoints_3d * np.float32(np.nan)),
        replace(hands[0], keypoints_3d=-hands[0].keypoints_3d),
        hands[1],
    ]
    outputs = Outputs(str(tmp_path / "out.json"), str(tmp_path / "out.mp4"))

    monkeypatch.setattr("sonjit_lab.meshes.run.create_detector", lambda *_, **__: Seeing(hands))
    monkeypatch.setattr("sonjit_lab.meshes.run.create_lifter", lambda _: Seeing(nowhere))
    task = run.MeshHands(camera=",".join(map(str, CAMERA)), lift=Lift(weights="demo"))
    with open_source(ASSETS / "demo.mp4") as source:
        worker = run.MeshWorker(task, "video")
        summary = run_input(worker, source, outputs, limit=2)
    assert (summary.frames, summary.instances) == (2, 2)
    assert summary.notes == ["4 hands left out: lifting could not determine where they are"]
    written = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [len(frame["hands"]) for frame in written["frames"]] == [1, 1]
    with open_source(tmp_path / "out.mp4") as drawn:
        assert sum(1 for _ in drawn) == 2


def silhouette(mesh):
    """Return a mask (480, 640) uint8 that is 1 where a mesh is in the image."""
    shape = np.zeros((480, 640), np.uint8)
    for face in np.round(mesh.pixels[mesh.faces][..., :2]).astype(np.int32):
        cv2.fillConvexPoly(shape, face, 1)
    return shape


def tip_vertices(mesh):
    """Return five vertex indices, one for each fingertip."""
    joints = np.array([[p["x"], p["y"], p["z"]] for p in mesh.record["keypoints3D"]])
    at = []
    for tip in (4, 8, 12, 16, 20):
        offsets = mesh.vertices - joints[tip]
        along = offsets @ (joints[tip] - joints[tip - 1])
        at.append(np.where(np.linalg.norm(offsets, axis=1) < 0.025, along, -1).argmax())
    return at


@pytest.mark.slow
def test_found_hands_cover_the_true_ones_to_their_fingertips(rigged, hands):
    found = hand_mesh.RiggedHands(hand_mesh.Sight.of(None))
    indices = range(0, len(CLIP["frames"]), 12)
    with open_source(ASSETS / "demo.mp4") as source:
        images = [frame.rgb for frame in source]
    detector, pairs = hands(static_image=True), []
    for index in indices:
        seen = detector.detect(images[index])
        for hand in true_hands(index):
            near = [one for one in seen if np.abs(one.keypoints[:, :2] - hand.keypoints[:, :2]).mean() < 25]
            if len(near) == 1 and near[0].handedness == hand.handedness:
                number = len(pairs)
                for model, one in ((rigged, hand), (found, near[0])):
                    model.add_frame(Frame(number, None, [replace(one, id=None)]), images[index])
                pairs.append(number)
    rigged.finish()
    found.finish()
    off, overlap = [], []
    for number in pairs:
        (truth,), (mesh,) = rigged.meshes(number), found.meshes(number)
        complete, shape = silhouette(truth), silhouette(mesh)
        overlap.append((complete & shape).sum() / (complete | shape).sum())
        edge = cv2.morphologyEx(complete, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        far = cv2.distanceTransform(1 - edge, cv2.DIST_L2, 5)
        at = tip_vertices(truth)
        true_x, true_y = np.clip(truth.pixels[at, :2].round().astype(int), 0, (639, 479)).T
        x, y = np.clip(mesh.pixels[at, :2].round().astype(int), 0, (639, 479)).T
        off += far[y, x][far[true_y, true_x] < 2].tolist()  # of fingers that end on the outline
    assert len(off) > 100
    assert np.mean(off) < 3
    assert np.mean(overlap) > 0.85
