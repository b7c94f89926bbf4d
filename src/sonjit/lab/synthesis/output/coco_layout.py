"""Write rendered images as COCO, with the fields that `open_dataset("folder", …)` reads and some more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from sonjit._util.data_files import write_json
from sonjit._util.files import atomic_text
from sonjit._util.json_text import json_from
from sonjit._util.version import __version__
from sonjit.lab.datasets.coco import rle_from_mask
from sonjit.lab.synthesis.output.layouts import (
    MIN_PIXELS,
    HandTruth,
    ImageLayout,
    ImageTruth,
    RenderedImage,
    join,
)
from sonjit.results.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


COCO: Final = "coco.json"
INSTANCES: Final = "masks/instances.json"
_INSTANCE_CATEGORIES: Final = ("left_hand", "right_hand", "arm", "object")
_FIRST_GLOVE, _FIRST_ARM, _FIRST_OBJECT = 100, 150, 200  # of the values in masks
_IMAGE_FIELDS: Final = ("subject", "sequence", "frame", "view", "tags")
_HAND_FIELDS: Final = ("group", "causes", "palm_box", "keypoints_world_m", "shape", "pose", "instance")


class CocoLayout(ImageLayout):
    """`coco.json`, its images in `images`."""

    def name(self, image: RenderedImage, chunk: int) -> str:
        """Return a name in a folder for each chunk, so that no folder grows too large."""
        return f"images/{chunk:06d}/{image.row:06d}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """Write the annotations in one pass over the truth and the images in another, without loading all of it."""
        skeleton = load_skeleton("hand_mediapipe21")
        names, lines = list(skeleton.keypoints), [[a + 1, b + 1] for a, b in skeleton.connections]
        categories = [
            {"id": number, "name": f"{side}_hand", "supercategory": "hand", "keypoints": names, "skeleton": lines}
            for number, side in enumerate(("left", "right"), 1)
        ]
        info = {"description": "hands rendered by Sonjit", "version": __version__, "seed": self.settings.seed}
        with atomic_text(self.root / COCO) as file:
            file.write(f'{{"info": {json_from(info, spaced=True)},\n')
            file.write(f'"categories": {json_from(categories, spaced=True)},\n"annotations": [\n')
            join(file.write, (json_from(annotation, spaced=True) for annotation in self._annotations(chunks)))
            file.write('\n],\n"images": [\n')
            join(file.write, (json_from(_image(*item), spaced=True) for item in enumerate(self.records(chunks), 1)))
            file.write("\n]}\n")

        if "masks" in self.settings.extras:
            self._write_instances(chunks)

    def _write_instances(self, chunks: Sequence[int]) -> None:
        """Write the masks of hands, arms and objects as instances in COCO's format, for `sonjit train mask-rcnn`."""
        categories = [{"id": number, "name": name} for number, name in enumerate(_INSTANCE_CATEGORIES, 1)]
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for record in self.records(chunks):
            name = record["id"].removeprefix("images/")
            images.append(
                {"id": len(images) + 1, "file_name": name, "width": record["width"], "height": record["height"]}
            )
            mask = cv2.imread(str(self.extra_path("masks", record["id"])), cv2.IMREAD_UNCHANGED)
            assert mask is not None
            sides = {int(hand["extra"]["instance"]): int(hand["category_id"]) for hand in record["instances"]}
            for value, category in _instances(np.unique(mask).tolist(), sides):
                shown = np.isin(mask, value)
                if (area := int(shown.sum())) >= MIN_PIXELS:
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": len(images),
                            "category_id": category,
                            "iscrowd": 0,
                            "area": area,
                            "bbox": list(cv2.boundingRect(shown.astype(np.uint8))),
                            "segmentation": rle_from_mask(shown),
                        }
                    )
        write_json(self.root / INSTANCES, {"images": images, "annotations": annotations, "categories": categories})

    def _annotations(self, chunks: Sequence[int]) -> Iterator[dict[str, object]]:
        count = 0
        for image, record in enumerate(self.records(chunks), 1):
            for instance in record["instances"]:
                if instance.get("area_px2", 0) >= MIN_PIXELS:
                    count += 1
                    yield _annotation(count, image, instance)


def _instances(values: Sequence[int], sides: Mapping[int, int]) -> Iterator[tuple[list[int], int]]:
    """Yield each instance of a mask as its values and its index in the categories, counted from 1.

    Args:
        values: Values in the mask.
        sides: Category of each labelled hand by its number.
    """
    for number, category in sides.items():
        yield [number, number + _FIRST_GLOVE], category
    for value in values:
        if value >= _FIRST_ARM:
            yield [value], 4 if value >= _FIRST_OBJECT else 3


def _image(number: int, record: ImageTruth) -> dict[str, object]:
    camera: Mapping[str, object] = record["camera"]
    fields: Mapping[str, object] = record
    return {
        "id": number,
        "file_name": record["id"],
        "width": record["width"],
        "height": record["height"],
        "camera": {("t_m" if name == "t" else name): value for name, value in camera.items()},
        **{name: fields[name] for name in _IMAGE_FIELDS if name in fields},
    }


def _annotation(number: int, image: int, hand: HandTruth) -> dict[str, object]:
    details: Mapping[str, object] = hand["extra"]
    x_min, y_min, x_max, y_max = hand["box"]
    points: list[float] = []
    for (x, y), valid, is_visible in zip(hand["keypoints_px"], hand["valid_px"], hand["visible"], strict=True):
        points += [x, y, 2 if is_visible else 1] if valid else [0, 0, 0]
    return {
        "id": number,
        "image_id": image,
        "category_id": hand["category_id"],
        "iscrowd": 0,
        "hand_side": hand["side"].lower(),
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": hand.get("area_px2", 0),
        "segmentation": hand["mask"],
        "num_keypoints": sum(hand["valid_px"]),
        "keypoints": points,
        "keypoints3d": [[round(1000 * value, 3) for value in point] for point in hand["keypoints_m"]],
        **{name: details[name] for name in _HAND_FIELDS},
    }
