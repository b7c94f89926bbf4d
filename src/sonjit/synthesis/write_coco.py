"""Pictures with one COCO keypoints file, with the fields that `open_dataset("folder", …)` knows and some more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sonjit.skeletons import load_skeleton
from sonjit.synthesis.layouts import Made, PictureLayout, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

COCO: Final = "coco.json"
_OF_IMAGE: Final = ("subject", "sequence", "frame", "view", "tags")
_OF_HAND: Final = ("group", "causes", "palm_box", "keypoints_world_m", "shape", "pose", "instance")


class CocoLayout(PictureLayout):
    """`coco.json`, its pictures in `images`."""

    def name(self, one: Made, number: int) -> str:
        """In a folder for each chunk, so that none grows too large."""
        return f"images/{number:06d}/{one.scene:08d}_{one.view:03d}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """Annotations go to disk as they come; pictures, which are few bytes, at the end."""
        skeleton = load_skeleton("hand_mediapipe21")
        names, lines = list(skeleton.keypoints), [[a + 1, b + 1] for a, b in skeleton.connections]
        categories = [
            {"id": number, "name": f"{side}_hand", "supercategory": "hand", "keypoints": names, "skeleton": lines}
            for number, side in enumerate(("left", "right"), 1)
        ]
        with whole_file(self.root / COCO) as file:
            file.write(
                f'{{"info": {json.dumps(self.about)},\n"categories": {json.dumps(categories)},\n"annotations": ['
            )
            images = _write_annotations(file, self.records(chunks))
            file.write('\n],\n"images": [\n' + ",\n".join(images) + "\n]}\n")


def _write_annotations(file: TextIO, records: Iterable[dict[str, Any]]) -> list[str]:
    images: list[str] = []
    count = 0
    for number, record in enumerate(records, 1):
        images.append(json.dumps(_image(number, record)))
        for one in record["instances"]:
            file.write(",\n" if count else "\n")
            count += 1
            file.write(json.dumps(_annotation(count, number, one)))
    return images


def _image(number: int, record: dict[str, Any]) -> dict[str, Any]:
    camera = record["camera"]
    return {
        "id": number,
        "file_name": record["id"],
        "width": record["width"],
        "height": record["height"],
        "camera": {("t_m" if name == "t" else name): value for name, value in camera.items()},
        **{name: record[name] for name in _OF_IMAGE if name in record},
    }


def _annotation(number: int, image: int, one: dict[str, Any]) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = one["box"]
    points: list[float] = []
    for (x, y), valid, seen in zip(one["keypoints_px"], one["valid_px"], one["visible"], strict=True):
        points += [x, y, 2 if seen else 1] if valid else [0, 0, 0]
    return {
        "id": number,
        "image_id": image,
        "category_id": one["category_id"],
        "iscrowd": 0,
        "hand_side": one["side"].lower(),
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": one["area_px2"],
        "segmentation": one["mask"],
        "num_keypoints": sum(one["valid_px"]),
        "keypoints": points,
        "keypoints3d": [[round(1000 * value, 3) for value in point] for point in one["keypoints_m"]],
        **{name: one["extra"][name] for name in _OF_HAND},
    }
