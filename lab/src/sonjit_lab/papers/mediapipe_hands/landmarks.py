"""Train the hand landmark network (recipes `hand-*`), fine-tuned or from scratch, on keypoints in COCO's format.

Each hand is cut out as the detector would cut it out of a video, from the box around its keypoints. Outputs without
annotation (depth, presence, handedness, metres) are trained to stay as in the published network.
"""

import copy
import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util import Image, InputError, data_files
from sonjit._util.settings import Range
from sonjit_lab.datasets.splits import SplitReport, hold_out, split_report
from sonjit_lab.networks import backbones, create_network, keypoint_detector, network_entry, registry
from sonjit_lab.papers.mediapipe_hands.network import PUBLISHED_KEYPOINTS, HandLandmarkNetwork
from sonjit_lab.training import augment, building_blocks, loop
from sonjit_lab.training.batches import BatchGenerator, epoch_indices
from sonjit_lab.training.hands import landmark_data
from sonjit_lab.training.hands.samples import DataSettings, open_source_samples, source_path, warn_if_shared
from sonjit_lab.training.losses import PointLoss
from sonjit_lab.training.recipes import TrainingRequest, import_object, settings_from
from sonjit_lab.training.settings import Count, Fraction, ImageBatch, Side, Weight

_LOG = logging.getLogger(__name__)
_MAX_EVALUATED = 1000  # maximum number of training hands on which errors are measured

_POINT_LOSSES = get_args(PointLoss)
_HAND_NETWORKS = ("hand-full", "hand-lite", "hand-heavy")

_PALM_M = 0.09  # typical length of a palm, about a quarter of a crop's side


@dataclass(frozen=True)
class LandmarkSettings(DataSettings):
    """Settings of the recipes."""

    learning_rate: float = 2e-5  # for published weights; a network from scratch needs about 1e-3
    warmup: Count = 5
    # `hand-full`, `hand-lite` or `hand-heavy`, or any registered network with their outputs, such as `timm-landmarks`
    network: str = "hand-full"
    # options of a network of another name, such as `backbone`
    network_options: Mapping[str, object] = field(default_factory=dict[str, object])
    # network of timm as `timm-landmarks` from scratch, such as `mobilenet_v2`; "" for `network`
    backbone: str = ""
    # True to start mobilenet_v2 or efficientnet_lite0 with weights of ImageNet, of `sonjit models pull classifiers`
    pretrained: bool = False
    # loss of the keypoints: `l1`, `l2`, `smooth-l1`, `wing` or `distance`; or a function of your own as
    # `module:function`, which takes the outputs and the `Batch` and returns all losses by name
    loss: str = "l1"
    scratch: bool = False  # True to start with random weights and batch norms instead of the published weights
    # trunk of a network from scratch that differs from its own; `tiny` is for small sizes
    trunk: Literal["", "lite", "full", "tiny"] = ""
    # width of a network from scratch, as a multiple of its own channels; 0 keeps them
    width: Annotated[float, Range(0, 100)] = 0.0
    # Activation of a network from scratch, one of `networks.mediapipe.blocks.ACTIVATIONS`; "" is relu6
    activation: Literal["", "relu6", "relu", "leaky_relu", "prelu", "elu", "sigmoid", "tanh"] = ""
    dropout: Fraction = 0.0  # fraction of the last map's averages that each step drops at random
    size: Side = landmark_data.PUBLISHED_SIZE  # side of the crops in pixels, a multiple of 32
    batch: ImageBatch = 8  # number of hands in a step
    # Share of each batch by source. Sources are annotations or their folders, relative to `--data`. A folder with the
    # name of a data set is that data set, any other is of `dataset`. Empty: `--data` itself
    mix: Mapping[str, float] = field(default_factory=dict[str, float])
    test: str = ""  # source to evaluate on; "" holds out some of the others
    heads_from: tuple[str, ...] = ()  # sources that handedness and presence are trained on; empty for all
    negatives: Fraction = 0.0  # share of the crops without a hand, from the images of the annotated hands, for presence
    # weight of the loss that keeps outputs without annotation as they were before training; 0 disables it
    keep: Weight = 0.1
    # share of the images to evaluate on: those of some subjects, else of some recordings, else each source's last ones
    held_out: Fraction = 0.1
    extra_keypoints: tuple[str, ...] = ()  # names of keypoints to add after the 21
    limit: Count = 0  # maximum number of hands of each source, the first ones; 0 for all
    timed: bool = False  # True to measure also how long the trained network takes on this machine

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mix and not (all(0 <= share < math.inf for share in self.mix.values()) and any(self.mix.values())):
            raise InputError("mix: shares must be at least 0, and one must be above 0")
        if unknown := set(self.heads_from) - set(self.mix):
            raise InputError(f"heads_from={sorted(unknown)[0]}: not a source of mix")
        if self.loss not in _POINT_LOSSES and ":" not in self.loss:
            raise InputError(
                f"Unknown loss {self.loss!r}. Choose from {', '.join(_POINT_LOSSES)}, or a function as module:function"
            )
        if self.network not in _HAND_NETWORKS:
            for name in ("trunk", "width", "activation", "dropout"):
                if getattr(self, name):
                    raise InputError(f"{name} applies only to {', '.join(_HAND_NETWORKS)}, not to {self.network}")
        elif self.network_options:
            raise InputError(f"network_options applies only to other networks than {', '.join(_HAND_NETWORKS)}")
        if not self.scratch and (self.width or self.network == "hand-heavy"):
            changed = f"width={self.width:g}" if self.width else self.network
            raise InputError(f"{changed} requires scratch=true; no weights are published")
        if not self.scratch and self.activation:
            raise InputError(f"activation={self.activation} requires scratch=true; the published weights are for relu6")
        if self.scratch and self.extra_keypoints:
            raise InputError("extra_keypoints requires scratch=false; extra keypoints start from published ones")


