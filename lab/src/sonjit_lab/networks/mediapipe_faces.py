"""MediaPipe's face detectors, face mesh, attention mesh and iris network.

The full-range detector has five halvings and three upward steps, with one anchor on every fourth pixel. The attention
mesh refines lips, eyes and irises from their own regions of a feature map. Matrices (B, 2, 3) map x, y of a region, in
its own pixels, to pixels of the map; pixel centres are at half-integers. Sources: Bazarevsky et al. 2019, BlazeFace,
sections 3.1 and 3.2; Kartynnik et al. 2019, Real-time Facial Surface Geometry, section 3; Grishchenko et al. 2020,
Attention Mesh, section 2; Jaderberg et al. 2015, Spatial Transformer Networks, sections 3.2 and 3.3; Ablavatski et al.
2020, Real-time Pupil Tracking, section 2.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.results.skeletons.faces import LEFT_EYE, LIPS, RIGHT_EYE
from sonjit_lab.networks import mediapipe_blocks as mp_blocks

_BOX = 16  # centre, size and six keypoints
_FINE_ANCHORS, _COARSE_ANCHORS = 2, 6
_SOURCE = "Bazarevsky et al. 2019, BlazeFace, sections 3.1 and 3.2"
MESH = 468  # number of landmarks of the mesh
INPUT_SIZE = 192
MESH_CHANNELS = (16, 32, 64, 128, 128, 128)  # of the stem and after each halving; the last is for the mesh
NARROW = 32  # channels before the heads
_MAP_STRIDE = 4  # pixels of the crop for each pixel of the map that regions are cropped from
_REGION, _REGION_LAST, _REGION_SCALE = 16, 2, 1.5  # side of a region and of its last map, and scale of its box
_IRIS = 5
_TINY = 1e-6
_CONTOURS = 71
_SHARED_BLOCKS, _HEAD_BLOCKS, _HEAD_HALVINGS = 4, 2, 2


class ShortRangeFaceNetwork(mp_blocks.PublishedNetwork):
    """Face detector up to about 2 m: channels and stride of each block up to the finer map with anchors, and after."""

    def __init__(
        self,
        fine: Sequence[tuple[int, int]] = (
            (24, 1),
            (28, 1),
            (32, 2),
            (36, 1),
            (42, 1),
            (48, 2),
            (56, 1),
            (64, 1),
            (72, 1),
            (80, 1),
            (88, 1),
        ),
        coarse: Sequence[tuple[int, int]] = ((96, 2), *((96, 1),) * 4),
    ) -> None:
        super().__init__()
        stem = fine[0][0]
        self.stem = mp_blocks.SameConv2d(3, stem, 5, stride=2)
        self.fine = _blaze_blocks(stem, fine)
        self.coarse = _blaze_blocks(fine[-1][0], coarse)
        self.fine_scores = nn.Conv2d(fine[-1][0], _FINE_ANCHORS, 1)
        self.coarse_scores = nn.Conv2d(coarse[-1][0], _COARSE_ANCHORS, 1)
        self.fine_boxes = nn.Conv2d(fine[-1][0], _FINE_ANCHORS * _BOX, 1)
        self.coarse_boxes = nn.Conv2d(coarse[-1][0], _COARSE_ANCHORS * _BOX, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict boxes and scores of the anchors of images (B, 3, 128, 128), RGB in -1..1.

        Returns:
            `boxes` (B, 896, 16): centre, size, then x and y of the person's right eye, left eye, nose, mouth, right
            ear and left ear, in pixels of the input from the anchor's centre; `scores` (B, 896, 1): logits. Anchors
            of the fine map (16 x 16 x 2) come first, then those of the coarse one (8 x 8 x 6).
        """
        fine = self.fine(F.relu(self.stem(images)))
        coarse = self.coarse(fine)
        boxes = (
            mp_blocks.rows_from_map(self.fine_boxes(fine), _BOX),
            mp_blocks.rows_from_map(self.coarse_boxes(coarse), _BOX),
        )
        scores = (
            mp_blocks.rows_from_map(self.fine_scores(fine), 1),
            mp_blocks.rows_from_map(self.coarse_scores(coarse), 1),
        )
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1)}


def _blaze_blocks(channels: int, blocks: Sequence[tuple[int, int]]) -> nn.Sequential:
    pairs = pairwise([channels, *(out for out, _ in blocks)])
    return nn.Sequential(
        *(
            mp_blocks.BlazeBlock(before, after, nn.ReLU(), kernel=3, stride=stride, depthwise_bias=False)
            for (before, after), (_, stride) in zip(pairs, blocks, strict=True)
        )
    )


