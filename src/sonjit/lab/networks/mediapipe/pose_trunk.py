"""Trunk of MediaPipe's body networks: inverted residuals with five halvings.

Source: Tan and Le 2019, EfficientNet, section 4, without squeeze and excitation; Bazarevsky et al. 2020, BlazePose:
On-device Real-time Body Pose Tracking, section 2. Numbers are those of the published files, whose batch norms are
folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.lab.networks.mediapipe.blocks import InvertedResidual, depthwise

_LAST_EXPANSION = 6  # ratio of the trunk's last map to the channels before it


@dataclass(frozen=True)
class Blocks:
    """A sequence of inverted residuals of one kind.

    Attributes:
        kernel: Side of the depthwise kernel.
        channels: Channels of the output.
        expansions: Expansion factor of each block.
    """

    kernel: int
    channels: int
    expansions: tuple[int, ...]


@dataclass(frozen=True)
class TrunkNumbers:
    """Dimensions of a trunk.

    Attributes:
        stem: Channels of the first convolution, and of the first map.
        levels: Blocks between two halvings.
    """

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
    """A trunk that returns maps of an image, each half as large as the one before.

    Args:
        numbers: Dimensions of its layers.
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
        """Map (B, 3, H, W) to five maps (B, C, H / 2, W / 2) to (B, C, H / 32, W / 32); the last one is widened."""
        maps = [self.first(F.relu6(self.stem(images)))]
        for level in self.levels:
            maps.append(level(maps[-1]))
        maps[-1] = F.relu6(self.mix(F.relu6(self.widen(maps[-1]))))
        return maps

    def file_order(self, branches: Mapping[int, Sequence[nn.Module]]) -> list[nn.Module]:
        """Return the modules in the order of the published files.

        Args:
            branches: Modules on a map by its index; the files run them after the next level's first convolution.
        """
        order: list[nn.Module] = [self.stem, self.first]
        for number, level in enumerate(self.levels):
            first, *more = level.children()
            expand, *rest = first.children()
            order += [expand, *branches.get(number, ()), *rest, *more]
        return [*order, self.widen, self.mix]
