"""A hand's keypoints in pixels from a crop, by one heatmap each on an EfficientNet of timm.

Source: Tan and Le 2019, EfficientNet, for the trunk; Xiao et al. 2018, Simple Baselines, for heatmaps at a quarter of
the crop's side. The maps are logits of one distribution over all cells, so that what lies near a peak is a probability.

Runs `keypoint-detector` on images: hands' boxes in, keypoints in pixels out.

Source of the reading between cells: Zhang et al. 2020, Distribution-Aware Coordinate Representation (DARK): near its
peak the logarithm of a Gaussian is a parabola, whose top follows from two derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.arrays import Float32Array, FloatArray, Image, IntArray
from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.geometry.boxes import RotatedBox, crop, crop_matrix, square_box
from sonjit.networks.backbones import IMAGENET_MEAN, IMAGENET_STD
from sonjit.networks.checkpoints import load_checkpoint, load_description
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, create_network, register
from sonjit.results import Box

STRIDE: Final = 4
"""Pixels of a crop for each cell of a heatmap."""

INPUT_SIZE: Final = 256

_STAGES: Final = (1, 2, 3, 4)  # of timm's features: strides 4, 8, 16 and 32

_WHERE: Final = (
    "timm's weights are to be had as model.safetensors from https://huggingface.co/timm, e.g. "
    "timm/tf_efficientnet_b0.ns_jft_in1k (Apache-2.0); keep the file anywhere and give its path"
)


class KeypointHeatmaps(Network):
    """Heatmaps of a hand's keypoints, and whether each is seen or hidden.

    Args:
        backbone: an EfficientNet that timm knows, e.g. `tf_efficientnet_b0` or `efficientnet_lite0`.
        keypoints: how many.
        channels: of the maps that are read.
        backbone_weights: file of timm's weights for the trunk; None begins with random ones.

    Raises:
        InputError: timm knows no such trunk, or its weights do not fit.
        MissingExtraError: timm is not installed.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_b0",
        keypoints: int = 21,
        channels: int = 128,
        backbone_weights: str | None = None,
    ) -> None:
        super().__init__()
        if keypoints < 1 or channels < 1:
            raise InputError(f"keypoints={keypoints}, channels={channels}: give at least 1")
        self.backbone, widths = _trunk(backbone)
        if backbone_weights is not None:
            _fill_trunk(self.backbone, Path(backbone_weights), backbone)
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.heatmaps = nn.Conv2d(channels, keypoints, 1)
        self.visible = nn.Linear(channels, keypoints)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What is seen in crops.

        Args:
            images: (B, 3, S, S) RGB in 0..1, S a multiple of 32.

        Returns:
            `heatmaps` (B, K, S / 4, S / 4): logits, whose softmax over a map's cells is where the keypoint lies;
            `visible_logits` (B, K): above 0 where it is seen rather than hidden.
        """
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        maps: list[Tensor] = self.backbone((images - mean) / std)
        merged: Tensor | None = None
        for lateral, features in zip(reversed(list(self.laterals)), reversed(maps), strict=True):
            level = lateral(features)
            merged = level if merged is None else level + F.interpolate(merged, scale_factor=2.0)
        assert merged is not None
        features = self.smooth(merged)  # (B, C, S / 4, S / 4)
        heatmaps = self.heatmaps(features)
        # What is known of each keypoint is placed where it probably is.
        where = heatmaps.flatten(2).softmax(2)  # (B, K, h * w)
        own = where @ features.flatten(2).transpose(1, 2)  # (B, K, C)
        visible = (own * self.visible.weight).sum(2) + self.visible.bias
        return {"heatmaps": heatmaps, "visible_logits": visible}


def _trunk(name: str) -> tuple[nn.Module, list[int]]:
    """An EfficientNet without its classifier, and the channels at strides 4, 8, 16 and 32."""
    with needed_for("timm's networks"):
        import timm
    if "efficientnet" not in name or not timm.is_model(name):
        known = timm.list_models("*efficientnet_*lite0") + timm.list_models("tf_efficientnet_b*")
        raise InputError(f"timm knows no EfficientNet {name!r}; known are {', '.join(sorted(known))} and others")
    trunk: Any = timm.create_model(name, features_only=True, out_indices=_STAGES, pretrained=False)
    return trunk, list(trunk.feature_info.channels())


def _fill_trunk(trunk: nn.Module, path: Path, name: str) -> None:
    """Take over timm's weights; what belongs to its classifier is left out."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_WHERE}")
    given: Mapping[str, Tensor] = load_checkpoint(path)
    own = trunk.state_dict()
    wrong = [key for key, value in own.items() if key not in given or given[key].shape != value.shape]
    if wrong:
        raise InputError(f"{path} does not fit {name}: {wrong[0]} is missing or of another shape; {_WHERE}")
    trunk.load_state_dict({key: given[key] for key in own})


