"""Cards of faces and bodies: tables by skin tone, region and gender, from generated labels to the card."""

import json

import cv2
import numpy as np
import pytest

from sonjit.cli import main
from sonjit.results.skeletons import load_skeleton

GROUPS = [{"region": "a" if n < 24 else "b", "skin_tone": str(1 + n % 3), "gender": "fm"[n % 2]} for n in range(48)]


@pytest.mark.parametrize(
    ("protocol", "skeleton", "metric", "columns"),
    [("300w", "face_300w68", "NME", {"eyes": (36, 45)}), ("mediapipe-card", "body_coco17", "PDJ", {"torso": (5, 12)})],
)
@pytest.mark.slow
def test_groups_of_faces_and_bodies_are_compared(tmp_path, protocol, skeleton, metric, columns):
    random, names = np.random.default_rng(7), load_skeleton(skeleton).keypoints
    truth = random.uniform(20, 180, (48, len(names), 2)).round(2)
    spread = np.array([12 if one["gender"] == "m" else 6 for one in GROUPS])
    predicted = truth + random.normal(0, spread[:, None, None], truth.shape)
    images, annotations = [], []
    (tmp_path / "images").mkdir()
    for number, (points, group) in enumerate(zip(truth, GROUPS, strict=True), 1):
        name = f"{number}.png"
        cv2.imwrite(str(tmp_path / "images" / name), np.full((200, 200, 3), 90, np.uint8))
        images.append({"id": number, "file_name": name, "width": 200, "height": 200})
        keypoints = np.column_stack([points, np.full(len(points), 2)]).ravel().tolist()
        known = {"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, 200, 200], "group": group}
        annotations.append(known | {"keypoints": keypoints})
    category = {"id": 1, "name": skeleton.partition("_")[0], "keypoints": list(names)}
    data = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "dataset.json").write_text(json.dumps(data))
    ids = [f"images/{image['file_name']}" for image in images]
    np.savez(tmp_path / "p.npz", id=ids, keypoints_px=predicted, visible=np.ones(truth.shape[:2]))
    arguments = ["--protocol", protocol, "--data", "folder", "--root", tmp_path, "--predictions", tmp_path / "p.npz"]
    assert main(["eval", *map(str, arguments), "--out", str(tmp_path / "out")]) == 0
    assert main(["card", str(tmp_path / "out/eval.json"), "--out", str(tmp_path / "cards"), "--fewest", "8"]) == 0
    card = (tmp_path / "cards/p.md").read_text()
    ((first, second),) = columns.values()
    sizes = np.linalg.norm(truth[:, first] - truth[:, second], axis=1)
    errors = np.linalg.norm(predicted - truth, axis=2) / sizes[:, None]
    values = 100 * (errors if metric == "NME" else errors < 0.2).mean(1)
    for factor in ("region", "skin_tone", "gender"):
        assert f"{metric} by {factor}" in card
        for group in {one[factor] for one in GROUPS}:
            inside = np.array([one[factor] == group for one in GROUPS])
            (row,) = [line for line in card.splitlines() if line.startswith(f"| {group} |")]
            assert f"| {group} | {values[inside].mean():.2f} | {values[inside].std(ddof=1):.2f} |" in row
            assert f" {inside.sum()} " in row
