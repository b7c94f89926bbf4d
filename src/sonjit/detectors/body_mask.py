"""The mask of a person in the picture, from the landmark network's segmentation, and its smoothing over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.geometry import crop_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.geometry import RotatedBox

_UNCERTAINTY = (-624.717, 291.309, -57.8051, -0.748699, 5.68842, 0.0)
"""Of (p - 1/2)^2, highest power first: what MediaPipe takes for 1 - entropy of a probability p."""


def mask_from_logits(logits: NDArray[np.float32], box: RotatedBox, width: int, height: int) -> NDArray[np.float32]:
    """Probability per pixel of the picture (height, width) from logits (h, w) over a box; 0 outside of the box."""
    import cv2

    matrix = crop_matrix(box, logits.shape[1], logits.shape[0])
    return cv2.warpAffine(sigmoid(logits), matrix, (width, height), flags=cv2.INTER_LINEAR)  # pyright: ignore


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities from logits of any shape; large ones overflow nowhere."""
    result = np.tanh(logits * np.float32(0.5))
    result += 1
    result *= 0.5
    return result


class MaskSmoother:
    """Mixes in the frame before where the new mask is unsure, as MediaPipe's segmentation smoothing does.

    Args:
        ratio: of the frame before where a pixel is entirely unsure; 0.7 in MediaPipe's graph file. (Its Python
            package loses the number and does not smooth.)
    """

    def __init__(self, ratio: float = 0.7) -> None:
        self._ratio = np.float32(ratio)
        self._previous: NDArray[np.float32] | None = None

    def __call__(self, mask: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mask (H, W) of a frame, smoothed; one of another size starts anew."""
        previous = self._previous
        if previous is None or previous.shape != mask.shape:
            self._previous = mask
            return mask
        unsure = np.flatnonzero((mask > 1e-3) & (mask < 1 - 1e-3))
        new = mask.reshape(-1)[unsure]
        weight = self._ratio * (1 - np.minimum(1, np.polyval(_UNCERTAINTY, (new - 0.5) ** 2))).astype(np.float32)
        smooth = mask.copy()
        smooth.reshape(-1)[unsure] = new + weight * (previous.reshape(-1)[unsure] - new)
        self._previous = smooth
        return smooth
