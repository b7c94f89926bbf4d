"""InterNet: both hands of one person from one crop: which are there, their joints in 2.5D, how far they lie apart.

Source: Moon et al. 2020, InterHand2.6M, section 5; the numbers are those of the released code. Its quirks that
checkpoints depend on are kept: bins count from the crop's corner without a half, and are read by the highest value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.networks.base import Network
from sonjit.networks.fpn import ResNet
from sonjit.networks.hand_layouts import LAYOUTS
from sonjit.networks.registry import InputSpec, NetworkEntry, register

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT_SIZE = 256
BINS = 64
_JOINTS = 21  # of one hand
_BACKBONE = "backbone_net.resnet."


class InterNet(Network):
    """Both hands from a square crop around them.

    The module's keys are those of the official checkpoints.

    Args:
        layout: whose checkpoints' order of hands and joints the outputs have: `interhand`, `stb` or `rhd`. It changes
            no number that comes out, but what the numbers stand for; see `HandLayout`.
        depth: layers of the residual network.
        width: channels of its first stage; a tiny network for tests has few.
        channels: of the maps that are enlarged.
        hidden: of the two heads on the mean of the features.
        bins: of depth; those of x and y are a quarter of the input's sides.
    """

    def __init__(
        self,
        layout: str = "interhand",
        depth: int = 50,
        width: int = 64,
        channels: int = 256,
        hidden: int = 512,
        bins: int = BINS,
    ) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise InputError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
        self.layout = LAYOUTS[layout]
        self.backbone_net = _Backbone(depth, width)
        self.pose_net = _PoseNet(self.backbone_net.resnet.channels[-1], channels, hidden, bins)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What is seen in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1.

        Returns:
            `joint_coord` (B, 42, 3): x, y, z in bins, whole numbers, in the layout's order; `rel_root_depth` (B, 1):
            depth of the left root less that of the right one, in bins; `hand_type` (B, 2): probability of a right and
            of a left hand; and what they are read from: `heatmap` (B, 42, z, y, x), `root_heatmap1d_logits` (B, 64),
            `hand_type_logits` (B, 2). `hand_layouts` makes millimetres of bins.
        """
        return self.pose_net(self.backbone_net.resnet(images)[-1])

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official keys as this module's own, which they are.

        Weights of torchvision's classifier begin a training: `load_official(resnet50, strict=False)` takes its trunk.
        """
        weights = super().from_official(state_dict)
        if "conv1.weight" in weights:
            return {_BACKBONE + key: value for key, value in weights.items() if not key.startswith("fc.")}
        return weights


class _Backbone(nn.Module):
    """One level of names that the official keys have."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.resnet = ResNet(depth, width, "batch")


class _PoseNet(nn.Module):
    """The heads; names and indices are those of the official checkpoints."""

    def __init__(self, features: int, channels: int, hidden: int, bins: int) -> None:
        super().__init__()
        self._bins = bins
        self.joint_deconv_1, self.joint_deconv_2 = (enlarge(features, channels) for _ in range(2))
        self.joint_conv_1, self.joint_conv_2 = (nn.Sequential(nn.Conv2d(channels, _JOINTS * bins, 1)) for _ in range(2))
        self.root_fc = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, bins))
        self.hand_fc = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        begin_small(self)

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        hands = (
            self.joint_conv_1(self.joint_deconv_1(maps)),
            self.joint_conv_2(self.joint_deconv_2(maps)),
        )
        # Channels are joint by joint, the bins of depth within each.
        heatmap = torch.cat(hands, 1).unflatten(1, (-1, self._bins))  # (B, 42, z, y, x)
        mean = maps.mean((2, 3))
        root = self.root_fc(mean)
        hand = self.hand_fc(mean)
        return {
            "heatmap": heatmap,
            "hand_type": hand.sigmoid(),
            "hand_type_logits": hand,
            "rel_root_depth": expected_bin(root.softmax(1)).unsqueeze(1),
            "root_heatmap1d_logits": root,
            "joint_coord": highest_bin(heatmap),
        }


def enlarge(inputs: int, channels: int) -> nn.Sequential:
    """Three transposed convolutions that double the sides each: (B, inputs, h, w) -> (B, channels, 8h, 8w)."""
    layers: list[nn.Module] = []
    for count in (inputs, channels, channels):
        layers += [
            nn.ConvTranspose2d(count, channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def begin_small(heads: nn.Module) -> None:
    """The released code's first weights of what stands on a trained trunk: normal, small, no bias."""
    for module in heads.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01 if isinstance(module, nn.Linear) else 0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def expected_bin(probabilities: Tensor) -> Tensor:
    """The mean bin of distributions (..., bins) -> (...)."""
    return probabilities @ torch.arange(probabilities.shape[-1], dtype=probabilities.dtype, device=probabilities.device)


def highest_bin(heatmap: Tensor) -> Tensor:
    """Where volumes (B, J, z, y, x) are highest: (B, J, 3) as x, y, z.

    Of equal values the least x counts, then the least y, then the least z, as in the released code.
    """
    # Maxima without their places are found five times as fast; places are then looked for in the one column and row.
    x = heatmap.amax((2, 3)).argmax(2, keepdim=True)  # (B, J, 1)
    depth, height = heatmap.shape[2:4]
    column = heatmap.gather(4, x[..., None, None].expand(-1, -1, depth, height, 1)).squeeze(4)  # (B, J, z, y)
    y = column.amax(2).argmax(2, keepdim=True)
    z = column.gather(3, y.unsqueeze(2).expand(-1, -1, depth, 1)).squeeze(3).argmax(2, keepdim=True)
    return torch.cat([x, y, z], 2).to(heatmap.dtype)


register(
    NetworkEntry(
        name="internet",
        build=InterNet,
        summary="both hands in one crop: which are there, 21 joints each in 2.5D, their distance in depth",
        source="Moon et al. 2020, InterHand2.6M, section 5",
        licence="CC-BY-NC-4.0",
        inputs=(InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE)),),
        where="the released snapshot_20.pth.tar, by the links in github.com/facebookresearch/InterHand2.6M",
        tiny={"depth": 10, "width": 8, "channels": 8, "hidden": 16, "bins": 8},
        tiny_inputs=(InputSpec("images", (3, 32, 32)),),
    )
)
