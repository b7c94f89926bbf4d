"""Blocks of networks for small devices, with TensorFlow's padding: what MediaPipe's own networks are built of.

The published files hold no batch norm: it was folded into the convolutions, which therefore have a bias here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


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

    Source: Sandler et al. 2018, MobileNetV2, section 3.3.
    """

    def __init__(
        self, channels: int, expanded: int, out: int, *, kernel: int = 3, stride: int = 1, even: bool = False
    ) -> None:
        super().__init__()
        self.expand = None if expanded == channels else nn.Conv2d(channels, expanded, 1)
        self.depthwise = depthwise(expanded, kernel, stride, even=even)
        self.project = nn.Conv2d(expanded, out, 1)
        self._has_shortcut, self._stride = channels == out, stride

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, H / stride, W / stride)."""
        wide = values if self.expand is None else F.relu6(self.expand(values), inplace=True)
        narrow = self.project(F.relu6(self.depthwise(wide), inplace=True))
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
