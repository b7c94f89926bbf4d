"""Data sets: images with what is known of them."""

from sonjit.datasets.checks import draw_contact_sheet
from sonjit.datasets.dataset import Dataset, DatasetEntry, Skipped
from sonjit.datasets.formats.coco import (
    coco_result,
    mask_from_segmentation,
    rle_from_mask,
)
from sonjit.datasets.formats.convert import convert_dataset
from sonjit.datasets.registry import dataset_entry, list_datasets, open_dataset, register
from sonjit.datasets.sample import Instance, ManoParameters, Sample, VideoFrame
from sonjit.datasets.split import Part, split_dataset

__all__ = [
    "Dataset",
    "DatasetEntry",
    "Instance",
    "ManoParameters",
    "Part",
    "Sample",
    "Skipped",
    "VideoFrame",
    "coco_result",
    "convert_dataset",
    "dataset_entry",
    "draw_contact_sheet",
    "list_datasets",
    "mask_from_segmentation",
    "open_dataset",
    "register",
    "rle_from_mask",
    "split_dataset",
]
