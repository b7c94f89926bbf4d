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
from sonjit.datasets.dataset import Dataset, Skipped
from sonjit.datasets.registry import DatasetEntry, dataset_entry, list_datasets, open_dataset
from sonjit.datasets.sample import Instance, ManoParameters, Sample, SampleCamera

__all__ = [
    "CocoCategory",
    "CocoData",
    "CocoInstance",
    "CocoPicture",
    "Dataset",
    "DatasetEntry",
    "Instance",
    "ManoParameters",
    "Sample",
    "SampleCamera",
    "Skipped",
    "coco_result",
    "dataset_entry",
    "list_datasets",
    "load_coco",
    "mask_from_segmentation",
    "open_dataset",
    "read_pictures",
    "rle_from_mask",
]
