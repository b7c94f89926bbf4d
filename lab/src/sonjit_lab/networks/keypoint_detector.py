"""Hand keypoints on networks of timm: heatmaps for own labels, and the outputs of MediaPipe's landmark networks.

The maps are logits of one distribution over all cells, so that the sum near a peak is a probability. Sources: Tan and
Le 2019, EfficientNet, for the trunk; Xiao et al. 2018, Simple Baselines, for heatmaps at a quarter of the crop's side;
Zhang et al. 2020, Distribution-Aware Coordinate Representation (DARK), for positions between cells.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit._util import Float32Array, FloatArray, Image, InputError, IntArray
from sonjit.geometry.boxes import RotatedBox, box_from_corners, crop, crop_matrix, square_box
from sonjit.results import Box
from sonjit_lab.networks.backbones import IMAGENET_MEAN, IMAGENET_STD
from sonjit_lab.networks.checkpoints import WEIGHTS, load_checkpoint, load_description
from sonjit_lab.networks.registry import InputSpec, Network, NetworkEntry, create_network, register

_PALM_M = 0.09  # typical length of a palm, the unit of an untrained network's positions in metres
STRIDE: Final = 4  # pixels of a crop for each cell of a heatmap
INPUT_SIZE: Final = 256
_STRIDES = (4, 8, 16, 32)
_WEIGHTS_SOURCE: Final = (
    "timm's weights are available as model.safetensors from https://huggingface.co/timm, e.g. "
    "timm/tf_efficientnet_b0.ns_jft_in1k (Apache-2.0)"
)
CROP_SCALE: Final = 1.5  # side of a crop relative to the box around the keypoints, also in training
_EXPORTED: Final = (".onnx", ".xml")
_BATCH: Final = 32


class TimmLandmarks(Network):
    """K keypoints, presence and handedness of the hand in a crop of `size` pixels, by any network of timm."""

    mean: Tensor
    std: Tensor
    middle: Tensor

    def __init__(self, backbone: str = "mobilenetv3_small_100", keypoints: int = 21, size: int = 224) -> None:
        super().__init__()
        if keypoints < 1 or size < 32:
            raise InputError(f"keypoints={keypoints}, size={size}: must be at least 1 and 32")
        self.backbone = _timm_network(backbone, size)
        self.size = self.side = size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        features = self._feature_count(backbone)
        self.keypoints = nn.Linear(features, 3 * keypoints)
        self.keypoints_3d = nn.Linear(features, 3 * keypoints)
        self.presence = nn.Linear(features, 1)
        self.handedness = nn.Linear(features, 1)
        self.register_buffer("middle", torch.tensor([size / 2, size / 2, 0.0]).repeat(keypoints), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the hands in crops (B, 3, size, size), RGB in 0..1, as `HandLandmarkNetwork` does."""
        if images.shape[-2:] != (self.size, self.size):
            raise InputError(
                f"{self.name}: images have shape {tuple(images.shape)}; expected (B, 3, {self.size}, {self.size})"
            )
        features = self.backbone((images - self.mean) / self.std)  # (B, C)
        return {
            "keypoints": self.middle + self.size / 4 * self.keypoints(features),
            "presence": self.presence(features).sigmoid(),
            "handedness": self.handedness(features).sigmoid(),
            "keypoints_3d": _PALM_M * self.keypoints_3d(features),
        }

    def _feature_count(self, backbone: str) -> int:
        """Return the number of features, by a run, because not every network of timm states it."""
        was_training = self.backbone.training
        try:
            with torch.no_grad():
                self.backbone.eval()
                features = self.backbone(self.mean.new_zeros(1, 3, self.size, self.size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(f"{backbone} does not take crops of {self.size} px: {error}") from None
        self.backbone.train(was_training)
        return features.shape[-1]


def _timm_with(name: str, others: str) -> Any:  # noqa: ANN401  # imported on first use
    """Return timm; raise InputError if it has no network of this name, with similar names or a pattern of others."""
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 5) or timm.list_models(others)
        raise InputError(f"Unknown backbone {name!r}. Choose from timm's networks, such as {', '.join(close)}")
    return timm


def _timm_network(name: str, size: int) -> nn.Module:
    """Return a network of timm without its classifier, for images of a size where it depends on it."""
    timm = _timm_with(name, "mobilenetv3_small*")
    make: Any = partial(timm.create_model, name, pretrained=False, num_classes=0)
    try:
        return make(img_size=size)
    except TypeError:  # networks that take any size have no such option
        return make()


register(
    NetworkEntry(
        name="timm-landmarks",
        build=TimmLandmarks,
        summary="21 keypoints of one hand in its crop, its presence and handedness, with any backbone of timm",
        source="Wightman 2019, PyTorch Image Models; outputs as in Zhang et al. 2020, MediaPipe Hands, section 2.2",
        licence="that of the backbone's weights",
        inputs=(InputSpec("images", (3, 224, 224)),),
        where="train it: sonjit train hand-full --set network=timm-landmarks --set scratch=true",
        tiny={"backbone": "test_efficientnet", "size": 64},
        tiny_inputs=(InputSpec("images", (3, 64, 64)),),
    )
)


class KeypointHeatmaps(Network):
    """Heatmaps of a hand's keypoints, and the visibility of each, by an EfficientNet of timm with weights of a file."""

    def __init__(
        self,
        backbone: str = "tf_efficientnet_b0",
        keypoints: int = 21,
        channels: int = 128,
        backbone_weights: str | None = None,
    ) -> None:
        super().__init__()
        if keypoints < 1 or channels < 1:
            raise InputError(f"keypoints={keypoints}, channels={channels}: must be at least 1")
        self.backbone, widths = _trunk(backbone)
        if backbone_weights is not None:
            _load_trunk(self.backbone, Path(backbone_weights), backbone)
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
        """Predict the keypoints in crops (B, 3, S, S), RGB in 0..1, S a multiple of 32.

        Returns:
            `heatmaps` (B, K, S / 4, S / 4): logits, whose softmax over a map's cells is the distribution of the
            keypoint; `visible_logits` (B, K): above 0 for visible keypoints, below 0 for hidden ones.
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
        # Visibility is predicted from the features at the probable position of each keypoint.
        where = heatmaps.flatten(2).softmax(2)  # (B, K, h * w)
        keypoint_features = where @ features.flatten(2).transpose(1, 2)  # (B, K, C)
        visible = (keypoint_features * self.visible.weight).sum(2) + self.visible.bias
        return {"heatmaps": heatmaps, "visible_logits": visible}


def _trunk(name: str) -> tuple[nn.Module, list[int]]:
    """Return a network of timm without its classifier, and its channels at strides 4, 8, 16 and 32."""
    timm = _timm_with(name, "*efficientnet_*lite0")
    try:
        strides: list[int] = timm.create_model(name, features_only=True, pretrained=False).feature_info.reduction()
        indices = tuple(strides.index(stride) for stride in _STRIDES)
    except (RuntimeError, AttributeError, ValueError, AssertionError):
        raise InputError(f"backbone={name}: must have feature maps at strides 4, 8, 16 and 32") from None
    trunk: Any = timm.create_model(name, features_only=True, out_indices=indices, pretrained=False)
    return trunk, list(trunk.feature_info.channels())


def _load_trunk(trunk: nn.Module, path: Path, name: str) -> None:
    """Load timm's weights without those of its classifier."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_WEIGHTS_SOURCE}")
    weights: Mapping[str, Tensor] = load_checkpoint(path)
    trunk_weights = trunk.state_dict()
    wrong = [key for key, value in trunk_weights.items() if key not in weights or weights[key].shape != value.shape]
    if wrong:
        raise InputError(f"{path} does not fit {name}: {wrong[0]} is missing or has another shape; {_WEIGHTS_SOURCE}")
    trunk.load_state_dict({key: weights[key] for key in trunk_weights})


def px_from_cell(cells: FloatArray) -> FloatArray:
    """Return positions (..., 2) in a map, in cells, as pixels of the crop."""
    return cells * STRIDE + (STRIDE - 1) / 2


def cell_from_px(px: torch.Tensor) -> torch.Tensor:
    """Convert pixels (..., 2) of a crop to cells of its heatmap; both start in the centre of the first one.

    >>> cell_from_px(torch.tensor([1.5, 5.5])).tolist()
    [0.0, 1.0]
    """
    return (px - (STRIDE - 1) / 2) / STRIDE


register(
    NetworkEntry(
        name="keypoint-detector",
        evaluate="sonjit_lab.evaluation.keypoint_model:open_keypoint_detector",
        build=KeypointHeatmaps,
        summary="21 keypoints of one hand in pixels with confidence and visibility; to train on own labels",
        source="Tan and Le 2019, EfficientNet, on heatmaps as in Xiao et al. 2018, Simple Baselines",
        licence="no weights are published; timm's for the trunk are Apache-2.0",
        inputs=(InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE), multiple_of=32, least=32),),
        where="train it: sonjit train keypoint-detector --data coco.json --out run",
        tiny={"backbone": "test_efficientnet", "channels": 16},
        tiny_inputs=(InputSpec("images", (3, 64, 64), multiple_of=32, least=32),),
    )
)


