"""MediaPipe's selfie segmentation: the mask of the people in an image.

The trunk resembles MobileNetV3 with four halvings. Three of the four upward steps add a map of the trunk, gated by both
maps. A transposed convolution makes the mask.

Source: Howard et al. 2019, Searching for MobileNetV3, sections 5 and 6.4 (LR-ASPP). Numbers are those of the published
files, whose batch norms are folded into the convolutions. Both sizes have the same layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import SameConv2d, depthwise, upsample
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, register_published

_QUARTER = 4  # ratio of channels of a gate to those inside it, in all blocks except the first


class Gate(nn.Module):
    """A factor between 0 and 1 for each channel, from the mean of a map."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, narrow, 1)
        self.widen = nn.Conv2d(narrow, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, channels, 1, 1)."""
        return self.widen(F.relu(self.narrow(values.mean((2, 3), keepdim=True)))).sigmoid()


class GatedResidual(nn.Module):
    """Expand, convolve depthwise, gate and project, with a shortcut if channels and size stay.

    Args:
        channels: Channels of the input.
        expanded: Channels in between.
        out: Channels of the output.
        kernel: Side of the depthwise kernel.
        stride: Stride 1 or 2.
        activation: Activation of both convolutions before the gate.
        gate: Channels inside the gate; 0 for no gate.
    """

    def __init__(
        self, channels: int, expanded: int, out: int, *, kernel: int, stride: int, activation: nn.Module, gate: int
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, expanded, 1)
        self.depthwise = depthwise(expanded, kernel, stride)
        self.gate = Gate(expanded, gate) if gate else None
        self.project = nn.Conv2d(expanded, out, 1)
        self.activation = activation
        self._has_shortcut = channels == out and stride == 1

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        wide = self.activation(self.depthwise(self.activation(self.expand(values))))
        if self.gate is not None:
            wide = wide * self.gate(wide)
        narrow = self.project(wide)
        return values + narrow if self._has_shortcut else narrow


class UpStep(nn.Module):
    """Upsample and narrow a coarse map, add it to a gated one of the trunk, and mix them."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, out, 1)
        self.gate = Gate(out, out)
        self.pointwise = nn.Conv2d(out, out, 1)
        self.depthwise = depthwise(out, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, out, 2H, 2W) to (B, out, 2H, 2W)."""
        narrow = self.narrow(upsample(coarse))
        values = F.relu(self.pointwise(fine * self.gate(fine + narrow) + narrow))
        return values + F.relu(self.depthwise(values))


class SelfieSegmentationNetwork(PublishedNetwork):
    """Segmentation of people in an image taken at arm's length.

    Args:
        channels: Channels of the maps at a half and a quarter, at an eighth, and at a sixteenth.
        expanded: Expanded channels of each block at an eighth (two) and at a sixteenth.
        context: Channels of the map before the upward path.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 24, 32),
        expanded: tuple[Sequence[int], Sequence[int]] = ((72, 88), (96, 128, 128, 96, 96)),
        context: int = 128,
    ) -> None:
        super().__init__()
        first, eighth, sixteenth = channels
        self.stem = SameConv2d(3, first, 3, stride=2)
        self.quarter = GatedResidual(first, first, first, kernel=3, stride=2, activation=nn.ReLU(), gate=first // 2)
        self.eighth = nn.Sequential(
            *(
                GatedResidual(
                    eighth if number else first, wide, eighth, kernel=3, stride=1 if number else 2,
                    activation=nn.ReLU(), gate=0,
                )
                for number, wide in enumerate(expanded[0])
            )
        )  # fmt: skip
        self.sixteenth = nn.Sequential(
            *(
                GatedResidual(
                    sixteenth if number else eighth, wide, sixteenth, kernel=5, stride=1 if number else 2,
                    activation=nn.Hardswish(), gate=wide // _QUARTER,
                )
                for number, wide in enumerate(expanded[1])
            )
        )  # fmt: skip
        self.context = nn.Conv2d(sixteenth, context, 1)
        self.context_gate = nn.Conv2d(sixteenth, context, 1)
        self.ups = nn.ModuleList([UpStep(context, eighth), UpStep(eighth, first), UpStep(first, first)])
        self.read = nn.ConvTranspose2d(first, 1, 2, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Segment the people in images.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1, or (B, 3, 144, 256) for the landscape files.

        Returns:
            `segmentation` (B, H, W, 1): the probability of a person at each pixel.
        """
        half = F.hardswish(self.stem(images))
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        last = self.sixteenth(eighth)
        values = F.relu(self.context(last)) * self.context_gate(last.mean((2, 3), keepdim=True)).sigmoid()
        for step, fine in zip(self.ups, (eighth, quarter, half), strict=True):
            values = step(values, fine)
        return {"segmentation": self.read(values).sigmoid().permute(0, 2, 3, 1)}


for _name, _height in (("selfie", 256), ("selfie-landscape", 144)):
    register_published(
        _name,
        SelfieSegmentationNetwork,
        "the mask of the people in an image taken at arm's length",
        "Howard et al. 2019, Searching for MobileNetV3, sections 5 and 6.4",
        (_height, 256),
        tiny={"channels": (8, 8, 8), "expanded": ((8, 8), (8, 16)), "context": 8},
        tiny_size=(32, 64),
        multiple_of=16,
    )
