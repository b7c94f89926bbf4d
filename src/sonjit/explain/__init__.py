"""Class activation maps and saliency, of images and of the detectors' crops.

What is named here needs no PyTorch. `sonjit.explain.classes` explains classifiers, by class activation maps and, for
comparison, by saliency; it needs the extra `train`.
"""

from sonjit.explain.hands import HandExplainer, TargetMap, hand_map, load_hand_explainer
from sonjit.explain.overlay import draw_boxes, enlarge, grid, overlay, panel, place, side_by_side
from sonjit.metrics.localization import box_from_map, box_iou, boxes_from_maps, classification_error, localization_error

__all__ = [
    "HandExplainer",
    "TargetMap",
    "box_from_map",
    "box_iou",
    "boxes_from_maps",
    "classification_error",
    "draw_boxes",
    "enlarge",
    "grid",
    "hand_map",
    "load_hand_explainer",
    "localization_error",
    "overlay",
    "panel",
    "place",
    "side_by_side",
]
