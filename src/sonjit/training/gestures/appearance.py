"""The network that tells gestures by the hand network's maps beside its keypoints.

Its first layer is shared by all keypoints and becomes part of the hand heads, whose product is `Hand.appearance`; the
rest stands in the file of gestures. It also learns the exact keypoints, which is of no use later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss
from torch.nn.functional import relu as rectified

from sonjit.errors import InputError
from sonjit.gestures.classifier import WITH_IMAGE
from sonjit.gestures.features import FEATURES, KEYPOINTS, aligned
from sonjit.training.gestures.alphabets import shipped_gestures
from sonjit.training.gestures.data import MAPS, SeenHands
from sonjit.training.loop import TrainingSettings, train
from sonjit.training.recipes import TrainingRequest
from sonjit.training.settings import check_at_least

if TYPE_CHECKING:
    from sonjit.arrays import IntArray, RealArray

_TRUTH: Final = 2 * 3 * KEYPOINTS
_LEAST_SPREAD: Final = 1e-3
_EACH: Final = 20  # of so many hands one tells how far the maps spread
_TRUTH_WEIGHT, _TRUTH_BETA = 10.0, 0.1
_CHANNEL_NOISE, _MAP_NOISE, _FEATURE_NOISE = 0.25, 0.15, 0.1  # of what is normalised
_BLIND: Final = 0.15  # share of the hands that are told by keypoints alone


@dataclass(frozen=True)
class AppearanceSettings(TrainingSettings):
    """Settings of the network.

    Attributes:
        folders: below the data, to train on; those of the recipe's `train` first, in their order, so that the images
            that calibrate are the same and train neither network.
        crops: further ones of each hand, recoloured, blurred, compressed or mirrored.
        batch: hands in a step.
        channels: that are kept of the maps at each keypoint.
        hidden: width of the widest layer.
        smoothing: of the labels.
    """

    steps: int = 3000
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    save_every: int = 1000
    folders: tuple[str, ...] = ()
    crops: int = 2
    batch: int = 128
    channels: int = 48
    hidden: int = 384
    smoothing: float = 0.05

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, crops=0, batch=1, channels=1, hidden=1)
        if not self.folders:
            raise InputError("folders: name at least one below --data, or leave this network out by seen=none")
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing={self.smoothing}: give a share from 0 to below 1")


class AppearanceNetwork(nn.Module):
    """Logits of poses, and the exact keypoints, by maps and keypoints.

    Args:
        poses: how many.
        channels: that are kept of the maps at each keypoint.
        hidden: width of the widest layer.
        embedding: width of the last but one, and of what is kept of the keypoints.
    """

    map_spread: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, poses: int, channels: int, hidden: int, embedding: int = 128) -> None:
        super().__init__()
        self.register_buffer("map_spread", torch.ones(MAPS))
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.maps = nn.Linear(MAPS, channels)
        self.keypoint = nn.Parameter(torch.zeros(KEYPOINTS, channels))
        self.features = nn.Linear(FEATURES, embedding)
        self.first, self.second = nn.Linear(KEYPOINTS * channels + embedding, hidden), nn.Linear(hidden, embedding)
        self.last, self.truth = nn.Linear(embedding, poses), nn.Linear(embedding, _TRUTH)
        self.little, self.some, self.much = nn.Dropout(0.1), nn.Dropout(0.2), nn.Dropout(0.3)

    @torch.no_grad()
    def fit_normalisation(self, hands: SeenHands, features: RealArray) -> None:
        """Take over middle and spread of the inputs."""
        maps = hands.appearance[::_EACH].astype(np.float32)
        self.map_spread.copy_(torch.from_numpy(maps.std((0, 1)) + _LEAST_SPREAD))
        self.middle.copy_(torch.from_numpy(features.mean(0)))
        self.spread.copy_(torch.from_numpy(features.std(0) + _LEAST_SPREAD))

    def forward(self, maps: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P) logits and (B, 126) keypoints as `aligned` gives them, for (B, 21, `MAPS`) and (B, F).

        In training noise is added, and some hands are told by keypoints alone.
        """
        maps, features = maps / self.map_spread, (features - self.middle) / self.spread
        if self.training:
            by_channel = 1 + _CHANNEL_NOISE * torch.randn_like(maps[:, :1])
            maps = maps * by_channel * (1 + _MAP_NOISE * torch.randn_like(maps))
            maps = maps + _MAP_NOISE * torch.randn_like(maps)
            features = features + _FEATURE_NOISE * torch.randn_like(features)
        shown = self.some(rectified(self.maps(maps) + self.keypoint)).flatten(1)
        if self.training:
            shown = shown * (torch.rand_like(shown[:, :1]) > _BLIND)
        both = torch.cat([shown, self.little(rectified(self.features(features)))], 1)
        hidden = self.much(rectified(self.first(self.much(both))))
        hidden = self.little(rectified(self.second(hidden)))
        return self.last(hidden), self.truth(hidden)

    @torch.no_grad()
    def heads(self) -> dict[str, RealArray]:
        """The first layer as `HandHeads` takes it, of the full network; the normalisation is in it."""
        weights = (self.maps.weight / self.map_spread).T.numpy()
        keypoint = (self.maps.bias + self.keypoint).numpy()
        return {"full.appearance": np.ascontiguousarray(weights), "full.appearance_keypoint": keypoint}

    @torch.no_grad()
    def arrays(self, shapes: IntArray) -> dict[str, RealArray]:
        """The other layers as `GestureClassifier` takes them, with the shape of each pose."""
        made: dict[str, RealArray] = {}
        for number, layer in enumerate((self.features, self.first, self.second, self.last)):
            made[f"weights_{number}"] = layer.weight.numpy().T.astype(np.float64)
            made[f"bias_{number}"] = layer.bias.numpy().astype(np.float64)
        made["weights_0"] /= self.spread.numpy()[:, None]
        made["bias_0"] -= self.middle.numpy() @ made["weights_0"]
        made["shape"] = shapes.astype(np.float64)
        return {WITH_IMAGE + name: value for name, value in made.items()}


