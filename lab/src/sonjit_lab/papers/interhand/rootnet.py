"""RootNet: the position and depth of the root of the object in a crop.

Source: Moon et al. 2019, Camera Distance-aware Top-down Approach, section 5; numbers as in the released code for
bodies. The version for hands of InterHand2.6M was never released as code. According to its authors it is the same
network with a box of 300 mm, as implemented here. It is not known whether their weights for hands would fit.
"""

import math

import torch
from torch import Tensor, nn

from sonjit._util import InputError
from sonjit_lab.networks.backbones import IMAGENET_MEAN, IMAGENET_STD, ResNet
from sonjit_lab.networks.registry import InputSpec, Network, NetworkEntry, register
from sonjit_lab.papers.interhand.internet import INPUT_SIZE, expected_bin, init_small_weights, upsampling

HAND_BOX_MM = (300.0, 300.0)  # assumed size of a hand's box; 2000 x 2000 for bodies

SCALE_CHOICES = "the input scale 255 for weights of the released code, or 1 for weights trained on images in 0..1"


class RootNet(Network):
    """Position and depth of one root in a square crop, with the keys of the official checkpoints.

    `input_scale`: value of white before ImageNet's mean and deviation are applied, 1 or 255. The released code applies
    them, which are for values in 0..1, to values in 0..255, and its checkpoints require this. None if it is not known.
    `depth`: number of layers of the residual network; `channels`: those of the upsampled maps; `side`: side of the
    crops.
    """

    resnet_prefix = "backbone."

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
            raise InputError(f"input_scale={input_scale}: must be 255 (for released checkpoints) or 1")
        self._scale = input_scale
        self.side = side
        self.backbone = ResNet(depth, width, "batch")
        self.root = _RootHeads(self.backbone.channels[-1], channels)

    @property
    def input_scale(self) -> float:
        """Value of white before ImageNet's mean is applied."""
        if self._scale is None:
            raise InputError(f"RootNet's input scale is not known; set {SCALE_CHOICES}")
        return self._scale

    def normalise_crops(self, images: Tensor) -> Tensor:
        """Normalise crops (B, 3, side, side) in 0..1 for the network."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (images * self.input_scale - mean) / std

    def forward(self, images: Tensor, k_value: Tensor) -> dict[str, Tensor]:
        """Predict the roots in crops (B, 3, 256, 256) from `normalise_crops`.

        `k_value`: (B, 1) mm, the depth at which the box measures `HAND_BOX_MM`; see `depth_of_box`.

        Returns:
            `coord` (B, 3): x, y in cells of the map (4 px of the crop each), depth in mm; `gamma` (B, 1): ratio of
            the depth to `k_value`; `xy_logits` (B, 1, 64, 64).
        """
        _check_k_value(k_value, len(images))
        maps = self.backbone(images)[-1]
        logits = self.root.xy_layer(self.root.deconv_layers(maps))  # (B, 1, h, w)
        share = logits.flatten(1).softmax(1).unflatten(1, logits.shape[-2:])  # (B, h, w)
        gamma = self.root.depth_layer(maps.mean((2, 3), keepdim=True)).flatten(1)
        root = torch.stack([expected_bin(share.sum(1)), expected_bin(share.sum(2))], 1)  # (B, 2) as x, y
        return {"coord": torch.cat([root, gamma * k_value], 1), "gamma": gamma, "xy_logits": logits}


def _check_k_value(k_value: Tensor, batch: int) -> None:
    """Check the shape of depths, and their values where they are known."""
    if k_value.shape != (batch, 1):
        raise InputError(f"k_value has shape {tuple(k_value.shape)}; expected (B, 1) = ({batch}, 1)")
    if torch.compiler.is_compiling() or k_value.is_meta:
        return
    if not ((k_value > 0) & k_value.isfinite()).all():
        raise InputError(f"k_value={k_value.flatten().tolist()}: depths must be finite and above 0 mm")


class _RootHeads(nn.Module):
    """The heads, with the names of the official checkpoints."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.deconv_layers = upsampling(features, channels)
        self.xy_layer = nn.Conv2d(channels, 1, 1)
        self.depth_layer = nn.Conv2d(features, 1, 1)
        init_small_weights(self)


def depth_of_box(box_px: tuple[float, float], focal_px: tuple[float, float]) -> float:
    """Return the depth in mm at which an object of `HAND_BOX_MM` has the size of a box in the image.

    `box_px`: width and height of the square, enlarged box of the crop in pixels of the image; `focal_px`: focal lengths
    fx and fy in pixels.

    >>> depth_of_box((220, 220), (1500, 1500)) == 300 * 1500 / 220
    True
    """
    return math.sqrt(math.prod(HAND_BOX_MM) * math.prod(focal_px) / math.prod(box_px))


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