def cell_from_px(px: torch.Tensor) -> torch.Tensor:
    """Places in a heatmap, in cells, of places in its crop, in pixels; both count from the first one's middle.

    >>> cell_from_px(torch.tensor([1.5, 5.5])).tolist()
    [0.0, 1.0]
    """
    return (px - (STRIDE - 1) / 2) / STRIDE


register(
    NetworkEntry(
        name="keypoint-detector",
        build=KeypointHeatmaps,
        summary="21 keypoints of one hand in pixels, how sure each is, and whether it is seen; to train on own labels",
        source="Tan and Le 2019, EfficientNet, on heatmaps as in Xiao et al. 2018, Simple Baselines",
        licence="no weights are published; timm's for the trunk are Apache-2.0",
        inputs=(InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE)),),
        where="train it: sonjit train keypoint-detector --data coco.json --out run",
        tiny={"backbone": "test_efficientnet", "channels": 16},
        tiny_inputs=(InputSpec("images", (3, 64, 64)),),
    )
)

AROUND: Final = 1.5
"""Side of a crop in those of the box around the keypoints, in training too."""

_EXPORTED: Final = (".onnx", ".xml")

_AT_ONCE: Final = 32


class DetectedKeypoints(NamedTuple):
    """One hand.

    Attributes:
        keypoints: (K, 2) x, y in pixels of the image.
        confidence: (K,) 0..1, how much of the map's probability lies near the peak.
        visible: (K,) 0..1, that it is seen rather than hidden.
    """

    keypoints: Float32Array
    confidence: Float32Array
    visible: Float32Array


class KeypointDetector:
    """Finds the keypoints of hands whose boxes are known.

    Args:
        weights: `weights.safetensors` of a run of `sonjit train keypoint-detector`, the run's folder, or the `.onnx` or
            `.xml` that it wrote.
        device: of torch; exported files run on the CPU.

    Raises:
        InputError: nothing is there, or it is not such a network.
    """

    def __init__(self, weights: str | Path, device: str = "cpu") -> None:
        file = Path(weights)
        file = file / "weights.safetensors" if file.is_dir() else file
        if not file.is_file():
            raise InputError(f"{file}: no such file; sonjit train keypoint-detector writes one")
        self._device = device
        if file.suffix in _EXPORTED:
            self._run, self.side = _exported(file)
        else:
            options, self.side = load_description(file.parent, "keypoint-detector", _options_and_side)
            network = create_network("keypoint-detector", file, **options)
            self._run = network.to(device).eval()

    @classmethod
    def of_network(cls, network: Network, side: int, device: str = "cpu") -> Self:
        """A detector by a network in eval mode on a device, whose crops have such a side in pixels."""
        detector = cls.__new__(cls)
        detector._run, detector.side, detector._device = network, side, device
        return detector

    @torch.inference_mode()
    def detect(self, rgb: Image, boxes: Sequence[Box]) -> list[DetectedKeypoints]:
        """The keypoints in each box.

        Args:
            rgb: (H, W, 3) uint8.
            boxes: x_min, y_min, x_max, y_max in pixels, tightly around each hand's keypoints.

        Returns:
            One for each box, in the same order.
        """
        areas = [area_of_box(box) for box in boxes]
        found: list[DetectedKeypoints] = []
        for start in range(0, len(areas), _AT_ONCE):
            some = areas[start : start + _AT_ONCE]
            crops = np.stack([crop(rgb, area, self.side, self.side, border="zero") for area in some])
            out = self._run(torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 255)
            cells, confidence = read_heatmaps(out["heatmaps"].float().cpu().numpy())
            visible = out["visible_logits"].float().sigmoid().cpu().numpy()
            for area, one, sure, seen in zip(some, cells, confidence, visible, strict=True):
                matrix = crop_matrix(area, self.side, self.side)
                px = one * STRIDE + (STRIDE - 1) / 2
                found.append(DetectedKeypoints((px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32), sure, seen))
        return found