def train_with_image(
    hands: SeenHands, chances: RealArray, settings: AppearanceSettings, request: TrainingRequest | None = None
) -> tuple[dict[str, RealArray], dict[str, RealArray]]:
    """Arrays for the hand heads, and for the file of gestures.

    Args:
        hands: with the maps at their keypoints as their appearance.
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
    network = AppearanceNetwork(len(names), settings.channels, settings.hidden)
    network.fit_normalisation(hands, features)
    drawn_by = chances.cumsum()

    def batch(rng: np.random.Generator) -> list[Tensor]:
        rows = np.searchsorted(drawn_by, rng.random(settings.batch) * drawn_by[-1], "right")
        maps = hands.appearance[rows].astype(np.float32)
        return [torch.from_numpy(one) for one in (maps, features[rows], pose[rows], truth[rows])]

    def losses(network: AppearanceNetwork, drawn: list[Tensor]) -> Mapping[str, Tensor]:
        maps, features, pose, truth = drawn
        logits, keypoints = network(maps, features)
        return {
            "pose": cross_entropy(logits, pose, label_smoothing=settings.smoothing),
            "keypoints": _TRUTH_WEIGHT * smooth_l1_loss(keypoints, truth, beta=_TRUTH_BETA),
        }

    network.to(request.device if request else "cpu").train()
    if request is None:
        train(network, batch, losses, settings)
    else:
        folder, inputs = request.out / "with_image", {"hands": len(hands)}
        train(network, batch, losses, settings, out=folder, inputs=inputs, progress=request.progress)
    network.cpu().eval()
    return network.heads(), network.arrays(shipped_gestures().shapes_of(names.tolist()))