class DetectedKeypoints(NamedTuple):
    """Keypoints of one hand."""

    keypoints: Float32Array  # (K, 2) x, y in pixels of the image
    confidence: Float32Array  # (K,) 0..1, share of the map's probability near the peak
    visible: Float32Array  # (K,) 0..1, probability that the keypoint is visible


class KeypointDetector:
    """Detects the keypoints of hands in given boxes, on `device` unless the network is exported.

    `weights`: `weights.safetensors` of a run of `sonjit train keypoint-detector`, its folder, or its `.onnx` or `.xml`
    file.
    """

    def __init__(self, weights: str | Path, device: str = "cpu") -> None:
        file = Path(weights)
        file = file / WEIGHTS if file.is_dir() else file
        if not file.is_file():
            raise InputError(f"{file}: no such file; create it with sonjit train keypoint-detector")
        self._device = device
        if file.suffix in _EXPORTED:
            self._run, self.side = _load_exported(file)
        else:
            options, self.side = load_description(file.parent, "keypoint-detector", _options_and_side)
            network = create_network("keypoint-detector", file, **options)
            self._run = network.to(device).eval()

    @classmethod
    def from_network(cls, network: Network, side: int) -> Self:
        """Return a detector with a network in eval mode and the side of its crops in pixels."""
        detector = cls.__new__(cls)
        detector._run = network
        detector.side = side
        detector._device = network.device
        return detector

    @torch.inference_mode()
    def detect(self, rgb: Image, boxes: Sequence[Box]) -> list[DetectedKeypoints]:
        """Detect the keypoints of an image (H, W, 3) in tight boxes, in their order.

        Boxes are x_min, y_min, x_max, y_max in pixels.
        """
        areas = [area_of_box(box) for box in boxes]
        detections: list[DetectedKeypoints] = []
        for start in range(0, len(areas), _BATCH):
            chunk = areas[start : start + _BATCH]
            crops = np.stack([crop(rgb, area, self.side, self.side, border="zero") for area in chunk])
            out = self._run(torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 255)
            cells, confidence = read_heatmaps(out["heatmaps"].float().cpu().numpy())
            visible = out["visible_logits"].float().sigmoid().cpu().numpy()
            for area, cell, sure, visibility in zip(chunk, cells, confidence, visible, strict=True):
                matrix = crop_matrix(area, self.side, self.side)
                px = px_from_cell(cell)
                detections.append(
                    DetectedKeypoints((px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32), sure, visibility)
                )
        return detections


