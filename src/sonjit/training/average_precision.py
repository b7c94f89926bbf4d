"""COCO's average precision of boxes and masks, by the names that a run's log has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sonjit.metrics import coco_precision

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

_KINDS: dict[str, Literal["bbox", "segm"]] = {"box": "bbox", "mask": "segm"}


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
        "box_ap", "box_ap50" and, with masks, "mask_ap", "mask_ap50"; NaN where nothing is annotated.
    """
    scores: dict[str, float] = {}
    for name, kind in _KINDS.items():
        if kind == "bbox" or masks:
            stats = coco_precision(annotations, results, kind, picture_ids=picture_ids).stats
            scores |= {f"{name}_ap": stats["AP"], f"{name}_ap50": stats["AP50"]}
    return scores
