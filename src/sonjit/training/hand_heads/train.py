"""Heads on the published hand networks: which keypoints are seen, and whose hand it is, with honest probabilities.

The networks stay as they are. What they work out is read once per hand and kept, so that training takes a minute.

How good heads are: how well they part seen keypoints from hidden ones, and how honest their probabilities are.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from sonjit.detectors.kinds.hand_heads import ASSET, HandHeads
from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.metrics.statistics import mean_interval
from sonjit.training.hand_heads.data import CAUSES, HandViews, look_at_hands
from sonjit.training.hand_heads.network import HeadNetwork, calibrated
from sonjit.training.loop import LoopOptions, train
from sonjit.training.recipes import settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.training.recipes import TrainingRequest

MODELS: Final = ("full", "lite")
VIEWS: Final = "views"
"""Folder within the run's, of what was read of each data set."""


@dataclass(frozen=True)
class HandHeadSettings(LoopOptions):
    """How the heads are trained; the first settings are those of every loop.

    Attributes:
        train: folders below the data that are learned from.
        held_out: folders below the data that judge; with other backgrounds, gloves and things.
        more: further looks at each hand to learn from, see `look_at_hands`.
        calibration: part of the images to learn from that only sets the probabilities right.
        batch: hands in a step, of each network.
        hidden: width of the layers.
        dropout: part of the layers that is left out at random while learning what is seen.
        side_dropout: the same of all that the side is read from.
    """

    steps: int = 2000
    rate: float = 2e-3
    weight_decay: float = 0.05
    save_every: int = 1000
    train: tuple[str, ...] = ("train-1", "train-2", "train-3", "train-4")
    held_out: tuple[str, ...] = ("heldout-1", "heldout-2")
    more: int = 2
    calibration: float = 0.15
    batch: int = 128
    hidden: int = 64
    dropout: float = 0.2
    side_dropout: float = 0.7

    def __post_init__(self) -> None:
        """Refuse what teaches nothing."""
        super().__post_init__()
        if not self.train or not self.held_out:
            raise InputError("train and held_out: name at least one folder below --data each")
        if both := sorted(set(self.train) & set(self.held_out)):
            raise InputError(f"{both[0]} is in train and in held_out: hands that were learned from judge nothing")
        if (
            not 0.01 <= self.calibration <= 0.5
            or not all(0 <= part < 1 for part in (self.dropout, self.side_dropout))
            or min(self.batch, self.hidden) < 1
            or self.more < 0
        ):
            raise InputError(
                "give calibration in 0.01..0.5, dropout and side_dropout in 0..1, batch and hidden >= 1, more >= 0"
            )


def train_hand_heads(request: TrainingRequest) -> dict[str, object]:
    """Train the heads of both networks, set their probabilities right and judge them; writes `hand_heads.npz`."""
    settings = settings_from(HandHeadSettings, request.settings)
    assert request.data is not None
    _check_folders(request.data, (*settings.train, *settings.held_out))
    learned, kept_back, judged = {}, {}, {}
    for model in MODELS:
        views = _views(request, settings.train, model, settings.more)
        own = _is_kept_back(views, settings.calibration)
        learned[model], kept_back[model] = views.take(~own), views.take(own)
        judged[model] = _views(request, settings.held_out, model, 0)
    networks = train_heads(learned, settings, request)
    arrays: dict[str, Any] = {}
    told: dict[str, object] = {"heads": request.out / ASSET}
    for model in MODELS:
        raw = networks[model].arrays()
        honest = calibrated(raw, HandHeads(raw).logits(*kept_back[model].inputs()), kept_back[model])
        arrays |= {f"{model}.{name}": value for name, value in honest.items()}
        figures = head_figures(HandHeads(honest), HandHeads(raw), judged[model])
        told |= {f"{model}_{name}": value for name, value in figures.items()}
    with atomic_file(request.out / ASSET, of_run=True) as draft:
        np.savez(draft, **arrays)
    return told


