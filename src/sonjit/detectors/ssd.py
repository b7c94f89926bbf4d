"""Detect objects with a single-shot detector, its anchors, and weighted non-maximum suppression.

Sources: Bazarevsky et al. 2019, BlazeFace, section 3.3 (blending instead of suppression) and the MediaPipe graphs; Liu
et al. 2016, SSD, section 2.2 (anchors, in the variant of MediaPipe's detectors).
"""

import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image
from sonjit.engines import Engine
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, letterbox, letterbox_box


@dataclass(frozen=True)
class Detection:
    """One detected object, in pixels of the image."""

    score: float  # 0..1
    box: FloatArray  # (4,) x_min, y_min, x_max, y_max; may leave the image
    keypoints: FloatArray  # (K, 2)


class SingleShotDetector:
    """Anchor-based detector whose outputs are boxes with keypoints (1, N, 4 + 2K) and logits (1, N, 1)."""

    def __init__(self, engine: Engine, grid: "AnchorGrid", *, overlap: float = 0.3) -> None:
        self._engine = engine
        self._overlap = overlap
        self._size = grid.input_size
        self._anchors = grid.anchors()[:, :2].astype(np.float64)  # (N, 2) centres

    def find(self, rgb: Image, min_score: float) -> list[Detection]:
        """Return the objects with at least `min_score` in an image (H, W, 3), best first."""
        (detections,) = self.find_from(rgb, min_score)
        return detections

    def find_from(self, rgb: Image, *min_scores: float) -> list[list[Detection]]:
        """Return the detections in an image (H, W, 3) for several minimum scores of one run.

        Blending depends on the minimum.
        """
        letterbox(rgb, self._size, self._size, out=self._engine.input[0])
        raw, logits = self._run()
        area_of_image = letterbox_box(rgb.shape[1], rgb.shape[0], self._size, self._size)
        return [self._objects(raw, logits, area_of_image, score) for score in min_scores]

    def find_in(self, rgb: Image, area: RotatedBox, min_score: float) -> list[Detection]:
        """Return the detections in a rotated square of an image (H, W, 3). Their boxes are upright in the image."""
        crop_on_grid(rgb, area, self._engine.input[0], border="zero")
        return self._objects(*self._run(), area, min_score)

    def _run(self) -> tuple[Float32Array, Float32Array]:
        """Return the raw boxes with their keypoints, and the logits (N,)."""
        first, second = self._engine.run()[:2]
        raw, logits = (first, second) if second.shape[-1] == 1 else (second, first)
        return raw, logits.ravel()

    def _objects(self, raw: Float32Array, logits: Float32Array, area: RotatedBox, min_score: float) -> list[Detection]:
        chosen = np.flatnonzero(logits >= _logit(min_score))
        if not chosen.size:
            return []
        scores = 1 / (1 + np.exp(-np.clip(logits[chosen].astype(np.float64), -100, 100)))
        values = raw.reshape(len(logits), -1)[chosen].astype(np.float64) / self._size  # (n, 4 + 2K)
        size = values[:, 2:4]
        keep = (size >= 0).all(axis=1) & np.isfinite(values).all(axis=1)
        points = np.concatenate([values[:, :2], values[:, 4:]], axis=1).reshape(len(values), -1, 2)  # centre, keypoints
        points += self._anchors[chosen][:, None]
        points = (points - 0.5) * area.width
        half = size * (area.width / 2)
        boxes = np.concatenate([points[:, 0] - half, points[:, 0] + half], axis=1)
        detections = blend_overlapping(scores[keep], boxes[keep], points[keep, 1:], self._overlap)
        return [_placed(item, area) for item in detections]


