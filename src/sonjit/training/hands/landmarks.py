"""The recipes `hand-*`: the hand landmark network, fine-tuned or from scratch, on keypoints in COCO's format.

Each hand is cut out as the detector would cut it out of a video, from the box around its keypoints. Outputs without
annotation (depth, presence, handedness, metres) are held to those of the published network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from sonjit.errors import InputError
from sonjit.networks import create_network
from sonjit.networks.mediapipe.hand_landmark import PUBLISHED_KEYPOINTS, HandLandmarkNetwork
from sonjit.networks.registry import InputSpec
from sonjit.training.augment import AugmentedSettings, draw_augmentation
from sonjit.training.hands.landmark_data import (
    PUBLISHED_SIZE,
    Batch,
    LandmarkCrop,
    LandmarkCrops,
    augmented,
    landmark_losses,
    landmark_metrics,
    to_batch,
)
from sonjit.training.hands.palms import measured_ms
from sonjit.training.hands.samples import exported, open_source_samples
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from
from sonjit.training.sequences import Joined, spread
from sonjit.training.settings import add_batch_norms, check_at_least, check_side, fold, scale_head

_MEASURED = 1000
"""Hands of the training set on which errors are measured."""

_PALM_M = 0.09
"""About a palm; in a crop it is about a quarter of the side."""


@dataclass(frozen=True)
class LandmarkSettings(AugmentedSettings):
    """Settings of the recipes.

    Attributes:
        network: which to train.
        scratch: begin with random weights and batch norms, not with the published weights.
        trunk: of a network from scratch, where not its own; `tiny` is for small sizes.
        width: of a network from scratch, as a multiple of its own channels; 0 leaves them.
        activation: of a network from scratch, one of `networks.mediapipe.blocks.ACTIVATIONS`; "" is relu6.
        dropout: share of the last map's averages that each step leaves out at random.
        size: side of the crops in pixels, a multiple of 32.
        batch: hands a step.
        dataset: the kind of data set of `--data`, by its name in `sonjit datasets list`; `folder` is COCO's format and
            other own files.
        split: to train on; "" is the data set's first.
        mix: share of each batch by source: annotations or their folders, relative to `--data`, of `dataset` or of
            the data set that they are named after; empty: all of it is from `--data` itself.
        test: a source to evaluate on; "" holds some of the others out.
        heads_from: sources that handedness and presence are trained on, where it is not all of them.
        negatives: share of the crops with no hand in them, from images beside the annotated hands, for presence.
        keep: weight of the loss that holds outputs without annotation to those before training; 0 for none.
        held_out: share of each source's hands, the last ones, to evaluate on.
        extra_keypoints: names of keypoints to add after the 21.
        limit: first so many hands of each source; 0 for all.
        timed: also measure how long the trained network takes on this machine.
    """

    learning_rate: float = 3e-4
    warmup: int = 5
    network: Literal["hand-full", "hand-lite", "hand-heavy"] = "hand-full"
    scratch: bool = False
    trunk: Literal["", "lite", "full", "tiny"] = ""
    width: float = 0.0
    activation: Literal["", "relu6", "relu", "leaky_relu", "prelu", "elu", "sigmoid", "tanh"] = ""
    dropout: float = 0.0
    size: int = PUBLISHED_SIZE
    batch: int = 8
    dataset: str = "folder"
    split: str = ""
    mix: Mapping[str, float] = field(default_factory=dict[str, float])
    test: str = ""
    heads_from: tuple[str, ...] = ()
    negatives: float = 0.0
    keep: float = 0.1
    held_out: float = 0.1
    extra_keypoints: tuple[str, ...] = ()
    limit: int = 0
    timed: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, batch=1, limit=0, keep=0)
        check_side(self, "size")
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out={self.held_out}: give a share from 0 to below 1")
        if not 0 <= self.negatives < 1:
            raise InputError(f"negatives={self.negatives}: give a share from 0 to below 1")
        if self.mix and (min(self.mix.values()) < 0 or not any(self.mix.values())):
            raise InputError("mix: give no share below 0, and one above")
        if unknown := set(self.heads_from) - set(self.mix):
            raise InputError(f"heads_from={sorted(unknown)[0]}: not a source of mix")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout}: give a share from 0 to below 1")
        if not self.scratch and (self.width or self.network == "hand-heavy"):
            raise InputError(f"{self.network}, width={self.width:g}: no weights are published for it; set scratch=true")
        if not self.scratch and self.activation:
            raise InputError(f"activation={self.activation}: the published weights are for relu6; set scratch=true")
        if self.scratch and self.extra_keypoints:
            raise InputError("extra_keypoints start from published ones; leave scratch out")


def train_landmarks(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Args:
        request: its data are COCO keypoint annotations, or the folder that `mix` and `test` are in.

    Returns:
        "weights", "parameters", "hands" trained on, with the "error_before_px" and "error_px" on 1,000 of them, evenly
        spread; where some are
        held out, their number as "held_out", "held_out_error_px", and their "mnae", "handedness" and "presence" as
        `landmark_metrics` says; "ms" where it is timed; and the path of the "export".

    Raises:
        InputError: settings or annotations that cannot be used.
    """
    settings = settings_from(LandmarkSettings, request.settings)
    if request.data is None:
        raise InputError(f"{request.recipe}: give the annotations, a COCO keypoints JSON, with --data")
    sources, held_out = read_sources(request, settings)
    training = Joined(list(sources.values()))
    network = landmark_network(settings, request.weights).to(request.device)
    results: dict[str, object] = {
        "weights": request.out / WEIGHTS,
        "hands": sum(len(crops.hands) for crops in sources.values()),
    }
    some = spread(training, _MEASURED)
    if not settings.scratch:
        start_from_nearest(network, some)
        results["error_before_px"] = landmark_metrics(network.eval(), some, request.device)["error_px"]
    metrics = fit_landmarks(network, sources, held_out, settings, request)
    fold(network.eval())
    results["parameters"] = sum(part.numel() for part in network.parameters())
    results["error_px"] = landmark_metrics(network, some, request.device)["error_px"]
    if held_out:
        results |= {"held_out": len(held_out), **metrics}
    inputs = (InputSpec("images", (3, settings.size, settings.size)),)
    if settings.timed:
        results["ms"] = measured_ms(network.cpu(), inputs, request.out)
    results |= exported(network, request.recipe, settings.size, request)
    return results


