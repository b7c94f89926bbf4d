"""The network that tells gestures by the hand network's maps beside its keypoints.

It reads the maps at the keypoints, corrects these, and reads the maps there again. Its first layers become part of the
hand heads, whose product is `Hand.appearance`; the rest stands in the file of gestures. It also learns the exact
keypoints in space, which is of no use later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, smooth_l1_loss
from torch.nn.functional import relu as rectified

from sonjit.errors import InputError
from sonjit.gestures.classifier import WITH_IMAGE
from sonjit.gestures.features import FEATURES, KEYPOINTS, aligned
from sonjit.training.gestures.alphabets import shipped_gestures
from sonjit.training.gestures.data import MAPS, SeenHands, maps_and_places
from sonjit.training.loop import TrainingSettings, train
from sonjit.training.recipes import TrainingRequest
from sonjit.training.settings import check_at_least

if TYPE_CHECKING:
    from sonjit.arrays import Float32Array, IntArray, RealArray

_TRUTH: Final = 2 * 3 * KEYPOINTS
_LEAST_SPREAD: Final = 1e-3
_EACH: Final = 20  # of so many hands one tells how far the maps spread
_TRUTH_WEIGHT, _TRUTH_BETA = 10.0, 0.1
_PLACE_WEIGHT, _PLACE_BETA = 200.0, 0.02
_CHANNEL_NOISE, _MAP_NOISE, _FEATURE_NOISE = 0.15, 0.08, 0.1  # of what is normalised
_BLIND: Final = 0.15  # share of the hands that are told by keypoints alone
_STEP: Final = 0.1  # of the crop's side: what a correction of 1 means


@dataclass(frozen=True)
class AppearanceSettings(TrainingSettings):
    """Settings of the network.

    Attributes:
        folders: below the data, to train on; those of the recipe's `train` first, in their order, so that the images
            that calibrate are the same and train neither network.
        crops: further ones of each hand, recoloured, blurred, compressed or mirrored.
        batch: hands in a step.
        channels: that are kept of the maps at each keypoint.
        correction: width of the layer that corrects the keypoints.
        hidden: width of the widest layer.
        smoothing: of the labels.
    """

    steps: int = 3000
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    save_every: int = 1000
    folders: tuple[str, ...] = ()
    crops: int = 1
    batch: int = 160
    channels: int = 32
    correction: int = 192
    hidden: int = 448
    smoothing: float = 0.05

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, crops=0, batch=1, channels=1, correction=1, hidden=1)
        if not self.folders:
            raise InputError("folders: name at least one below --data, or leave this network out by seen=none")
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing={self.smoothing}: give a share from 0 to below 1")


class AppearanceNetwork(nn.Module):
    """Logits of poses, and the exact keypoints, by maps and keypoints.

    Args:
        poses: how many.
        channels: that are kept of the maps at each keypoint.
        correction: width of the layer that corrects the keypoints.
        hidden: width of the widest layer.
        embedding: width of the last but one, and of what is kept of the keypoints.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, poses: int, channels: int, correction: int, hidden: int, embedding: int = 128) -> None:
        super().__init__()
        for number, (depth, *_) in enumerate(MAPS):
            self.register_buffer(f"map_spread_{number}", torch.ones(depth))
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        depth, shown, places = sum(shape[0] for shape in MAPS), KEYPOINTS * channels, KEYPOINTS * 2
        self.found, self.again = nn.Linear(depth, channels), nn.Linear(depth, channels)
        self.found_keypoint = nn.Parameter(torch.zeros(KEYPOINTS, channels))
        self.again_keypoint = nn.Parameter(torch.zeros(KEYPOINTS, channels))
        self.correct, self.move = nn.Linear(shown + places, correction), nn.Linear(correction, places)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        self.features = nn.Linear(FEATURES, embedding)
        self.first, self.second = nn.Linear(2 * shown + places + embedding, hidden), nn.Linear(hidden, embedding)
        self.last, self.truth = nn.Linear(embedding, poses), nn.Linear(embedding, _TRUTH)
        self.little, self.some, self.much = nn.Dropout(0.1), nn.Dropout(0.2), nn.Dropout(0.25)

    @property
    def map_spread(self) -> list[Tensor]:
        """(C,) of each map."""
        return [self.get_buffer(f"map_spread_{number}") for number in range(len(MAPS))]

    @torch.no_grad()
    def fit_normalisation(self, hands: SeenHands, features: RealArray) -> None:
        """Take over middle and spread of the inputs."""
        for spread, maps in zip(self.map_spread, maps_and_places(hands.appearance[::_EACH])[0], strict=True):
            spread.copy_(torch.from_numpy(maps.std((0, 2, 3)) + _LEAST_SPREAD))
        self.middle.copy_(torch.from_numpy(features.mean(0)))
        self.spread.copy_(torch.from_numpy(features.std(0) + _LEAST_SPREAD))

    def forward(self, maps: list[Tensor], places: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, P) logits, (B, 126) keypoints as `aligned` gives them, and (B, 21, 2) corrected in the crop.

        In training noise is added, and some hands are told by keypoints alone.

        Args:
            maps: (B, C, side, side) each of `MAPS`.
            places: (B, 21, 2) keypoints found, in parts of the crop.
            features: (B, F).
        """
        maps = [one / spread[:, None, None] for one, spread in zip(maps, self.map_spread, strict=True)]
        features = (features - self.middle) / self.spread
        gain = torch.ones_like(places[:, :1, :1])
        if self.training:
            gain = 1 + _CHANNEL_NOISE * torch.randn(len(places), 1, self.found.in_features, device=places.device)
            features = features + _FEATURE_NOISE * torch.randn_like(features)
        found = rectified(self.found(self._noisy(sampled(maps, places), gain)) + self.found_keypoint).flatten(1)
        step = self.move(self.little(rectified(self.correct(torch.cat([found, (4 * places - 2).flatten(1)], 1)))))
        corrected = places + _STEP * step.reshape(places.shape)
        there = corrected.detach()
        again = rectified(self.again(self._noisy(sampled(maps, there), gain)) + self.again_keypoint).flatten(1)
        around = there - there.mean(1, keepdim=True)
        around = around / around.square().mean((1, 2), keepdim=True).sqrt()
        shown = torch.cat([self.some(torch.cat([found, again], 1)), around.flatten(1)], 1)
        if self.training:
            shown = shown * (torch.rand_like(shown[:, :1]) > _BLIND)
        both = torch.cat([shown, self.little(rectified(self.features(features)))], 1)
        hidden = self.much(rectified(self.first(self.much(both))))
        hidden = self.little(rectified(self.second(hidden)))
        return self.last(hidden), self.truth(hidden), corrected

    def _noisy(self, shown: Tensor, gain: Tensor) -> Tensor:
        if not self.training:
            return shown
        return shown * gain * (1 + _MAP_NOISE * torch.randn_like(shown)) + _MAP_NOISE * torch.randn_like(shown)

    @torch.no_grad()
    def heads(self) -> dict[str, RealArray]:
        """The first layers as `HandHeads` takes them, of the full network; the normalisation is in them."""
        spread = torch.cat(self.map_spread)
        made = {
            "": (self.found.weight / spread).T,
            "_keypoint": self.found.bias + self.found_keypoint,
            "_correction_0": self.correct.weight.T,
            "_correction_bias_0": self.correct.bias,
            "_correction_1": _STEP * self.move.weight.T,
            "_correction_bias_1": _STEP * self.move.bias,
            "_again": (self.again.weight / spread).T,
            "_again_keypoint": self.again.bias + self.again_keypoint,
        }
        return {f"full.appearance{name}": value.numpy() for name, value in made.items()}

    @torch.no_grad()
    def arrays(self, shapes: IntArray) -> dict[str, RealArray]:
        """The other layers as `GestureClassifier` takes them, with the shape of each pose."""
        made: dict[str, RealArray] = {}
        for number, layer in enumerate((self.features, self.first, self.second, self.last)):
            made[f"weights_{number}"] = layer.weight.numpy().T.astype(np.float64)
            made[f"bias_{number}"] = layer.bias.numpy().astype(np.float64)
        made["weights_1"] = made["weights_1"][self._by_keypoint()]
        made["weights_0"] /= self.spread.numpy()[:, None]
        made["bias_0"] -= self.middle.numpy() @ made["weights_0"]
        made["shape"] = shapes.astype(np.float64)
        return {WITH_IMAGE + name: value for name, value in made.items()}

    def _by_keypoint(self) -> IntArray:
        """The rows of the widest layer in the order of `HandHeads.appearance`: all of a keypoint, then the next's."""
        channels, rows = self.found.out_features, np.arange(self.first.in_features)
        *shown, rest = np.split(rows, np.cumsum([KEYPOINTS * channels, KEYPOINTS * channels, KEYPOINTS * 2]))
        return np.concatenate([np.concatenate([one.reshape(KEYPOINTS, -1) for one in shown], 1).ravel(), rest])