def train_heads(
    views: Mapping[str, HandViews], settings: HandHeadSettings, request: TrainingRequest | None = None
) -> Mapping[str, HeadNetwork]:
    """The trained heads of each network, in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    device = request.device if request else "cpu"
    networks: dict[str, HeadNetwork] = {}
    for model, hands in views.items():
        widths = (hands.local.shape[-1], hands.mean.shape[-1], settings.hidden)
        network = HeadNetwork(*widths, settings.dropout, settings.side_dropout)
        network.learn_spread(hands)
        networks[model] = network

    def batch(rng: np.random.Generator) -> Mapping[str, Sequence[Tensor]]:
        return {model: _drawn(hands, rng, settings.batch, device) for model, hands in views.items()}

    def losses(network: nn.ModuleDict, drawn: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Tensor]:
        told: dict[str, Tensor] = {}
        for model, (local, shape, mean, seen, right) in drawn.items():
            said = network[model](local, shape, mean)
            told[f"{model}_seen"] = cross_entropy(said[0], seen)
            told[f"{model}_side"] = cross_entropy(said[1], right)
        return told

    both = nn.ModuleDict(networks).to(device).train()
    if request is None:
        train(both, batch, losses, settings)
    else:
        kept = {**asdict(settings), "hands": {model: len(hands) for model, hands in views.items()}}
        train(both, batch, losses, settings, out=request.out, settings=kept, progress=request.progress)
    both.cpu().eval()
    return networks


def _drawn(hands: HandViews, rng: np.random.Generator, count: int, device: str) -> list[Tensor]:
    some = hands.take(rng.integers(len(hands), size=count))
    values = (*some.inputs(), some.seen, some.right)
    return [torch.from_numpy(np.asarray(one, np.float32)).to(device) for one in values]


def _is_kept_back(views: HandViews, part: float) -> NDArray[np.bool_]:
    """(N,) which are of images that only calibrate, whatever the number of images."""
    numbers = np.array([zlib.crc32(b"%d" % image) for image in views.image])
    return numbers < part * (1 << 32)


def _check_folders(data: Path, names: Sequence[str]) -> None:
    for name in names:
        if not (data / name).is_dir():
            raise InputError(f"{data / name}: no such folder; sonjit synth makes it, see docs/hand-heads.md")


def _views(request: TrainingRequest, names: Sequence[str], model: str, more: int) -> HandViews:
    """Of some folders below the data; what was read once is kept in the run's folder."""
    assert request.data is not None
    parts: list[HandViews] = []
    folder = request.out / VIEWS
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = folder / f"{name}-{model}-{more}.npz"
        if not file.is_file():

            def told(done: int, of: int) -> None:
                request.progress(done, of, {})

            look_at_hands(request.data / name, model, more=more, progress=told).save(file)
        parts.append(HandViews.load(file))
    return HandViews.joined(parts)


_BINS = 15
_DRAWS = 500
_FEWEST = 20
"""Keypoints hidden by a cause that a figure of it needs."""

_WELL_FOUND = 0.05
"""Mean distance of a hand's keypoints from the truth, in its extent, up to which the network has read it well."""


def auroc(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Probability that a true one scores above a false one, ties counting half; NaN where there are not both.

    Source: Hanley and McNeil 1982: the area under the ROC curve is Mann and Whitney's statistic.
    """
    _, place = np.unique(scores, return_inverse=True)
    return _area(place.ravel(), truth.ravel(), np.ones(truth.size))


def auroc_interval(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], clusters: NDArray[np.int64]
) -> tuple[float, float]:
    """Where `auroc` lies in 95 % of draws, with replacement, of whole clusters (N,) of scores (N,)."""
    _, place = np.unique(scores, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    count, rng = int(cluster.max()) + 1, np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count)[cluster] for _ in range(_DRAWS)]
    low, high = np.nanquantile([_area(place, truth, weights) for weights in drawn], [0.025, 0.975]).tolist()
    return low, high


def _area(place: NDArray[np.intp], truth: NDArray[np.bool_], weights: NDArray[Any]) -> float:
    """Of the ROC curve, of scores of which only their ranks count, each as often as it weighs."""
    positive, negative = (np.bincount(place, weights * some) for some in (truth, ~truth))
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else float("nan")


def calibration_error(probabilities: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0..1: how far probabilities are from how often they come true, in 15 even bins.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 2.
    """
    said, true = probabilities.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    bins = np.minimum((said * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, said - true, _BINS)
    return float(np.abs(gaps).sum() / max(len(said), 1))


def head_figures(heads: HandHeads, raw: HandHeads, views: HandViews) -> dict[str, float]:
    """Figures of heads on hands that they have not learned from.

    Args:
        heads: as they are shipped.
        raw: the same before their probabilities were set right.
        views: the hands.
    """
    seen, side = heads.probabilities(*views.inputs())
    raw_seen, raw_side = raw.probabilities(*views.inputs())
    told: dict[str, float] = {"hands": len(views)}
    images = np.broadcast_to(views.image[:, None], seen.shape)
    for cause in ("", *CAUSES[1:]):
        hidden = views.cause == CAUSES.index(cause) if cause else ~views.seen
        if hidden.sum() >= _FEWEST:
            some, name = views.seen | hidden, f"auroc_{cause}".rstrip("_")
            told[name] = auroc(seen[some], views.seen[some])
            told[f"{name}_low"], told[f"{name}_high"] = auroc_interval(seen[some], views.seen[some], images[some])
            told[f"{name}_hidden"] = int(hidden.sum())
    told |= {
        "hidden_said": float((seen[~views.seen] < 0.5).mean()) if (~views.seen).any() else float("nan"),
        "seen_said": float((seen[views.seen] >= 0.5).mean()),
        "ece": calibration_error(seen, views.seen),
        "ece_before": calibration_error(raw_seen, views.seen),
    }
    right, published = (side > 0.5) == views.right, (views.label > 0.5) == views.right
    low, high = mean_interval(right, clusters=views.image.tolist())
    told |= {
        "side": float(right.mean()),
        "side_low": low,
        "side_high": high,
        "side_ece": calibration_error(side, views.right),
        "side_ece_before": calibration_error(raw_side, views.right),
        "published_side": float(published.mean()),
        "published_side_ece": calibration_error(views.label, views.right),
    }
    for name, some in (("half_seen", views.seen.mean(1) >= 0.5), ("well_found", views.error < _WELL_FOUND)):
        if some.any():
            told |= {
                f"side_{name}_hands": int(some.sum()),
                f"side_{name}": float(right[some].mean()),
                f"published_side_{name}": float(published[some].mean()),
            }
    return told