def area_of_box(box: Box) -> RotatedBox:
    """The upright square that is cut out for a box x_min, y_min, x_max, y_max around keypoints.

    Raises:
        InputError: the box holds nothing.
    """
    x_min, y_min, x_max, y_max = box
    if not (x_max > x_min and y_max > y_min and np.isfinite(box).all()):
        raise InputError(f"box {tuple(box)}: give x_min < x_max and y_min < y_max")
    around = RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)
    return square_box(around, scale=AROUND)


def sigma_of(cells: int) -> float:
    """Deviation, in cells, of the Gaussian around a keypoint in a map of so many cells a side.

    >>> sigma_of(64), sigma_of(16)
    (2.0, 1.0)
    """
    return max(1.0, cells / 32)


def read_heatmaps(logits: Float32Array) -> tuple[FloatArray, Float32Array]:
    """Where keypoints lie, between cells, and how surely.

    Args:
        logits: (B, K, h, w).

    Returns:
        (B, K, 2) x, y in cells; (B, K) the probability within three deviations of the peak.
    """
    import cv2

    batch, count, height, width = logits.shape
    sigma = sigma_of(width)
    flat = logits.reshape(batch * count, height * width).astype(np.float64)
    share = np.exp(flat - flat.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    maps = flat.reshape(-1, height, width)
    smooth = np.array([cv2.GaussianBlur(one, (0, 0), sigma / 2) for one in maps], np.float64)
    y, x = np.divmod(smooth.reshape(len(flat), -1).argmax(1), width)  # (N,)
    places = np.stack([x, y], 1) + _to_the_top(smooth, x, y)
    off = np.stack([np.arange(width) - places[:, :1], np.arange(height) - places[:, 1:]])  # square maps: (2, N, w)
    near = off[1][:, :, None] ** 2 + off[0][:, None, :] ** 2 <= (3 * sigma) ** 2  # (N, h, w)
    confidence = (share.reshape(near.shape) * near).sum((1, 2))
    return places.reshape(batch, count, 2), confidence.reshape(batch, count).astype(np.float32)


def _to_the_top(maps: FloatArray, x: IntArray, y: IntArray) -> FloatArray:
    """From cells (N,) of log-likelihoods (N, h, w) to the tops of the parabolas there: (N, 2); at edges none."""
    rows = np.arange(len(maps))
    inside = (x > 0) & (x < maps.shape[2] - 1) & (y > 0) & (y < maps.shape[1] - 1)
    x, y = np.clip(x, 1, maps.shape[2] - 2), np.clip(y, 1, maps.shape[1] - 2)

    def at(dx: int, dy: int) -> FloatArray:
        return maps[rows, y + dy, x + dx]

    slope = np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], 1) / 2
    bend_x, bend_y = at(1, 0) + at(-1, 0) - 2 * at(0, 0), at(0, 1) + at(0, -1) - 2 * at(0, 0)
    bend_xy = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    area = bend_x * bend_y - bend_xy**2
    good = inside & (area > 1e-12) & (bend_x < 0)
    area = np.where(good, area, 1.0)
    step = (
        np.stack([bend_xy * slope[:, 1] - bend_y * slope[:, 0], bend_xy * slope[:, 0] - bend_x * slope[:, 1]], 1)
        / area[:, None]
    )
    return np.where(good[:, None], np.clip(step, -1, 1), 0.0)


def _options_and_side(description: Any) -> tuple[Mapping[str, Any], int]:  # noqa: ANN401  # JSON
    """Options of the network that a description is of, and the side of its crops."""
    if description["network"] != "keypoint-detector":
        raise ValueError(f"it describes {description['network']!r}, not keypoint-detector")
    return dict(description["options"]), int(description["side"])


def _exported(path: Path) -> tuple[Callable[[Tensor], dict[str, Tensor]], int]:
    """What runs an exported file on crops one after the other, and their side."""
    from sonjit.engines import EngineOptions
    from sonjit.engines.openvino import compile_settings, core, read_model

    model = read_model(path)
    names = [output.get_any_name() for output in model.outputs]
    if not {"heatmaps", "visible_logits"} <= set(names):
        raise InputError(f"{path}: not a keypoint-detector; sonjit train keypoint-detector --export onnx writes one")
    side = int(model.input(0).get_partial_shape()[3].get_length())
    model.reshape([1, 3, side, side])
    network = core().compile_model(model, "CPU", compile_settings(EngineOptions(), "f32"))

    def run(images: Tensor) -> dict[str, Tensor]:
        seen = [network(image[None]) for image in images.numpy()]
        return {name: torch.from_numpy(np.concatenate([one[name] for one in seen])) for name in names}

    return run, side
