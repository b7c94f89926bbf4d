"""MediaPipe's body landmark networks: 39 keypoints, a mask and heatmaps, from the crop of one body.

The trunk's maps are added up on the way back to a quarter of the crop's size: heatmaps and mask are made of that, and
the keypoints by two further halvings, of the trunk's last map or, in the heaviest network, of a second way down.

Source: Bazarevsky et al. 2020, BlazePose: On-device Real-time Body Pose Tracking, section 2.3; Grishchenko et al. 2022,
BlazePose GHUM Holistic, section 2. The numbers are those of the published files.

The trunk that MediaPipe's body networks share: inverted residuals in five halvings.

Source: Tan & Le 2019, EfficientNet, section 4, without its squeeze and excitation; Bazarevsky et al. 2020, BlazePose:
On-device Real-time Body Pose Tracking, section 2. The numbers are those of the published files, whose batch norms are
folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.networks.mediapipe.blocks import (
    BlazeBlock,
    InvertedResidual,
    PublishedNetwork,
    depthwise,
    register_published,
    upsample,
)

KEYPOINTS = 39
"""33 of the body, 2 of its box, and 4 that nobody uses."""

_PER_KEYPOINT = 5  # x, y, z, visibility, presence
_MASK = 8
_MASK_BLOCKS = 2


@dataclass(frozen=True)
class Numbers:
    """The numbers of one network beside those of its trunk.

    Attributes:
        lateral: channels in which the trunk's maps are added up.
        head: channels of the last maps.
        depths: blocks behind each of the two last halvings.
        down: channels, and blocks, after each halving of a second way down before those; none but in the heaviest.
        size: of the last map, in pixels.
    """

    lateral: int
    head: int
    depths: tuple[int, int]
    down: tuple[tuple[int, int], ...] = ()
    size: int = 2


NUMBERS = {
    "lite": Numbers(32, 192, (2, 3)),
    "full": Numbers(48, 288, (4, 5)),
    "heavy": Numbers(48, 288, (7, 7), ((96, 6), (192, 7), (288, 7))),
    "tiny": Numbers(8, 8, (0, 1), ((8, 0), (8, 0), (8, 1)), size=1),
}


def _block(channels: int, out: int | None = None, stride: int = 1) -> BlazeBlock:
    out = channels if out is None else out
    return BlazeBlock(channels, out, nn.ReLU6(), kernel=3, stride=stride, between=nn.ReLU6())


def _halving(channels: int, out: int, depth: int) -> nn.Sequential:
    return nn.Sequential(_block(channels, out, 2), *(_block(out) for _ in range(depth)))


def _lateral(channels: int, out: int) -> nn.Module:
    """One of the trunk's maps with other channels; with a shortcut where they are the same."""
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
        """(B, channels, H / 4, W / 4) and the trunk's (B, half, H / 2, W / 2) to (B, 1, H, W)."""
        values = self.at_half(upsample(self.narrow(quarter)) + self.lateral(half))
        return self.read(self.at_whole(upsample(values)))


class SecondWayDown(nn.Module):
    """Down again to the size of the trunk's last map, adding the trunk's maps on the way."""

    def __init__(self, channels: int, trunk: Sequence[int], down: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        out, depth = down[0]
        self.first = _halving(channels, out, depth)
        self.laterals = nn.ModuleList(_lateral(own, out) for own, (out, _) in zip(trunk, down[:-1], strict=True))
        self.stages = nn.ModuleList(_halving(before, out, depth) for (before, _), (out, depth) in pairwise(down))

    def forward(self, values: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """(B, channels, H / 4, W / 4) and the trunk's maps between to (B, out, H / 32, W / 32)."""
        values = self.first(values)
        for stage, lateral, own in zip(self.stages, self.laterals, maps, strict=True):
            values = stage(values + lateral(own))
        return values


class PoseLandmarkNetwork(PublishedNetwork):
    """Body landmarks from a square crop.

    Args:
        variant: `lite`, `full`, `heavy` or, for tests, `tiny`.
    """

    def __init__(self, variant: str = "full") -> None:
        super().__init__()
        if variant not in NUMBERS:
            raise InputError(f"unknown variant {variant!r}; known: {', '.join(NUMBERS)}")
        numbers, trunk = NUMBERS[variant], trunk_numbers(variant)
        half, *inner, last = trunk.channels
        self.trunk = PoseTrunk(trunk)
        self.laterals = nn.ModuleList(_lateral(channels, numbers.lateral) for channels in (*inner, last))
        self.segmentation = MaskHead(numbers.lateral, half)
        self.heatmap = nn.Conv2d(numbers.lateral, KEYPOINTS, 1)
        self.second = SecondWayDown(numbers.lateral, inner[1:], numbers.down) if numbers.down else None
        self.last = _lateral(last, numbers.head)
        self.halvings = nn.Sequential(*(_halving(numbers.head, numbers.head, depth) for depth in numbers.depths))
        self.keypoints = nn.Conv2d(numbers.head, _PER_KEYPOINT * KEYPOINTS, numbers.size)
        self.keypoints_3d = nn.Conv2d(numbers.head, 3 * KEYPOINTS, numbers.size)
        self.presence = nn.Conv2d(numbers.head, 1, numbers.size)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What is seen in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1.

        Returns:
            `keypoints` (B, 195): x, y in pixels of the crop, z in the same scale from the hips, smaller is nearer, and
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
            "keypoints": self.keypoints(values).flatten(1),
            "presence": self.presence(values).flatten(1).sigmoid(),
            "segmentation": self.segmentation(quarter, half).permute(0, 2, 3, 1),
            "heatmap": self.heatmap(quarter).permute(0, 2, 3, 1),
            "keypoints_3d": self.keypoints_3d(values).flatten(1),
        }

    def tflite_order(self) -> list[nn.Module]:
        """As in `pose_landmark_lite.tflite`, `pose_landmark_full.tflite` or `pose_landmark_heavy.tflite`."""
        mask = self.segmentation
        fourth, eighth, sixteenth, top = self.laterals
        branches: dict[int, list[nn.Module]] = {0: [mask.lateral], 1: [fourth], 2: [eighth], 3: [sixteenth]}
        masks: list[nn.Module] = [mask.narrow, mask.at_half, mask.at_whole, mask.read]
        if self.second is None:
            behind = masks
        else:  # the file begins its second way down before the mask
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
    )