def _placed(detection: Detection, area: RotatedBox) -> Detection:
    """Convert a detection from a square area to pixels of the image. Its box is upright in the image too."""
    cos, sin = math.cos(area.rotation), math.sin(area.rotation)
    turn, middle = np.array([[cos, sin], [-sin, cos]]), (area.cx, area.cy)
    low, high = detection.box.reshape(2, 2)
    centre, half = (low + high) / 2 @ turn + middle, (high - low) / 2 @ abs(turn)
    return Detection(
        detection.score, np.concatenate([centre - half, centre + half]), detection.keypoints @ turn + middle
    )


def blend_overlapping(
    scores: FloatArray, boxes: FloatArray, keypoints: FloatArray, threshold: float = 0.3
) -> list[Detection]:
    """Suppress duplicates: every cluster becomes the score-weighted mean of its members. Return them, best first.

    Boxes (N, 4) with more IoU than `threshold` with the best one of a cluster belong to it, and it has that one's
    score.
    """
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    detections: list[Detection] = []
    while order.size:
        best = order[0]
        low = np.maximum(boxes[order, :2], boxes[best, :2])
        high = np.minimum(boxes[order, 2:], boxes[best, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        union = areas[order] + areas[best] - shared
        member = shared > threshold * union
        member[0] = True
        cluster = order[member]
        weights = scores[cluster] / scores[cluster].sum()
        points = np.einsum("n,nkc->kc", weights, keypoints[cluster])
        detections.append(Detection(float(scores[best]), weights @ boxes[cluster], points))
        order = order[~member]
    return detections


def _logit(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


@dataclass(frozen=True)
class AnchorGrid:
    """How anchors are laid over a square input."""

    input_size: int  # side of the network's input in pixels
    strides: tuple[int, ...]  # one per layer; neighbouring layers of one stride share a grid
    aspect_ratios: tuple[float, ...] = (1.0,)  # width / height of each anchor of a layer
    # aspect ratio of one more anchor per layer, at a scale between two layers; 0: none
    interpolated_aspect_ratio: float = 1.0
    min_scale: float = 0.2  # scale of the first layer, as a fraction of the input
    max_scale: float = 0.95  # scale of the last layer, as a fraction of the input
    fixed_size: bool = True  # every anchor is 1 x 1; only the centres count
    reduce_lowest_layer: bool = False  # the first layer has three fixed anchors instead

    def anchors(self) -> Float32Array:
        """Return the anchors (N, 4) float32: relative centre x, y, width and height, rows first."""
        scales = [self._scale(layer) for layer in range(len(self.strides))]
        grids: list[Float32Array] = []
        for stride, members in groupby(range(len(self.strides)), key=lambda layer: self.strides[layer]):
            sizes = [size for layer in members for size in self._sizes(layer, scales)]
            cells = math.ceil(self.input_size / stride)
            centre = (np.arange(cells, dtype=np.float32) + 0.5) / cells
            grid = np.empty((cells, cells, len(sizes), 4), np.float32)  # (y, x, anchor, 4)
            grid[..., 0], grid[..., 1] = centre[None, :, None], centre[:, None, None]
            grid[..., 2:] = 1.0 if self.fixed_size else np.array(sizes, np.float32)
            grids.append(grid.reshape(-1, 4))
        return np.concatenate(grids)

    def _scale(self, layer: int) -> float:
        if len(self.strides) == 1:
            return (self.min_scale + self.max_scale) / 2
        return self.min_scale + (self.max_scale - self.min_scale) * layer / (len(self.strides) - 1)

    def _sizes(self, layer: int, scales: list[float]) -> list[tuple[float, float]]:
        """Return width and height of one layer's anchors."""
        scale = scales[layer]
        if layer == 0 and self.reduce_lowest_layer:
            pairs = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            pairs = [(scale, ratio) for ratio in self.aspect_ratios]
            if self.interpolated_aspect_ratio > 0:
                following = scales[layer + 1] if layer + 1 < len(scales) else 1.0
                pairs.append((math.sqrt(scale * following), self.interpolated_aspect_ratio))
        return [(s * math.sqrt(r), s / math.sqrt(r)) for s, r in pairs]
