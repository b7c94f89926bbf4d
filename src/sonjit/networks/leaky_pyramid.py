"""The trunk that HandOccNet and Deformer share: ResNet-50 with leaky units, and a pyramid down to its finest map.

Sources: He et al. 2015, Deep Residual Learning; Lin et al. 2017, Feature Pyramid Networks. The published networks put
leaky units where ResNet has rectifiers, and begin from its ImageNet weights all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.networks.checkpoints import fit_state_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXPANSION = 4
BLOCKS = (3, 4, 6, 3)
"""Of ResNet-50's four stages."""


class LeakyBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution around which the input is added; the stride is the middle one's."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        inner = F.leaky_relu(self.bn1(self.conv1(values)), inplace=True)
        inner = F.leaky_relu(self.bn2(self.conv2(inner)), inplace=True)
        return F.leaky_relu(self.bn3(self.conv3(inner)) + self.downsample(values), inplace=True)


class LeakyPyramid(nn.Module):
    """Pictures -> the finest map of the pyramid, a quarter of their size.

    Args:
        channels: of the map.
        width: of the first stage; each next one is twice as wide.
        blocks: of the four stages.
        smooth2: hold the convolution of the second finest map too. HandOccNet's code computes that map and drops it;
            here it is not computed, but the published weights have its numbers.
    """

    def __init__(
        self,
        channels: int = 256,
        width: int = 64,
        blocks: tuple[int, int, int, int] = BLOCKS,
        *,
        smooth2: bool = False,
    ) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        wide = [width * 2**stage for stage in range(4)]
        outputs = [each * _EXPANSION for each in wide]
        # The published names have one more container around each stage.
        self.layer1 = nn.Sequential(_stage(width, wide[0], blocks[0], 1))
        self.layer2 = nn.Sequential(_stage(outputs[0], wide[1], blocks[1], 2))
        self.layer3 = nn.Sequential(_stage(outputs[1], wide[2], blocks[2], 2))
        self.layer4 = nn.Sequential(_stage(outputs[2], wide[3], blocks[3], 2))
        self.toplayer = nn.Conv2d(outputs[3], channels, 1)
        self.latlayer1 = nn.Conv2d(outputs[2], channels, 1)
        self.latlayer2 = nn.Conv2d(outputs[1], channels, 1)
        self.latlayer3 = nn.Conv2d(outputs[0], channels, 1)
        if smooth2:
            self.smooth2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.smooth3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1, H and W multiples of 32 -> (B, channels, H / 4, W / 4)."""
        stage1 = self.layer1(self.layer0(images))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        top = self.toplayer(self.layer4(stage3))
        for lateral, stage in ((self.latlayer1, stage3), (self.latlayer2, stage2), (self.latlayer3, stage1)):
            top = F.interpolate(top, scale_factor=2, mode="bilinear", align_corners=False) + lateral(stage)
        return self.smooth3(top)

    def load_imagenet(self, state_dict: Mapping[str, Tensor]) -> None:
        """Begin from torchvision's ResNet-50, as the published networks did; the pyramid keeps its weights.

        Raises:
            InputError: shapes that do not fit.
        """
        own = {
            f"layer0.{0 if name.startswith('conv1') else 1}.{name.partition('.')[2]}"
            if name.startswith(("conv1.", "bn1."))
            else f"{name[:7]}0.{name[7:]}": value
            for name, value in state_dict.items()
            if name.startswith(("conv1.", "bn1.", "layer"))
        }
        fit_state_dict(self, own, strict=False)


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (LeakyBottleneck(width * _EXPANSION, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(LeakyBottleneck(inputs, width, stride), *rest)
