"""A small folder of user images with all fields of a COCO file."""

import json

import cv2
import numpy as np
import pytest

from sonjit.results.skeletons import load_skeleton

NAMES = load_skeleton("hand_mediapipe21").keypoints
CAMERA = {"K": [[200.0, 0, 60], [0, 200.0, 40], [0, 0, 1]], "R": np.eye(3).tolist(), "t_m": [0.1, 0, 0.2]}


def own_labels(count=6, seed=0):
    """Return a COCO file of `count` images of 120 x 80 pixels: the first empty, the others with one hand each."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(count):
        images.append({"id": number + 1, "file_name": f"p{number}.png", "width": 120, "height": 80})
        images[-1] |= {"subject": f"s{number // 2}", "sequence": "walk", "frame": number, "camera": CAMERA}
        if number == 0:
            continue
        points_mm = rng.uniform((-40, -30, 300), (40, 30, 350), (21, 3))
        points = points_mm[:, :2] / points_mm[:, 2:] * 200 + (60, 40)
        flags = np.full((21, 1), 2)
        flags[3], flags[4] = 1, 0
        keypoints = np.hstack([np.where(flags > 0, points, 0), flags])
        low, high = points.min(axis=0), points.max(axis=0)
        annotations.append({
            "id": number, "image_id": number + 1, "category_id": 7, "bbox": [*low.tolist(), *(high - low).tolist()],
            "segmentation": [[20, 20, 60, 20, 60, 50, 20, 50]], "keypoints": keypoints.ravel().tolist(),
            "keypoints3d": points_mm.tolist(), "hand_side": "left" if number % 2 else "right",
            "group": {"region": "Oceania", "skin_tone": 3},
        })  # fmt: skip
    categories = [{"id": 7, "name": "hand", "keypoints": list(NAMES), "skeleton": []}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_own(root, labels):
    """Write labels, and the images that they name if these do not exist."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(labels.get("images", ())):
        rgb = np.full((80, 120, 3), 20 + 15 * number % 200, np.uint8)
        path = root / "images" / image["file_name"]
        if not path.exists():
            cv2.imwrite(str(path), rgb)
    (root / "dataset.json").write_text(json.dumps(labels), "utf-8")
    return root


@pytest.fixture
def own(tmp_path):
    """Return a function that writes such a folder with changed labels, and returns it."""

    def make(change=lambda labels: None, **options):
        labels = own_labels(**options)
        change(labels)
        return write_own(tmp_path / "own", labels)

    return make
