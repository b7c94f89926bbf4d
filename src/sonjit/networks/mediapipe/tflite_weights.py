"""Networks whose weights are published as TFLite files.

A module is filled from a file's layers in the file's order, beside the module's own in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sonjit.engines.tflite import TfliteFile, TfliteTensors
from sonjit.errors import InputError
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register

_AXES = {  # from TFLite's layout to PyTorch's
    "CONV_2D": (0, 3, 1, 2),  # (O, H, W, I)
    "DEPTHWISE_CONV_2D": (3, 0, 1, 2),  # (1, H, W, C)
    "FULLY_CONNECTED": (0, 1),  # (O, I)
    "PRELU": (2, 0, 1),  # (1, 1, C)
    "Convolution2DTransposeBias": (3, 0, 1, 2),  # (O, H, W, I)
}
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU)


class PublishedNetwork(Network):
    """Base of the networks that a TFLite file fills."""

    def load_tflite(self, path: Path) -> None:
        """Take over the published file."""
        fill_from_tflite(self, path, self.tflite_order())

    def tflite_order(self) -> Iterable[nn.Module]:
        """The parts in the order in which the file runs their layers; by default as they were made."""
        return [self]


def register_published(
    name: str,
    build: Callable[..., Network],
    summary: str,
    source: str,
    size: tuple[int, int],
    *,
    tiny: Mapping[str, object],
    tiny_size: tuple[int, int] = (64, 64),
    weight: str | None = "",
    low: float = 0.0,
) -> None:
    """Register a network of MediaPipe's.

    Args:
        name: under which it is made.
        build: makes it, untrained.
        summary: one line: what it predicts.
        source: paper and section.
        size: height and width of the images.
        tiny: options of the small twin for tests.
        tiny_size: height and width of the twin's images.
        weight: of the catalogue; "" is named as the network, None is not published.
        low: what the byte 0 becomes.
    """
    images, small = (InputSpec("images", (3, *one), low) for one in (size, tiny_size))
    weight = name if weight == "" else weight
    register(
        NetworkEntry(name, build, summary, source, "Apache-2.0", (images,), weight, tiny=tiny, tiny_inputs=(small,))
    )


@dataclass(frozen=True)
class TfliteLayer:
    """One layer with weights of a TFLite file.

    Attributes:
        kind: TFLite's name of the operator.
        weight: in PyTorch's layout: (O, I, H, W), (C, 1, H, W), (I, O, H, W) of a
            transposed convolution, or (O, I); of a PReLU its slopes (C,).
        bias: (O,), or None where there is none, or only zeros.
        stride: vertical and horizontal.
    """

    kind: str
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        """What it is, for messages."""
        return f"{self.kind} {tuple(self.weight.shape)}"


def read_tflite_layers(path: Path) -> list[TfliteLayer]:
    """The layers with weights in a TFLite file, in the order in which they run there.

    Raises:
        InputError: no such file, no TFLite file, or a damaged one.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        file = TfliteFile(path.read_bytes())
        tensors = TfliteTensors(file)
        layers: list[TfliteLayer] = []
        for operator in file.operators:
            kind = operator.custom or operator.kind
            if kind not in _AXES:
                continue
            weight, *bias = [_tensor(tensors.constant(number)) for number in operator.inputs[1:]]
            if weight is None:
                raise ValueError(f"{kind} without weights")
            weight = weight.permute(_AXES[kind]).contiguous()
            if kind == "PRELU":
                weight = weight.flatten()
            given = bias[0] if bias and bias[0] is not None and bias[0].any() else None
            layers.append(TfliteLayer(kind, weight, given, operator.stride))
    except (ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return layers


def fill_from_tflite(network: nn.Module, path: Path, order: Iterable[nn.Module] | None = None) -> None:
    """Take over the weights of a TFLite file into a module of the same architecture.

    Args:
        network: whose convolutions, linear layers and PReLUs are filled; it is left as it was where they do not fit.
        path: of the file.
        order: the modules in which those layers are found, in the order in which the file runs them; by default
            the network alone: its layers in the order in which they were made.

    Raises:
        InputError: the file is missing, damaged, or that of another network.
    """
    own = [
        (name, layer)
        for part in ([network] if order is None else order)
        for name, layer in part.named_modules()
        if isinstance(layer, _LAYERS)
    ]
    given = read_tflite_layers(path)
    if len(own) != len(given):
        raise InputError(f"{path}: not the file of {_name(network)}: {len(given)} layers with weights, not {len(own)}")
    for number, ((name, layer), its) in enumerate(zip(own, given, strict=True)):
        if not _fits(layer, its):
            want = f"{type(layer).__name__} {tuple(layer.weight.shape)}"
            raise InputError(f"{path}: not the file of {_name(network)}: layer {number} is {its}, not {name}: {want}")
    with torch.no_grad():
        for (_, layer), its in zip(own, given, strict=True):
            layer.weight.copy_(its.weight)
            bias = None if isinstance(layer, nn.PReLU) else layer.bias
            if bias is not None:
                bias.zero_() if its.bias is None else bias.copy_(its.bias)


def interleaved_layers(*branches: nn.Module) -> list[nn.Module]:
    """The layers of branches that run side by side: the first of each, then the second of each, and so on."""
    layers = ([layer for layer in branch.modules() if isinstance(layer, _LAYERS)] for branch in branches)
    return [layer for step in zip(*layers, strict=True) for layer in step]


def _fits(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.PReLU, its: TfliteLayer) -> bool:
    if layer.weight.shape != its.weight.shape:
        return False
    if isinstance(layer, nn.PReLU):
        return its.kind == "PRELU"
    if its.bias is not None and layer.bias is None:
        return False
    if isinstance(layer, nn.Linear):
        return its.kind == "FULLY_CONNECTED"
    if isinstance(layer, nn.ConvTranspose2d):
        return its.kind == "Convolution2DTransposeBias"
    depthwise = layer.groups == layer.out_channels > 1
    return layer.stride == its.stride and its.kind == ("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D")


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(np.array(values, np.float32))


def _name(network: nn.Module) -> str:
    return str(getattr(network, "name", type(network).__name__))
