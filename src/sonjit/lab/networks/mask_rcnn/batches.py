"""Combine images of several sizes to one batch, and scale their ground truth."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from sonjit.lab.networks.mask_rcnn.roi_heads import Target

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images
_STRIDE = 32  # the batch is padded to a multiple of the coarsest map's stride


def batch_of(images: Sequence[Tensor], min_side: int, max_side: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Normalise and scale images, and pad them with 0 on the right and at the bottom.

    Args:
        images: Images (3, H, W) RGB 0..1.
        min_side: Length of the short side after scaling in pixels.
        max_side: Maximum length of the long side after scaling in pixels.

    Returns:
        (B, 3, H, W), and the height and width of each image in it.
    """
    scaled: list[Tensor] = []
    for image in images:
        mean, deviation = image.new_tensor(_MEAN), image.new_tensor(_DEVIATION)
        normal = (image - mean[:, None, None]) / deviation[:, None, None]
        height, width = image.shape[-2:]
        scale = min(min_side / min(height, width), max_side / max(height, width))
        size = max(int(height * scale), 1), max(int(width * scale), 1)
        scaled.append(F.interpolate(normal[None], size, mode="bilinear")[0])
    sizes = [(item.shape[-2], item.shape[-1]) for item in scaled]
    high, wide = (-(-max(side) // _STRIDE) * _STRIDE for side in zip(*sizes, strict=True))
    batch = scaled[0].new_zeros(len(scaled), 3, high, wide)
    for row, item in zip(batch, scaled, strict=True):
        row[:, : item.shape[-2], : item.shape[-1]] = item
    return batch, sizes


def ratio_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the factors (4,) from boxes on the resized image to boxes on the image (3, H, W)."""
    height, width = image.shape[-2:]
    across, down = width / size[1], height / size[0]
    return image.new_tensor([across, down, across, down])


def resize_target(image: Tensor, size: tuple[int, int], target: Target) -> Target:
    """Scale the ground truth of an image to a height and width."""
    masks = F.interpolate(target.masks[:, None].to(image.dtype), size)[:, 0]
    return Target(target.boxes / ratio_to(image, size), target.labels, masks)
