"""MediaPipe's selfie segmentation: the mask of the people in an image.

A MobileNetV3-like trunk of four halvings, and four steps back up: three add a map of the trunk, gated by what is in
both, and a transposed convolution makes the mask.

Source: Howard et al. 2019, Searching for MobileNetV3, sections 5 and 6.4 (LR-ASPP). The numbers are those of the
published files, whose batch norms are folded into the convolutions; both sizes have the same layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.networks.mediapipe.blocks import PublishedNetwork, SameConv2d, depthwise, register_published, upsample

_QUARTER = 4  # by how much gates of the trunk are narrower than what they gate, in all blocks but the first


class Gate(nn.Module):
    """Between 0 and 1 a channel, from the mean of a map."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, narrow, 1)
        self.widen = nn.Conv2d(narrow, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, 1, 1)."""
        return self.widen(F.relu(self.narrow(values.mean((2, 3), keepdim=True)))).sigmoid()


class GatedResidual(nn.Module):
    """Widen, convolve each channel by itself, gate, narrow; with a shortcut where the block keeps channels and size.

    Args:
        channels: that come in.
        expanded: channels in between.
        out: channels that go out.
        kernel: of the depthwise convolution.
        stride: 1 or 2.
        activation: of both convolutions before the gate.
        gate: channels in which the gate is worked out; 0 for none.
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
        """(B, channels, H, W) to (B, out, H / stride, W / stride)."""
        wide = self.activation(self.depthwise(self.activation(self.expand(values))))
        if self.gate is not None:
            wide = wide * self.gate(wide)
        narrow = self.project(wide)
        return values + narrow if self._has_shortcut else narrow


class UpStep(nn.Module):
    """A coarse map, made twice as large and narrowed, added to a gated one of the trunk and mixed with it."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, out, 1)
        self.gate = Gate(out, out)
        self.pointwise = nn.Conv2d(out, out, 1)
        self.depthwise = depthwise(out, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, channels, H, W) and (B, out, 2H, 2W) to (B, out, 2H, 2W)."""
        narrow = self.narrow(upsample(coarse))
        values = F.relu(self.pointwise(fine * self.gate(fine + narrow) + narrow))
        return values + F.relu(self.depthwise(values))


class SelfieSegmentationNetwork(PublishedNetwork):
    """People in an image taken at arm's length.

    Args:
        channels: of the stem's map, which that of a quarter has too, and of those of an eighth and a sixteenth.
        expanded: channels within each block of the eighth (two) and of the sixteenth.
        context: channels of the map from which the way back up begins.
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
        """What is a person.

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
    )
