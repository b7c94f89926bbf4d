"""Train the network that classifies gestures by the maps of the hand network in addition to its keypoints.

The network samples the maps at the keypoints, corrects the keypoints and samples the maps at the corrected ones. Its
first layers become part of the hand heads, whose output is `Hand.appearance`. The gesture file contains the others.
The network also learns the exact keypoints in space, which is only an auxiliary task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, smooth_l1_loss
from torch.nn.functional import relu as rectified

from sonjit._util import Float32Array, InputError, IntArray, RealArray
from sonjit.gestures.classifier import FEATURES, KEYPOINTS, WITH_IMAGE, aligned
from sonjit_lab.training.alphabets import shipped_gestures
from sonjit_lab.training.gesture_data import MAPS, DetectedHands, split_maps
from sonjit_lab.training.loop import TrainingSettings, fit
from sonjit_lab.training.recipes import TrainingRequest
from sonjit_lab.training.settings import Copies, Decay, Fraction, SmallBatch, Steps, Width

_TRUTH: Final = 2 * 3 * KEYPOINTS
_EMBEDDING: Final = 128
_MIN_SPREAD: Final = 1e-3
_SPREAD_STRIDE: Final = 20  # the spread of the maps is measured on every 20th hand
_TRUTH_WEIGHT, _TRUTH_BETA = 10.0, 0.1
_PLACE_WEIGHT, _PLACE_BETA = 200.0, 0.02
_CHANNEL_NOISE, _MAP_NOISE, _FEATURE_NOISE = 0.15, 0.08, 0.1  # relative to the normalised inputs
_KEYPOINTS_ONLY: Final = 0.15  # share of the hands that are classified only by keypoints in training
_STEP: Final = 0.1  # a correction of 1 in units of the crop's side


@dataclass(frozen=True)
class AppearanceSettings(TrainingSettings):
    """Settings of the network."""

    steps: Steps = 3000
    learning_rate: float = 2e-3
    weight_decay: Decay = 0.05
    save_every: Steps = 1000
    # Training folders, relative to the data. The images for calibration are of the people that calibrate the network
    # of keypoints too, and train neither network
    folders: tuple[str, ...] = ()
    crops: Copies = 1  # number of further crops of each hand, recoloured, blurred, compressed or mirrored
    batch: SmallBatch = 160  # number of hands in a step
    channels: Width = 32  # number of channels read from the maps at each keypoint
    correction: Width = 192  # width of the layer that corrects the keypoints
    hidden: Width = 448  # width of the widest layer
    smoothing: Fraction = 0.05  # label smoothing

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folders:
            raise InputError("seen requires folders, at least one below --data; seen=none disables this network")


class AppearanceNetwork(nn.Module):
    """Network that predicts pose logits and exact keypoints from maps and keypoints."""

    middle: Tensor
    spread: Tensor

    def __init__(self, poses: int, channels: int, correction: int, hidden: int) -> None:
        super().__init__()
        for number, (depth, *_) in enumerate(MAPS):
            self.register_buffer(f"map_spread_{number}", torch.ones(depth))
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        depth = sum(shape[0] for shape in MAPS)
        shown = KEYPOINTS * channels
        places = KEYPOINTS * 2
        self.found, self.again = nn.Linear(depth, channels), nn.Linear(depth, channels)
        self.found_keypoint = nn.Parameter(torch.zeros(KEYPOINTS, channels))
        self.again_keypoint = nn.Parameter(torch.zeros(KEYPOINTS, channels))
        self.correct, self.move = nn.Linear(shown + places, correction), nn.Linear(correction, places)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        self.features = nn.Linear(FEATURES, _EMBEDDING)
        self.first, self.second = nn.Linear(2 * shown + places + _EMBEDDING, hidden), nn.Linear(hidden, _EMBEDDING)
        self.last, self.truth = nn.Linear(_EMBEDDING, poses), nn.Linear(_EMBEDDING, _TRUTH)
        self.dropout_10 = nn.Dropout(0.1)
        self.dropout_20 = nn.Dropout(0.2)
        self.dropout_25 = nn.Dropout(0.25)

    @property
    def map_spread(self) -> list[Tensor]:
        """The spread (C,) of each map."""
        return [self.get_buffer(f"map_spread_{number}") for number in range(len(MAPS))]

    @torch.no_grad()
    def fit_normalisation(self, hands: DetectedHands, features: RealArray) -> None:
        """Set the mean and spread of the inputs from N hands and their features (N, F), see `gesture_features`."""
        for spread, maps in zip(self.map_spread, split_maps(hands.appearance[::_SPREAD_STRIDE])[0], strict=True):
            spread.copy_(torch.from_numpy(maps.std((0, 2, 3)) + _MIN_SPREAD))
        self.middle.copy_(torch.from_numpy(features.mean(0)))
        self.spread.copy_(torch.from_numpy(features.std(0) + _MIN_SPREAD))

    def forward(self, maps: list[Tensor], places: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B, P) logits, (B, 126) keypoints in the form of `aligned`, and (B, 21, 2) corrected keypoints.

        `maps`: (B, C, side, side) for each of `MAPS`; `places`: (B, 21, 2) in fractions of the crop; `features`: (B, F)
        of the keypoints. In training, noise is added and some hands are classified only by keypoints.
        """
        maps = [values / spread[:, None, None] for values, spread in zip(maps, self.map_spread, strict=True)]
        features = (features - self.middle) / self.spread
        gain = torch.ones_like(places[:, :1, :1])
        if self.training:
            gain = 1 + _CHANNEL_NOISE * torch.randn(len(places), 1, self.found.in_features, device=places.device)
            features = features + _FEATURE_NOISE * torch.randn_like(features)
        point_features = rectified(self.found(self._noisy(sampled(maps, places), gain)) + self.found_keypoint).flatten(
            1
        )
        step = self.move(
            self.dropout_10(rectified(self.correct(torch.cat([point_features, (4 * places - 2).flatten(1)], 1))))
        )
        corrected = places + _STEP * step.reshape(places.shape)
        target = corrected.detach()
        again = rectified(self.again(self._noisy(sampled(maps, target), gain)) + self.again_keypoint).flatten(1)
        around = target - target.mean(1, keepdim=True)
        around = around / around.square().mean((1, 2), keepdim=True).sqrt()
        shown = torch.cat([self.dropout_20(torch.cat([point_features, again], 1)), around.flatten(1)], 1)
        if self.training:
            shown = shown * (torch.rand_like(shown[:, :1]) > _KEYPOINTS_ONLY)
        both = torch.cat([shown, self.dropout_10(rectified(self.features(features)))], 1)
        hidden = self.dropout_25(rectified(self.first(self.dropout_25(both))))
        hidden = self.dropout_10(rectified(self.second(hidden)))
        return self.last(hidden), self.truth(hidden), corrected

    def _noisy(self, shown: Tensor, gain: Tensor) -> Tensor:
        if not self.training:
            return shown
        return shown * gain * (1 + _MAP_NOISE * torch.randn_like(shown)) + _MAP_NOISE * torch.randn_like(shown)

    @torch.no_grad()
    def heads(self) -> dict[str, RealArray]:
        """Return the first layers for the full network's `HandHeads`, with the normalisation folded in."""
        spread = torch.cat(self.map_spread)
        tensors = {
            "": (self.found.weight / spread).T,
            "_keypoint": self.found.bias + self.found_keypoint,
            "_correction_0": self.correct.weight.T,
            "_correction_bias_0": self.correct.bias,
            "_correction_1": _STEP * self.move.weight.T,
            "_correction_bias_1": _STEP * self.move.bias,
            "_again": (self.again.weight / spread).T,
            "_again_keypoint": self.again.bias + self.again_keypoint,
        }
        return {f"full.appearance{name}": value.numpy() for name, value in tensors.items()}

    @torch.no_grad()
    def arrays(self, shapes: IntArray) -> dict[str, RealArray]:
        """Return the other layers for `GestureClassifier`, with the index of the shape (P,) of each of P poses."""
        arrays: dict[str, RealArray] = {}
        for number, layer in enumerate((self.features, self.first, self.second, self.last)):
            arrays[f"weights_{number}"] = layer.weight.numpy().T.astype(np.float64)
            arrays[f"bias_{number}"] = layer.bias.numpy().astype(np.float64)
        # The rows of a keypoint are adjacent in `HandHeads.appearance`.
        count, rows = KEYPOINTS * self.found.out_features, np.arange(self.first.in_features)
        *shown, rest = np.split(rows, np.cumsum([count, count, KEYPOINTS * 2]))
        by_keypoint = np.concatenate([part.reshape(KEYPOINTS, -1) for part in shown], 1).ravel()
        arrays["weights_1"] = arrays["weights_1"][np.concatenate([by_keypoint, rest])]
        arrays["weights_0"] /= self.spread.numpy()[:, None]
        arrays["bias_0"] -= self.middle.numpy() @ arrays["weights_0"]
        arrays["shape"] = shapes.astype(np.float64)
        return {WITH_IMAGE + name: value for name, value in arrays.items()}


