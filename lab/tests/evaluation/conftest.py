"""A data set in COCO's format: frames of the bundled clip with exact labels."""

import json

import cv2
import numpy as np
import pytest

from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Instance, Sample


@pytest.fixture(scope="session")
def clip_folder(demo_clip, tmp_path_factory):
    _, frames, truth = demo_clip
    root = tmp_path_factory.mktemp("clip")
    (root / "images").mkdir()
    images, annotations = [], []
    chosen = [*range(20, 32), *range(90, 102)]
    for index in chosen:
        name = f"{index:04}.png"
        cv2.imwrite(str(root / "images" / name), np.ascontiguousarray(frames[index][..., ::-1]))
        height, width = frames[index].shape[:2]
        recording = "one" if index < 60 else "two"
        images.append({
            "id": index, "file_name": name, "width": width, "height": height,
            "subject": recording, "sequence": recording, "frame": index,
        })  # fmt: skip
        for hand in truth[index]["hands"]:
            points = np.array(hand["xy"])
            low, high = points.min(0), points.max(0)
            annotations.append({
                "id": len(annotations) + 1, "image_id": index, "category_id": 1,
                "hand_side": hand["handedness"].lower(),
                "keypoints": [value for x, y in hand["xy"] for value in (x, y, 2)],
                "keypoints3d": (1000 * np.array(hand["xyz_m"])).tolist(),
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "group": {"gender": "f" if len(annotations) % 2 else "m", "fitzpatrick": str(1 + len(annotations) % 3)},
            })  # fmt: skip
    names = list(load_skeleton("hand_mediapipe21").keypoints)
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "hand", "keypoints": names}]}
    (root / "dataset.json").write_text(json.dumps(data))
    return root


@pytest.fixture
def hand_sample():
    """Return a function that generates a hand in space and in the image from a seed."""

    def make(seed=0, sides=("Right",), **extra):
        random = np.random.default_rng(seed)
        instances = []
        for side in sides:
            metres = random.normal((0, 0, 0.6), 0.04, (21, 3))
            pixels = 500 * metres[:, :2] / metres[:, 2:] + 100
            hand = Instance(
                kind="hand", side=side, skeleton="hand_mediapipe21", keypoints_m=metres, keypoints_px=pixels
            )
            instances.append(hand)
        image = np.full((200, 200, 3), 127, np.uint8)
        return Sample(dataset="made", id=f"{seed}", image=image, width=200, height=200,
                      instances=tuple(instances), **extra)  # fmt: skip

    return make
