"""Data sets: images with their labels."""

from sonjit.lab.datasets.checks import draw_contact_sheet
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry, Skipped
from sonjit.lab.datasets.formats.coco_masks import coco_result, mask_from_segmentation, rle_from_mask
from sonjit.lab.datasets.formats.convert import convert_dataset
from sonjit.lab.datasets.registry import dataset_entry, list_datasets, open_dataset, register
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample, VideoFrame
from sonjit.lab.datasets.split import Part, split_dataset

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
