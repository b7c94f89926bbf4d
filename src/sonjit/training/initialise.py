"""Preparing a network for training: initial weights, frozen weights, batch norms and scaled heads.

Batch norms and heads in units of their own help a network that is trained from scratch. Both are added before training
and folded into the weights after it, so that the plain network is what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sonjit.errors import InputError
from sonjit.training.settings import InitialisationName

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)  # pyright: ignore[reportPrivateUsage]  # the one base of convolutions


def _zeros(weight: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.zeros_(weight)


_DRAWS: dict[str, Callable[..., Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "he": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "normal": partial(nn.init.normal_, std=0.01),
    "zeros": _zeros,
    "orthogonal": nn.init.orthogonal_,
}


def initialise(network: nn.Module, name: InitialisationName, seed: int) -> None:
    """Draw the weights of convolutions and fully connected layers anew; their biases become 0.

    Args:
        network: changed in place; what is frozen, norms and embeddings stay.
        name: `xavier` and `he` are uniform and normal as in their papers (Glorot and Bengio 2010; He et al. 2015),
            `normal` has deviation 0.01, `own` leaves everything.
        seed: of what is drawn.
    """
    if name == "own":
        return
    drawn = torch.Generator().manual_seed(seed)
    draw = _DRAWS[name]
    for layer in network.modules():
        if not isinstance(layer, _LAYERS) or not layer.weight.requires_grad:
            continue
        with torch.no_grad():
            layer.weight.copy_(draw(torch.empty(layer.weight.shape), generator=drawn))
            if layer.bias is not None:
                layer.bias.zero_()


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Keep weights from being trained, and norms among them from updating their statistics.

    Args:
        network: changed in place.
        prefixes: of names: `features` is all of `features.0.weight`, `features.1.bias`, ...

    Raises:
        InputError: a prefix that no name has.
    """
    for prefix in prefixes:
        found = [weight for name, weight in network.named_parameters() if _within(name, prefix)]
        if not found:
            known = dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters())
            raise InputError(f"freeze={prefix}: no weight's name begins with it; the network has {', '.join(known)}")
        for weight in found:
            weight.requires_grad_(False)
        for name, module in network.named_modules():
            if _within(name, prefix):
                module.eval()


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


class NormedConv(nn.Sequential):
    """A convolution and the batch norm of its channels (Ioffe and Szegedy 2015, section 3.1)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels))


class ScaledHead(nn.Module):
    """A layer whose outputs are in other units than those in which it is trained.

    Adam moves every weight by about the learning rate in a step, which is too little for a head with outputs in
    pixels and too much for one with outputs in metres.

    Args:
        head: the layer, changed so that the outputs stay as they are.
        unit: of the outputs, by which they are divided in training.
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


def add_batch_norms(network: nn.Module, without: Collection[nn.Module] = ()) -> None:
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


def scale_head(parent: nn.Module, name: str, unit: float) -> None:
    """Train a head of a network in a unit of its own, in place."""
    head = getattr(parent, name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    setattr(parent, name, ScaledHead(head, unit))


def fold(network: nn.Module) -> None:
    """Undo `add_batch_norms` and `scale_head` in place; in eval mode the outputs stay the same."""
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
