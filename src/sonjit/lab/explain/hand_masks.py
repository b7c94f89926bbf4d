"""Find hands, held objects and arms as masks: Sonjit's hand detector proposes, and `hand-masks` segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch

from sonjit._util.arrays import Float32Array, Image
from sonjit.detectors.create import create_detector
from sonjit.geometry.boxes import RotatedBox, box_iou, crop, crop_matrix, inverse_affine
from sonjit.lab.networks.checkpoints import saved_network
from sonjit.lab.networks.mask_rcnn.mask_rcnn import WEIGHTS, Category, DetectedInstances
from sonjit.lab.networks.mediapipe.hand_masks import PARTS, HandMaskNetwork, wide_box
from sonjit.lab.networks.registry import create_network

CATEGORIES: Final = (Category(1, "left_hand"), Category(2, "right_hand"), Category(3, "arm"), Category(4, "object"))
_LABELS: Final = {"Left": 1, "Right": 2, "arm": 3, "object": 4}
_ARM_SCALE: Final = 1.6
"""Side of the crop for arms, which reach farther than hands and objects, relative to the network's crop."""
_MASK_SIDE: Final = 56
_MIN_SHARE: Final = 0.01
"""Least share of a crop that an arm or an object covers."""
_SAME: Final = 0.5
"""IoU of boxes from which two objects or arms are one, seen from two hands."""


class HandMaskFinder:
    """Finder of hands, held objects and arms.

    Args:
        network: Network in eval mode.
        min_score: Minimum score of an instance, 0 to 1.
        max_hands: Maximum number of hands.
    """

    def __init__(self, network: HandMaskNetwork, *, min_score: float = 0.5, max_hands: int = 20) -> None:
        self._network, self._min_score = network, min_score
        self._detector = create_detector("hands", max_instances=max_hands, static_image=True)

    @torch.no_grad()
    def find(self, rgb: Image) -> DetectedInstances:
        """Return the instances in an image (H, W, 3), uint8 RGB, best first."""
        found: list[_Found] = []
        for hand in self._detector.detect(rgb):
            near = wide_box(hand.keypoints)
            far = near._replace(width=near.width * _ARM_SCALE, height=near.height * _ARM_SCALE)
            parts = self._read(rgb, near)
            arm = self._read(rgb, far)["arm"]
            for label, mask, box, share in (
                (_LABELS[hand.handedness], parts["hand"], near, 0.0),
                (_LABELS["object"], parts["object"], near, _MIN_SHARE),
                (_LABELS["arm"], arm, far, _MIN_SHARE),
            ):
                inside = mask >= 0.5
                if not inside.any() or inside.mean() < share:
                    continue
                score = hand.score * float(mask[inside].mean())
                placed = mask_in_image(mask, box, rgb.shape[:2])
                if placed is not None and score >= self._min_score:
                    found.append(_Found(score, label, *placed))
        return _instances(_without_duplicates(sorted(found, key=lambda item: -item.score)))

    def _read(self, rgb: Image, box: RotatedBox) -> dict[str, Float32Array]:
        """Return the probabilities of each part's pixels in a crop."""
        side = self._network.size
        image = torch.from_numpy(np.asarray(crop(rgb, box, side, side), np.uint8))
        outputs = self._network(image.permute(2, 0, 1)[None].to(self._network.device) / 255)
        masks = outputs["masks"][0].sigmoid().cpu().numpy()
        return dict(zip(PARTS, masks, strict=True))


class _Found(NamedTuple):
    """One instance: its score and label, its box in the image (4,), and its mask in the box."""

    score: float
    label: int
    bounds: Float32Array
    mask: Float32Array


def mask_in_image(
    mask: Float32Array, box: RotatedBox, size: tuple[int, int]
) -> tuple[Float32Array, Float32Array] | None:
    """Move a crop's mask into the image.

    Args:
        mask: (h, w) probabilities in the crop.
        box: Box of the crop in the image.
        size: Height and width of the image.

    Returns:
        The upright box (4,) around the mask in pixels of the image, and the mask (56, 56) in it; None if the mask is
        empty or outside the image.
    """
    matrix = crop_matrix(box, mask.shape[1], mask.shape[0])
    rows, columns = np.nonzero(mask >= 0.5)
    corners = [np.stack([columns + dx, rows + dy, np.ones(len(rows))]) for dx in (0, 1) for dy in (0, 1)]
    x, y = matrix @ np.concatenate(corners, 1)
    if not len(rows):
        return None
    left, right = np.clip([x.min(), x.max()], 0, size[1]).tolist()
    top, bottom = np.clip([y.min(), y.max()], 0, size[0]).tolist()
    if right - left < 1 or bottom - top < 1:
        return None
    steps = (np.arange(_MASK_SIDE) + 0.5) / _MASK_SIDE
    grid = np.meshgrid(left + steps * (right - left), top + steps * (bottom - top))
    points = np.stack([*(axis.ravel() for axis in grid), np.ones(_MASK_SIDE**2)])
    across, down = (inverse_affine(matrix) @ points - 0.5).reshape(2, _MASK_SIDE, _MASK_SIDE).astype(np.float32)
    sampled = cv2.remap(mask, across, down, cv2.INTER_LINEAR)
    return np.array([left, top, right, bottom], np.float32), np.asarray(sampled, np.float32)


def _without_duplicates(found: Sequence[_Found]) -> list[_Found]:
    """Return the instances without objects and arms that a better one repeats, which another hand proposed."""
    kept: list[_Found] = []
    for item in found:
        is_hand = item.label in (_LABELS["Left"], _LABELS["Right"])
        if is_hand or not any(item.label == other.label and _iou(item, other) >= _SAME for other in kept):
            kept.append(item)
    return kept


def _iou(a: _Found, b: _Found) -> float:
    first, second = ((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in (a.bounds, b.bounds))
    return box_iou(first, second)


def _instances(found: Sequence[_Found]) -> DetectedInstances:
    return DetectedInstances(
        torch.tensor(np.array([item.bounds for item in found], np.float32).reshape(-1, 4)),
        torch.tensor([item.score for item in found], dtype=torch.float32),
        torch.tensor([item.label for item in found], dtype=torch.int64),
        torch.tensor(np.array([item.mask for item in found], np.float32).reshape(-1, _MASK_SIDE, _MASK_SIDE)),
    )


def load_hand_masks(path: str | Path, *, min_score: float = 0.5, device: str | torch.device = "cpu") -> HandMaskFinder:
    """Load a finder of hands, held objects and arms.

    Args:
        path: Folder of a run of `sonjit train hand-masks`, or the weights in it; "demo" for placeholder weights.
        min_score: Minimum score of an instance, 0 to 1.
        device: Device of the network.

    Raises:
        InputError: The weights are missing or of another network.
    """
    file = Path(path)
    network = create_network("hand-masks", path if path == "demo" else file / WEIGHTS if file.is_dir() else file)
    assert isinstance(network, HandMaskNetwork)
    return HandMaskFinder(network.eval().to(device), min_score=min_score)


def is_hand_masks(path: str | None) -> bool:
    """Return whether a path is a run of `sonjit train hand-masks` or the weights of one."""
    file = Path(path or "")
    saved = saved_network(file / WEIGHTS if file.is_dir() else file)
    return saved is not None and saved.name == "hand-masks"
