"""What MediaPipe's own networks are built of, and how the published TFLite files fill them.

Blocks are those of networks for small devices, with TensorFlow's padding. The published files hold no batch norm: it
was folded into the convolutions, which therefore have a bias here. A module is filled from a file's layers in the
file's order, beside the module's own in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.engines.tflite import TfliteFile, TfliteTensors
from sonjit.errors import InputError
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": where the padding is odd, the right and the lower side have more.

    Args:
        in_channels: of the map that comes in.
        out_channels: of the map that goes out, 1/stride as large, rounded up.
        kernel_size: odd, in pixels.
        stride: in pixels.
        groups: of channels; as many as there are channels make a depthwise convolution.
        bias: whether there is one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # named so by torch
        """(B, I, H, W) to (B, O, H / stride, W / stride)."""
        if self.stride[0] == 1:
            return super().forward(input)
        (top, bottom), (left, right) = self._padding(input.shape[2]), self._padding(input.shape[3])
        if torch.compiler.is_exporting() or input.is_meta:  # other runtimes pad unevenly at no cost; work is counted
            padded = F.pad(input, (left, right, top, bottom))
            return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)
        # Zeros in front of the kernel and even padding give the same, and spare a copy of the map: half the time.
        weight = F.pad(self.weight, (right - left, 0, bottom - top, 0))
        return F.conv2d(input, weight, self.bias, self.stride, (bottom, right), groups=self.groups)

    def _padding(self, size: int) -> tuple[int, int]:
        step, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-size // step) - 1) * step + kernel - size, 0)
        return total // 2, total - total // 2


def depthwise(channels: int, kernel: int, stride: int = 1, *, bias: bool = True, even: bool = False) -> nn.Conv2d:
    """A convolution of each channel by itself; `even`: padded as much on either side, whatever the stride."""
    if even:
        return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)
    return SameConv2d(channels, channels, kernel, stride, groups=channels, bias=bias)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu6": partial(nn.ReLU6, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, inplace=True),
    "prelu": nn.PReLU,
    "elu": partial(nn.ELU, inplace=True),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""By name; those of PyTorch, with its slopes."""


def new_activation(name: str) -> nn.Module:
    """An activation by its name.

    Raises:
        InputError: an unknown name; lists the known ones.
    """
    if name not in ACTIVATIONS:
        raise InputError(f"unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class BlazeBlock(nn.Module):
    """Depthwise and pointwise convolution beside a shortcut, then an activation.

    The shortcut is halved by max pooling where the block has stride 2, and gets channels of zeros where it has too few.

    Args:
        channels: that come in.
        out: channels that go out, as many or more.
        activation: of the sum.
        kernel: of the depthwise convolution.
        stride: 1 or 2.
        depthwise_bias: the depthwise convolution has one too.
        between: activation between the two convolutions; none by default.

    Source: Bazarevsky et al. 2019, BlazeFace, section 3.2.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        activation: nn.Module,
        *,
        kernel: int = 5,
        stride: int = 1,
        depthwise_bias: bool = True,
        between: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = depthwise(channels, kernel, stride, bias=depthwise_bias)
        self.between = nn.Identity() if between is None else between
        self.pointwise = nn.Conv2d(channels, out, 1)
        self.activation = activation
        self._more, self._stride = out - channels, stride

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, H / stride, W / stride)."""
        shortcut = values if self._stride == 1 else F.max_pool2d(values, self._stride)
        if self._more:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self._more))
        return self.activation(self.pointwise(self.between(self.depthwise(values))) + shortcut)


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow; with a shortcut where the channels come out as they went in.

    With stride 2 that shortcut is halved by max pooling.

    Args:
        channels: that come in.
        expanded: channels in between; those of the input where there is no expansion.
        out: channels that go out.
        kernel: of the depthwise convolution.
        stride: 1 or 2.
        even: the depthwise convolution is padded as much on either side, whatever the stride.
        activation: after the first two convolutions, one of `ACTIVATIONS`.

    Source: Sandler et al. 2018, MobileNetV2, section 3.3.
    """

    def __init__(
        self,
        channels: int,
        expanded: int,
        out: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        even: bool = False,
        activation: str = "relu6",
    ) -> None:
        super().__init__()
        self.expand = None if expanded == channels else nn.Conv2d(channels, expanded, 1)
        self.depthwise = depthwise(expanded, kernel, stride, even=even)
        self.project = nn.Conv2d(expanded, out, 1)
        self.activations = nn.ModuleList(new_activation(activation) for _ in range(2))
        self._has_shortcut, self._stride = channels == out, stride

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, H / stride, W / stride)."""
        first, second = self.activations
        wide = values if self.expand is None else first(self.expand(values))
        narrow = self.project(second(self.depthwise(wide)))
        if not self._has_shortcut:
            return narrow
        return narrow + (values if self._stride == 1 else F.max_pool2d(values, self._stride))


def upsample(values: Tensor, factor: int = 2) -> Tensor:
    """(B, C, H, W) made larger bilinearly, pixel centres at half-integers."""
    return F.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)


def rows_from_map(values: Tensor, length: int) -> Tensor:
    """A map (B, N * length, H, W) of N anchors a cell as rows (B, H * W * N, length), cell by cell."""
    return values.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, length))  # (B, H * W * N, length)


def depth_to_space(values: Tensor, factor: int = 2) -> Tensor:
    """(B, factor * factor * C, H, W) to (B, C, factor * H, factor * W): a cell's groups of C channels, row by row.

    TensorFlow's order of channels, which is not that of PyTorch's `pixel_shuffle`.
    """
    groups = values.unflatten(1, (factor * factor, -1))  # (B, factor * factor, C, H, W)
    return F.pixel_shuffle(groups.transpose(1, 2).flatten(1, 2), factor)


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
