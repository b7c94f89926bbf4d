"""Compute class activation maps and saliency of images and of the detectors' crops.

This package does not import PyTorch. `sonjit_lab.papers.cam.maps` explains classifiers with class activation maps or
saliency, and requires PyTorch.
"""

from sonjit.explanations.hand_saliency import HandExplainer, TargetMap, hand_map, load_hand_explainer
from sonjit.geometry.boxes import box_iou
from sonjit.media.drawing.heat_maps import draw_boxes, enlarge, grid, overlay, panel, place, side_by_side
from sonjit_lab.metrics.detection import box_from_map, boxes_from_maps, classification_error, localization_error

__all__ = [
    "HandExplainer", "TargetMap", "box_from_map", "box_iou", "boxes_from_maps", "classification_error", "draw_boxes",
    "enlarge", "grid", "hand_map", "load_hand_explainer", "localization_error", "overlay", "panel", "place",
    "side_by_side",
]  # fmt: skip