class DoubleBlazeBlock(nn.Module):
    """Two depthwise and pointwise convolutions, narrow in between, with a shortcut if the size stays."""

    def __init__(self, channels: int, narrow: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = mp_blocks.depthwise(channels, 3, stride, even=True)
        self.narrow = nn.Conv2d(channels, narrow, 1)
        self.mix = mp_blocks.depthwise(narrow, 3, even=True)
        self.widen = nn.Conv2d(narrow, out, 1)
        self._has_shortcut = stride == 1

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        narrow = F.relu(self.narrow(self.depthwise(values)))
        wide = self.widen(self.mix(narrow))
        return F.relu(values + wide if self._has_shortcut else wide)


def _double_blocks(channels: int, narrow: int, count: int) -> list[DoubleBlazeBlock]:
    return [DoubleBlazeBlock(channels, narrow, channels) for _ in range(count)]


class UpStep(nn.Module):
    """Narrow and upsample a coarse map, add it to a finer one of the downward path, and mix them."""

    def __init__(self, channels: int, fine: int, out: int, blocks: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(fine, out, 1)
        self.narrow = nn.Conv2d(channels, out, 1)
        self.mix = nn.Sequential(*_double_blocks(out, out // 2, blocks))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, fine, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.mix(F.relu(self.lateral(fine)) + mp_blocks.upsample(F.relu(self.narrow(coarse))))


class AnchorHead(nn.Module):
    """Predict one row per anchor: a map is halved with four times the channels, which become four pixels again."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, 4 * length, 1)
        self.depthwise = mp_blocks.depthwise(4 * length, 3, 2, even=True)
        self._length = length

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, H * W, length)."""
        return mp_blocks.rows_from_map(mp_blocks.depth_to_space(self.depthwise(self.pointwise(values))), self._length)


class FullRangeFaceNetwork(mp_blocks.PublishedNetwork):
    """Face detector up to about 5 m.

    `down`: channels and blocks of the stem and after each further halving; `up`: channels and blocks of each upward
    step.
    """

    def __init__(
        self,
        down: Sequence[tuple[int, int]] = ((32, 2), (64, 2), (128, 2), (192, 2), (384, 3)),
        up: Sequence[tuple[int, int]] = ((96, 2), (64, 2), (48, 1)),
    ) -> None:
        super().__init__()
        stem, blocks = down[0]
        self.stem = nn.Conv2d(3, stem, 3, 2, 1)
        self.first = nn.Sequential(*_double_blocks(stem, stem // 4, blocks))
        self.stages = nn.ModuleList(
            nn.Sequential(DoubleBlazeBlock(before, after // 4, after, 2), *_double_blocks(after, after // 4, blocks))
            for (before, _), (after, blocks) in pairwise(down)
        )
        finer = [channels for channels, _ in down[-2::-1]]
        outs = [down[-1][0], *(channels for channels, _ in up)]
        self.ups = nn.ModuleList(
            UpStep(before, fine, after, blocks)
            for (before, after), fine, (_, blocks) in zip(pairwise(outs), finer, up, strict=False)
        )
        self.scores = AnchorHead(outs[-1], 1)
        self.boxes = AnchorHead(outs[-1], _BOX)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict `boxes` (B, 2304, 16) and `scores` (B, 2304, 1) as the short range does, on one map of 48 x 48
        anchors.

        `images`: (B, 3, 192, 192) RGB in -1..1.
        """
        values = self.first(F.relu(self.stem(images)))
        maps: list[Tensor] = []
        for stage in self.stages:
            values = stage(values)
            maps.append(values)
        for step, fine in zip(self.ups, maps[-2::-1], strict=True):
            values = step(values, fine)
        return {"boxes": self.boxes(values), "scores": self.scores(values)}

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `face_detection_full_range_sparse.tflite`; its omitted zeros can be trained as well."""
        ups = [step for step in self.ups if isinstance(step, UpStep)]
        laterals = [step.lateral for step in reversed(ups)]
        order: list[nn.Module] = [self.stem, self.first]
        for number, stage in enumerate(self.stages):  # the file runs lateral branches before the next stage
            order += [stage, *laterals[number : number + 1]]
        order += [part for step in ups for part in (step.narrow, step.mix)]
        return [*order, self.scores, self.boxes]


mp_blocks.register_published(
    "face-short",
    ShortRangeFaceNetwork,
    "faces up to about 2 m away: boxes with six keypoints on 896 anchors",
    _SOURCE,
    (128, 128),
    tiny={"fine": ((8, 1), (8, 2), (12, 2), (12, 1)), "coarse": ((16, 2), (16, 1))},
    multiple_of=16,
    low=-1.0,
)
mp_blocks.register_published(
    "face-full",
    FullRangeFaceNetwork,
    "faces up to about 5 m away: boxes with six keypoints on 2304 anchors",
    _SOURCE,
    (192, 192),
    tiny={"down": ((8, 1), (8, 0), (12, 0), (16, 0), (16, 1)), "up": ((12, 1), (8, 0), (8, 1))},
    low=-1.0,
)


def mesh_block(channels: int, out: int | None = None, stride: int = 1) -> mp_blocks.BlazeBlock:
    """Return a BlazeBlock of the face landmark networks."""
    out = channels if out is None else out
    return mp_blocks.BlazeBlock(channels, out, nn.PReLU(out), kernel=3, stride=stride, depthwise_bias=False)


def mesh_stages(channels: Sequence[int]) -> list[nn.Sequential]:
    """Return a stage for each halving: a block that halves, and two that keep the size."""
    return [
        nn.Sequential(mesh_block(before, after, 2), mesh_block(after), mesh_block(after))
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
        return mp_blocks.single_cell(self.read(self.narrow(values)))


class FaceLandmarkNetwork(mp_blocks.PublishedNetwork):
    """Face mesh from a square crop.

    `channels`: channels of the stem and after each further halving; mesh and presence each have their own last halving;
    `size`: side of the last map.
    """

    def __init__(self, channels: Sequence[int] = MESH_CHANNELS, size: int = 3, narrow: int = NARROW) -> None:
        super().__init__()
        first, *_, before, last = channels
        self.stem = nn.Sequential(
            mp_blocks.SameConv2d(3, first, 3, stride=2), nn.PReLU(first), mesh_block(first), mesh_block(first)
        )
        *stages, self.mesh_stage = mesh_stages(channels)
        self.stages = nn.Sequential(*stages)
        self.presence_stage = mesh_block(before, last, 2)
        self.keypoints = PointHead(last, size, narrow, 3 * MESH)
        self.presence = PointHead(last, size, narrow, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the faces in crops (B, 3, 192, 192), RGB in 0..1.

        Returns:
            `keypoints` (B, 1404): x, y in pixels of the crop, z in the same scale, smaller is nearer, of 468
            landmarks; `presence` (B, 1): logit of a face.
        """
        values = self.stages(self.stem(images))
        return {
            "keypoints": self.keypoints(self.mesh_stage(values)),
            "presence": self.presence(self.presence_stage(values)),
        }

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `face_landmark.tflite`, which runs both heads in parallel."""
        *mesh_blocks, last_block = self.mesh_stage
        heads = mp_blocks.interleaved_layers(
            nn.Sequential(self.presence_stage, self.presence), nn.Sequential(last_block, self.keypoints)
        )
        return [self.stem, self.stages, *mesh_blocks, *heads]


mp_blocks.register_published(
    "face-mesh",
    FaceLandmarkNetwork,
    "468 landmarks of one face in its crop, and its presence",
    "Kartynnik et al. 2019, Real-time Facial Surface Geometry, section 3",
    (INPUT_SIZE, INPUT_SIZE),
    tiny={"channels": (8, 8, 8, 12), "size": 4, "narrow": 8},
    multiple_of=64,
    one_crop=True,
)


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
    """A region of the face around mesh landmarks, in which the left and the right landmark of `level` are level.

    `channels`: those of the map that is cropped, and after each of two halvings; `points`: number of points of each
    head.
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
        crop_matrix = torch.cat(
            [matrix[..., :2], _MAP_STRIDE * matrix[..., 2:]], 2
        )  # from quarters of pixels to the crop's
        return [transform_points(head(region), crop_matrix).flatten(1) for head in self.heads]


class FaceAttentionNetwork(mp_blocks.PublishedNetwork):
    """Face mesh with lips, eyes and irises from a square crop.

    `channels`: channels of the stem and after each further halving; `size`: side of the last map; `region_channels`:
    channels of a region and after each of two halvings; the first is `channels[1]`.
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
            mp_blocks.SameConv2d(3, first, 3, stride=2), nn.PReLU(first), mesh_block(first), mesh_block(first)
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
        """Predict the faces in crops (B, 3, 192, 192), RGB in 0..1; left and right are the image's.

        Returns:
            `keypoints` (B, 1404): x, y in pixels of the crop, z in the same scale, smaller is nearer, of 468
            landmarks; x, y in pixels of the crop: `lips` (B, 160) of 80 points, `left_eye` and `right_eye` (B, 142)
            of 71 each, `left_iris` and `right_iris` (B, 10) of centre, right, top, left and bottom; `presence` (B,
            1): logit of a face.
        """
        fine = self.fine(self.stem(images))
        narrow = self.narrow(self.stages(fine))
        keypoints = mp_blocks.single_cell(self.keypoints(narrow))
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
            "presence": mp_blocks.single_cell(self.presence(narrow)),
        }

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `face_landmark_with_attention.tflite`, which runs the regions in parallel."""
        regions = (self.lips, self.left_eye, self.right_eye)
        trunks = mp_blocks.interleaved_layers(*(region.trunk for region in regions))
        heads = mp_blocks.interleaved_layers(*(head for region in regions for head in region.heads))
        mesh = (self.stem, self.fine, self.stages, self.narrow, self.keypoints)
        return [*mesh, *trunks, *heads, self.presence]


mp_blocks.register_published(
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
    """Return the transform of a square region around points (B, K, 2) in cells, enlarged by `scale`.

    The points of the indices `left` and `right` are level in the region.
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
    """Transform points (B, K, 2) or (K, 2) by matrices (B, 2, 3) to (B, K, 2), in the unit of the translations."""
    return points @ matrix[..., :2].transpose(1, 2) + matrix[..., 2].unsqueeze(1)


class Bottleneck(nn.Module):
    """Narrow, convolve depthwise and widen, with a shortcut that is pooled and padded with zero channels."""

    def __init__(self, channels: int, narrow: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, narrow, stride, stride), nn.PReLU(narrow))
        self.depthwise = mp_blocks.depthwise(narrow, 3, bias=False)
        self.widen = nn.Conv2d(narrow, out, 1)
        self.activation = nn.PReLU(out)
        self._more, self._stride = out - channels, stride

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        shortcut = mp_blocks.pooled_shortcut(values, self._stride, self._more)
        return self.activation(shortcut + self.widen(self.depthwise(self.narrow(values))))


def _blocks(channels: int, narrow: int, count: int) -> list[Bottleneck]:
    return [Bottleneck(channels, narrow, channels) for _ in range(count)]


class EyeHead(nn.Module):
    """Points from the shared map, with further halvings."""

    def __init__(self, channels: int, narrow: int, size: int, points: int) -> None:
        super().__init__()
        blocks = _blocks(channels, narrow, _HEAD_BLOCKS)
        for _ in range(_HEAD_HALVINGS):
            blocks += [Bottleneck(channels, narrow, channels, 2), *_blocks(channels, narrow, _HEAD_BLOCKS)]
        self.blocks = nn.Sequential(*blocks)
        self.read = nn.Conv2d(channels, 3 * points, size)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, 4 * size, 4 * size) to (B, 3 * points)."""
        return mp_blocks.single_cell(self.read(self.blocks(values)))


class IrisLandmarkNetwork(mp_blocks.PublishedNetwork):
    """Contours of an eye and its iris from a square crop of the eye on the image's left, or of the other's mirror."""

    def __init__(self, channels: int = 64, size: int = 2) -> None:
        super().__init__()
        twice = 2 * channels
        self.stem = nn.Sequential(mp_blocks.SameConv2d(3, channels, 3, stride=2), nn.PReLU(channels))
        self.shared = nn.Sequential(
            *_blocks(channels, channels // 2, _SHARED_BLOCKS),
            Bottleneck(channels, channels, twice, 2),
            *_blocks(twice, channels, _SHARED_BLOCKS),
            Bottleneck(twice, channels, twice, 2),
        )
        self.contours = EyeHead(twice, channels, size, _CONTOURS)
        self.iris = EyeHead(twice, channels, size, _IRIS)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the eyes in crops (B, 3, 64, 64), RGB in 0..1.

        Returns:
            `contours` (B, 213): x, y in pixels of the crop and z in the same scale, of 71 points of the lids, the
            skin around them and the brow, in the order of `skeletons.face_regions`; `iris` (B, 15): the same of the
            iris's centre, right, top, left and bottom.
        """
        values = self.shared(self.stem(images))
        return {"contours": self.contours(values), "iris": self.iris(values)}

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `iris_landmark.tflite`, which runs both heads in parallel."""
        return [self.stem, self.shared, *mp_blocks.interleaved_layers(self.contours, self.iris)]


mp_blocks.register_published(
    "iris",
    IrisLandmarkNetwork,
    "71 points around one eye and 5 of its iris, in the crop of the eye",
    "Ablavatski et al. 2020, Real-time Pupil Tracking from Monocular Video, section 2",
    (64, 64),
    tiny={"channels": 8, "size": 1},
    tiny_size=(32, 32),
    one_crop=True,
)
