"""Load the weights of the published TFLite files into PyTorch modules.

The published files have no batch norms: they were folded into the convolutions, which therefore have a bias here. A
module's layers are filled in order from a file's layers in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.engines.tflite import TfliteFile, TfliteTensors
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, register

_AXES = {  # from TFLite's layout to PyTorch's
    "CONV_2D": (0, 3, 1, 2),  # (O, H, W, I)
    "DEPTHWISE_CONV_2D": (3, 0, 1, 2),  # (1, H, W, C)
    "FULLY_CONNECTED": (0, 1),  # (O, I)
    "PRELU": (2, 0, 1),  # (1, 1, C)
    "Convolution2DTransposeBias": (3, 0, 1, 2),  # (O, H, W, I)
}
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU)


class PublishedNetwork(Network):
    """Base class of networks with a published TFLite file."""

    def load_tflite(self, path: Path) -> None:
        """Load the published file."""
        fill_from_tflite(self, path, self.tflite_order())

    def tflite_order(self) -> Iterable[nn.Module]:
        """Return the modules in the order in which the file runs their layers; by default as they were created."""
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
    multiple_of: int = 32,
    one_crop: bool = False,
) -> None:
    """Register a network of MediaPipe.

    Args:
        name: Name in the registry.
        build: Function that builds the untrained network.
        summary: Predictions of the network, in one line.
        source: Paper and section.
        size: Height and width of the images.
        tiny: Options of the small twin for tests.
        tiny_size: Height and width of the twin's images.
        weight: Name in the catalogue; "" for the network's name, None if it is not published.
        low: Value of the byte 0.
        multiple_of: Number that divides the sides of images that the network accepts.
        one_crop: True for a network that requires images of its own size.
    """
    images, small = (
        InputSpec("images", (3, *item), low, multiple_of=multiple_of, least=min(item) if one_crop else multiple_of)
        for item in (size, tiny_size)
    )
    weight = name if weight == "" else weight
    register(
        NetworkEntry(
            name=name,
            build=build,
            summary=summary,
            source=source,
            licence="Apache-2.0",
            inputs=(images,),
            weight=weight,
            tiny=tiny,
            tiny_inputs=(small,),
        )
    )


@dataclass(frozen=True)
class TfliteLayer:
    """One layer with weights in a TFLite file.

    Attributes:
        kind: Name of the operator in TFLite.
        weight: Weights in PyTorch's layout: (O, I, H, W), (C, 1, H, W), (I, O, H, W) of a transposed convolution, or
            (O, I); slopes (C,) of a PReLU.
        bias: (O,) or None if there is no bias or only zeros.
        stride: Vertical and horizontal stride.
    """

    kind: str
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        """Return a description for messages."""
        return f"{self.kind} {tuple(self.weight.shape)}"


def read_tflite_layers(path: Path) -> list[TfliteLayer]:
    """Read the layers with weights in a TFLite file, in the order in which they run.

    Raises:
        InputError: The file is missing, damaged or not a TFLite file.
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
            nonzero = bias[0] if bias and bias[0] is not None and bias[0].any() else None
            layers.append(TfliteLayer(kind, weight, nonzero, operator.stride))
    except (ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: not readable: {error}") from None
    return layers


def fill_from_tflite(network: nn.Module, path: Path, order: Iterable[nn.Module] | None = None) -> None:
    """Load the weights of a TFLite file into a module of the same architecture.

    Args:
        network: Module whose convolutions, linear layers and PReLUs are filled; it is not changed if they do not fit.
        path: Path of the file.
        order: Modules with those layers in the order in which the file runs them; by default the network, in the order
            in which its layers were created.

    Raises:
        InputError: The file is missing, damaged, or of another network.
    """
    own = [
        (name, layer)
        for part in ([network] if order is None else order)
        for name, layer in part.named_modules()
        if isinstance(layer, _LAYERS)
    ]
    layers = read_tflite_layers(path)
    if len(own) != len(layers):
        raise InputError(f"{path}: not the file of {_name(network)}: {len(layers)} layers with weights, not {len(own)}")
    for number, ((name, layer), loaded) in enumerate(zip(own, layers, strict=True)):
        if not _fits(layer, loaded):
            expected = f"{type(layer).__name__} {tuple(layer.weight.shape)}"
            raise InputError(
                f"{path}: not the file of {_name(network)}: layer {number} is {loaded}, not {name}: {expected}"
            )
    with torch.no_grad():
        for (_, layer), loaded in zip(own, layers, strict=True):
            layer.weight.copy_(loaded.weight)
            bias = None if isinstance(layer, nn.PReLU) else layer.bias
            if bias is not None:
                bias.zero_() if loaded.bias is None else bias.copy_(loaded.bias)


def interleaved_layers(*branches: nn.Module) -> list[nn.Module]:
    """Return the layers of parallel branches: the first of each, then the second of each, and so on."""
    layers = ([layer for layer in branch.modules() if isinstance(layer, _LAYERS)] for branch in branches)
    return [layer for step in zip(*layers, strict=True) for layer in step]


def _fits(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.PReLU, loaded: TfliteLayer) -> bool:
    if layer.weight.shape != loaded.weight.shape:
        return False
    if isinstance(layer, nn.PReLU):
        return loaded.kind == "PRELU"
    if loaded.bias is not None and layer.bias is None:
        return False
    if isinstance(layer, nn.Linear):
        return loaded.kind == "FULLY_CONNECTED"
    if isinstance(layer, nn.ConvTranspose2d):
        return loaded.kind == "Convolution2DTransposeBias"
    depthwise = layer.groups == layer.out_channels > 1
    return layer.stride == loaded.stride and loaded.kind == ("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D")


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(np.array(values, np.float32))


def _name(network: nn.Module) -> str:
    return str(getattr(network, "name", type(network).__name__))
