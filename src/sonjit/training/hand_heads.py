"""Heads on the published hand networks: which keypoints are seen, and whose hand it is, with honest probabilities.

The networks stay as they are. What they work out is read once per hand and kept, so that training takes a minute.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from sonjit.detectors.hand_heads import ASSET, HandHeads
from sonjit.errors import InputError
from sonjit.training.hand_head_figures import head_figures
from sonjit.training.hand_head_network import HeadNetwork, calibrated
from sonjit.training.hand_head_views import HandViews, look_at_hands
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
        calibration: part of the pictures to learn from that only sets the probabilities right.
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
    np.savez(request.out / ASSET, **arrays)
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
    """(N,) which are of pictures that only calibrate, whatever the number of pictures."""
    numbers = np.array([zlib.crc32(b"%d" % picture) for picture in views.picture])
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
