"""Measure masks of hands, held objects and arms on photographs that were labelled by eye.

`python benchmarks/hand_masks.py PHOTOGRAPHS --run runs/hand-masks` prints the average precision of masks for each part.
PHOTOGRAPHS is the folder of `wild2` and `wild3`. `hand_masks.json` contains the polygons, in pixels. They were drawn
before the network was run. Areas that cannot be labelled with certainty are ignored, as COCO's crowds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from sonjit.lab.datasets import rle_from_mask
from sonjit.lab.explain.segment import CATEGORIES, load_hand_masks, results_from_instances
from sonjit.lab.metrics import coco_precision
from sonjit.media.sources.images import load_image

LABELS = Path(__file__).with_name("hand_masks.json")
PARTS = ("hand", "arm", "object")
"""Categories 1, 2, 3 of the evaluation; the sides of hands are one category."""
_PART_OF_CATEGORY = {1: 1, 2: 1, 3: 2, 4: 3}


def ground_truth(labels: Mapping[str, Any], sizes: Sequence[tuple[int, int]]) -> dict[str, list[dict[str, object]]]:
    """Return labels as COCO annotations; the id of an image is its index."""
    annotations: list[dict[str, object]] = []
    for index, ((_, items), (height, width)) in enumerate(zip(labels.items(), sizes, strict=True)):
        for item in items:
            mask = np.zeros((height, width), np.uint8)
            for polygon in item["polygons"]:
                cv2.fillPoly(mask, [np.array(polygon, np.int32)], 1)
            x, y, wide, high = cv2.boundingRect(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": index, "category_id": PARTS.index(item["part"]) + 1,
                    "bbox": [x, y, wide, high], "area": int(mask.sum()), "iscrowd": int(item.get("ignore", False)),
                    "segmentation": rle_from_mask(mask.astype(bool)),
                }
            )  # fmt: skip
    return {
        "images": [{"id": i, "width": width, "height": height} for i, (height, width) in enumerate(sizes)],
        "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(PARTS)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--run", required=True)
    parser.add_argument("--draw", type=Path, help="folder for drawn photographs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    labels = json.loads(LABELS.read_text())
    images = [load_image(arguments.photographs / name) for name in labels]
    finder = load_hand_masks(arguments.run, min_score=0.05)
    results: list[Any] = []
    for index, (name, rgb) in enumerate(zip(labels, images, strict=True)):
        found = finder.find(rgb)
        results += results_from_instances(found, rgb.shape[:2], index, [category.id for category in CATEGORIES])
        if arguments.draw:
            from sonjit.lab.explain.segment import draw_instances

            arguments.draw.mkdir(parents=True, exist_ok=True)
            keep = found.scores >= 0.5
            shown = type(found)(*(values[keep] for values in found))
            picture = draw_instances(rgb, shown, [category.name for category in CATEGORIES])
            cv2.imwrite(str(arguments.draw / (Path(name).stem + ".jpg")), picture[..., ::-1])
    for result in results:
        result["category_id"] = _PART_OF_CATEGORY[result["category_id"]]
    truth = ground_truth(labels, [image.shape[:2] for image in images])
    print("| part | masks | mask AP50 | mask AP |\n|---|---:|---:|---:|")
    for number, part in enumerate(PARTS, start=1):
        own = {**truth, "annotations": [item for item in truth["annotations"] if item["category_id"] == number]}
        mine = [result for result in results if result["category_id"] == number]
        stats = coco_precision(own, mine, "segm").stats
        count = sum(not item["iscrowd"] for item in own["annotations"])
        print(f"| {part} | {count} | {stats['AP50']:.3f} | {stats['AP']:.3f} |")


if __name__ == "__main__":
    main()
