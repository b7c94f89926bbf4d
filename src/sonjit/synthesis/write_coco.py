"""Pictures with one COCO keypoints file, with the fields that `open_dataset("folder", …)` knows and some more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sonjit._version import __version__
from sonjit.skeletons import load_skeleton
from sonjit.synthesis.layouts import LEAST_PIXELS, Made, PictureLayout, join, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COCO: Final = "coco.json"
_OF_IMAGE: Final = ("subject", "sequence", "frame", "view", "tags")
_OF_HAND: Final = ("group", "causes", "palm_box", "keypoints_world_m", "shape", "pose", "instance")


class CocoLayout(PictureLayout):
    """`coco.json`, its pictures in `images`."""

    def name(self, one: Made, chunk: int) -> str:
        """In a folder for each chunk, so that none grows too large."""
        return f"images/{chunk:06d}/{one.row:06d}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """One pass over the truth for the annotations, one for the pictures: nothing is held in memory."""
        skeleton = load_skeleton("hand_mediapipe21")
        names, lines = list(skeleton.keypoints), [[a + 1, b + 1] for a, b in skeleton.connections]
        categories = [
            {"id": number, "name": f"{side}_hand", "supercategory": "hand", "keypoints": names, "skeleton": lines}
            for number, side in enumerate(("left", "right"), 1)
        ]
        info = {"description": "hands rendered by Sonjit", "version": __version__, "seed": self.settings.seed}
        with whole_file(self.root / COCO) as file:
            file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},\n"annotations": [\n')
            join(file.write, (json.dumps(one) for one in self._annotations(chunks)))
            file.write('\n],\n"images": [\n')
            join(file.write, (json.dumps(_image(*one)) for one in enumerate(self.records(chunks), 1)))
            file.write("\n]}\n")

    def _annotations(self, chunks: Sequence[int]) -> Iterator[dict[str, Any]]:
        count = 0
        for image, record in enumerate(self.records(chunks), 1):
            for one in record["instances"]:
                if one.get("area_px2", 0) >= LEAST_PIXELS:
                    count += 1
                    yield _annotation(count, image, one)


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