def train_landmarks(request: TrainingRequest) -> Mapping[str, object]:
    """Train the hand landmark network; see the module.

    The results are "weights"; "parameters"; "hands"; "error_before_px" and "error_px" on 1,000 evenly spaced training
    hands; with held-out hands, their number as "held_out", "held_out_error_px", and their "mnae", "handedness" and
    "presence" of `landmark_metrics`; "ms" with `timed`; and the path of the "export".
    """
    settings = settings_from(LandmarkSettings, request.settings)
    if settings.backbone or settings.pretrained:
        options = {"backbone": backbones.timm_name(settings.backbone, pretrained=settings.pretrained)}
        settings = replace(settings, network="timm-landmarks", network_options=options, scratch=True)
    sources, held_out, split = read_sources(request, settings)
    training = building_blocks.Concat(list(sources.values()))
    if not any(crops.states_sides for crops in sources.values()):
        _LOG.warning("no hand states its side, so that the handedness is not trained: add hand_side, or labels by side")
    network = landmark_network(settings, request.weights).to(request.device)
    network.side = settings.size
    results: dict[str, object] = {
        "weights": request.out / loop.WEIGHTS,
        "hands": sum(len(crops.hands) for crops in sources.values()),
        "split": split.text,
    }
    evaluated = building_blocks.evenly_spaced(training, _MAX_EVALUATED)
    if not settings.scratch:
        if isinstance(network, HandLandmarkNetwork):
            start_from_nearest(network, evaluated)
        before = landmark_data.landmark_metrics(network.eval(), evaluated)
        results["error_before_px"] = before["error_px"]
    metrics = fit_landmarks(network, sources, held_out, settings, request, split)
    loop.fold(network.eval())
    results["parameters"] = sum(part.numel() for part in network.parameters())
    results["error_px"] = landmark_data.landmark_metrics(network, evaluated)["error_px"]
    if held_out:
        results |= {"held_out": len(held_out), **metrics}
    if settings.timed:
        results["ms"] = building_blocks.median_run_ms(network.cpu(), network.inputs, request.out)
    return results | building_blocks.export_trained(network, request)


