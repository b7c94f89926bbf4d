"""Data sets: images with their labels."""

from sonjit.segmentation.coco import coco_result, rle_from_mask
from sonjit_lab.datasets.coco import mask_from_segmentation
from sonjit_lab.datasets.convert import coco_annotation, convert_dataset
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Skipped
from sonjit_lab.datasets.registry import dataset_entry, list_datasets, open_dataset, register
from sonjit_lab.datasets.sample import Instance, ManoParameters, Sample, VideoFrame
from sonjit_lab.datasets.sheets import draw_contact_sheet
from sonjit_lab.datasets.splits import Part, split_dataset

__all__ = [
    "Dataset", "DatasetEntry", "Instance", "ManoParameters", "Part", "Sample", "Skipped", "VideoFrame",
    "coco_annotation", "coco_result", "convert_dataset", "dataset_entry", "draw_contact_sheet", "list_datasets",
    "mask_from_segmentation", "open_dataset", "register", "rle_from_mask", "split_dataset",
]  # fmt: skip