def sampled(maps: list[Tensor], places: Tensor) -> Tensor:
    """Sample maps (B, C, side, side) at fractions (B, K, 2) bilinearly as (B, K, L); outside, at their edge."""
    grid = (2 * places - 1)[:, :, None]
    shown = [grid_sample(values, grid, align_corners=False, padding_mode="border")[..., 0] for values in maps]
    return torch.cat(shown, 1).transpose(1, 2)


def train_with_image(
    hands: DetectedHands, chances: RealArray, settings: AppearanceSettings, request: TrainingRequest
) -> tuple[dict[str, RealArray], dict[str, RealArray]]:
    """Train on hands drawn with probabilities (N,), and return arrays for the hand heads and the file of gestures."""
    names, pose = np.unique(hands.pose, return_inverse=True)
    if len(names) < 2:
        raise InputError("seen requires hands of at least two poses; see the comments in training/own_recipes.py")
    features, truth = hands.features(), aligned(hands.truth(), hands.true_left).reshape(len(hands), -1)
    torch.manual_seed(settings.seed)
    network = AppearanceNetwork(len(names), settings.channels, settings.correction, settings.hidden)
    network.fit_normalisation(hands, features)
    cumulative, exact = chances.cumsum(), exact_positions(hands)

    def batch(rng: np.random.Generator) -> tuple[list[Tensor], list[Tensor]]:
        rows = np.searchsorted(cumulative, rng.random(settings.batch) * cumulative[-1], "right")
        maps, places = split_maps(hands.appearance[rows])
        others = (places, features[rows], pose[rows], truth[rows], exact[rows])
        return [torch.from_numpy(values) for values in maps], [torch.from_numpy(values) for values in others]

    def losses(network: AppearanceNetwork, batch: tuple[list[Tensor], list[Tensor]]) -> Mapping[str, Tensor]:
        maps, (places, features, pose, truth, exact) = batch
        logits, keypoints, corrected = network(maps, places, features)
        return {
            "pose": cross_entropy(logits, pose, label_smoothing=settings.smoothing),
            "keypoints": _TRUTH_WEIGHT * smooth_l1_loss(keypoints, truth, beta=_TRUTH_BETA),
            "places": _PLACE_WEIGHT * smooth_l1_loss(corrected, exact, beta=_PLACE_BETA),
        }

    network.to(request.device).train()
    fit(request, network, batch, losses, settings, inputs={"hands": len(hands)}, folder="with_image")
    network.cpu().eval()
    return network.heads(), network.arrays(shipped_gestures().shapes_of(names.tolist()))


def exact_positions(hands: DetectedHands) -> Float32Array:
    """Return the exact keypoints (N, 21, 2) as fractions of the crop, offset from the detected ones as in the image."""
    places = hands.appearance[:, -2 * KEYPOINTS :].astype(np.float64).reshape(len(hands), KEYPOINTS, 2)
    detected, observed = (points[..., 0] + 1j * points[..., 1] for points in (hands.keypoints, places))
    detected_middle, observed_middle = detected.mean(1, keepdims=True), observed.mean(1, keepdims=True)
    around = detected - detected_middle
    turn = ((observed - observed_middle) * around.conj()).sum(1, keepdims=True) / (np.abs(around) ** 2).sum(
        1, keepdims=True
    )
    exact = hands.true_keypoints[..., 0] + 1j * hands.true_keypoints[..., 1]
    # A similarity transform of the plane is a complex factor and an offset.
    exact_in_crop = (exact - detected_middle) * turn + observed_middle
    return np.stack([exact_in_crop.real, exact_in_crop.imag], -1).astype(np.float32)
