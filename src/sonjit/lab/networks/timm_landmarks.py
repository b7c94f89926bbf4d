"""Hand landmarks from the features of any network of timm, with the outputs of MediaPipe's landmark networks."""

from __future__ import annotations

import difflib
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.lab.networks.backbones import IMAGENET_MEAN, IMAGENET_STD
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, register

_PALM_M = 0.09
"""Typical length of a palm, the unit of an untrained network's positions in metres."""


class TimmLandmarks(Network):
    """Keypoints, presence and handedness of the hand in a square crop.

    Args:
        backbone: Name of a network of timm, such as `resnet18`, `mobilenetv3_small_050` or `convnext_atto`.
        keypoints: Number of keypoints K.
        size: Side of the crops in pixels.

    Raises:
        InputError: timm does not have the backbone, or the backbone does not take crops of this size.
        MissingExtraError: timm is not installed.
    """

    mean: Tensor
    std: Tensor
    middle: Tensor

    def __init__(self, backbone: str = "mobilenetv3_small_100", keypoints: int = 21, size: int = 224) -> None:
        super().__init__()
        if keypoints < 1 or size < 32:
            raise InputError(f"keypoints={keypoints}, size={size}: must be at least 1 and 32")
        self.backbone = _timm_network(backbone, size)
        self.size = size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        features = self._feature_count(backbone)
        self.keypoints = nn.Linear(features, 3 * keypoints)
        self.keypoints_3d = nn.Linear(features, 3 * keypoints)
        self.presence = nn.Linear(features, 1)
        self.handedness = nn.Linear(features, 1)
        self.register_buffer("middle", torch.tensor([size / 2, size / 2, 0.0]).repeat(keypoints), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the hands in crops.

        Args:
            images: (B, 3, size, size) RGB in 0..1.

        Returns:
            `keypoints` (B, 3K): x, y in pixels of the crop, ordinal z from the wrist; `presence` (B, 1) and
            `handedness` (B, 1): probabilities, the latter that of a left hand in a selfie view; `keypoints_3d`
            (B, 3K): metres in the crop's axes, origin at the hand's centre.
        """
        if images.shape[-2:] != (self.size, self.size):
            raise InputError(
                f"{self.name}: images have shape {tuple(images.shape)}; expected (B, 3, {self.size}, {self.size})"
            )
        features = self.backbone((images - self.mean) / self.std)  # (B, C)
        return {
            "keypoints": self.middle + self.size / 4 * self.keypoints(features),
            "presence": self.presence(features).sigmoid(),
            "handedness": self.handedness(features).sigmoid(),
            "keypoints_3d": _PALM_M * self.keypoints_3d(features),
        }

    def _feature_count(self, backbone: str) -> int:
        """Return the number of features, by a run, because not every network of timm states it."""
        was_training = self.backbone.training
        try:
            with torch.no_grad():
                self.backbone.eval()
                features = self.backbone(self.mean.new_zeros(1, 3, self.size, self.size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(f"{backbone} does not take crops of {self.size} px: {error}") from None
        self.backbone.train(was_training)
        return features.shape[-1]


def _timm_network(name: str, size: int) -> nn.Module:
    """Return a network of timm without its classifier, for images of a size where it depends on it."""
    with optional_import("timm's networks"):
        import timm
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 5) or timm.list_models("mobilenetv3_small*")
        raise InputError(f"Unknown backbone {name!r}. Choose from timm's networks, such as {', '.join(close)}")
    make: Any = partial(timm.create_model, name, pretrained=False, num_classes=0)
    try:
        return make(img_size=size)
    except TypeError:  # networks that take any size have no such option
        return make()


register(
    NetworkEntry(
        name="timm-landmarks",
        build=TimmLandmarks,
        summary="21 keypoints of one hand in its crop, its presence and handedness, with any backbone of timm",
        source="Wightman 2019, PyTorch Image Models; outputs as in Zhang et al. 2020, MediaPipe Hands, section 2.2",
        licence="that of the backbone's weights",
        inputs=(InputSpec("images", (3, 224, 224)),),
        where="train it: sonjit train hand-full --set network=timm-landmarks --set scratch=true",
        tiny={"backbone": "test_efficientnet", "size": 64},
        tiny_inputs=(InputSpec("images", (3, 64, 64)),),
    )
)
