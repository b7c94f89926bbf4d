"""MediaPipe's body landmark networks: 39 keypoints, a mask and heatmaps from the crop of one body.

The trunk's maps are added on the way up to a quarter of the crop's size, which gives heatmaps and mask. Two further
halvings of the trunk's last map, or of a second encoder in the heaviest network, give the keypoints.

Source: Bazarevsky et al. 2020, BlazePose: On-device Real-time Body Pose Tracking, section 2.3; Grishchenko et al. 2022,
BlazePose GHUM Holistic, section 2. Numbers are those of the published files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.lab.networks.mediapipe.blocks import BlazeBlock, depthwise, single_cell, upsample
from sonjit.lab.networks.mediapipe.pose_trunk import PoseTrunk, trunk_numbers
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, register_published

KEYPOINTS = 39
"""33 keypoints of the body, 2 of its box, and 4 that are not used."""

_PER_KEYPOINT = 5  # x, y, z, visibility, presence
_MASK = 8
_MASK_BLOCKS = 2


@dataclass(frozen=True)
class Numbers:
    """Dimensions of a network, in addition to those of its trunk.

    Attributes:
        lateral: Channels in which the trunk's maps are added.
        head: Channels of the last maps.
        depths: Number of blocks after each of the two last halvings.
        down: Channels, and number of blocks, after each halving of the second encoder; only in the heaviest network.
        size: Side of the last map.
    """

    lateral: int
    head: int
    depths: tuple[int, int]
    down: tuple[tuple[int, int], ...] = ()
    size: int = 2


def numbers_of(variant: str) -> Numbers:
    """Return the dimensions of a variant of the network."""
    numbers = {
        "lite": Numbers(32, 192, (2, 3)),
        "full": Numbers(48, 288, (4, 5)),
        "heavy": Numbers(48, 288, (7, 7), ((96, 6), (192, 7), (288, 7))),
        "tiny": Numbers(8, 8, (0, 1), ((8, 0), (8, 0), (8, 1)), size=1),
    }
    if variant not in numbers:
        raise InputError(f"Unknown variant {variant!r}. Choose from {', '.join(numbers)}")
    return numbers[variant]


def _block(channels: int, out: int | None = None, stride: int = 1) -> BlazeBlock:
    out = channels if out is None else out
    return BlazeBlock(channels, out, nn.ReLU6(), kernel=3, stride=stride, between=nn.ReLU6())


def _halving(channels: int, out: int, depth: int) -> nn.Sequential:
    return nn.Sequential(_block(channels, out, 2), *(_block(out) for _ in range(depth)))


def _lateral(channels: int, out: int) -> nn.Module:
    """Return a block that changes the channels of a trunk's map, with a shortcut if they stay."""
    if channels == out:
        return _block(channels)
    return nn.Sequential(depthwise(channels, 3), nn.ReLU6(), nn.Conv2d(channels, out, 1), nn.ReLU6())


class MaskHead(nn.Module):
    """The body's mask, by two steps up to the size of the crop."""

    def __init__(self, channels: int, half: int) -> None:
        super().__init__()
        self.lateral = _lateral(half, _MASK)
        self.narrow = _lateral(channels, _MASK)
        self.at_half = nn.Sequential(*(_block(_MASK) for _ in range(_MASK_BLOCKS)))
        self.at_whole = nn.Sequential(*(_block(_MASK) for _ in range(_MASK_BLOCKS)))
        self.read = nn.Conv2d(_MASK, 1, 3, padding=1)

    def forward(self, quarter: Tensor, half: Tensor) -> Tensor:
        """Map (B, channels, H / 4, W / 4) and the trunk's (B, half, H / 2, W / 2) to (B, 1, H, W)."""
        values = self.at_half(upsample(self.narrow(quarter)) + self.lateral(half))
        return self.read(self.at_whole(upsample(values)))


