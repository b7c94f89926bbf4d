"""`Detection` and `DetectionResult`."""

from __future__ import annotations

from dataclasses import dataclass

from sonjit.compat.mediapipe.tasks.python.components.containers.bounding_box import BoundingBox
from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category
from sonjit.compat.mediapipe.tasks.python.components.containers.keypoint import NormalizedKeypoint


@dataclass
class Detection:
    """One found object: its box in pixels, its labels and its points."""

    bounding_box: BoundingBox
    categories: list[Category]
    keypoints: list[NormalizedKeypoint] | None = None


@dataclass
class DetectionResult:
    """What was found in one image, the surest first."""

    detections: list[Detection]
