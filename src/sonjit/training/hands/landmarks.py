"""Train a hand landmark network on hands with keypoints in COCO's format: fine-tune the published one, or from scratch.

Each hand is cut out as the detector would cut it out of a video, from the box around its keypoints. What the
annotations do not say (depth, presence, handedness, metres) is held to what the network said before, where it said
anything.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from sonjit.errors import InputError
from sonjit.networks import create_network, save_checkpoint
from sonjit.networks.export import ENDINGS, export_network
from sonjit.networks.mediapipe.hand_landmark import PUBLISHED_KEYPOINTS, HandLandmarkNetwork
from sonjit.networks.registry import InputSpec
from sonjit.training.hands.landmark_data import PUBLISHED_SIZE, draw_crops, read_sources
from sonjit.training.hands.landmark_losses import Batch, landmark_figures, landmark_losses, to_batch
from sonjit.training.hands.palms import measured_ms
from sonjit.training.initialise import fold, put_batch_norms, put_unit
from sonjit.training.loop import WEIGHTS, LoopOptions, train
from sonjit.training.recipes import settings_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit.training.hands.landmark_data import LandmarkCrop
    from sonjit.training.recipes import TrainingRequest

_PALM_M = 0.09
"""About a palm; in a crop it is about a quarter of the side."""


@dataclass(frozen=True)
class LandmarkSettings(LoopOptions):
    """What `--set` changes; the first are those of every loop.

    Attributes:
        network: which to train.
        scratch: begin with nothing but batch norms, not with the published weights.
        trunk: of a network from scratch, where not its own; `tiny` is for small sizes.
        width: of a network from scratch, as a multiple of its own channels; 0 leaves them.
        size: side of the crops in pixels, a multiple of 32.
        batch: hands a step.
        dataset: what `--data` is, by its name in `sonjit datasets list`; `folder` is COCO's format and other own files.
        split: what is learnt from; "" is the set's first.
        mix: how much of each batch is from which source: annotations or their folders, relative to `--data`, of
            `dataset` or of the data set that they are called after; empty: all of it is from `--data` itself.
        test: a source that is only measured; "" holds some of the others out.
        heads_from: sources that teach handedness and presence, where not all of them do.
        negatives: part of the crops with no hand in them, from images beside the annotated hands, for presence.
        augment: turn, scale, shift and light each crop anew every time.
        strength: of turn, scale and shift, 0 to 1.
        keep: weight of holding what is not annotated to what the network said before; 0 lets it go.
        held_out: part of each source's hands, the last ones, that are only measured.
        extra_keypoints: names of keypoints to add after the 21.
        limit: first so many hands of each source; 0 for all.
        timed: also measure how long the trained network takes on this machine.
    """

    rate: float = 3e-4
    warmup: int = 5
    network: Literal["hand-full", "hand-lite", "hand-heavy"] = "hand-full"
    scratch: bool = False
    trunk: Literal["", "lite", "full", "tiny"] = ""
    width: float = 0.0
    size: int = PUBLISHED_SIZE
    batch: int = 8
    dataset: str = "folder"
    split: str = ""
    mix: Mapping[str, float] = field(default_factory=dict[str, float])
    test: str = ""
    heads_from: tuple[str, ...] = ()
    negatives: float = 0.0
    augment: bool = True
    strength: float = 1.0
    keep: float = 0.1
    held_out: float = 0.1
    extra_keypoints: tuple[str, ...] = ()
    limit: int = 0
    timed: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that train nothing."""
        super().__post_init__()
        if self.batch < 1 or self.limit < 0 or self.keep < 0 or not 0 <= self.held_out < 1:
            raise InputError("batch must be at least 1, limit and keep 0 or more, held_out from 0 to below 1")
        if self.size < 32 or self.size % 32:
            raise InputError(f"size={self.size}: give a multiple of 32")
        if not 0 <= self.strength <= 1:
            raise InputError(f"strength={self.strength}: give 0 to 1")
        if not 0 <= self.negatives < 1:
            raise InputError(f"negatives={self.negatives}: give a part from 0 to below 1")
        if self.mix and (min(self.mix.values()) < 0 or not any(self.mix.values())):
            raise InputError("mix: give no part below 0, and one above")
        if unknown := set(self.heads_from) - set(self.mix):
            raise InputError(f"heads_from={sorted(unknown)[0]}: not a source of mix")
        if not self.scratch and (self.width or self.network == "hand-heavy"):
            raise InputError(f"{self.network}, width={self.width:g}: no weights are published for it; set scratch=true")
        if self.scratch and self.extra_keypoints:
            raise InputError("extra_keypoints begin where published ones are; leave scratch")