def read_sources(
    request: TrainingRequest, settings: LandmarkSettings
) -> tuple[dict[str, LandmarkCrops], Sequence[LandmarkCrop]]:
    """Training crops by source, and crops held out.

    Args:
        request: its data are annotations, or with `mix` or `test` the folder that these are in; its images the folder
            or video of those of a single source.
        settings: which sources, and what is held out.

    Raises:
        InputError: a source that is not there, or holds no hand.
    """
    data = request.data
    assert data is not None
    folder = data if data.is_dir() else data.parent
    names = {name: folder / name for name, part in settings.mix.items() if part > 0} or {"": data}
    for name, path in (names | ({settings.test: folder / settings.test} if settings.test else {})).items():
        if not path.exists():
            raise InputError(f"{name}: {path} is not there")
    sources = {name: _read(path, request, settings, settings.limit) for name, path in names.items()}
    for name, crops in sources.items():
        if settings.heads_from and name not in settings.heads_from:
            sources[name] = crops.without_scores()
    if settings.test:
        return sources, _read(folder / settings.test, request, settings, 0)
    held_out: list[LandmarkCrops] = []
    for name, crops in sources.items():
        sources[name], last = crops.parted(settings.held_out)
        held_out.append(last)
    return sources, Joined(held_out)


def _read(path: Path, request: TrainingRequest, settings: LandmarkSettings, limit: int) -> LandmarkCrops:
    return LandmarkCrops(
        open_source_samples(path, request, settings.dataset, settings.split),
        settings.extra_keypoints,
        size=settings.size,
        limit=limit,
        without_hands=settings.negatives > 0,
    )


