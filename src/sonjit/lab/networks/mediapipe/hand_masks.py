"""Masks of a hand, the object in it and its arm, from the crop of one hand.

The trunk is that of a hand landmark network, which was trained on photographs. A feature pyramid on its maps was
trained on rendered hands, with the trunk frozen.

Source: Lin et al., Feature Pyramid Networks (2017), section 3; He et al., Mask R-CNN (2017), section 3, for masks that
do not compete.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name

from sonjit._util.arrays import RealArray
from sonjit._util.errors import InputError
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.geometry.boxes import RotatedBox
from sonjit.lab.networks.mask_rcnn.fpn import conv_block
from sonjit.lab.networks.mediapipe.hand_landmark import HandLandmarkNetwork, trunk_of
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, create_network, register

PARTS: Final = ("hand", "object", "arm")
"""Channels of the masks."""
CONTEXT: Final = 1.5
"""Side of the crops relative to those of the hand landmark network, so that objects and arms are inside."""
MASK_STRIDE: Final = 4
"""Pixels of the crop per pixel of the masks."""


class HandMaskNetwork(Network):
    """Masks of a hand and of what belongs to it.

    Args:
        trunk: Trunk of the hand landmark network: `full`, `lite` or, for tests, `tiny`.
        channels: Channels of the pyramid.
        size: Side of the crops in pixels, a multiple of 32. The network takes other sizes, but is trained on this one.
    """

    def __init__(self, trunk: str = "full", channels: int = 48, size: int = 160) -> None:
        super().__init__()
        if size < 32 or size % 32 or channels < 8:
            raise InputError(f"size={size}, channels={channels}: must be a multiple of 32, and at least 8")
        self.size = size
        self.hand = HandLandmarkNetwork(trunk)
        self._last_blocks = [*_before_halvings(trunk), len(self.hand.blocks) - 1]
        counts = [trunk_of(trunk).blocks[index][3] for index in self._last_blocks]
        self.lateral = nn.ModuleList(conv_block(count, channels, 1, norm="group", relu=False) for count in counts)
        self.mix = nn.ModuleList(conv_block(channels, channels, 3, norm="group") for _ in counts)
        self.read = nn.Conv2d(channels, len(PARTS), 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Segment the hands in crops.

        Args:
            images: (B, 3, H, W) RGB in 0..1, whose sides are 1.5 times those of the hand landmark network's crops.

        Returns:
            `masks` (B, 3, H / 4, W / 4): logits of the hand, of objects in it and of its arm.
        """
        maps = self._maps(images)
        values: Tensor | None = None
        for lateral, mix, level in reversed(list(zip(self.lateral, self.mix, maps, strict=True))):
            own = lateral(level)
            values = mix(own if values is None else own + F.interpolate(values, own.shape[-2:], mode="nearest"))
        assert values is not None
        return {"masks": self.read(values)}

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Return the trunk's maps with strides 4, 8, 16 and 32."""
        hand = self.hand
        values = hand.first(hand.activations[0](hand.stem(images)))
        maps: list[Tensor] = []
        for index, block in enumerate(hand.blocks):
            values = block(values)
            if index in self._last_blocks:
                maps.append(values)
        return maps

    def start_from_published(self) -> None:
        """Fill the trunk with the published weights of the hand landmark network."""
        published = create_network(f"hand-{self.options['trunk']}", "published")
        self.hand.load_state_dict(published.state_dict())


def wide_box(keypoints: RealArray) -> RotatedBox:
    """Return the box of the network's crop around a hand's keypoints (21, 2 or more)."""
    box = box_around_hand(np.asarray(keypoints))
    return box._replace(width=box.width * CONTEXT, height=box.height * CONTEXT)


def _before_halvings(trunk: str) -> list[int]:
    """Return the index of the last block of each stride but the coarsest."""
    blocks = trunk_of(trunk).blocks
    return [index for index, (_, after) in enumerate(pairwise(blocks)) if after[1] == 2]


register(
    NetworkEntry(
        name="hand-masks",
        build=HandMaskNetwork,
        summary="masks of a hand, of objects in it and of its arm, from the crop of one hand",
        source="Lin et al. 2017, Feature Pyramid Networks, section 3, on the trunk of MediaPipe's hand network",
        licence="Apache-2.0",
        inputs=(InputSpec("images", (3, 160, 160), multiple_of=32),),
        where="train it: sonjit train hand-masks",
        tiny={"trunk": "tiny", "channels": 8, "size": 64},
        tiny_inputs=(InputSpec("images", (3, 64, 64), multiple_of=32),),
    )
)
