"""How well a palm detector finds: COCO's average precision of its boxes, as its file would be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sonjit.detectors.ssd import blend_overlapping
from sonjit.metrics import coco_precision
from sonjit.training.palm_examples import palm_squares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.networks.palm_detection import PalmDetectionNetwork
    from sonjit.training.palm_examples import PalmPicture

_LEAST_SCORE, _BATCH = 0.02, 32
_CATEGORY = 1


def palm_precision(
    network: PalmDetectionNetwork, pictures: Sequence[PalmPicture], anchors: NDArray[np.float64], device: str = "cpu"
) -> dict[str, float]:
    """Average precision over pictures.

    Args:
        network: in eval mode.
        pictures: of one size.
        anchors: (N, 4) of that size.
        device: where the network is.

    Returns:
        "ap": in percent, a palm counts as found at an IoU of 0.5; "ap_strict": the mean over IoU 0.5 to 0.95.
    """
    results: list[dict[str, Any]] = []
    with torch.inference_mode():
        for start in range(0, len(pictures), _BATCH):
            images = np.stack([picture.image for picture in pictures[start : start + _BATCH]])  # (B, S, S, 3)
            seen = network(torch.from_numpy(images).to(device).permute(0, 3, 1, 2) / 255)
            scores, boxes = seen["scores"][..., 0].sigmoid().cpu().numpy(), seen["boxes"].cpu().numpy()
            for number, (score, box) in enumerate(zip(scores, boxes, strict=True)):
                results += _found(score, box, anchors, start + number)
    stats = coco_precision(_truth(pictures), results, "bbox").stats
    return {"ap": 100 * stats["AP50"], "ap_strict": 100 * stats["AP"]}


def _found(
    scores: NDArray[np.float32], boxes: NDArray[np.float32], anchors: NDArray[np.float64], picture: int
) -> list[dict[str, Any]]:
    """What one picture's scores (N,) and boxes (N, 18) come to, in COCO's results format."""
    chosen = (scores >= _LEAST_SCORE) & (boxes[:, 2:4] > 0).all(1)
    centre, half = boxes[chosen, :2] + anchors[chosen, :2], boxes[chosen, 2:4] / 2
    corners = np.concatenate([centre - half, centre + half], 1)
    points = boxes[chosen, 4:].reshape(-1, 7, 2) + anchors[chosen, None, :2]
    return [
        {"image_id": picture, "category_id": _CATEGORY, "score": palm.score, "bbox": _corner_and_size(palm.box)}
        for palm in blend_overlapping(scores[chosen].astype(np.float64), corners, points)
    ]


def _truth(pictures: Sequence[PalmPicture]) -> dict[str, Any]:
    """Palms in COCO's format; what is not judged is a crowd."""
    size = pictures[0].image.shape[0]
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures):
        for crowd, boxes in ((0, _corners(palm_squares(picture.palms))), (1, picture.unsure)):
            for box in boxes:
                x, y, width, height = _corner_and_size(box)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": _CATEGORY,
                        "iscrowd": crowd,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                    }
                )
    images = [{"id": number, "width": size, "height": size} for number in range(len(pictures))]
    return {"images": images, "annotations": annotations, "categories": [{"id": _CATEGORY, "name": "palm"}]}


def _corners(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    half = squares[:, 2:] / 2
    return np.concatenate([squares[:, :2] - half, squares[:, :2] + half], 1)


def _corner_and_size(box: NDArray[np.floating]) -> list[float]:
    x_min, y_min, x_max, y_max = box.tolist()
    return [x_min, y_min, x_max - x_min, y_max - y_min]
