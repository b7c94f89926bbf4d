"""RootNet: how far from the camera the root of what fills a crop is.

Source: Moon et al. 2019, Camera Distance-aware Top-down Approach, section 5; the numbers are those of the released code
for bodies. The form that InterHand2.6M used for hands was never released as code: by its authors' word it is the same
network with a box of 300 mm, and so it is here. That weights of theirs for hands would fit is not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.networks.backbones import IMAGENET_MEAN, IMAGENET_STD
from sonjit.networks.hands3d.internet import INPUT_SIZE, begin_small, enlarge, expected_bin
from sonjit.networks.mask_rcnn.fpn import ResNet
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register

HAND_BOX_MM = (300.0, 300.0)
"""What a hand's box is taken to measure; 2000 x 2000 for bodies."""

SCALE_NEEDED = "the input scale 255 for weights of the released code, or 1 for weights trained on images in 0..1"


class RootNet(Network):
    """Place and depth of one root in a square crop.

    The module's keys are those of the official checkpoints.

    Args:
        input_scale: 255 or 1: what white is before mean and deviation of ImageNet are taken off. The released code
            takes them, which are meant for 0..1, off values of 0..255, and its checkpoints need just that. 1 is what
            was meant, for training anew. None where nobody says it.
        depth: layers of the residual network.
        width: channels of its first stage; a tiny network for tests has few.
        channels: of the maps that are enlarged.
        side: of the crops that it is trained on, in pixels.
    """

    def __init__(
        self,
        input_scale: float | None = None,
        depth: int = 50,
        width: int = 64,
        channels: int = 256,
        side: int = INPUT_SIZE,
    ) -> None:
        super().__init__()
        if input_scale not in (None, 1, 255):
            raise InputError(f"input_scale={input_scale}: give 255 (as the released checkpoints need) or 1")
        self._scale = input_scale
        self.side = side
        self.backbone = ResNet(depth, width, "batch")
        self.root = _RootHeads(self.backbone.channels[-1], channels)

    @property
    def input_scale(self) -> float:
        """What white is.

        Raises:
            InputError: nobody has said it.
        """
        if self._scale is None:
            raise InputError(f"RootNet's input scale is not known: give {SCALE_NEEDED}")
        return self._scale

    def normalised(self, images: Tensor) -> Tensor:
        """Crops (B, 3, side, side) in 0..1 as the network takes them.

        Raises:
            InputError: `input_scale` is not known.
        """
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (images * self.input_scale - mean) / std

    def forward(self, images: Tensor, k_value: Tensor) -> dict[str, Tensor]:
        """The roots in crops.

        Args:
            images: (B, 3, 256, 256) RGB as `normalised` gives them.
            k_value: (B, 1) mm, the depth at which the box measures `HAND_BOX_MM`; see `depth_of_box`.

        Returns:
            `coord` (B, 3): x, y in cells of the map (4 px of the crop each), depth in mm; `gamma` (B, 1): the part of
            `k_value` that the depth is; `xy_logits` (B, 1, 64, 64).
        """
        maps = self.backbone(images)[-1]
        logits = self.root.xy_layer(self.root.deconv_layers(maps))  # (B, 1, h, w)
        share = logits.flatten(1).softmax(1).unflatten(1, logits.shape[-2:])  # (B, h, w)
        gamma = self.root.depth_layer(maps.mean((2, 3), keepdim=True)).flatten(1)
        place = torch.stack([expected_bin(share.sum(1)), expected_bin(share.sum(2))], 1)  # (B, 2) as x, y
        return {"coord": torch.cat([place, gamma * k_value], 1), "gamma": gamma, "xy_logits": logits}

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official keys as this module's own, which they are.

        Weights of torchvision's classifier begin a training: `load_official(resnet50, strict=False)` takes its trunk.
        """
        weights = super().from_official(state_dict)
        if "conv1.weight" in weights:
            return {f"backbone.{key}": value for key, value in weights.items() if not key.startswith("fc.")}
        return weights


class _RootHeads(nn.Module):
    """The heads; names are those of the official checkpoints."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.deconv_layers = enlarge(features, channels)
        self.xy_layer = nn.Conv2d(channels, 1, 1)
        self.depth_layer = nn.Conv2d(features, 1, 1)
        begin_small(self)


def depth_of_box(
    box_px: tuple[float, float], focal_px: tuple[float, float], box_mm: tuple[float, float] = HAND_BOX_MM
) -> float:
    """The depth in mm at which something of `box_mm` measures as much as a box in the image.

    Args:
        box_px: width and height of the box that is cut out, squared and enlarged, in pixels of the image.
        focal_px: fx and fy.
        box_mm: width and height of what fills it.

    >>> depth_of_box((220, 220), (1500, 1500)) == 300 * 1500 / 220
    True
    """
    return math.sqrt(math.prod(box_mm) * math.prod(focal_px) / math.prod(box_px))


register(
    NetworkEntry(
        name="rootnet",
        build=RootNet,
        summary="the depth of a hand's wrist from its crop and the camera; the release for bodies with a hand's box",
        source="Moon et al. 2019, Camera Distance-aware Top-down Approach, section 5",
        licence="MIT",
        inputs=(
            InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE), -2.1, 1130.0),
            InputSpec("k_value", (1,), 500.0, 3000.0),
        ),
        where="for bodies by the links in github.com/mks0601/3DMPPE_ROOTNET_RELEASE; for hands none was published",
        tiny={"depth": 10, "width": 8, "channels": 8},
        tiny_inputs=(InputSpec("images", (3, 64, 64), -2.1, 2.7), InputSpec("k_value", (1,), 0.5, 3.0)),
    )
)
