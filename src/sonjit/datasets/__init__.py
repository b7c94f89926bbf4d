"""Data sets: pictures with what is known of them."""

from sonjit.datasets.coco import (
    CocoCategory,
    CocoData,
    CocoInstance,
    CocoPicture,
    load_coco,
    read_pictures,
)
from sonjit.datasets.coco_masks import coco_result, mask_from_segmentation, rle_from_mask

__all__ = [
    "CocoCategory",
    "CocoData",
    "CocoInstance",
    "CocoPicture",
    "coco_result",
    "load_coco",
    "mask_from_segmentation",
    "read_pictures",
    "rle_from_mask",
]