def read_sources(
    request: TrainingRequest, settings: LandmarkSettings
) -> tuple[dict[str, landmark_data.LandmarkCrops], Sequence[landmark_data.LandmarkCrop], SplitReport]:
    """Return training crops by source, held-out crops, and what separates them."""
    assert request.data is not None
    names = {name: source_path(request, name) for name, part in settings.mix.items() if part > 0} or {"": request.data}
    test = source_path(request, settings.test) if settings.test else None

    def read(path: Path, limit: int) -> landmark_data.LandmarkCrops:
        samples, without_hands = open_source_samples(path, request, settings), settings.negatives > 0
        return landmark_data.LandmarkCrops(
            samples, settings.extra_keypoints, size=settings.size, limit=limit, without_hands=without_hands
        )

    sources = {name: read(path, settings.limit) for name, path in names.items()}
    for name, crops in sources.items():
        if settings.heads_from and name not in settings.heads_from:
            sources[name] = crops.without_scores()
    if test is not None:
        held_out = [read(test, 0)]
    elif settings.held_out * sum(map(len, sources.values())) < 1:
        held_out = []
    else:
        chosen = hold_out([crops.identities() for crops in sources.values()], settings.held_out)
        splits = [crops.parted(indices) for crops, indices in zip(sources.values(), chosen, strict=True)]
        sources = dict(zip(sources, (training for training, _ in splits), strict=True))
        held_out = [last for _, last in splits]
    images = [[item for crops in side for item in crops.identities()] for side in (sources.values(), held_out)]
    return sources, building_blocks.Concat(held_out), warn_if_shared(split_report(*images))


def draw_batch(
    rng: np.random.Generator, sources: Mapping[str, landmark_data.LandmarkCrops], settings: LandmarkSettings
) -> landmark_data.Batch:
    """Return the batch of a step with the share of each source and the share without hands."""
    names = list(sources)
    weights = np.array([settings.mix.get(name, 1.0) for name in names])
    weights = weights / weights.sum()
    step = rng.index if isinstance(rng, BatchGenerator) and rng.index is not None else int(rng.integers(2**31))
    chosen: list[landmark_data.LandmarkCrop] = []
    for name, low, high in zip(names, weights.cumsum() - weights, weights.cumsum(), strict=True):
        hands, empty = sources[name].hands, sources[name].empty
        middle = high - (high - low) * settings.negatives if empty else high
        for crops, begin, end in ((hands, low, middle), (empty, middle, high)):
            before, after = (_share(batch, settings.batch, begin, end) for batch in (step, step + 1))
            if after > before and len(crops):
                indices = epoch_indices(rng, len(crops), after - before, first=before)
                chosen += [crops[index] for index in indices.tolist()]
    changes = (augment.draw_augmentation(settings.augmentation, rng) for _ in chosen)
    return landmark_data.to_batch([*map(landmark_data.augment, chosen, changes)])


def _share(batches: int, size: int, begin: float, end: float) -> int:
    """Return the number of examples of a source in all batches before one; those of all sources fill the batches."""
    return round(batches * size * end) - round(batches * size * begin)


def landmark_network(settings: LandmarkSettings, weights: str | None = None) -> registry.Network:
    """Return the network to train: the published one, given weights, or a new one."""
    if settings.network not in _HAND_NETWORKS:
        return _other_network(settings, weights)
    options = {
        name: value for name in ("trunk", "width", "activation", "dropout") if (value := getattr(settings, name))
    }
    count = PUBLISHED_KEYPOINTS + len(settings.extra_keypoints)
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        initial = weights if settings.scratch else weights or "published"
        network = create_network(settings.network, initial, keypoints=count, **options)
    assert isinstance(network, HandLandmarkNetwork)
    if initial is None:
        loop.add_batch_norms(network)
        with torch.no_grad():  # every keypoint in the middle of the crop
            network.keypoints.bias.copy_(torch.tensor([settings.size / 2, settings.size / 2, 0.0]).repeat(count))
        loop.scale_head(network, "keypoints", settings.size / 4)
        loop.scale_head(network, "keypoints_3d", _PALM_M)
    return network


def _other_network(settings: LandmarkSettings, weights: str | None) -> registry.Network:
    """Return a registered network of another name, with the number of keypoints and the size where it takes them."""
    count = PUBLISHED_KEYPOINTS + len(settings.extra_keypoints)
    option_names = inspect.signature(network_entry(settings.network).build).parameters
    sizes = {"keypoints": count, "size": settings.size}
    options: dict[str, object] = {name: value for name, value in sizes.items() if name in option_names}
    for name, value in settings.network_options.items():
        options[name] = data_files.json_values([f"{name}={value}"])[name] if isinstance(value, str) else value
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        initial = weights if settings.scratch else weights or "published"
        network = create_network(settings.network, initial, **options)
    if settings.pretrained and initial is None:
        assert isinstance(network, keypoint_detector.TimmLandmarks)
        backbones.start_pretrained(network.backbone, settings.backbone)
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(1, 3, settings.size, settings.size))
    for name, size in (("keypoints", 3 * count), ("keypoints_3d", 3 * count), ("presence", 1), ("handedness", 1)):
        if name not in outputs or outputs[name].shape != (1, size):
            actual = f"shape {tuple(outputs[name].shape)}" if name in outputs else "no such output"
            raise InputError(f"network={settings.network} requires the output {name} (B, {size}); it has {actual}")
    return network.train()


