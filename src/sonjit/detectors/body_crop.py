"""Crops sampled on OpenCV 4's grid of 1/32 pixel.

OpenCV 5's warps sample without that grid. The difference of a grey level or two moves a body's keypoints by 0.1 px,
and by 20 px where a heatmap's peak stands at the threshold; on the grid they are MediaPipe's to 0.03 px, in no more
time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.geometry import crop, crop_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.geometry import RotatedBox

_REACH_PX = 32_766  # of OpenCV's maps


def crop_into(image: NDArray[np.uint8], box: RotatedBox, out: NDArray[np.uint8]) -> None:
    """Cut a rotated box, in pixels of a picture (H, W, 3), into `out` (h, w, 3); the border's pixels repeat."""
    import cv2

    height, width = out.shape[:2]
    matrix = crop_matrix(box, width, height)
    along_x = np.rint(matrix[:, :1] * np.arange(width) * 1024)  # (2, w) in 1/1024 pixel
    along_y = np.rint((matrix[:, 1:2] * np.arange(height) + matrix[:, 2:]) * 1024)  # (2, h)
    if np.abs(along_y[:, [0, -1], None] + along_x[:, None, [0, -1]]).max() > _REACH_PX * 1024:
        crop(image, box, width, height, out=out)
        return
    points = ((along_y.astype(np.int32) + 16)[:, :, None] + along_x.astype(np.int32)[:, None]) >> 5  # (2, h, w)
    where = np.empty((height, width, 2), np.int16)
    np.right_shift(points[0], 5, out=where[..., 0], casting="unsafe")
    np.right_shift(points[1], 5, out=where[..., 1], casting="unsafe")
    points &= 31
    weights = ((points[1] << 5) | points[0]).astype(np.uint16)
    cv2.remap(image, where, weights, cv2.INTER_LINEAR, out, cv2.BORDER_REPLICATE)  # pyright: ignore
