"""The baseline: how much the class score changes with each pixel.

Source: Simonyan et al. 2014, Deep Inside Convolutional Networks, section 3: the gradient's greatest absolute value
over the channels. It too is weakly supervised: it needs no box to train on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sonjit.networks import Network


def backprop_saliency(network: Network, images: Tensor, classes: Sequence[int] | Tensor) -> Tensor:
    """Saliency maps at picture size.

    Args:
        network: gives class scores (B, C) as "scores".
        images: (B, 3, H, W) in the network's own range.
        classes: one per picture.

    Returns:
        (B, H, W) float32, at least 0.
    """
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        scores = network(images)["scores"]  # (B, C)
        chosen = scores.gather(1, torch.as_tensor(classes, device=scores.device)[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, images)
    return gradient.abs().amax(1)
