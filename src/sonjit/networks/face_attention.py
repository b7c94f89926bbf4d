"""MediaPipe's attention mesh: the face mesh, and lips, eyes and irises seen again, each in its own region.

Source: Grishchenko et al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time, section 2; the numbers
are those of the published file, whose batch norms are folded into the pointwise convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sonjit.networks.base import Network
from sonjit.networks.face_landmark import (
    INPUT_SIZE,
    MESH,
    MESH_CHANNELS,
    NARROW,
    PointHead,
    mesh_block,
    mesh_stages,
    narrowing,
)
from sonjit.networks.mobile_blocks import SameConv2d
from sonjit.networks.region_transforms import region_matrix, sample_region, transform_points
from sonjit.networks.registry import InputSpec, NetworkEntry, register
from sonjit.networks.tflite_weights import fill_from_tflite, interleaved_layers
from sonjit.skeletons.face_regions import LEFT_EYE, LIPS, RIGHT_EYE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAP_STRIDE = 4  # pixels of the crop a pixel of the map from which regions are cut
_REGION, _REGION_LAST, _REGION_SCALE = 16, 2, 1.5  # size of a region and of its last map, and how much it is larger
_IRIS = 5


class RegionHead(nn.Module):
    """Points of a region from its map, in quarters of the region's pixels."""

    def __init__(self, channels: int, narrow: int, points: int) -> None:
        super().__init__()
        (halving,) = mesh_stages((channels, channels))
        self.mix = nn.Sequential(mesh_block(channels), mesh_block(channels), halving)
        self.points = PointHead(channels, _REGION_LAST, narrow, 2 * points)

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, 4, 4) to (B, points, 2)."""
        return self.points(self.mix(values)).unflatten(1, (-1, 2))


class Region(nn.Module):
    """A region of the face: where it lies by the mesh, and its own points.

    Args:
        landmarks: of the mesh around which it lies.
        level: the two of them that are level in it, left and right.
        channels: of the map from which it is cut and after each of two halvings.
        narrow: channels from which its heads read.
        points: of each head.
    """

    def __init__(
        self,
        landmarks: Sequence[int],
        level: tuple[int, int],
        channels: Sequence[int],
        narrow: int,
        points: Sequence[int],
    ) -> None:
        super().__init__()
        self._landmarks = list(landmarks)
        self._left, self._right = (landmarks.index(landmark) for landmark in level)
        first, second, third = channels
        (stage,) = mesh_stages((first, second))
        self.trunk = nn.Sequential(mesh_block(first), mesh_block(first), stage, mesh_block(second, third, 2))
        self.heads = nn.ModuleList(RegionHead(third, narrow, count) for count in points)

    def forward(self, mesh: Tensor, values: Tensor) -> list[Tensor]:
        """The points (B, 2K) of each head in pixels of the crop, from the mesh (B, 468, 2) and the map."""
        matrix = region_matrix(mesh[:, self._landmarks] / _MAP_STRIDE, self._left, self._right, _REGION, _REGION_SCALE)
        region = self.trunk(sample_region(values, matrix, _REGION))
        own = torch.cat([matrix[..., :2], _MAP_STRIDE * matrix[..., 2:]], 2)  # from quarters of pixels to the crop's
        return [transform_points(head(region), own).flatten(1) for head in self.heads]


class FaceAttentionNetwork(Network):
    """Face mesh with lips, eyes and irises from a square crop.

    Args:
        channels: of the stem and after each further halving.
        size: of the last map, in pixels: that of the crop by 2 to the number of halvings.
        narrow: channels from which the heads read.
        region_channels: of a region and after each of two halvings; the first is `channels[1]`.
    """

    def __init__(
        self,
        channels: Sequence[int] = MESH_CHANNELS,
        size: int = 3,
        narrow: int = NARROW,
        region_channels: Sequence[int] = (32, 64, 128),
    ) -> None:
        super().__init__()
        first, second, *rest = channels
        self.stem = nn.Sequential(
            SameConv2d(3, first, 3, stride=2), nn.PReLU(first), mesh_block(first), mesh_block(first)
        )
        self.fine = mesh_block(first, second, 2)
        self.stages = nn.Sequential(mesh_block(second), mesh_block(second), *mesh_stages((second, *rest)))
        self.narrow = narrowing(rest[-1], narrow)
        self.keypoints = nn.Conv2d(narrow, 3 * MESH, size, size)
        # Untrained, too, its regions shall lie in the crop.
        crop = size * 2 ** len(channels)
        nn.init.uniform_(self.keypoints.get_parameter("bias"), crop / 4, crop * 3 / 4)
        self.lips = Region(LIPS, (61, 291), region_channels, narrow, [len(LIPS)])
        self.left_eye = Region(LEFT_EYE, (33, 133), region_channels, narrow, [len(LEFT_EYE), _IRIS])
        self.right_eye = Region(RIGHT_EYE, (362, 263), region_channels, narrow, [len(RIGHT_EYE), _IRIS])
        self.presence = nn.Conv2d(narrow, 1, size, size)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What is seen in crops; left and right are the picture's.

        Args:
            images: (B, 3, 192, 192) RGB in 0..1.

        Returns:
            `keypoints` (B, 1404): x, y in pixels of the crop, z in the same scale, smaller is nearer, of 468 landmarks;
            x, y in pixels of the crop: `lips` (B, 160) of 80 points, `left_eye` and `right_eye` (B, 142) of 71 each,
            `left_iris` and `right_iris` (B, 10) of centre, right, top, left and bottom; `presence` (B, 1): logit of a
            face.
        """
        fine = self.fine(self.stem(images))
        narrow = self.narrow(self.stages(fine))
        keypoints = self.keypoints(narrow).flatten(1)
        mesh = keypoints.unflatten(1, (MESH, 3))[..., :2]
        (lips,) = self.lips(mesh, fine)
        left_eye, left_iris = self.left_eye(mesh, fine)
        right_eye, right_iris = self.right_eye(mesh, fine)
        return {
            "keypoints": keypoints,
            "lips": lips,
            "left_eye": left_eye,
            "right_eye": right_eye,
            "left_iris": left_iris,
            "right_iris": right_iris,
            "presence": self.presence(narrow).flatten(1),
        }

    def load_tflite(self, path: Path) -> None:
        """Take over `face_landmark_with_attention.tflite`, which runs the regions side by side."""
        regions = (self.lips, self.left_eye, self.right_eye)
        trunks = interleaved_layers(*(region.trunk for region in regions))
        heads = interleaved_layers(*(head for region in regions for head in region.heads))
        mesh = (self.stem, self.fine, self.stages, self.narrow, self.keypoints)
        fill_from_tflite(self, path, [*mesh, *trunks, *heads, self.presence])


register(
    NetworkEntry(
        name="face-attention",
        build=FaceAttentionNetwork,
        summary="468 landmarks of one face in its crop, its lips, eyes and irises once more, and its presence",
        source="Grishchenko et al. 2020, Attention Mesh, section 2",
        licence="Apache-2.0",
        inputs=(InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE)),),
        weight="face-attention",
        tiny={"channels": (8, 8, 8, 12), "size": 4, "narrow": 8, "region_channels": (8, 8, 8)},
        tiny_inputs=(InputSpec("images", (3, 64, 64)),),
    )
)
