"""Batch norms and scaled heads that help a network which is trained from scratch.

Both are added before training. They are folded into the weights after it, so that the saved network has
neither.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class NormedConv(nn.Sequential):
    """A convolution followed by a batch norm of its channels (Ioffe and Szegedy 2015, section 3.1)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels))


class ScaledHead(nn.Module):
    """A layer that is trained with outputs in a scaled unit.

    Adam moves every weight by about the learning rate in a step, which is too little for a head with outputs in
    pixels and too much for one with outputs in metres.

    Args:
        head: Layer to scale, changed in place; the outputs of the scaled head are those of the layer.
        unit: Unit by which the outputs are divided in training.
    """

    def __init__(self, head: nn.Linear | nn.Conv2d, unit: float) -> None:
        super().__init__()
        self.head = _multiply_weights(head, 1 / unit)
        self._unit = unit

    def forward(self, values: Tensor) -> Tensor:
        """Return the outputs of the layer."""
        return self.head(values) * self._unit

    def folded(self) -> nn.Linear | nn.Conv2d:
        """Return the layer without the scale."""
        return _multiply_weights(self.head, self._unit)


def add_batch_norms(network: nn.Module, without: Collection[nn.Module] = ()) -> None:
    """Add a batch norm after every convolution that has a bias, in place.

    Args:
        network: Network to change. Convolutions without a bias stay, because folding would add a bias to them.
        without: Modules to leave unchanged, such as heads.
    """
    excluded = {id(module) for part in without for module in part.modules()}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.bias is not None and id(child) not in excluded:
                setattr(parent, name, NormedConv(child))


def scale_head(parent: nn.Module, name: str, unit: float) -> None:
    """Replace a head of a network by a `ScaledHead` with the given unit, in place."""
    head = getattr(parent, name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    setattr(parent, name, ScaledHead(head, unit))


def is_folded(network: nn.Module) -> bool:
    """Check whether `fold` would change nothing."""
    return not any(isinstance(module, NormedConv | ScaledHead) for module in network.modules())


def fold(network: nn.Module) -> None:
    """Undo `add_batch_norms` and `scale_head` in place; in eval mode, the outputs stay the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConv):
                conv, norm = child.eval()
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
            elif isinstance(child, ScaledHead):
                setattr(parent, name, child.folded())


def _multiply_weights(layer: nn.Linear | nn.Conv2d, factor: float) -> nn.Linear | nn.Conv2d:
    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor)
    return layer
