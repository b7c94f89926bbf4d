"""MediaPipe's person detector, body landmark networks and selfie segmentation.

Detector and landmark networks share a trunk of inverted residuals with five halvings. The latter add its maps on the
way up to a quarter of the crop, for heatmaps and mask; two further halvings give the keypoints. The selfie network
resembles MobileNetV3; three of its four upward steps add a gated map of the trunk. Sources: Bazarevsky et al. 2020,
BlazePose, sections 2.2 and 2.3; Grishchenko et al. 2022, BlazePose GHUM Holistic, section 2; Tan and Le 2019,
EfficientNet, section 4; Howard et al. 2019, MobileNetV3, sections 5 and 6.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit._util import InputError
from sonjit_lab.networks import mediapipe_blocks as mp_blocks

_LAST_EXPANSION = 6  # ratio of the trunk's last map to the channels before it
_BOX = 12  # centre, size and four keypoints
_ANCHORS = (2, 2, 6)  # anchors of a cell of each map, the finest first
_BLOCKS = 2
KEYPOINTS = 39  # 33 keypoints of the body, 2 of its box, and 4 that are not used
_PER_KEYPOINT = 5  # x, y, z, visibility, presence
_MASK = 8
_MASK_BLOCKS = 2
_QUARTER = 4  # ratio of channels of a gate to those inside it, in all blocks except the first


@dataclass(frozen=True)
class Blocks:
    """A sequence of inverted residuals: kernel, output channels, and the expansion factor of each."""

    kernel: int
    channels: int
    expansions: tuple[int, ...]


@dataclass(frozen=True)
class TrunkNumbers:
    """Dimensions of a trunk: channels of the first convolution and map, and the blocks between two halvings."""

    stem: tuple[int, int]
    levels: tuple[tuple[Blocks, ...], ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map of the trunk."""
        *inner, last = (level[-1].channels for level in self.levels)
        return (self.stem[1], *inner, last * _LAST_EXPANSION)


def _numbers(stem: tuple[int, int], *counts: tuple[int, int]) -> TrunkNumbers:
    """Return a trunk with (channels, blocks) of its five kinds, as for all networks except the heaviest."""
    (a, n), *rest = counts
    first = Blocks(3, a, (4, *(6,) * (n - 1)))
    second, third, fourth, fifth = (
        Blocks(kernel, channels, (6,) * count) for kernel, (channels, count) in zip((5, 3, 5, 5), rest, strict=True)
    )
    return TrunkNumbers(stem, ((first,), (second,), (third, fourth), (fifth,)))