def draw_crops(
    sources: Mapping[str, LandmarkCrops], settings: LandmarkSettings, rng: np.random.Generator
) -> list[LandmarkCrop]:
    """The crops of a step: of each source its share, of each batch its share without hands."""
    names = list(sources)
    parts = np.array([settings.mix.get(name, 1.0) for name in names])
    counts = rng.multinomial(settings.batch, parts / parts.sum())
    chosen: list[LandmarkCrop] = []
    for name, count in zip(names, counts.tolist(), strict=True):
        hands, empty = sources[name].hands, sources[name].empty
        without = int(rng.binomial(count, settings.negatives)) if empty else 0
        for crops, wanted in ((hands, count - without), (empty, without)):
            if wanted:
                picked = rng.choice(len(crops), wanted, replace=wanted > len(crops))
                chosen += [crops[index] for index in picked.tolist()]
    return [augmented(crop, draw_augmentation(settings.augmentation, rng)) for crop in chosen]


def landmark_network(settings: LandmarkSettings, weights: str | None = None) -> HandLandmarkNetwork:
    """The network to train: the published one or given weights as they are, or a new one with batch norms."""
    options = {
        name: value for name in ("trunk", "width", "activation", "dropout") if (value := getattr(settings, name))
    }
    count = PUBLISHED_KEYPOINTS + len(settings.extra_keypoints)
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        begin = weights if settings.scratch else weights or "published"
        network = create_network(settings.network, begin, keypoints=count, **options)
    assert isinstance(network, HandLandmarkNetwork)
    if begin is None:
        add_batch_norms(network)
        with torch.no_grad():  # every keypoint in the middle of the crop
            network.keypoints.bias.copy_(torch.tensor([settings.size / 2, settings.size / 2, 0.0]).repeat(count))
        scale_head(network, "keypoints", settings.size / 4)
        scale_head(network, "keypoints_3d", _PALM_M)
    return network


def start_from_nearest(network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop]) -> None:
    """Initialise each new keypoint as the published one that is nearest on average, shifted by their distance."""
    head = network.keypoints
    points = np.stack([crop.keypoints for crop in crops])  # (N, K, 2)
    known = np.stack([crop.known for crop in crops])  # (N, K)
    for index in range(PUBLISHED_KEYPOINTS, points.shape[1]):
        if head.weight[3 * index : 3 * index + 3].any():
            continue  # it was trained before
        both = known[:, index, None] & known[:, :PUBLISHED_KEYPOINTS]  # (N, 21)
        away = np.where(both[..., None], points[:, index, None] - points[:, :PUBLISHED_KEYPOINTS], np.nan)
        seen = both.any(axis=0)
        if not seen.any():
            raise InputError(f"the extra keypoint {index - PUBLISHED_KEYPOINTS + 1} is annotated nowhere")
        distances = np.full(PUBLISHED_KEYPOINTS, np.inf)
        distances[seen] = np.nanmean(np.linalg.norm(away[:, seen], axis=2), axis=0)
        nearest = int(distances.argmin())
        offset = torch.from_numpy(np.nanmean(away[:, nearest], axis=0))
        with torch.no_grad():
            head.weight[3 * index : 3 * index + 2] = head.weight[3 * nearest : 3 * nearest + 2]
            head.bias[3 * index : 3 * index + 2] = head.bias[3 * nearest : 3 * nearest + 2] + offset.to(head.bias)


def fit_landmarks(
    network: HandLandmarkNetwork,
    sources: Mapping[str, LandmarkCrops],
    held_out: Sequence[LandmarkCrop],
    settings: LandmarkSettings,
    request: TrainingRequest,
) -> dict[str, float]:
    """Train a network on crops by source, into the request's folder; gives its metrics on crops held out, if any."""
    normed = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    before = None if normed else copy.deepcopy(network).eval().requires_grad_(False)

    def evaluate(model: HandLandmarkNetwork) -> dict[str, float]:
        metrics = landmark_metrics(model, held_out, request.device)
        return {"held_out_error_px": metrics.pop("error_px"), **metrics}

    return train(
        network.train(), partial(draw_batch, sources=sources, settings=settings),
        landmark_losses(before, settings.keep), settings, out=request.out, inputs=request.inputs(),
        progress=request.progress, evaluate=evaluate if held_out else None,
    )  # fmt: skip


def draw_batch(rng: np.random.Generator, sources: Mapping[str, LandmarkCrops], settings: LandmarkSettings) -> Batch:
    """The batch of a step."""
    return to_batch(draw_crops(sources, settings, rng))