def area_of_box(box: Box) -> RotatedBox:
    """Return the upright square crop for a box around keypoints; raise InputError if the box is empty."""
    x_min, y_min, x_max, y_max = box
    if not (x_max > x_min and y_max > y_min and np.isfinite(box).all()):
        raise InputError(f"box {tuple(box)}: must have x_min < x_max and y_min < y_max")
    return square_box(box_from_corners(box), scale=CROP_SCALE)


def sigma_of(cells: int) -> float:
    """Return the standard deviation in cells of the Gaussian around a keypoint, for a map with `cells` cells a side.

    >>> sigma_of(64), sigma_of(16)
    (2.0, 1.0)
    """
    return max(1.0, cells / 32)


def read_heatmaps(logits: Float32Array) -> tuple[FloatArray, Float32Array]:
    """Return positions (B, K, 2) in cells from logits (B, K, h, w), and probabilities (B, K) near the peaks."""
    import cv2

    batch, count, height, width = logits.shape
    sigma = sigma_of(width)
    flat = logits.reshape(batch * count, height * width).astype(np.float64)
    share = np.exp(flat - flat.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    maps = flat.reshape(-1, height, width)
    smooth = np.array([cv2.GaussianBlur(values, (0, 0), sigma / 2) for values in maps], np.float64)
    y, x = np.divmod(flat.argmax(1), width)  # (N,)
    reach = round(2 * sigma)  # of the blur, whose values next to a border are those of a reflected map
    is_near = (np.minimum(x, width - 1 - x) < reach) | (np.minimum(y, height - 1 - y) < reach)
    positions = np.stack([x, y], 1) + _peak_offsets(np.where(is_near[:, None, None], maps, smooth), x, y)
    columns, rows = np.arange(width) - positions[:, :1], np.arange(height) - positions[:, 1:]  # (N, w), (N, h)
    near = rows[:, :, None] ** 2 + columns[:, None, :] ** 2 <= (3 * sigma) ** 2  # (N, h, w)
    confidence = (share.reshape(near.shape) * near).sum((1, 2))
    return positions.reshape(batch, count, 2), confidence.reshape(batch, count).astype(np.float32)


def _peak_offsets(maps: FloatArray, x: IntArray, y: IntArray) -> FloatArray:
    """Return offsets (N, 2) from cells (N,) of log-likelihoods (N, h, w) to the peaks of parabolas.

    At an edge the parabola is that of the three cells next to it, and the peak within half a cell of the edge. Where
    both axes have no common peak, each has its own.
    """
    rows, cells = np.arange(len(maps)), np.stack([x, y], 1)
    size = np.array(maps.shape[:0:-1])
    middle = np.clip(cells, 1, np.maximum(size - 2, 1))
    if (size < 3).any():
        return np.zeros(cells.shape)

    def value(dx: int, dy: int) -> FloatArray:
        return maps[rows, middle[:, 1] + dy, middle[:, 0] + dx]

    slope = np.stack([value(1, 0) - value(-1, 0), value(0, 1) - value(0, -1)], 1) / 2
    bend = np.stack([value(1, 0) + value(-1, 0), value(0, 1) + value(0, -1)], 1) - 2 * value(0, 0)[:, None]
    bend_xy = (value(1, 1) + value(-1, -1) - value(1, -1) - value(-1, 1)) / 4
    area = bend[:, 0] * bend[:, 1] - bend_xy**2
    is_peak, curves = (area > 1e-12) & (bend[:, 0] < 0), bend < -1e-12
    together = bend_xy[:, None] * slope[:, ::-1] - bend[:, ::-1] * slope
    step = np.where(
        is_peak[:, None],
        together / np.where(is_peak, area, 1)[:, None],
        np.where(curves, -slope / np.where(curves, bend, -1), cells - middle),
    )
    limit = np.where(middle == cells, 1.0, 0.5)
    return np.asarray(np.clip(step + middle - cells, -limit, limit), np.float64)


def _options_and_side(description: Any) -> tuple[Mapping[str, Any], int]:  # noqa: ANN401  # JSON
    """Return the options of the described network and the side of its crops."""
    if description["network"] != "keypoint-detector":
        raise ValueError(f"it describes {description['network']!r}, not keypoint-detector")
    return dict(description["options"]), int(description["side"])


def _load_exported(path: Path) -> tuple[Callable[[Tensor], dict[str, Tensor]], int]:
    """Return a function that runs an exported file on crops one by one, and the side of the crops."""
    from sonjit.engines import EngineOptions
    from sonjit.engines.openvino import compile_settings, core, read_model

    model = read_model(path)
    names = [output.get_any_name() for output in model.outputs]
    if not {"heatmaps", "visible_logits"} <= set(names):
        raise InputError(f"{path}: not a keypoint-detector; write it with sonjit train keypoint-detector --export onnx")
    side = int(model.input(0).get_partial_shape()[3].get_length())
    model.reshape([1, 3, side, side])
    network = core().compile_model(model, "CPU", compile_settings(EngineOptions(), "f32"))

    def run(images: Tensor) -> dict[str, Tensor]:
        outputs = [network(image[None]) for image in images.numpy()]
        return {name: torch.from_numpy(np.concatenate([output[name] for output in outputs])) for name in names}

    return run, side