_LAST_EXPANSION = 6


@dataclass(frozen=True)
class Blocks:
    """Inverted residuals of one kind, in a row.

    Attributes:
        kernel: of the depthwise convolution.
        channels: that go out.
        expansions: by how much each of them widens what comes in.
    """

    kernel: int
    channels: int
    expansions: tuple[int, ...]


@dataclass(frozen=True)
class TrunkNumbers:
    """The numbers of one trunk.

    Attributes:
        stem: channels of the first convolution, and of the first map.
        levels: the blocks from one halving to the next.
    """

    stem: tuple[int, int]
    levels: tuple[tuple[Blocks, ...], ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each map that the trunk gives."""
        *inner, last = (level[-1].channels for level in self.levels)
        return (self.stem[1], *inner, last * _LAST_EXPANSION)


def _numbers(stem: tuple[int, int], *counted: tuple[int, int]) -> TrunkNumbers:
    """A trunk as all but the heaviest are; (channels, blocks) of its five kinds."""
    (a, n), *rest = counted
    first = Blocks(3, a, (4, *(6,) * (n - 1)))
    second, third, fourth, fifth = (
        Blocks(kernel, channels, (6,) * count) for kernel, (channels, count) in zip((5, 3, 5, 5), rest, strict=True)
    )
    return TrunkNumbers(stem, ((first,), (second,), (third, fourth), (fifth,)))


TRUNKS = {
    "detector": _numbers((24, 16), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4)),
    "lite": _numbers((24, 8), (16, 2), (24, 2), (40, 3), (56, 3), (96, 4)),
    "full": _numbers((24, 16), (24, 2), (32, 2), (64, 3), (88, 3), (144, 4)),
    "heavy": TrunkNumbers(
        (24, 24),
        (
            (Blocks(3, 32, (4, 4, 6, 6)),),
            (Blocks(5, 56, (6,) * 4),),
            (Blocks(3, 112, (6,) * 6), Blocks(5, 160, (6,) * 6)),
            (Blocks(5, 272, (6,) * 8),),
        ),
    ),
    "tiny": _numbers((8, 8), (8, 1), (8, 1), (8, 1), (8, 1), (8, 1)),
}


def trunk_numbers(name: str) -> TrunkNumbers:
    """The numbers of one trunk by its name."""
    if name not in TRUNKS:
        raise InputError(f"unknown trunk {name!r}; known: {', '.join(TRUNKS)}")
    return TRUNKS[name]


class PoseTrunk(nn.Module):
    """Maps of an image, each half as large as the one before.

    Args:
        numbers: of its layers.
    """

    def __init__(self, numbers: TrunkNumbers) -> None:
        super().__init__()
        stem, channels = numbers.stem
        self.stem = nn.Conv2d(3, stem, 3, 2, 1)
        self.first = nn.Sequential(depthwise(stem, 3), nn.ReLU6(), nn.Conv2d(stem, channels, 1))
        self.levels = nn.ModuleList()
        for level in numbers.levels:
            blocks: list[InvertedResidual] = []
            for kind in level:
                for expansion in kind.expansions:
                    wide, stride = channels * expansion, 1 if blocks else 2
                    blocks.append(
                        InvertedResidual(channels, wide, kind.channels, kernel=kind.kernel, stride=stride, even=True)
                    )
                    channels = kind.channels
            self.levels.append(nn.Sequential(*blocks))
        self.widen = nn.Conv2d(channels, channels * _LAST_EXPANSION, 1)
        self.mix = depthwise(channels * _LAST_EXPANSION, 3)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps (B, C, H / 2, W / 2) to (B, C, H / 32, W / 32); the last is widened once more."""
        maps = [self.first(F.relu6(self.stem(images)))]
        for level in self.levels:
            maps.append(level(maps[-1]))
        maps[-1] = F.relu6(self.mix(F.relu6(self.widen(maps[-1]))))
        return maps

    def file_order(self, branches: Mapping[int, Sequence[nn.Module]]) -> list[nn.Module]:
        """Its parts in the order of the published files.

        Args:
            branches: what is made of a map by its number; the files run it behind the next level's first convolution.
        """
        order: list[nn.Module] = [self.stem, self.first]
        for number, level in enumerate(self.levels):
            first, *more = level.children()
            expand, *rest = first.children()
            order += [expand, *branches.get(number, ()), *rest, *more]
        return [*order, self.widen, self.mix]
