"""The trunk that MediaPipe's body networks share: inverted residuals in five halvings.

Source: Tan & Le 2019, EfficientNet, section 4, without its squeeze and excitation; Bazarevsky et al. 2020, BlazePose:
On-device Real-time Body Pose Tracking, section 2. The numbers are those of the published files, whose batch norms are
folded into the convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.networks.mobile_blocks import InvertedResidual, depthwise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """Maps of a picture, each half as large as the one before.

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
