"""MediaPipe's person detector: boxes with four keypoints on 2254 anchors of a square image.

Source: Bazarevsky et al. 2020, BlazePose: On-device Real-time Body Pose Tracking, section 2.2; for the trunk see
`pose_trunk`. Numbers are those of the published file.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import BlazeBlock, depth_to_space, depthwise, rows_from_map, upsample
from sonjit.lab.networks.mediapipe.pose_trunk import PoseTrunk, trunk_numbers
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, register_published

_BOX = 12  # centre, size and four keypoints
_ANCHORS = (2, 2, 6)  # anchors of a cell of each map, the finest first
_BLOCKS = 2


class UpStep(nn.Module):
    """Upsample and narrow a coarse map, add it to a finer one of the trunk, and mix them."""

    def __init__(self, channels: int, fine: int, out: int) -> None:
        super().__init__()
        self.lateral = nn.Sequential(depthwise(fine, 3, bias=False), nn.Conv2d(fine, out, 1), nn.ReLU6())
        self.narrow = nn.Conv2d(channels, out, 1)
        self.mix = nn.Sequential(
            *(BlazeBlock(out, out, nn.ReLU6(), kernel=3, depthwise_bias=False) for _ in range(_BLOCKS))
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, fine, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.mix(self.lateral(fine) + F.relu6(self.narrow(upsample(coarse))))


class AnchorHead(nn.Module):
    """Predict one row per anchor: a map is spread to twice its size and reduced by a convolution with stride 2."""

    def __init__(self, channels: int, anchors: int, length: int) -> None:
        super().__init__()
        self.depthwise = depthwise(channels // 4, 3, 2, even=True)
        self.pointwise = nn.Conv2d(channels // 4, anchors * length, 1)
        self._length = length

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, H * W * anchors, length)."""
        return rows_from_map(self.pointwise(self.depthwise(depth_to_space(values))), self._length)


class PoseDetectionNetwork(PublishedNetwork):
    """Person detector for full images.

    Args:
        trunk: `detector`, or `tiny` for tests.
        channels: Channels of the two upward maps with anchors, the finer one first.
    """

    def __init__(self, trunk: str = "detector", channels: Sequence[int] = (96, 192)) -> None:
        super().__init__()
        numbers = trunk_numbers(trunk)
        *_, eighth, sixteenth, last = numbers.channels
        fine, middle = channels
        self.trunk = PoseTrunk(numbers)
        self.to_middle = UpStep(last, sixteenth, middle)
        self.to_fine = UpStep(middle, eighth, fine)
        maps = list(zip((fine, middle, last), _ANCHORS, strict=True))
        self.scores = nn.ModuleList(AnchorHead(count, anchors, 1) for count, anchors in maps)
        self.boxes = nn.ModuleList(AnchorHead(count, anchors, _BOX) for count, anchors in maps)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict boxes and scores of the anchors.

        Args:
            images: (B, 3, 224, 224) RGB in -1..1.

        Returns:
            `boxes` (B, 2254, 12): centre and size of the face's box, then x and y of the centre of the hips, of a point
            on the circle around the full body, of the centre of the shoulders and of one on the circle around the
            upper body, in pixels of the input from the anchor's centre; `scores` (B, 2254, 1): logits. Anchors of the
            finest map come first (28 x 28 x 2, 14 x 14 x 2, 7 x 7 x 6).
        """
        *_, eighth, sixteenth, last = self.trunk(images)
        middle = self.to_middle(last, sixteenth)
        maps = self.to_fine(middle, eighth), middle, last
        boxes, scores = (
            torch.cat([head(values) for head, values in zip(heads, maps, strict=True)], 1)
            for heads in (self.boxes, self.scores)
        )
        return {"boxes": boxes, "scores": scores}

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `pose_detection.tflite`."""
        steps = (self.to_middle, self.to_fine)
        trunk = self.trunk.file_order({2: [self.to_fine.lateral], 3: [self.to_middle.lateral]})
        ups = [part for step in steps for part in (step.narrow, step.mix)]
        heads = [head for pair in zip(self.scores, self.boxes, strict=True) for head in pair]
        return [*trunk, *ups, *heads]


register_published(
    "pose-detection",
    PoseDetectionNetwork,
    "people in a whole image: boxes with four keypoints on 2254 anchors",
    "Bazarevsky et al. 2020, BlazePose, section 2.2",
    (224, 224),
    tiny={"trunk": "tiny", "channels": (8, 8)},
    weight="pose-detector",
    low=-1.0,
)
