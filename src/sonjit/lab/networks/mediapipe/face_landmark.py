"""MediaPipe's face mesh: 468 landmarks and the presence of a face, from the crop of one face.

Source: Kartynnik et al. 2019, Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs, section 3. Numbers
are those of the published file, whose batch norms are folded into the pointwise convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import BlazeBlock, SameConv2d, single_cell
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, interleaved_layers, register_published

MESH = 468
"""Number of landmarks of the mesh."""
INPUT_SIZE = 192
MESH_CHANNELS = (16, 32, 64, 128, 128, 128)
"""Channels of the stem and after each further halving; the last halving is only for the mesh."""
NARROW = 32
"""Channels before the heads."""


def mesh_block(channels: int, out: int | None = None, stride: int = 1) -> BlazeBlock:
    """Return a BlazeBlock of the face landmark networks."""
    out = channels if out is None else out
    return BlazeBlock(channels, out, nn.PReLU(out), kernel=3, stride=stride, depthwise_bias=False)


def mesh_stages(channels: Sequence[int], depth: int = 2) -> list[nn.Sequential]:
    """Return a stage for each halving: a block that halves, and more that keep the size."""
    return [
        nn.Sequential(mesh_block(before, after, 2), *(mesh_block(after) for _ in range(depth)))
        for before, after in pairwise(channels)
    ]


def narrowing(channels: int, narrow: int) -> nn.Sequential:
    """Return layers before a head: a small map with fewer channels, mixed once more."""
    return nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.PReLU(narrow), mesh_block(narrow))


class PointHead(nn.Module):
    """Narrow a small map and predict numbers from all of it."""

    def __init__(self, channels: int, size: int, narrow: int, numbers: int) -> None:
        super().__init__()
        self.narrow = narrowing(channels, narrow)
        self.read = nn.Conv2d(narrow, numbers, size, size)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, size, size) to (B, numbers)."""
        return single_cell(self.read(self.narrow(values)))


class FaceLandmarkNetwork(PublishedNetwork):
    """Face mesh from a square crop.

    Args:
        channels: Channels of the stem and after each further halving; mesh and presence each have their own last
            halving.
        size: Side of the last map: that of the crop divided by 2 to the number of halvings.
        narrow: Channels before the heads.
    """

    def __init__(self, channels: Sequence[int] = MESH_CHANNELS, size: int = 3, narrow: int = NARROW) -> None:
        super().__init__()
        first, *_, before, last = channels
        self.stem = nn.Sequential(
            SameConv2d(3, first, 3, stride=2), nn.PReLU(first), mesh_block(first), mesh_block(first)
        )
        *stages, self.mesh_stage = mesh_stages(channels)
        self.stages = nn.Sequential(*stages)
        self.presence_stage = mesh_block(before, last, 2)
        self.keypoints = PointHead(last, size, narrow, 3 * MESH)
        self.presence = PointHead(last, size, narrow, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the faces in crops.

        Args:
            images: (B, 3, 192, 192) RGB in 0..1.

        Returns:
            `keypoints` (B, 1404): x, y in pixels of the crop, z in the same scale, smaller is nearer, of 468 landmarks;
            `presence` (B, 1): logit of a face.
        """
        values = self.stages(self.stem(images))
        return {
            "keypoints": self.keypoints(self.mesh_stage(values)),
            "presence": self.presence(self.presence_stage(values)),
        }

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `face_landmark.tflite`, which runs both heads in parallel."""
        *mesh_blocks, last_block = self.mesh_stage
        heads = interleaved_layers(
            nn.Sequential(self.presence_stage, self.presence), nn.Sequential(last_block, self.keypoints)
        )
        return [self.stem, self.stages, *mesh_blocks, *heads]


register_published(
    "face-mesh",
    FaceLandmarkNetwork,
    "468 landmarks of one face in its crop, and its presence",
    "Kartynnik et al. 2019, Real-time Facial Surface Geometry, section 3",
    (INPUT_SIZE, INPUT_SIZE),
    tiny={"channels": (8, 8, 8, 12), "size": 4, "narrow": 8},
    multiple_of=64,
    one_crop=True,
)
