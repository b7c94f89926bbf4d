"""Batch norms for networks whose published form has none: put in to train from scratch, folded away at the end.

Source: Ioffe and Szegedy 2015, Batch Normalization, section 3.1; folding is arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Collection


class NormedConv(nn.Sequential):
    """A convolution and the batch norm of its channels."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels))


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


def fold_batch_norms(network: nn.Module) -> None:
    """Undo `put_batch_norms` in place, so that the plain network in eval mode gives what the normed one gave."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConv):
                conv, norm = child.eval()
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
