"""Write rendered images as COCO, with the fields that `open_dataset("folder", …)` reads and some more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sonjit._util.files import atomic_text
from sonjit._util.json_text import json_from
from sonjit._util.version import __version__
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

    def _annotations(self, chunks: Sequence[int]) -> Iterator[dict[str, object]]:
        count = 0
        for image, record in enumerate(self.records(chunks), 1):
            for instance in record["instances"]:
                if instance.get("area_px2", 0) >= MIN_PIXELS:
                    count += 1
                    yield _annotation(count, image, instance)


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
