"""Train the shipped refinement of the published hand networks' keypoints (recipe `refine`) on rendered hands.

The hand networks are not trained. Their maps are computed once per crop and saved in the run's folder. One trunk serves
both networks; each has its own first layers, because their maps have different channels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sonjit._util import Float32Array, FloatArray, InputError, IntArray
from sonjit._util.files import atomic_file
from sonjit.detectors.kinds.hand_heads import REFINEMENT_ASSET, TAPS, WORLD_SCALE
from sonjit_lab.metrics.statistics import mean_interval
from sonjit_lab.networks import modes
from sonjit_lab.training import batches, loop, recipes
from sonjit_lab.training.array_rows import folder_key
from sonjit_lab.training.hands import refinement_data as data
from sonjit_lab.training.hands.head_data import KEYPOINTS, check_folders
from sonjit_lab.training.hands.samples import report_folders
from sonjit_lab.training.settings import Copies, Decay, Depth, Fraction, Range, SmallBatch, Steps, Width

CHANNELS: Final[Mapping[str, tuple[int, ...]]] = {"full": (40, 112, 192), "lite": (24, 64, 112)}
"""Channels of each map of `TAPS` by network."""
_TIPS: Final = [4, 8, 12, 16, 20]
_STEP: Final = 0.1  # a movement of 1 in units of the crop's side
_MIN_SPREAD: Final = 1e-3
_SPREAD_ROWS: Final = 512
_GAIN_NOISE: Final = 0.1  # standard deviation of a channel's gain in a hand, relative to the normalised maps
_MAP_NOISE: Final = 0.08  # standard deviation of each value, relative to the normalised maps
_FIRST_ERROR: Final = 0.03  # expected error before the training, as a fraction of the crop
_PLACE_BETA: Final = 0.02
_WORLD_BETA: Final = 0.1
_PLACE_WEIGHT: Final = 200.0
_DEPTH_WEIGHT: Final = 0.3  # of z relative to x and y
_WORLD_WEIGHT: Final = 5.0
_ERROR_WEIGHT: Final = 0.02
_ROUND_WEIGHT: Final = 0.5  # weight of each round before the last one
_CLOSE: Final = 0.05  # maximum mean error of a close hand, relative to its extent
_PUBLISHED_DEPTH: Final = np.array([1, 1, 0.4])  # divisors that give the published z the scale of x and y
_BLOCK: Final = 256


@dataclass(frozen=True)
class RefinementSettings(loop.TrainingSettings):
    """Settings of the recipe."""

    steps: Steps = 1200
    learning_rate: float = 2e-3
    weight_decay: Decay = 0.05
    save_every: Steps = 1000
    train: tuple[str, ...] = ()  # training folders, relative to the data
    # folders to evaluate on, relative to the data, with other people, backgrounds, gloves and objects
    held_out: tuple[str, ...] = ()
    more: Copies = 1  # number of further crops of each training hand, each recoloured, blurred, compressed or mirrored
    batch: SmallBatch = 128  # number of hands of each network in a step
    channels: Width = 32  # number of channels read from the maps at each keypoint
    hidden: Width = 96  # width of the trunk
    rounds: Depth = 2  # number of movements
    dropout: Fraction = 0.35  # dropout of what is read from the maps
    # Share of each movement of x and y that results contain. Real hands differ from synthetic ones, so that the full
    # movement raises the error in some photographs
    share: Annotated[float, Range(0, 1)] = 0.5
    # the same for fingertips, which the published networks place better in photographs
    tip_share: Annotated[float, Range(0, 1)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folders(self.train, self.held_out)
        if not self.share:
            raise InputError("share=0: must be above 0")


class Refinement(nn.Module):
    """The refinement of both networks, as `HandRefinement` runs it."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        rounds: int,
        *,
        dropout: float = 0.0,
        share: float = 1.0,
        tip_share: float = 1.0,
    ) -> None:
        super().__init__()
        self.share = torch.full((KEYPOINTS,), share)
        self.share[_TIPS] = tip_share
        for model, depths in CHANNELS.items():
            self.register_buffer(f"spread_{model}", torch.ones(sum(depths)))
        places, shown = 3 * KEYPOINTS, channels * KEYPOINTS
        self.look = nn.ModuleDict(
            {
                model: nn.ModuleList(nn.Linear(sum(depths), channels, bias=False) for _ in range(rounds))
                for model, depths in CHANNELS.items()
            }
        )
        self.keypoint = nn.ParameterDict(
            {model: nn.Parameter(torch.zeros(rounds, KEYPOINTS, channels)) for model in CHANNELS}
        )
        self.hidden = nn.ModuleList(
            nn.Linear(shown + places + (hidden if number else 0), hidden) for number in range(rounds)
        )
        self.move = nn.ModuleList(nn.Linear(hidden, places) for _ in range(rounds))
        self.world = nn.ModuleList([nn.Linear(hidden + 2 * places, hidden), nn.Linear(hidden, places)])
        self.error = nn.Linear(hidden, KEYPOINTS)
        for layer in (*self.move, self.world[1], self.error):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.error.bias, np.log(_FIRST_ERROR))
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def fit_normalisation(self, model: str, maps: list[Tensor]) -> None:
        """Set the spread of a network's maps from some rows (B, side * side, C)."""
        spread = torch.cat([values.float().std((0, 1)) for values in maps])
        self.get_buffer(f"spread_{model}").copy_(spread + _MIN_SPREAD)

    def forward(
        self, model: str, maps: list[Tensor], keypoints: Tensor, world: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the keypoints (B, 21, 3) after each round, metres (B, 21, 3) and log expected errors (B, 21).

        `maps`: (B, side * side, C) for each of `TAPS`; `keypoints`: (B, 21, 3) keypoints of the network as fractions of
        the crop; `world`: (B, 21, 3) metres of the network.
        """
        spread, looks = self.get_buffer(f"spread_{model}"), self.look[model]
        assert isinstance(looks, nn.ModuleList)
        gain, noise = torch.ones_like(spread), torch.zeros_like(spread)
        if self.training:
            gain = 1 + _GAIN_NOISE * torch.randn(len(keypoints), 1, len(spread), device=spread.device)
            noise = _MAP_NOISE * torch.randn(len(keypoints), KEYPOINTS, len(spread), device=spread.device)
        memory = keypoints.new_zeros(len(keypoints), 0)
        rounds: list[Tensor] = []
        for number, (look, hidden, move) in enumerate(zip(looks, self.hidden, self.move, strict=True)):
            shown = torch.addcmul(noise, sampled(maps, keypoints.detach()), gain / spread)
            shown = self.dropout(functional.relu(look(shown) + self.keypoint[model][number]).flatten(1))
            memory = functional.relu(hidden(torch.cat([shown, _centred(keypoints.detach()), memory], 1)))
            keypoints = keypoints.detach() + _STEP * move(memory).reshape(keypoints.shape)
            rounds.append(keypoints)
        world = (WORLD_SCALE * world).flatten(1)
        first, last = self.world
        step = last(functional.relu(first(torch.cat([memory, _centred(keypoints.detach()), world], 1))))
        return rounds, ((world + step) / WORLD_SCALE).reshape(keypoints.shape), self.error(memory)

    @torch.no_grad()
    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """Return the arrays of `HandRefinement`, with the normalisation in the first layers."""
        arrays: dict[str, Tensor] = {}
        for model in CHANNELS:
            for number, layer in enumerate(self.look[model]):  # pyright: ignore[reportArgumentType]
                arrays[f"{model}.look_{number}"] = (layer.weight / self.get_buffer(f"spread_{model}")).T
                arrays[f"{model}.keypoint_{number}"] = self.keypoint[model][number]
        for number, (hidden, move) in enumerate(zip(self.hidden, self.move, strict=True)):
            arrays |= _layer(f"hidden{{}}_{number}", hidden) | _layer(f"move{{}}_{number}", move, _STEP)
        arrays |= _layer("error{}", self.error) | {"both.share": self.share}
        for number, layer in enumerate(self.world):
            arrays |= _layer(f"world{{}}_{number}", layer)
        return {name: np.ascontiguousarray(value.numpy(), np.float16) for name, value in arrays.items()}


def _layer(name: str, layer: nn.Module, scale: float = 1.0) -> dict[str, Tensor]:
    """Return the weights and the bias of a layer that both networks share, by name."""
    assert isinstance(layer, nn.Linear)
    return {f"both.{name.format('')}": scale * layer.weight.T, f"both.{name.format('_bias')}": scale * layer.bias}


def _centred(keypoints: Tensor) -> Tensor:
    return (4 * keypoints - keypoints.new_tensor([2, 2, 0])).flatten(1)


def sampled(maps: list[Tensor], places: Tensor) -> Tensor:
    """Sample maps (B, side * side, C) at fractions (B, K, 2 or more) as (B, K, L). Outside, their edge is repeated."""
    shown: list[Tensor] = []
    for values, side in zip(maps, TAPS, strict=True):
        position = (places[..., :2] * side - 0.5).clamp(0, side - 1)
        corner = position.long().clamp(max=side - 2)
        right, low = (position - corner).unbind(-1)
        first = corner[..., 0] + side * corner[..., 1]
        first = first + side * side * torch.arange(len(values), device=values.device)[:, None]
        shares = {
            0: (1 - right) * (1 - low),
            1: right * (1 - low),
            side: (1 - right) * low,
            side + 1: right * low,
        }
        rows, total = values.flatten(0, 1), torch.zeros(())
        for offset, share in shares.items():
            total = total + rows[first + offset].float() * share[..., None]
        shown.append(total)
    return torch.cat(shown, -1)


@dataclass(frozen=True, eq=False)
class _Source:
    """Hands of one network and their maps."""

    hands: data.RefinableHands
    maps: data.MapFiles

    def defined_by(self, definition: FloatArray) -> "_Source":
        """Return the same hands with exact keypoints in another definition (21, 3)."""
        return _Source(self.hands.defined_by(definition), self.maps)

    def batch(self, rows: IntArray) -> list[Tensor]:
        """Return maps, keypoints, metres, exact keypoints and exact metres of some rows (B,)."""
        hands = self.hands.take(rows)
        values = (hands.keypoints, hands.world, hands.exact, hands.exact_world)
        return [*self.maps.rows(rows), *(torch.from_numpy(array) for array in values)]


def train_refinement(request: recipes.TrainingRequest) -> dict[str, object]:
    """Train and evaluate the refinement of both networks, and write `hand_refinement.npz`.

    The exact keypoints are the joints of the rendered hands, moved to the published definition of keypoints. Results
    that contain `joints` are errors from the joints themselves.
    """
    settings = recipes.settings_from(RefinementSettings, request.settings)
    assert request.data is not None
    split = report_folders(request, settings.train, settings.held_out)
    training = {model: _source(request, settings.train, model, settings.more) for model in CHANNELS}
    held_out = {model: _source(request, settings.held_out, model, 0) for model in CHANNELS}
    joints = held_out
    definition = data.published_definition(training["full"].hands)
    training, held_out = (
        {model: source.defined_by(definition) for model, source in sources.items()} for sources in (training, held_out)
    )
    network = _train(training, held_out, settings, request)
    with atomic_file(request.out / REFINEMENT_ASSET) as draft:
        np.savez(draft, **network.arrays())  # pyright: ignore[reportArgumentType]  # for the keyword allow_pickle
    results: dict[str, object] = {"refinement": request.out / REFINEMENT_ASSET, "split": split.text}
    results["definition"] = definition.tolist()
    by_joints = _metrics(network, joints)
    results |= {name.replace("_", "_joints_", 1): value for name, value in by_joints.items()}
    return results | _metrics(network, held_out)


def _train(
    training: Mapping[str, _Source],
    held_out: Mapping[str, _Source],
    settings: RefinementSettings,
    request: recipes.TrainingRequest,
) -> Refinement:
    """Return the trained refinement in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    network = Refinement(
        settings.channels,
        settings.hidden,
        settings.rounds,
        dropout=settings.dropout,
        share=settings.share,
        tip_share=settings.tip_share,
    )
    for model, source in training.items():
        rows = np.random.default_rng(0).choice(len(source.hands), min(_SPREAD_ROWS, len(source.hands)), replace=False)
        network.fit_normalisation(model, source.maps.rows(np.sort(rows)))

    def batch(rng: np.random.Generator) -> dict[str, list[Tensor]]:
        return {
            model: source.batch(batches.epoch_indices(rng, len(source.hands), settings.batch))
            for model, source in training.items()
        }

    network.to(request.device).train()
    loop.fit(
        request,
        network,
        batch,
        refinement_losses,
        settings,
        inputs=request.inputs() | {"hands": {model: len(source.hands) for model, source in training.items()}},
        evaluate=lambda network: _metrics(network, held_out),
    )
    return network.cpu().eval()


def refinement_losses(network: Refinement, batch: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """Return the losses by name of a batch by network: maps and the other tensors of hands, see `_Source.batch`."""
    losses: dict[str, Tensor] = {}
    for model, (*maps, keypoints, world, exact, exact_world) in batch.items():
        rounds, metres, log_error = network(model, maps, keypoints, world)
        weight = exact.new_tensor([1, 1, _DEPTH_WEIGHT])
        round_losses = [
            (_ROUND_WEIGHT if number + 1 < len(rounds) else 1.0)
            * (weight * functional.smooth_l1_loss(predicted, exact, beta=_PLACE_BETA, reduction="none")).mean()
            for number, predicted in enumerate(rounds)
        ]
        losses[f"{model}_places"] = _PLACE_WEIGHT * torch.stack(round_losses).sum()
        scaled = functional.smooth_l1_loss(WORLD_SCALE * metres, WORLD_SCALE * exact_world, beta=_WORLD_BETA)
        losses[f"{model}_world"] = _WORLD_WEIGHT * scaled
        distance = (rounds[-1] - exact)[..., :2].detach().norm(dim=-1)
        # The Laplace likelihood of the distance: the expected error is its mean.
        losses[f"{model}_error"] = _ERROR_WEIGHT * (log_error + distance / log_error.exp()).mean()
    return losses


def _metrics(network: Refinement, sources: Mapping[str, _Source]) -> dict[str, float]:
    """Return the metrics of the hands of each network."""
    return {
        f"{model}_{name}": value
        for model, source in sources.items()
        for name, value in refinement_metrics(source.hands, *refined(network, model, source.hands, source.maps)).items()
    }


@modes.evaluates
def refined(
    network: Refinement, model: str, hands: data.RefinableHands, maps: data.MapFiles
) -> tuple[Float32Array, ...]:
    """Return keypoints (N, 21, 3) and expected errors (N, 21) as fractions of the crop, and metres (N, 21, 3)."""
    device = next(network.parameters()).device
    blocks: list[tuple[Tensor, ...]] = []
    for start in range(0, len(hands), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(hands)))
        block = hands.take(rows)
        inputs = [torch.from_numpy(values).to(device) for values in (block.keypoints, block.world)]
        rounds, metres, log_error = network(model, [tensor.to(device) for tensor in maps.rows(rows)], *inputs)
        share = torch.ones_like(rounds[-1][:1])
        share[..., :2] = network.share.to(device)[:, None]
        blocks.append((inputs[0] + share * (rounds[-1] - inputs[0]), log_error.exp(), metres))
    return tuple(torch.cat(column).cpu().numpy() for column in zip(*blocks, strict=True))


def refinement_metrics(
    hands: data.RefinableHands, keypoints: Float32Array, expected: Float32Array, world: Float32Array
) -> dict[str, float]:
    """Return metrics of refined hands, see `refined`. Errors are relative to the hand's extent, or millimetres."""
    before, after = hands.errors(hands.keypoints), hands.errors(keypoints)
    ratios = after.mean(1) / before.mean()
    low, high = mean_interval(ratios, clusters=hands.image.tolist())
    exact = hands.exact_world - hands.exact_world[:, :1]
    metres = [1000 * np.linalg.norm(points - points[:, :1] - exact, axis=2) for points in (hands.world, world)]
    depths = [
        np.abs((points - points[:, :1])[..., 2] - hands.exact[..., 2]) / hands.extent[:, None]
        for points in (hands.keypoints / _PUBLISHED_DEPTH, keypoints)
    ]
    return {
        "error": float(after.mean()),
        "error_published": float(before.mean()),
        "error_ratio": float(ratios.mean()),
        "error_ratio_low": low,
        "error_ratio_high": high,
        "close": float((after.mean(1) < _CLOSE).mean()),
        "close_published": float((before.mean(1) < _CLOSE).mean()),
        "world_mm": float(metres[1].mean()),
        "world_mm_published": float(metres[0].mean()),
        "depth": float(depths[1].mean()),
        "depth_published": float(depths[0].mean()),
        "expected_error_ratio": float(expected.mean() / (after * hands.extent[:, None]).mean()),
        "hands": len(hands),
    }


def _source(request: recipes.TrainingRequest, names: Sequence[str], model: str, more: int) -> _Source:
    """Return the hands of some folders below the data, computed once per run."""
    assert request.data is not None
    root = request.data
    place = f"maps/{{}}-{model}-{more}"

    def folder_of(name: str) -> Path:
        return request.out / place.format(folder_key(root, name))

    def compute(folder: Path, progress: Callable[[int, int], None]) -> data.RefinableHands:
        return data.write_refinable_hands(folder, model, more, folder_of(str(folder.relative_to(root))), progress)

    hands = data.RefinableHands.from_folders(request, names, f"{place}/rows.npz", compute)
    return _Source(hands, data.MapFiles([data.map_files(folder_of(name)) for name in names], CHANNELS[model]))