def start_from_nearest(network: HandLandmarkNetwork, crops: Sequence[landmark_data.LandmarkCrop]) -> None:
    """Initialise each new keypoint as the published one that is nearest on average, shifted by their mean offset."""
    head = network.keypoints
    points = np.stack([crop.keypoints for crop in crops])  # (N, K, 2)
    labelled = np.stack([crop.known for crop in crops])  # (N, K)
    for index in range(PUBLISHED_KEYPOINTS, points.shape[1]):
        if head.weight[3 * index : 3 * index + 3].any():
            continue  # already trained
        both = labelled[:, index, None] & labelled[:, :PUBLISHED_KEYPOINTS]  # (N, 21)
        offsets = np.where(both[..., None], points[:, index, None] - points[:, :PUBLISHED_KEYPOINTS], np.nan)
        measured = both.any(axis=0)
        if not measured.any():
            raise InputError(f"No hand has an annotation of extra keypoint {index - PUBLISHED_KEYPOINTS + 1}")
        distances = np.full(PUBLISHED_KEYPOINTS, np.inf)
        distances[measured] = np.nanmean(np.linalg.norm(offsets[:, measured], axis=2), axis=0)
        nearest = int(distances.argmin())
        offset = torch.from_numpy(np.nanmean(offsets[:, nearest], axis=0))
        with torch.no_grad():
            head.weight[3 * index : 3 * index + 2] = head.weight[3 * nearest : 3 * nearest + 2]
            head.bias[3 * index : 3 * index + 2] = head.bias[3 * nearest : 3 * nearest + 2] + offset.to(head.bias)


def fit_landmarks(
    network: registry.Network,
    sources: Mapping[str, landmark_data.LandmarkCrops],
    held_out: Sequence[landmark_data.LandmarkCrop],
    settings: LandmarkSettings,
    request: TrainingRequest,
    split: SplitReport,
) -> dict[str, float]:
    """Train a network on crops by source in the request's folder and return its metrics on held-out crops, if any."""
    normed = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    before = None if normed or settings.scratch else copy.deepcopy(network).eval().requires_grad_(False)
    if settings.loss in _POINT_LOSSES:
        losses = landmark_data.landmark_losses(before, settings.keep, cast("PointLoss", settings.loss))
    else:
        losses = _losses_by(import_object(settings.loss, "loss"))

    def evaluate(model: registry.Network) -> dict[str, float]:
        metrics = landmark_data.landmark_metrics(model, held_out)
        return {"held_out_error_px": metrics.pop("error_px"), **metrics}

    spaced = building_blocks.evenly_spaced(held_out, 2 * building_blocks.MAX_CROPS)
    drawn = [crop for crop in spaced if crop.known.any()][: building_blocks.MAX_CROPS]

    def pictures(model: registry.Network) -> dict[str, Image]:
        points = list(landmark_data.predicted_points(model, drawn))
        images, labels, labelled = zip(*((crop.image(), crop.keypoints, crop.known) for crop in drawn), strict=True)
        return {building_blocks.PICTURE: building_blocks.draw_predictions(images, points, labels, labelled)}

    draw = partial(draw_batch, sources=sources, settings=settings)
    return loop.fit(
        request,
        network.train(),
        draw,
        losses,
        settings,
        inputs=request.inputs() | split.inputs(),
        evaluate=evaluate if held_out else None,
        pictures=pictures if drawn else None,
    )


def _losses_by(
    losses: Callable[[Mapping[str, Tensor], landmark_data.Batch], Mapping[str, Tensor]],
) -> landmark_data.LandmarkLosses:
    return lambda network, batch: losses(network(batch.images), batch)
