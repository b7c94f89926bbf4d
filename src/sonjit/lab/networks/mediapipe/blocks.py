"""Build MediaPipe's networks from the blocks of networks for small devices, with TensorFlow's padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit._util.errors import InputError

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


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding, which is larger on the right and bottom if it is odd.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, whose size is 1/stride of the input's, rounded up.
        kernel_size: Side of the kernel in pixels, odd.
        stride: Stride in pixels.
        groups: Number of channel groups; as many as channels for a depthwise convolution.
        bias: True for a bias.
    """

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
    """Return an activation by name.

    Raises:
        InputError: The name is unknown.
    """
    if name not in ACTIVATIONS:
        raise InputError(f"Unknown activation {name!r}. Choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class BlazeBlock(nn.Module):
    """Depthwise and pointwise convolution with a shortcut, followed by an activation.

    With stride 2 the shortcut is max pooled. It gets channels of zeros if it has too few.

    Args:
        channels: Channels of the input.
        out: Channels of the output, at least as many as of the input.
        activation: Activation of the sum.
        kernel: Side of the depthwise kernel.
        stride: Stride 1 or 2.
        depthwise_bias: True for a bias of the depthwise convolution.
        between: Activation between the two convolutions; none by default.

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
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        shortcut = values if self._stride == 1 else F.max_pool2d(values, self._stride)
        if self._more:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self._more))
        return self.activation(self.pointwise(self.between(self.depthwise(values))) + shortcut)


class InvertedResidual(nn.Module):
    """Expand, convolve depthwise and project, with a shortcut if input and output have the same channels.

    With stride 2 the shortcut is max pooled.

    Args:
        channels: Channels of the input.
        expanded: Channels in between; those of the input for no expansion.
        out: Channels of the output.
        kernel: Side of the depthwise kernel.
        stride: Stride 1 or 2.
        even: True for equal padding on both sides of the depthwise convolution, for any stride.
        activation: Activation after the first two convolutions, one of `ACTIVATIONS`.

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
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        first, second = self.activations
        wide = values if self.expand is None else first(self.expand(values))
        narrow = self.project(second(self.depthwise(wide)))
        if not self._has_shortcut:
            return narrow
        return narrow + (values if self._stride == 1 else F.max_pool2d(values, self._stride))


def upsample(values: Tensor, factor: int = 2) -> Tensor:
    """Upsample (B, C, H, W) bilinearly, with pixel centres at half-integers."""
    return F.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)


def single_cell(values: Tensor) -> Tensor:
    """Return the channels (B, C) of a map (B, C, 1, 1), the output of a head that covers the complete crop.

    Raises:
        InputError: The map is larger: the images are larger than the network's crops.
    """
    if values.shape[2:] != (1, 1):
        rows, columns = values.shape[2:]
        raise InputError(
            f"images are too large: the network reads {rows} x {columns} crops in them, and requires 1 x 1"
        )
    return values.flatten(1)


def rows_from_map(values: Tensor, length: int) -> Tensor:
    """Reshape a map (B, N * length, H, W) of N anchors per cell to rows (B, H * W * N, length), cell by cell."""
    return values.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, length))  # (B, H * W * N, length)


def depth_to_space(values: Tensor, factor: int = 2) -> Tensor:
    """Reshape (B, factor * factor * C, H, W) to (B, C, factor * H, factor * W).

    Channels have TensorFlow's order, a cell's groups of C channels row by row, which differs from PyTorch's
    `pixel_shuffle`.
    """
    groups = values.unflatten(1, (factor * factor, -1))  # (B, factor * factor, C, H, W)
    return F.pixel_shuffle(groups.transpose(1, 2).flatten(1, 2), factor)
