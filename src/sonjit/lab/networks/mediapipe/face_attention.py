"""MediaPipe's attention mesh: the face mesh, and refined lips, eyes and irises from their own regions.

Regions of a feature map are cropped by points that the mesh finds. Matrices (B, 2, 3) map x, y of a region, in its own
pixels, to pixels of the map; pixel centres are at half-integers. The crop is differentiable in the points and the map.

Source: Grishchenko et al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time, section 2; Jaderberg
et al. 2015, Spatial Transformer Networks, sections 3.2 and 3.3. Numbers are those of the published file, whose batch
norms are folded into the pointwise convolutions, and of comparisons with mediapipe 0.10.21.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import SameConv2d, single_cell
from sonjit.lab.networks.mediapipe.face_landmark import (
    INPUT_SIZE,
    MESH,
    MESH_CHANNELS,
    NARROW,
    PointHead,
    mesh_block,
    mesh_stages,
    narrowing,
)
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, interleaved_layers, register_published
from sonjit.results.skeletons.faces import LEFT_EYE, LIPS, RIGHT_EYE

_MAP_STRIDE = 4  # pixels of the crop for each pixel of the map that regions are cropped from
_REGION, _REGION_LAST, _REGION_SCALE = 16, 2, 1.5  # side of a region and of its last map, and scale of its box
_IRIS = 5


_TINY = 1e-6


class RegionHead(nn.Module):
    """Points of a region from its map, in quarters of the region's pixels."""

    def __init__(self, channels: int, narrow: int, points: int) -> None:
        super().__init__()
        (halving,) = mesh_stages((channels, channels))
        self.mix = nn.Sequential(mesh_block(channels), mesh_block(channels), halving)
        self.points = PointHead(channels, _REGION_LAST, narrow, 2 * points)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, 4, 4) to (B, points, 2)."""
        return self.points(self.mix(values)).unflatten(1, (-1, 2))


class Region(nn.Module):
    """A region of the face: its position from the mesh, and its own points.

    Args:
        landmarks: Mesh landmarks that the region surrounds.
        level: Left and right landmark that are level in the region.
        channels: Channels of the map that is cropped, and after each of two halvings.
        narrow: Channels before the heads.
        points: Number of points of each head.
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
        """Return the points (B, 2K) of each head in pixels of the crop, from the mesh (B, 468, 2) and the map."""
        matrix = region_matrix(mesh[:, self._landmarks] / _MAP_STRIDE, self._left, self._right, _REGION, _REGION_SCALE)
        region = self.trunk(sample_region(values, matrix, _REGION))
        own = torch.cat([matrix[..., :2], _MAP_STRIDE * matrix[..., 2:]], 2)  # from quarters of pixels to the crop's
        return [transform_points(head(region), own).flatten(1) for head in self.heads]


class FaceAttentionNetwork(PublishedNetwork):
    """Face mesh with lips, eyes and irises from a square crop.

    Args:
        channels: Channels of the stem and after each further halving.
        size: Side of the last map: that of the crop divided by 2 to the number of halvings.
        narrow: Channels before the heads.
        region_channels: Channels of a region and after each of two halvings; the first is `channels[1]`.
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
        # The regions of an untrained network must be in the crop.
        crop = size * 2 ** len(channels)
        nn.init.uniform_(self.keypoints.get_parameter("bias"), crop / 4, crop * 3 / 4)
        self.lips = Region(LIPS, (61, 291), region_channels, narrow, [len(LIPS)])
        self.left_eye = Region(LEFT_EYE, (33, 133), region_channels, narrow, [len(LEFT_EYE), _IRIS])
        self.right_eye = Region(RIGHT_EYE, (362, 263), region_channels, narrow, [len(RIGHT_EYE), _IRIS])
        self.presence = nn.Conv2d(narrow, 1, size, size)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the faces in crops; left and right are the image's.

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
        keypoints = single_cell(self.keypoints(narrow))
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
            "presence": single_cell(self.presence(narrow)),
        }

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `face_landmark_with_attention.tflite`, which runs the regions in parallel."""
        regions = (self.lips, self.left_eye, self.right_eye)
        trunks = interleaved_layers(*(region.trunk for region in regions))
        heads = interleaved_layers(*(head for region in regions for head in region.heads))
        mesh = (self.stem, self.fine, self.stages, self.narrow, self.keypoints)
        return [*mesh, *trunks, *heads, self.presence]


register_published(
    "face-attention",
    FaceAttentionNetwork,
    "468 landmarks of one face in its crop, its lips, eyes and irises once more, and its presence",
    "Grishchenko et al. 2020, Attention Mesh, section 2",
    (INPUT_SIZE, INPUT_SIZE),
    tiny={"channels": (8, 8, 8, 12), "size": 4, "narrow": 8, "region_channels": (8, 8, 8)},
    multiple_of=64,
    one_crop=True,
)


def region_matrix(points: Tensor, left: int, right: int, size: int, scale: float) -> Tensor:
    """Return the transform of a square region around points: rotated until two of them are level, then enlarged.

    Args:
        points: (B, K, 2) in pixels of the map.
        left: Index of the left one of the level points.
        right: Index of the right one of the level points.
        size: Side of the region in its own pixels.
        scale: Size of the region relative to the box around the points.
    """
    cos, sin = F.normalize(points[:, right] - points[:, left], dim=-1, eps=_TINY).unbind(-1)
    turn = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))  # (B, 2, 2) from level to the map
    level = points @ turn
    low, high = level.amin(1), level.amax(1)  # (B, 2)
    linear = turn * ((high - low) * (scale / size)).unsqueeze(1)
    centre = (turn @ ((low + high) / 2).unsqueeze(2)).squeeze(2)  # (B, 2)
    shift = centre - linear.sum(2) * (size / 2)
    return torch.cat([linear, shift.unsqueeze(2)], 2)


def sample_region(values: Tensor, matrix: Tensor, size: int) -> Tensor:
    """Sample a region (B, C, size, size) of a map (B, C, H, W) bilinearly; pixels centred outside the map are 0."""
    centres = torch.arange(size, dtype=values.dtype, device=values.device) + 0.5
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    positions = transform_points(torch.stack([columns, rows], -1).flatten(0, 1), matrix) - 0.5  # (B, size * size, 2)
    last = positions.new_tensor([values.shape[3] - 1, values.shape[2] - 1])
    inside = ((positions >= 0) & (positions <= last)).all(-1)
    grid = (positions * 2 / last - 1).unflatten(1, (size, size))
    sampled = F.grid_sample(values, grid, padding_mode="border", align_corners=True)
    return sampled * inside.unflatten(1, (1, size, size))


def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Transform points (B, K, 2) or (K, 2) by matrices (B, 2, 3) to (B, K, 2)."""
    return points @ matrix[..., :2].transpose(1, 2) + matrix[..., 2].unsqueeze(1)