class SecondEncoder(nn.Module):
    """A second encoder down to the size of the trunk's last map, which adds the trunk's maps."""

    def __init__(self, channels: int, trunk: Sequence[int], down: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        out, depth = down[0]
        self.first = _halving(channels, out, depth)
        self.laterals = nn.ModuleList(_lateral(own, out) for own, (out, _) in zip(trunk, down[:-1], strict=True))
        self.stages = nn.ModuleList(_halving(before, out, depth) for (before, _), (out, depth) in pairwise(down))

    def forward(self, values: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Map (B, channels, H / 4, W / 4) and the trunk's maps to (B, out, H / 32, W / 32)."""
        values = self.first(values)
        for stage, lateral, own in zip(self.stages, self.laterals, maps, strict=True):
            values = stage(values + lateral(own))
        return values


class PoseLandmarkNetwork(PublishedNetwork):
    """Body landmarks from a square crop.

    Args:
        variant: `lite`, `full`, `heavy`, or `tiny` for tests.
    """

    def __init__(self, variant: str = "full") -> None:
        super().__init__()
        numbers, trunk = numbers_of(variant), trunk_numbers(variant)
        half, *inner, last = trunk.channels
        self.trunk = PoseTrunk(trunk)
        self.laterals = nn.ModuleList(_lateral(channels, numbers.lateral) for channels in (*inner, last))
        self.segmentation = MaskHead(numbers.lateral, half)
        self.heatmap = nn.Conv2d(numbers.lateral, KEYPOINTS, 1)
        self.second = SecondEncoder(numbers.lateral, inner[1:], numbers.down) if numbers.down else None
        self.last = _lateral(last, numbers.head)
        self.halvings = nn.Sequential(*(_halving(numbers.head, numbers.head, depth) for depth in numbers.depths))
        self.keypoints = nn.Conv2d(numbers.head, _PER_KEYPOINT * KEYPOINTS, numbers.size)
        self.keypoints_3d = nn.Conv2d(numbers.head, 3 * KEYPOINTS, numbers.size)
        self.presence = nn.Conv2d(numbers.head, 1, numbers.size)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the bodies in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1.

        Returns:
            `keypoints` (B, 195): x, y in pixels of the crop, ordinal z from the hips, smaller is nearer, and
            the logits of visibility and presence, of 39 points; `presence` (B, 1): probability of a body;
            `segmentation` (B, 256, 256, 1): logits; `heatmap` (B, 64, 64, 39): logits; `keypoints_3d` (B, 117): metres
            in the crop's axes, origin at the middle of the hips.
        """
        half, *inner, last = self.trunk(images)
        *finer, top = self.laterals
        quarter = top(last)
        for lateral, own in zip(reversed(finer), reversed(inner), strict=True):
            quarter = upsample(quarter) + lateral(own)
        small = self.last(last)
        values = self.halvings(small if self.second is None else self.second(quarter, inner[1:]) + small)
        return {
            "keypoints": single_cell(self.keypoints(values)),
            "presence": single_cell(self.presence(values)).sigmoid(),
            "segmentation": self.segmentation(quarter, half).permute(0, 2, 3, 1),
            "heatmap": self.heatmap(quarter).permute(0, 2, 3, 1),
            "keypoints_3d": single_cell(self.keypoints_3d(values)),
        }

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `pose_landmark_lite.tflite`, and of the full and heavy files."""
        mask = self.segmentation
        fourth, eighth, sixteenth, top = self.laterals
        branches: dict[int, list[nn.Module]] = {0: [mask.lateral], 1: [fourth], 2: [eighth], 3: [sixteenth]}
        masks: list[nn.Module] = [mask.narrow, mask.at_half, mask.at_whole, mask.read]
        if self.second is None:
            behind = masks
        else:  # the file starts its second encoder before the mask
            for number, lateral in zip((2, 3), self.second.laterals, strict=True):
                branches[number].append(lateral)
            first, *more = self.second.first.children()
            behind = [first, *masks, *more, self.second.stages]
        heads = (self.keypoints, self.keypoints_3d, self.presence)
        return [*self.trunk.file_order(branches), top, *behind, self.heatmap, self.last, self.halvings, *heads]


for _name in ("lite", "full", "heavy"):
    register_published(
        f"pose-{_name}",
        partial(PoseLandmarkNetwork, variant=_name),
        "39 keypoints of one body in its crop, with mask and heatmaps",
        "Bazarevsky et al. 2020, BlazePose, section 2.3; Grishchenko et al. 2022, BlazePose GHUM Holistic",
        (256, 256),
        tiny={"variant": "tiny"},
        tiny_size=(128, 128),
        weight=f"body-{_name}",
        multiple_of=64,
        one_crop=True,
    )
