"""Build MediaPipe's networks from the blocks of networks for small devices, and load their published TFLite files.

Convolutions have TensorFlow's padding. The published files have no batch norms: they were folded into the convolutions,
which therefore have a bias here. A module's layers are filled in order from a file's layers in their order.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit._util import InputError
from sonjit.engines.openvino import read_constants
from sonjit.engines.tflite import TfliteFile
from sonjit_lab.networks.registry import InputSpec, Network, NetworkEntry, register

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu6": partial(nn.ReLU6, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, inplace=True),
    "prelu": nn.PReLU,
    "elu": partial(nn.ELU, inplace=True),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""Activations by name, with PyTorch's default slopes."""
_AXES = {  # from TFLite's layout to PyTorch's
    "CONV_2D": (0, 3, 1, 2),  # (O, H, W, I)
    "DEPTHWISE_CONV_2D": (3, 0, 1, 2),  # (1, H, W, C)
    "FULLY_CONNECTED": (0, 1),  # (O, I)
    "PRELU": (2, 0, 1),  # (1, 1, C)
    "Convolution2DTransposeBias": (3, 0, 1, 2),  # (O, H, W, I)
}
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding, which is larger on the right and bottom if it is odd."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # named so by torch
        """Map (B, I, H, W) to (B, O, H / stride, W / stride)."""
        if self.stride[0] == 1:
            return super().forward(input)
        (top, bottom), (left, right) = self._padding(input.shape[2]), self._padding(input.shape[3])
        if torch.compiler.is_exporting() or input.is_meta:  # other runtimes pad unevenly at no cost; FLOPs are exact
            padded = F.pad(input, (left, right, top, bottom))
            return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)
        # Zeros in front of the kernel and even padding are equivalent, and take half the time: the map is not copied.
        weight = F.pad(self.weight, (right - left, 0, bottom - top, 0))
        return F.conv2d(input, weight, self.bias, self.stride, (bottom, right), groups=self.groups)

    def _padding(self, size: int) -> tuple[int, int]:
        step, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-size // step) - 1) * step + kernel - size, 0)
        return total // 2, total - total // 2


def depthwise(channels: int, kernel: int, stride: int = 1, *, bias: bool = True, even: bool = False) -> nn.Conv2d:
    """Return a depthwise convolution; with `even`, the padding is equal on both sides for any stride."""
    if even:
        return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)
    return SameConv2d(channels, channels, kernel, stride=stride, groups=channels, bias=bias)


def new_activation(name: str) -> nn.Module:
    """Return an activation by name; raise InputError if it is unknown."""
    if name not in ACTIVATIONS:
        raise InputError(f"Unknown activation {name!r}. Choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class BlazeBlock(nn.Module):
    """Depthwise and pointwise convolution with a shortcut, followed by an activation (BlazeFace, section 3.2).

    The shortcut is max pooled with stride 2, and gets channels of zeros. `between` is applied between the convolutions.
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
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        shortcut = pooled_shortcut(values, self._stride, self._more)
        return self.activation(self.pointwise(self.between(self.depthwise(values))) + shortcut)


class InvertedResidual(nn.Module):
    """Expand, convolve depthwise and project, as in MobileNetV2 (Sandler et al. 2018, section 3.3).

    Equal channels have a shortcut, max pooled with stride 2. `even` pads equally on both sides for any stride.
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
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        first, second = self.activations
        wide = values if self.expand is None else first(self.expand(values))
        narrow = self.project(second(self.depthwise(wide)))
        if not self._has_shortcut:
            return narrow
        return narrow + pooled_shortcut(values, self._stride)


def pooled_shortcut(values: Tensor, stride: int, more: int = 0) -> Tensor:
    """Return a shortcut (B, C + more, H / stride, W / stride): max pooled, and with more channels of zeros."""
    pooled = values if stride == 1 else F.max_pool2d(values, stride)
    return F.pad(pooled, (0, 0, 0, 0, 0, more)) if more else pooled


def upsample(values: Tensor) -> Tensor:
    """Upsample (B, C, H, W) bilinearly to twice the size, with pixel centres at half-integers."""
    return F.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)


def single_cell(values: Tensor) -> Tensor:
    """Return the channels (B, C) of a map (B, C, 1, 1); raise InputError if the images were too large."""
    if values.shape[2:] != (1, 1):
        rows, columns = values.shape[2:]
        raise InputError(
            f"images are too large: the network reads {rows} x {columns} crops in them, and requires 1 x 1"
        )
    return values.flatten(1)


def rows_from_map(values: Tensor, length: int) -> Tensor:
    """Reshape a map (B, N * length, H, W) of N anchors per cell to rows (B, H * W * N, length), cell by cell."""
    return values.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, length))  # (B, H * W * N, length)


def depth_to_space(values: Tensor) -> Tensor:
    """Reshape (B, 4 * C, H, W) to (B, C, 2 * H, 2 * W), with channels in TensorFlow's order."""
    groups = values.unflatten(1, (4, -1))  # (B, 4, C, H, W)
    return F.pixel_shuffle(groups.transpose(1, 2).flatten(1, 2), 2)


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
    """Register a network of MediaPipe for images of `size`, a height and width, or only for that size with `one_crop`.

    `weight`: its name in the catalogue, "" for the network's, None if unpublished; `low`: the value of the byte 0.
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
    """One layer with weights in a TFLite file, in PyTorch's layout; without a bias that is only zeros."""

    kind: str
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        """Return a description for messages."""
        return f"{self.kind} {tuple(self.weight.shape)}"


def read_tflite_layers(path: Path) -> list[TfliteLayer]:
    """Read the layers with weights in running order; raise InputError if the file is missing or not TFLite."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        file = TfliteFile(path.read_bytes())
        operators = [operator for operator in file.operators if (operator.custom or operator.kind) in _AXES]
        constants = read_constants(file, {tensor for operator in operators for tensor in operator.inputs[1:]})
        layers: list[TfliteLayer] = []
        for operator in operators:
            kind = operator.custom or operator.kind
            weight, *bias = [torch.tensor(constants[tensor]) for tensor in operator.inputs[1:] if tensor >= 0]
            weight = weight.permute(_AXES[kind]).contiguous()
            if kind == "PRELU":
                weight = weight.flatten()
            nonzero = bias[0] if bias and bias[0].any() else None
            layers.append(TfliteLayer(kind, weight, nonzero, operator.stride))
    except (ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: not readable: {error}") from None
    return layers


def fill_from_tflite(network: nn.Module, path: Path, order: Iterable[nn.Module] | None = None) -> None:
    """Load the weights of a TFLite file into a module, whose parts it runs in `order`, by default that of creation."""
    module_layers = [
        (name, layer)
        for part in ([network] if order is None else order)
        for name, layer in part.named_modules()
        if isinstance(layer, _LAYERS)
    ]
    layers = read_tflite_layers(path)
    if len(module_layers) != len(layers):
        raise InputError(
            f"{path}: not the file of {_name(network)}: {len(layers)} layers with weights, not {len(module_layers)}"
        )
    for number, ((name, layer), loaded) in enumerate(zip(module_layers, layers, strict=True)):
        if not _fits(layer, loaded):
            expected = f"{type(layer).__name__} {tuple(layer.weight.shape)}"
            raise InputError(
                f"{path}: not that of {_name(network)}: layer {number} is {loaded}, not {name}: {expected}"
            )
    with torch.no_grad():
        for (_, layer), loaded in zip(module_layers, layers, strict=True):
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


def _name(network: nn.Module) -> str:
    return str(getattr(network, "name", type(network).__name__))
