"""MediaPipe's iris network: the contours of an eye and its iris, from the crop of one eye.

Source: Ablavatski et al. 2020, Real-time Pupil Tracking from Monocular Video for Digital Puppetry, section 2. Numbers
are those of the published file, whose batch norms are folded into the convolutions.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import SameConv2d, depthwise, single_cell
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, interleaved_layers, register_published

_CONTOURS, _IRIS = 71, 5
_SHARED_BLOCKS, _HEAD_BLOCKS, _HEAD_HALVINGS = 4, 2, 2


class Bottleneck(nn.Module):
    """Narrow, convolve depthwise and widen, with a shortcut that is pooled and padded with zero channels.

    Args:
        channels: Channels of the input.
        narrow: Channels in between.
        out: Channels of the output, at least as many as of the input.
        stride: Stride 1 or 2 of the narrowing convolution.
    """

    def __init__(self, channels: int, narrow: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, narrow, stride, stride), nn.PReLU(narrow))
        self.depthwise = depthwise(narrow, 3, bias=False)
        self.widen = nn.Conv2d(narrow, out, 1)
        self.activation = nn.PReLU(out)
        self._more, self._stride = out - channels, stride

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        shortcut = values if self._stride == 1 else F.max_pool2d(values, self._stride)
        if self._more:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self._more))
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
        return single_cell(self.read(self.blocks(values)))


class IrisLandmarkNetwork(PublishedNetwork):
    """Contours of an eye and its iris from a square crop of the eye on the image's left, or of the mirrored other eye.

    Args:
        channels: Channels of the first maps; later maps have twice as many.
        size: Side of the last map: that of the crop divided by 32.
    """

    def __init__(self, channels: int = 64, size: int = 2) -> None:
        super().__init__()
        twice = 2 * channels
        self.stem = nn.Sequential(SameConv2d(3, channels, 3, stride=2), nn.PReLU(channels))
        self.shared = nn.Sequential(
            *_blocks(channels, channels // 2, _SHARED_BLOCKS),
            Bottleneck(channels, channels, twice, 2),
            *_blocks(twice, channels, _SHARED_BLOCKS),
            Bottleneck(twice, channels, twice, 2),
        )
        self.contours = EyeHead(twice, channels, size, _CONTOURS)
        self.iris = EyeHead(twice, channels, size, _IRIS)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the eyes in crops.

        Args:
            images: (B, 3, 64, 64) RGB in 0..1.

        Returns:
            `contours` (B, 213): x, y in pixels of the crop and z in the same scale, of 71 points of the lids, the skin
            around them and the brow, in the order of `skeletons.face_regions`; `iris` (B, 15): the same of the iris's
            centre, right, top, left and bottom.
        """
        values = self.shared(self.stem(images))
        return {"contours": self.contours(values), "iris": self.iris(values)}

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `iris_landmark.tflite`, which runs both heads in parallel."""
        return [self.stem, self.shared, *interleaved_layers(self.contours, self.iris)]


register_published(
    "iris",
    IrisLandmarkNetwork,
    "71 points around one eye and 5 of its iris, in the crop of the eye",
    "Ablavatski et al. 2020, Real-time Pupil Tracking from Monocular Video, section 2",
    (64, 64),
    tiny={"channels": 8, "size": 1},
    tiny_size=(32, 32),
    one_crop=True,
)
