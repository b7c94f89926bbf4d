"""Pictures of several sizes as one batch, and what stands in them scaled with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F  # noqa: N812

from sonjit.networks.roi_heads import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures
_STRIDE = 32  # the batch is padded to whole cells of the coarsest map


def batch_of(pictures: Sequence[Tensor], min_side: int, max_side: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Pictures normalised, scaled and padded with 0 on the right and below.

    Args:
        pictures: (3, H, W) RGB 0..1 each.
        min_side: what the short side becomes, in pixels.
        max_side: what the long side becomes where it would be longer.

    Returns:
        (B, 3, H, W), and the height and width of each picture within it.
    """
    scaled: list[Tensor] = []
    for picture in pictures:
        mean, deviation = picture.new_tensor(_MEAN), picture.new_tensor(_DEVIATION)
        normal = (picture - mean[:, None, None]) / deviation[:, None, None]
        height, width = picture.shape[-2:]
        scale = min(min_side / min(height, width), max_side / max(height, width))
        size = max(int(height * scale), 1), max(int(width * scale), 1)
        scaled.append(F.interpolate(normal[None], size, mode="bilinear")[0])
    sizes = [(one.shape[-2], one.shape[-1]) for one in scaled]
    high, wide = (-(-max(side) // _STRIDE) * _STRIDE for side in zip(*sizes, strict=True))
    batch = scaled[0].new_zeros(len(scaled), 3, high, wide)
    for row, one in zip(batch, scaled, strict=True):
        row[:, : one.shape[-2], : one.shape[-1]] = one
    return batch, sizes


def ratio_to(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """(4,) by which boxes on the resized picture become boxes on the picture (3, H, W) itself."""
    height, width = picture.shape[-2:]
    across, down = width / size[1], height / size[0]
    return picture.new_tensor([across, down, across, down])


def resize_target(picture: Tensor, size: tuple[int, int], target: Target) -> Target:
    """What stands in a picture, scaled with it to a height and width."""
    masks = F.interpolate(target.masks[:, None].to(picture.dtype), size)[:, 0]
    return Target(target.boxes / ratio_to(picture, size), target.labels, masks)
