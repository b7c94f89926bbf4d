"""What RootNet is held to. Source: Moon et al. 2019, Camera Distance-aware Top-down Approach, section 5.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def rootnet_losses(
    outputs: Mapping[str, Tensor], coord: Tensor, visible: Tensor, has_depth: Tensor
) -> dict[str, Tensor]:
    """The distance of the root from where it is.

    Args:
        outputs: of RootNet.
        coord: (B, 3) x, y in cells of the map, depth in mm.
        visible: (B,) 1 where the root is known and in the crop.
        has_depth: (B,) 1 where its depth is known; pictures with 2D labels alone have none.

    Returns:
        `root`: the mean of the three axes' distances, over the batch.
    """
    off = (outputs["coord"] - coord).abs() * visible[:, None]
    return {"root": ((off[:, 0] + off[:, 1] + off[:, 2] * has_depth) / 3).mean()}
