"""COCO's average precision of boxes and masks, by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any, Literal

from sonjit.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

_KINDS: tuple[Literal["bbox"], Literal["segm"]] = ("bbox", "segm")


def average_precisions(
    annotations: Path, picture_ids: Collection[int], results: Sequence[Mapping[str, Any]], *, masks: bool = True
) -> dict[str, float]:
    """How well results fit the annotations of some pictures: AP over IoU 0.5 to 0.95, and AP50.

    Args:
        annotations: the JSON file in COCO's format.
        picture_ids: of the pictures that were looked at.
        results: as in COCO's results format.
        masks: whether the results hold masks.

    Returns:
        "box_ap", "box_ap50" and, with masks, "mask_ap", "mask_ap50"; -1 where nothing is annotated.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise MissingExtraError("COCO's average precision", "eval") from None
    data: Any = json.loads(annotations.read_text("utf-8"))
    wanted = set(picture_ids)
    subset = {
        **data,
        "images": [one for one in data["images"] if one["id"] in wanted],
        "annotations": [one for one in data["annotations"] if one["image_id"] in wanted],
    }
    scores: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(subset)
        found = truth.loadRes([dict(one) for one in results])
        for kind in _KINDS if masks else _KINDS[:1]:
            judged = COCOeval_faster(truth, found, kind)
            judged.run()
            name = "box" if kind == "bbox" else "mask"
            scores |= {f"{name}_ap": float(judged.stats[0]), f"{name}_ap50": float(judged.stats[1])}
    return scores