def train_landmarks(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Args:
        request: its data are COCO keypoint annotations, or the folder that `mix` and `test` are in.

    Returns:
        "weights", "parameters", "hands" learned from, with the "error_before_px" and "error_px" on them; where some are
        held out, their number as "held_out", "held_out_error_px", and their "mnae", "handedness" and "presence" as
        `landmark_figures` says; "ms" where it is timed; and the path of the "export".

    Raises:
        InputError: settings or annotations that cannot be used.
    """
    settings = settings_from(LandmarkSettings, request.settings)
    if request.data is None:
        raise InputError(f"{request.recipe}: give the annotations, a COCO keypoints JSON, with --data")
    sources, tested = read_sources(request.data, request.images, settings)
    learned = [crop for crops in sources.values() for crop in crops]
    network = landmark_network(settings, request.weights).to(request.device)
    told: dict[str, object] = {
        "weights": request.out / WEIGHTS,
        "hands": sum(bool(crop.known.any()) for crop in learned),
    }
    if not settings.scratch:
        begin_at_the_nearest(network, learned)
        told["error_before_px"] = landmark_figures(network.eval(), learned, request.device)["error_px"]
    fit_landmarks(network, sources, settings, request)
    fold(network.eval())
    save_checkpoint(network, request.out / WEIGHTS)
    told["parameters"] = sum(part.numel() for part in network.parameters())
    told["error_px"] = landmark_figures(network, learned, request.device)["error_px"]
    if tested:
        figures = landmark_figures(network, tested, request.device)
        told |= {"held_out": len(tested), "held_out_error_px": figures.pop("error_px"), **figures}
    inputs = (InputSpec("images", (3, settings.size, settings.size)),)
    if settings.timed:
        told["ms"] = measured_ms(network.cpu(), inputs, request.out)
    if request.export:
        file = request.out / f"{request.recipe}{ENDINGS[request.export]}"
        told["export"] = export_network(network.cpu(), inputs, file).path
    return told


def landmark_network(settings: LandmarkSettings, weights: str | None = None) -> HandLandmarkNetwork:
    """The network to train: the published one or given weights as they are, or a new one with batch norms."""
    options = {name: value for name in ("trunk", "width") if (value := getattr(settings, name))}
    count = PUBLISHED_KEYPOINTS + len(settings.extra_keypoints)
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        begin = weights if settings.scratch else weights or "published"
        network = create_network(settings.network, begin, keypoints=count, **options)
    assert isinstance(network, HandLandmarkNetwork)
    if begin is None:
        put_batch_norms(network)
        with torch.no_grad():  # every keypoint in the middle of the crop
            network.keypoints.bias.copy_(torch.tensor([settings.size / 2, settings.size / 2, 0.0]).repeat(count))
        put_unit(network, "keypoints", settings.size / 4)
        put_unit(network, "keypoints_3d", _PALM_M)
    return network


def begin_at_the_nearest(network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop]) -> None:
    """Let each new keypoint begin as the published one that it is nearest to on average, moved by their distance."""
    head = network.keypoints
    points = np.stack([crop.keypoints for crop in crops])  # (N, K, 2)
    known = np.stack([crop.known for crop in crops])  # (N, K)
    for index in range(PUBLISHED_KEYPOINTS, points.shape[1]):
        if head.weight[3 * index : 3 * index + 3].any():
            continue  # it was taught before
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
    sources: Mapping[str, Sequence[LandmarkCrop]],
    settings: LandmarkSettings,
    request: TrainingRequest,
) -> None:
    """Train a network on crops by source, into the request's folder."""
    normed = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    before = None if normed else copy.deepcopy(network).eval().requires_grad_(False)

    def draw(rng: np.random.Generator) -> Batch:
        return to_batch(draw_crops(sources, settings, rng), request.device)

    train(
        network.train(),
        draw,
        landmark_losses(before, settings.keep),
        settings,
        out=request.out,
        settings={"recipe": request.recipe, "data": str(request.data), "weights": request.weights, **asdict(settings)},
        progress=request.progress,
    )
