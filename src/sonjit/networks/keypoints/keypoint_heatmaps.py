"""A hand's keypoints in pixels from a crop, by one heatmap each on an EfficientNet of timm.

Source: Tan and Le 2019, EfficientNet, for the trunk; Xiao et al. 2018, Simple Baselines, for heatmaps at a quarter of
the crop's side. The maps are logits of one distribution over all cells, so that what lies near a peak is a probability.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.networks.cam.backbones import IMAGENET_MEAN, IMAGENET_STD
from sonjit.networks.checkpoints import load_checkpoint
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register

if TYPE_CHECKING:
    from collections.abc import Mapping

STRIDE: Final = 4
"""Pixels of a crop for each cell of a heatmap."""
INPUT_SIZE: Final = 256
_STAGES: Final = (1, 2, 3, 4)  # of timm's features: strides 4, 8, 16 and 32
_WHERE: Final = (
    "timm's weights are to be had as model.safetensors from https://huggingface.co/timm, e.g. "
    "timm/tf_efficientnet_b0.ns_jft_in1k (Apache-2.0); keep the file anywhere and give its path"
)


class KeypointHeatmaps(Network):
    """Heatmaps of a hand's keypoints, and whether each is seen or hidden.

    Args:
        backbone: an EfficientNet that timm knows, e.g. `tf_efficientnet_b0` or `efficientnet_lite0`.
        keypoints: how many.
        channels: of the maps that are read.
        backbone_weights: file of timm's weights for the trunk; None begins with random ones.

    Raises:
        InputError: timm knows no such trunk, or its weights do not fit.
        MissingExtraError: timm is not installed.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_b0",
        keypoints: int = 21,
        channels: int = 128,
        backbone_weights: str | None = None,
    ) -> None:
        super().__init__()
        if keypoints < 1 or channels < 1:
            raise InputError(f"keypoints={keypoints}, channels={channels}: give at least 1")
        self.backbone, widths = _trunk(backbone)
        if backbone_weights is not None:
            _fill_trunk(self.backbone, Path(backbone_weights), backbone)
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.heatmaps = nn.Conv2d(channels, keypoints, 1)
        self.visible = nn.Linear(channels, keypoints)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What is seen in crops.

        Args:
            images: (B, 3, S, S) RGB in 0..1, S a multiple of 32.

        Returns:
            `heatmaps` (B, K, S / 4, S / 4): logits, whose softmax over a map's cells is where the keypoint lies;
            `visible_logits` (B, K): above 0 where it is seen rather than hidden.
        """
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        maps: list[Tensor] = self.backbone((images - mean) / std)
        merged: Tensor | None = None
        for lateral, features in zip(reversed(list(self.laterals)), reversed(maps), strict=True):
            level = lateral(features)
            merged = level if merged is None else level + F.interpolate(merged, scale_factor=2.0)
        assert merged is not None
        features = self.smooth(merged)  # (B, C, S / 4, S / 4)
        heatmaps = self.heatmaps(features)
        # What is known of each keypoint stands where it probably is.
        where = heatmaps.flatten(2).softmax(2)  # (B, K, h * w)
        own = where @ features.flatten(2).transpose(1, 2)  # (B, K, C)
        visible = (own * self.visible.weight).sum(2) + self.visible.bias
        return {"heatmaps": heatmaps, "visible_logits": visible}


def _trunk(name: str) -> tuple[nn.Module, list[int]]:
    """An EfficientNet without its classifier, and the channels at strides 4, 8, 16 and 32."""
    with needed_for("timm's networks"):
        import timm
    if "efficientnet" not in name or not timm.is_model(name):
        known = timm.list_models("*efficientnet_*lite0") + timm.list_models("tf_efficientnet_b*")
        raise InputError(f"timm knows no EfficientNet {name!r}; known are {', '.join(sorted(known))} and others")
    trunk: Any = timm.create_model(name, features_only=True, out_indices=_STAGES, pretrained=False)
    return trunk, list(trunk.feature_info.channels())


def _fill_trunk(trunk: nn.Module, path: Path, name: str) -> None:
    """Take over timm's weights; what belongs to its classifier is left out."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_WHERE}")
    given: Mapping[str, Tensor] = load_checkpoint(path)
    own = trunk.state_dict()
    wrong = [key for key, value in own.items() if key not in given or given[key].shape != value.shape]
    if wrong:
        raise InputError(f"{path} does not fit {name}: {wrong[0]} is missing or of another shape; {_WHERE}")
    trunk.load_state_dict({key: given[key] for key in own})


def cell_from_px(px: torch.Tensor) -> torch.Tensor:
    """Places in a heatmap, in cells, of places in its crop, in pixels; both count from the first one's middle.

    >>> cell_from_px(torch.tensor([1.5, 5.5])).tolist()
    [0.0, 1.0]
    """
    return (px - (STRIDE - 1) / 2) / STRIDE


register(
    NetworkEntry(
        name="keypoint-detector",
        build=KeypointHeatmaps,
        summary="21 keypoints of one hand in pixels, how sure each is, and whether it is seen; to train on own labels",
        source="Tan and Le 2019, EfficientNet, on heatmaps as in Xiao et al. 2018, Simple Baselines",
        licence="no weights are published; timm's for the trunk are Apache-2.0",
        inputs=(InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE)),),
        where="train it: sonjit train keypoint-detector --data coco.json --out run",
        tiny={"backbone": "test_efficientnet", "channels": 16},
        tiny_inputs=(InputSpec("images", (3, 64, 64)),),
    )
)