def trunk_numbers(name: str) -> TrunkNumbers:
    """Return the dimensions of a trunk by its name."""
    trunks = {
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
    if name not in trunks:
        raise InputError(f"Unknown trunk {name!r}. Choose from {', '.join(trunks)}")
    return trunks[name]


class PoseTrunk(nn.Module):
    """A trunk that returns maps of an image, each half as large as the one before."""

    def __init__(self, numbers: TrunkNumbers) -> None:
        super().__init__()
        stem, channels = numbers.stem
        self.stem = nn.Conv2d(3, stem, 3, 2, 1)
        self.first = nn.Sequential(mp_blocks.depthwise(stem, 3), nn.ReLU6(), nn.Conv2d(stem, channels, 1))
        self.levels = nn.ModuleList()
        for level in numbers.levels:
            blocks: list[mp_blocks.InvertedResidual] = []
            for kind in level:
                for expansion in kind.expansions:
                    wide, stride = channels * expansion, 1 if blocks else 2
                    blocks.append(
                        mp_blocks.InvertedResidual(
                            channels, wide, kind.channels, kernel=kind.kernel, stride=stride, even=True
                        )
                    )
                    channels = kind.channels
            self.levels.append(nn.Sequential(*blocks))
        self.widen = nn.Conv2d(channels, channels * _LAST_EXPANSION, 1)
        self.mix = mp_blocks.depthwise(channels * _LAST_EXPANSION, 3)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to five maps (B, C, H / 2, W / 2) to (B, C, H / 32, W / 32); the last one is widened."""
        maps = [self.first(F.relu6(self.stem(images)))]
        for level in self.levels:
            maps.append(level(maps[-1]))
        maps[-1] = F.relu6(self.mix(F.relu6(self.widen(maps[-1]))))
        return maps

    def file_order(self, branches: Mapping[int, Sequence[nn.Module]]) -> list[nn.Module]:
        """Return the modules in the order of the files, which run branches after the next level's first convolution."""
        order: list[nn.Module] = [self.stem, self.first]
        for number, level in enumerate(self.levels):
            first, *more = level.children()
            expand, *rest = first.children()
            order += [expand, *branches.get(number, ()), *rest, *more]
        return [*order, self.widen, self.mix]


class UpStep(nn.Module):
    """Upsample and narrow a coarse map, add it to a finer one of the trunk, and mix them."""

    def __init__(self, channels: int, fine: int, out: int) -> None:
        super().__init__()
        self.lateral = nn.Sequential(mp_blocks.depthwise(fine, 3, bias=False), nn.Conv2d(fine, out, 1), nn.ReLU6())
        self.narrow = nn.Conv2d(channels, out, 1)
        self.mix = nn.Sequential(
            *(mp_blocks.BlazeBlock(out, out, nn.ReLU6(), kernel=3, depthwise_bias=False) for _ in range(_BLOCKS))
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, fine, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.mix(self.lateral(fine) + F.relu6(self.narrow(mp_blocks.upsample(coarse))))


class AnchorHead(nn.Module):
    """Predict one row per anchor: a map is spread to twice its size and reduced by a convolution with stride 2."""

    def __init__(self, channels: int, anchors: int, length: int) -> None:
        super().__init__()
        self.depthwise = mp_blocks.depthwise(channels // 4, 3, 2, even=True)
        self.pointwise = nn.Conv2d(channels // 4, anchors * length, 1)
        self._length = length

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, H * W * anchors, length)."""
        return mp_blocks.rows_from_map(self.pointwise(self.depthwise(mp_blocks.depth_to_space(values))), self._length)


class PoseDetectionNetwork(mp_blocks.PublishedNetwork):
    """Person detector for full images; `channels` are those of the finer and the coarser upward map with anchors."""

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
        """Predict boxes and scores of the anchors of images (B, 3, 224, 224), RGB in -1..1.

        Returns:
            `boxes` (B, 2254, 12): centre and size of the face's box, then x and y of the centre of the hips, of a
            point on the circle around the full body, of the centre of the shoulders and of one on the circle around
            the upper body, in pixels of the input from the anchor's centre; `scores` (B, 2254, 1): logits. Anchors
            of the finest map come first (28 x 28 x 2, 14 x 14 x 2, 7 x 7 x 6).
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


mp_blocks.register_published(
    "pose-detection",
    PoseDetectionNetwork,
    "people in a whole image: boxes with four keypoints on 2254 anchors",
    "Bazarevsky et al. 2020, BlazePose, section 2.2",
    (224, 224),
    tiny={"trunk": "tiny", "channels": (8, 8)},
    weight="pose-detector",
    low=-1.0,
)


@dataclass(frozen=True)
class Numbers:
    """Dimensions of a network, in addition to those of its trunk.

    `lateral` are the channels in which the trunk's maps are added, `head` those of the last maps, `depths` the blocks
    after the last halvings, `down` channels and blocks of the second encoder in the heaviest network, `size` the side
    of the last map.
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


def _block(channels: int, out: int | None = None, stride: int = 1) -> mp_blocks.BlazeBlock:
    out = channels if out is None else out
    return mp_blocks.BlazeBlock(channels, out, nn.ReLU6(), kernel=3, stride=stride, between=nn.ReLU6())


def _halving(channels: int, out: int, depth: int) -> nn.Sequential:
    return nn.Sequential(_block(channels, out, 2), *(_block(out) for _ in range(depth)))


def _lateral(channels: int, out: int) -> nn.Module:
    """Return a block that changes the channels of a trunk's map, with a shortcut if they stay."""
    if channels == out:
        return _block(channels)
    return nn.Sequential(mp_blocks.depthwise(channels, 3), nn.ReLU6(), nn.Conv2d(channels, out, 1), nn.ReLU6())


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
        values = self.at_half(mp_blocks.upsample(self.narrow(quarter)) + self.lateral(half))
        return self.read(self.at_whole(mp_blocks.upsample(values)))


class SecondEncoder(nn.Module):
    """A second encoder down to the size of the trunk's last map, which adds the trunk's maps."""

    def __init__(self, channels: int, trunk: Sequence[int], down: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        out, depth = down[0]
        self.first = _halving(channels, out, depth)
        self.laterals = nn.ModuleList(_lateral(inputs, out) for inputs, (out, _) in zip(trunk, down[:-1], strict=True))
        self.stages = nn.ModuleList(_halving(before, out, depth) for (before, _), (out, depth) in pairwise(down))

    def forward(self, values: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Map (B, channels, H / 4, W / 4) and the trunk's maps to (B, out, H / 32, W / 32)."""
        values = self.first(values)
        for stage, lateral, trunk_map in zip(self.stages, self.laterals, maps, strict=True):
            values = stage(values + lateral(trunk_map))
        return values


class PoseLandmarkNetwork(mp_blocks.PublishedNetwork):
    """Body landmarks from a square crop: `lite`, `full`, `heavy`, or `tiny` for tests."""

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
        """Predict the bodies in crops (B, 3, 256, 256), RGB in 0..1.

        Returns:
            `keypoints` (B, 195): x, y in pixels of the crop, ordinal z from the hips, smaller is nearer, and the
            logits of visibility and presence, of 39 points; `presence` (B, 1): probability of a body;
            `segmentation` (B, 256, 256, 1): logits; `heatmap` (B, 64, 64, 39): logits; `keypoints_3d` (B, 117):
            metres in the crop's axes, origin at the middle of the hips.
        """
        half, *inner, last = self.trunk(images)
        *finer, top = self.laterals
        quarter = top(last)
        for lateral, inner_map in zip(reversed(finer), reversed(inner), strict=True):
            quarter = mp_blocks.upsample(quarter) + lateral(inner_map)
        small = self.last(last)
        values = self.halvings(small if self.second is None else self.second(quarter, inner[1:]) + small)
        return {
            "keypoints": mp_blocks.single_cell(self.keypoints(values)),
            "presence": mp_blocks.single_cell(self.presence(values)).sigmoid(),
            "segmentation": self.segmentation(quarter, half).permute(0, 2, 3, 1),
            "heatmap": self.heatmap(quarter).permute(0, 2, 3, 1),
            "keypoints_3d": mp_blocks.single_cell(self.keypoints_3d(values)),
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
    mp_blocks.register_published(
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


class Gate(nn.Module):
    """A factor between 0 and 1 for each channel, from the mean of a map."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, narrow, 1)
        self.widen = nn.Conv2d(narrow, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, channels, 1, 1)."""
        return self.widen(F.relu(self.narrow(values.mean((2, 3), keepdim=True)))).sigmoid()


class GatedResidual(nn.Module):
    """Expand, convolve depthwise, gate (0 for none) and project, with a shortcut if channels and size stay."""

    def __init__(
        self, channels: int, expanded: int, out: int, *, kernel: int, stride: int, activation: nn.Module, gate: int
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, expanded, 1)
        self.depthwise = mp_blocks.depthwise(expanded, kernel, stride)
        self.gate = Gate(expanded, gate) if gate else None
        self.project = nn.Conv2d(expanded, out, 1)
        self.activation = activation
        self._has_shortcut = channels == out and stride == 1

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        wide = self.activation(self.depthwise(self.activation(self.expand(values))))
        if self.gate is not None:
            wide = wide * self.gate(wide)
        narrow = self.project(wide)
        return values + narrow if self._has_shortcut else narrow


class SelfieUpStep(nn.Module):
    """Upsample and narrow a coarse map, add it to a gated one of the trunk, and mix them."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, out, 1)
        self.gate = Gate(out, out)
        self.pointwise = nn.Conv2d(out, out, 1)
        self.depthwise = mp_blocks.depthwise(out, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, out, 2H, 2W) to (B, out, 2H, 2W)."""
        narrow = self.narrow(mp_blocks.upsample(coarse))
        values = F.relu(self.pointwise(fine * self.gate(fine + narrow) + narrow))
        return values + F.relu(self.depthwise(values))


class SelfieSegmentationNetwork(mp_blocks.PublishedNetwork):
    """Segmentation of people in an image taken at arm's length.

    `channels`: those of the maps at a half and a quarter, at an eighth, and at a sixteenth; `expanded`: expanded
    channels of each block at an eighth (two) and at a sixteenth; `context`: channels of the map before the upward path.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 24, 32),
        expanded: tuple[Sequence[int], Sequence[int]] = ((72, 88), (96, 128, 128, 96, 96)),
        context: int = 128,
    ) -> None:
        super().__init__()
        first, eighth, sixteenth = channels
        self.stem = mp_blocks.SameConv2d(3, first, 3, stride=2)
        self.quarter = GatedResidual(first, first, first, kernel=3, stride=2, activation=nn.ReLU(), gate=first // 2)

        def blocks(channels: int, out: int, expanded: Sequence[int], kernel: int, *, gated: bool) -> nn.Sequential:
            return nn.Sequential(
                *(
                    GatedResidual(
                        out if number else channels,
                        wide,
                        out,
                        kernel=kernel,
                        stride=1 if number else 2,
                        activation=nn.Hardswish() if gated else nn.ReLU(),
                        gate=wide // _QUARTER if gated else 0,
                    )
                    for number, wide in enumerate(expanded)
                )
            )

        self.eighth = blocks(first, eighth, expanded[0], 3, gated=False)
        self.sixteenth = blocks(eighth, sixteenth, expanded[1], 5, gated=True)
        self.context = nn.Conv2d(sixteenth, context, 1)
        self.context_gate = nn.Conv2d(sixteenth, context, 1)
        self.ups = nn.ModuleList(
            [SelfieUpStep(context, eighth), SelfieUpStep(eighth, first), SelfieUpStep(first, first)]
        )
        self.read = nn.ConvTranspose2d(first, 1, 2, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return `segmentation` (B, H, W, 1), the probability of a person at each pixel.

        `images`: (B, 3, 256, 256) RGB in 0..1, or (B, 3, 144, 256) for the landscape files.
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
    mp_blocks.register_published(
        _name,
        SelfieSegmentationNetwork,
        "the mask of the people in an image taken at arm's length",
        "Howard et al. 2019, Searching for MobileNetV3, sections 5 and 6.4",
        (_height, 256),
        tiny={"channels": (8, 8, 8), "expanded": ((8, 8), (8, 16)), "context": 8},
        tiny_size=(32, 64),
        multiple_of=16,
    )