def sampled(maps: list[Tensor], places: Tensor) -> Tensor:
    """(B, K, L) maps (B, C, side, side) at places (B, K, 2) in parts of them, between cells; beyond, their edge."""
    grid = (2 * places - 1)[:, :, None]
    shown = [grid_sample(one, grid, align_corners=False, padding_mode="border")[..., 0] for one in maps]
    return torch.cat(shown, 1).transpose(1, 2)


def train_with_image(
    hands: SeenHands, chances: RealArray, settings: AppearanceSettings, request: TrainingRequest | None = None
) -> tuple[dict[str, RealArray], dict[str, RealArray]]:
    """Arrays for the hand heads, and for the file of gestures.

    Args:
        hands: with what their appearance is read from.
        chances: (N,) how often each is drawn; sum 1.
        settings: of the network.
        request: where the run is kept, in a folder of its own; None keeps nothing.

    Raises:
        InputError: fewer than two poses.
    """
    names, pose = np.unique(hands.pose, return_inverse=True)
    if len(names) < 2:
        raise InputError("the hands of seen need two poses at least; see the comments of the recipe's file")
    features, truth = hands.features(), aligned(hands.truth(), hands.true_left).reshape(len(hands), -1)
    torch.manual_seed(settings.seed)
    network = AppearanceNetwork(len(names), settings.channels, settings.correction, settings.hidden)
    network.fit_normalisation(hands, features)
    drawn_by, exact = chances.cumsum(), true_places(hands)

    def batch(rng: np.random.Generator) -> tuple[list[Tensor], list[Tensor]]:
        rows = np.searchsorted(drawn_by, rng.random(settings.batch) * drawn_by[-1], "right")
        maps, places = maps_and_places(hands.appearance[rows])
        others = (places, features[rows], pose[rows], truth[rows], exact[rows])
        return [torch.from_numpy(one) for one in maps], [torch.from_numpy(one) for one in others]

    def losses(network: AppearanceNetwork, drawn: tuple[list[Tensor], list[Tensor]]) -> Mapping[str, Tensor]:
        maps, (places, features, pose, truth, exact) = drawn
        logits, keypoints, corrected = network(maps, places, features)
        return {
            "pose": cross_entropy(logits, pose, label_smoothing=settings.smoothing),
            "keypoints": _TRUTH_WEIGHT * smooth_l1_loss(keypoints, truth, beta=_TRUTH_BETA),
            "places": _PLACE_WEIGHT * smooth_l1_loss(corrected, exact, beta=_PLACE_BETA),
        }

    network.to(request.device if request else "cpu").train()
    if request is None:
        train(network, batch, losses, settings)
    else:
        folder, inputs = request.out / "with_image", {"hands": len(hands)}
        train(network, batch, losses, settings, out=folder, inputs=inputs, progress=request.progress)
    network.cpu().eval()
    return network.heads(), network.arrays(shipped_gestures().shapes_of(names.tolist()))


def true_places(hands: SeenHands) -> Float32Array:
    """(N, 21, 2) the exact keypoints in parts of the crop: they lie to those found as they do in the image.

    Args:
        hands: with what their appearance is read from.
    """
    places = hands.appearance[:, -2 * KEYPOINTS :].astype(np.float64).reshape(len(hands), KEYPOINTS, 2)
    found, seen = (one[..., 0] + 1j * one[..., 1] for one in (hands.keypoints, places))
    found_middle, seen_middle = found.mean(1, keepdims=True), seen.mean(1, keepdims=True)
    around = found - found_middle
    turn = ((seen - seen_middle) * around.conj()).sum(1, keepdims=True) / (np.abs(around) ** 2).sum(1, keepdims=True)
    exact = hands.true_keypoints[..., 0] + 1j * hands.true_keypoints[..., 1]
    there = (exact - found_middle) * turn + seen_middle  # in the plane of complex numbers turn and scale are a factor
    return np.stack([there.real, there.imag], -1).astype(np.float32)
