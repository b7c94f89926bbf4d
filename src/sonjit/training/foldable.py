"""What a network needs to learn from scratch and not to run: batch norms, and heads in units of their own.

Both are put in before training and folded into the weights after it, so that what is kept is the plain network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Collection


class NormedConv(nn.Sequential):
    """A convolution and the batch norm of its channels (Ioffe and Szegedy 2015, section 3.1)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels))


class ScaledHead(nn.Module):
    """A layer that answers in other units than it learns in.

    Adam moves every weight by about the learning rate in a step, which is too little for a head that answers in pixels
    and too much for one that answers in metres.

    Args:
        head: the layer, changed so that its answers stay as they are.
        unit: what 1 within means without.
    """

    def __init__(self, head: nn.Linear | nn.Conv2d, unit: float) -> None:
        super().__init__()
        self.head = _times(head, 1 / unit)
        self._unit = unit

    def forward(self, values: Tensor) -> Tensor:
        """As the layer."""
        return self.head(values) * self._unit

    def folded(self) -> nn.Linear | nn.Conv2d:
        """The plain layer."""
        return _times(self.head, self._unit)


def put_batch_norms(network: nn.Module, without: Collection[nn.Module] = ()) -> None:
    """Follow every convolution that has a bias with a batch norm, in place.

    Args:
        network: whose convolutions without a bias stay as they are: folding could not keep them so.
        without: parts that stay as they are, such as heads.
    """
    spared = {id(module) for part in without for module in part.modules()}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.bias is not None and id(child) not in spared:
                setattr(parent, name, NormedConv(child))


def put_unit(parent: nn.Module, name: str, unit: float) -> None:
    """Let a head of a network learn in a unit of its own, in place."""
    head = getattr(parent, name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    setattr(parent, name, ScaledHead(head, unit))


def fold(network: nn.Module) -> None:
    """Undo `put_batch_norms` and `put_unit` in place; in eval mode the plain network gives what the other one gave."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConv):
                conv, norm = child.eval()
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
            elif isinstance(child, ScaledHead):
                setattr(parent, name, child.folded())


def _times(layer: nn.Linear | nn.Conv2d, factor: float) -> nn.Linear | nn.Conv2d:
    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor)
    return layer
