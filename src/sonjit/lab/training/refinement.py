"""Train the refinement of the published hand networks' keypoints (recipe `refine`) on rendered hands.

The hand networks are not trained. Their maps are computed once per crop and saved in the run's folder. One trunk serves
both networks; each has its own first layer, because their maps have different channels.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu, smooth_l1_loss

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, IntArray, RealArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.detectors.kinds.hand_heads import REFINEMENT_ASSET, TAPS, WORLD_SCALE
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.engines import Engine, EngineOptions, load_engine
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, points_into_crop
from sonjit.lab.datasets import Sample, open_dataset
from sonjit.lab.metrics.statistics import mean_interval
from sonjit.lab.training.augment import jittered_box
from sonjit.lab.training.building_blocks import ArrayRows
from sonjit.lab.training.gesture_data import exact_keypoints, recoloured
from sonjit.lab.training.hand_heads import check_folders
from sonjit.lab.training.loop import TrainingSettings, fit
from sonjit.lab.training.recipes import TrainingRequest, settings_from
from sonjit.lab.training.settings import Copies, Decay, Depth, Fraction, Range, SmallBatch, Steps, Width
from sonjit.weights import find_weight

_MAX_ERROR: Final = 0.25
"""Maximum mean error of the network's keypoints, as a fraction of the hand's extent, for a match."""
_TURN_RAD: Final = 0.3  # maximum rotation of the box of tracking, or of the palm, against that of exact keypoints
_MIN_PRESENCE: Final = 0.5
_WELL_FOUND: Final = 0.06  # maximum mean error of a hand for the fit of a definition, as a fraction of its extent
_FITS: Final = 3
_RIDGE: Final = 1e-5
_FINGERS: Final = (5, 9, 13, 17)
_NEIGHBOURS: Final = np.array(
    [(9, 5, 17), (0, 2, 9), (1, 3, 9), (2, 4, 9), (3, 2, 9)]
    + [row for k in _FINGERS for row in ((0, k + 1, 9), (k, k + 2, 9), (k + 1, k + 3, 9), (k + 2, k + 1, 9))]
)
"""Two neighbours of each keypoint. The third entry is used for the wrist."""
_EXACT: Final = EngineOptions(precision="f32", threads=1)


@dataclass(frozen=True, eq=False)
class RefinableHands(ArrayRows):
    """Crops of hands with the outputs of a network and the exact keypoints, one row each."""

    keypoints: Float32Array  # (N, 21, 3) keypoints of the network as fractions of the crop
    world: Float32Array  # (N, 21, 3) metres of the network in the axes of the crop
    # (N, 21, 3) exact keypoints as fractions of the crop, z relative to the wrist in the same scale
    exact: Float32Array
    exact_world: Float32Array  # (N, 21, 3) exact metres in the axes of the crop, with the mean of `world`
    visible: BoolArray  # (N, 21) True for keypoints that are not hidden
    image: IntArray  # (N,) index of the image

    @property
    def extent(self) -> FloatArray:
        """(N,) diagonal of the box around the exact keypoints, as a fraction of the crop."""
        return np.linalg.norm(np.ptp(self.exact[..., :2].astype(np.float64), axis=1), axis=1)

    def defined_by(self, definition: RealArray) -> Self:
        """Return the same hands with exact keypoints in another definition, see `published_definition`."""
        exact, exact_world = (
            points + np.einsum("nkbd,kb->nkd", _directions(points), definition).astype(np.float32)
            for points in (self.exact, self.exact_world)
        )
        return replace(self, exact=exact, exact_world=exact_world)

    def errors(self, keypoints: RealArray) -> FloatArray:
        """Return the (N, 21) errors of keypoints (N, 21, 2 or 3), as fractions of the hand's extent."""
        distance = np.linalg.norm(keypoints[..., :2].astype(np.float64) - self.exact[..., :2], axis=2)
        return distance / self.extent[:, None]


def published_definition(hands: RefinableHands) -> FloatArray:
    """Return where a network places each keypoint relative to the joints of the rendered hands: weights (21, 3).

    Data sets define the positions of joints differently. The published network's definition of a knuckle, for example,
    is 3 % of the hand's extent away from the joint of the rendered hand. The weights move each exact keypoint along
    three directions of the hand, so that visible keypoints of well detected hands have no mean offset.
    """
    definition = np.zeros((hands.exact.shape[1], len(_NEIGHBOURS[0])))
    directions = _directions(hands.exact)[..., :2].astype(np.float64) / hands.extent[:, None, None, None]
    offsets = (hands.keypoints - hands.exact)[..., :2].astype(np.float64) / hands.extent[:, None, None]
    for _ in range(_FITS):
        well_found = hands.defined_by(definition).errors(hands.keypoints).mean(1) < _WELL_FOUND
        for k in range(len(definition)):
            used = well_found & hands.visible[:, k]
            design = directions[used, k].transpose(0, 2, 1).reshape(-1, definition.shape[1])
            curvature = design.T @ design + _RIDGE * len(design) * np.eye(design.shape[1])
            definition[k] = np.linalg.solve(curvature, design.T @ offsets[used, k].ravel())
    return definition


def _directions(points: RealArray) -> RealArray:
    """Return (N, 21, 3, 3): for each keypoint, the vectors to two neighbours and from the wrist to the palm's end."""
    vectors = points[:, _NEIGHBOURS] - points[:, :, None]
    vectors[:, 1:, 2] = (points[:, 9] - points[:, 0])[:, None]
    return vectors


class MapFiles:
    """Maps of the crops of some folders, in files, because they take 125 kB a crop.

    `files`: for each folder its files of the maps of `TAPS`, each of float16 (N, side * side, C).
    """

    def __init__(self, files: list[list[Path]], channels: tuple[int, ...]) -> None:
        shapes = [(-1, side * side, count) for side, count in zip(TAPS, channels, strict=True)]
        self._maps = [
            [np.memmap(file, np.float16, "r").reshape(shape) for file, shape in zip(row, shapes, strict=True)]
            for row in files
        ]
        self._starts = np.cumsum([0, *(len(row[0]) for row in self._maps)])

    def rows(self, rows: IntArray) -> list[Tensor]:
        """Return the maps (B, side * side, C) of some rows."""
        folder = np.searchsorted(self._starts, rows, "right") - 1
        read: list[Tensor] = []
        for number, first in enumerate(self._maps[0]):
            values = np.empty((len(rows), *first.shape[1:]), np.float16)
            for index in np.unique(folder):
                values[folder == index] = self._maps[index][number][rows[folder == index] - self._starts[index]]
            read.append(torch.from_numpy(values))
        return read


class _Crop(NamedTuple):
    """A row of `RefinableHands` without the image, and its maps."""

    row: tuple[NDArray[np.generic], ...]
    maps: list[NDArray[np.float16]]


def write_refinable_hands(
    root: Path, model: str, more: int, out: Path, progress: Callable[[int, int], None] | None = None
) -> RefinableHands:
    """Run a published network on crops of every hand of a folder that `sonjit synth` wrote."""
    network = load_engine(find_weight(f"hand-{model}"), _EXACT, taps=TAPS)
    samples, rows = open_dataset("folder", root), list[tuple[object, ...]]()
    out.mkdir(parents=True, exist_ok=True)
    files = [file.open("wb") for file in map_files(out)]
    for number, sample in enumerate(samples):
        for crop in _crops(sample, network, more, np.random.default_rng(number)):
            rows.append((*crop.row, number))
            for file, values in zip(files, crop.maps, strict=True):
                file.write(values.tobytes())
        if progress:
            progress(number + 1, len(samples))
    for file in files:
        file.close()
    if not rows:
        raise InputError(f"{root}: no hand was detected")
    types = (np.float32, np.float32, np.float32, np.float32, np.bool_, np.int64)
    columns = [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True)]
    return RefinableHands(*columns)  # pyright: ignore[reportArgumentType]  # each has its own type


def map_files(folder: Path) -> list[Path]:
    """Return the files of the maps in a folder."""
    return [folder / f"{side}.f16" for side in TAPS]


def _crops(sample: Sample, network: Engine, more: int, rng: np.random.Generator) -> Iterator[_Crop]:
    rgb = sample.rgb()
    for number in range(1 + more):
        mirrored = number > 0 and bool(rng.random() < 0.5)
        image = recoloured(rgb, rng) if number else rgb
        image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
        for instance in sample.instances:
            points = instance.keypoints_px
            if instance.kind != "hand" or points is None or instance.keypoints_m is None or np.isnan(points).any():
                continue
            exact, metres = exact_keypoints(sample, instance)
            if mirrored:
                exact, metres = exact * [-1, 1, 1] + [rgb.shape[1], 0, 0], metres * [-1, 1, 1]
            visible = np.ones(len(exact), np.bool_) if instance.visible is None else np.asarray(instance.visible)
            box = jittered_box(box_around_hand(exact[:, :2]), rng, _TURN_RAD)
            crop = _crop(image, box, network, exact, metres, visible)
            if crop is not None:
                yield crop


def _crop(
    rgb: NDArray[np.uint8], box: RotatedBox, network: Engine, exact: FloatArray, metres: FloatArray, visible: BoolArray
) -> _Crop | None:
    """Return what a network computes for a hand in a box, or None if it does not detect the hand."""
    crop_on_grid(rgb, box, network.input[0])
    image, presence, _, world, *maps, _ = network.run()
    if presence.item() <= _MIN_PRESENCE:
        return None
    keypoints = image.reshape(-1, 3) / np.float32(network.input.shape[1])
    within = np.column_stack([points_into_crop(exact[:, :2], box, 1), exact[:, 2] / box.width])
    extent = np.linalg.norm(np.ptp(within[:, :2], axis=0))
    if np.linalg.norm(keypoints[:, :2] - within[:, :2], axis=1).mean() > _MAX_ERROR * extent:
        return None
    cos, sin = np.cos(box.rotation), np.sin(box.rotation)
    metres = metres @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    world = world.reshape(-1, 3).copy()
    metres = metres - metres.mean(0) + world.mean(0)
    by_cell = [each[0].reshape(each.shape[1], -1).T.astype(np.float16) for each in maps]
    return _Crop((keypoints, world, within, metres, visible), by_cell)


_KEYPOINTS: Final = 21
_TIPS: Final = [4, 8, 12, 16, 20]
CHANNELS: Final[Mapping[str, tuple[int, ...]]] = {"full": (40, 112, 192), "lite": (24, 64, 112)}
"""Channels of each map of `TAPS`."""
_STEP: Final = 0.1  # a movement of 1 in units of the crop's side
_MIN_SPREAD: Final = 1e-3
_SPREAD_ROWS: Final = 512
_NOISE_CHANNEL, _NOISE_MAP = 0.1, 0.08
"""Standard deviations of the noise on the normalised maps: of a channel's gain in a hand, and of each value."""
_BETA, _WORLD_BETA = 0.02, 0.1
_DEPTH_WEIGHT, _WORLD_WEIGHT, _ERROR_WEIGHT = 0.3, 0.5, 0.02
_ROUND_WEIGHT: Final = 0.5  # weight of each round before the last one
_CLOSE: Final = 0.05  # maximum mean error of a close hand, as a fraction of its extent


@dataclass(frozen=True)
class RefinementSettings(TrainingSettings):
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
    """The refinement of both networks, as `detectors.kinds.hand_heads` runs it.

    `share`: share of each movement of x and y that results contain.
    """

    def __init__(
        self, channels: int, hidden: int, rounds: int, dropout: float, share: float = 1.0, tip_share: float = 1.0
    ) -> None:
        super().__init__()
        self.share = torch.full((_KEYPOINTS,), share)
        self.share[_TIPS] = tip_share
        for model, depths in CHANNELS.items():
            self.register_buffer(f"spread_{model}", torch.ones(sum(depths)))
        places, shown = 3 * _KEYPOINTS, channels * _KEYPOINTS
        self.look = nn.ModuleDict(
            {
                model: nn.ModuleList(nn.Linear(sum(depths), channels, bias=False) for _ in range(rounds))
                for model, depths in CHANNELS.items()
            }
        )
        self.keypoint = nn.ParameterDict(
            {model: nn.Parameter(torch.zeros(rounds, _KEYPOINTS, channels)) for model in CHANNELS}
        )
        self.hidden = nn.ModuleList(
            nn.Linear(shown + places + (hidden if number else 0), hidden) for number in range(rounds)
        )
        self.move = nn.ModuleList(nn.Linear(hidden, places) for _ in range(rounds))
        self.world = nn.ModuleList([nn.Linear(hidden + 2 * places, hidden), nn.Linear(hidden, places)])
        self.error = nn.Linear(hidden, _KEYPOINTS)
        for layer in (*self.move, self.world[1], self.error):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.error.bias, np.log(0.03))
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
            gain = 1 + _NOISE_CHANNEL * torch.randn(len(keypoints), 1, len(spread), device=spread.device)
            noise = _NOISE_MAP * torch.randn(len(keypoints), _KEYPOINTS, len(spread), device=spread.device)
        memory = keypoints.new_zeros(len(keypoints), 0)
        found: list[Tensor] = []
        for number, (look, hidden, move) in enumerate(zip(looks, self.hidden, self.move, strict=True)):
            shown = torch.addcmul(noise, sampled(maps, keypoints.detach()), gain / spread)
            shown = self.dropout(relu(look(shown) + self.keypoint[model][number]).flatten(1))
            memory = relu(hidden(torch.cat([shown, _centred(keypoints.detach()), memory], 1)))
            keypoints = keypoints.detach() + _STEP * move(memory).reshape(keypoints.shape)
            found.append(keypoints)
        world = (WORLD_SCALE * world).flatten(1)
        first, last = self.world
        step = last(relu(first(torch.cat([memory, _centred(keypoints.detach()), world], 1))))
        return found, ((world + step) / WORLD_SCALE).reshape(keypoints.shape), self.error(memory)

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
        arrays |= _layer("error{}", self.error) | {"share": self.share}
        for number, layer in enumerate(self.world):
            arrays |= _layer(f"world{{}}_{number}", layer)
        names = {name if "." in name else f"both.{name}": value for name, value in arrays.items()}
        return {name: np.ascontiguousarray(value.numpy(), np.float16) for name, value in names.items()}


def _layer(name: str, layer: nn.Module, scale: float = 1.0) -> dict[str, Tensor]:
    assert isinstance(layer, nn.Linear)
    return {name.format(""): scale * layer.weight.T, name.format("_bias"): scale * layer.bias}


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
        rows = values.flatten(0, 1)
        total = torch.zeros(())
        for offset, weight in (
            (0, (1 - right) * (1 - low)),
            (1, right * (1 - low)),
            (side, (1 - right) * low),
            (side + 1, right * low),
        ):
            total = total + rows[first + offset].float() * weight[..., None]
        shown.append(total)
    return torch.cat(shown, -1)


@dataclass(frozen=True, eq=False)
class _Source:
    """Hands of one network and their maps."""

    hands: RefinableHands
    maps: MapFiles

    def defined_by(self, definition: FloatArray) -> "_Source":
        """Return the same hands with exact keypoints in another definition."""
        return _Source(self.hands.defined_by(definition), self.maps)

    def batch(self, rows: IntArray) -> list[Tensor]:
        """Return maps, keypoints, metres, exact keypoints and exact metres of some rows."""
        hands = self.hands.take(rows)
        values = (hands.keypoints, hands.world, hands.exact, hands.exact_world)
        return [*self.maps.rows(rows), *(torch.from_numpy(each) for each in values)]


def train_refinement(request: TrainingRequest) -> dict[str, object]:
    """Train and evaluate the refinement of both networks, and write `hand_refinement.npz`.

    The exact keypoints are the joints of the rendered hands, moved to the published definition of keypoints. Results
    that contain `joints` are errors from the joints themselves.
    """
    settings = settings_from(RefinementSettings, request.settings)
    assert request.data is not None
    for name in (*settings.train, *settings.held_out):
        if not (request.data / name).is_dir():
            raise InputError(f"{request.data / name}: no such folder; see the comments of the recipe's file")
    training = {model: _source(request, settings.train, model, settings.more) for model in CHANNELS}
    held_out = {model: _source(request, settings.held_out, model, 0) for model in CHANNELS}
    joints = {model: source.hands for model, source in held_out.items()}
    definition = published_definition(training["full"].hands)
    training, held_out = (
        {model: source.defined_by(definition) for model, source in each.items()} for each in (training, held_out)
    )
    torch.manual_seed(settings.seed)
    network = Refinement(
        settings.channels, settings.hidden, settings.rounds, settings.dropout, settings.share, settings.tip_share
    )
    for model, source in training.items():
        rows = np.random.default_rng(0).choice(len(source.hands), min(_SPREAD_ROWS, len(source.hands)), replace=False)
        network.fit_normalisation(model, source.maps.rows(np.sort(rows)))

    def batch(rng: np.random.Generator) -> dict[str, list[Tensor]]:
        return {
            model: source.batch(rng.integers(len(source.hands), size=settings.batch))
            for model, source in training.items()
        }

    network.to(request.device).train()
    fit(
        request, network, batch, refinement_losses, settings,
        inputs=request.inputs() | {"hands": {model: len(source.hands) for model, source in training.items()}},
        evaluate=lambda network: {
            f"{model}_{name}": value
            for model, source in held_out.items()
            for name, value in refinement_metrics(network, model, source.hands, source.maps).items()
        },
    )  # fmt: skip
    network.cpu().eval()
    with atomic_file(request.out / REFINEMENT_ASSET) as draft:
        np.savez(draft, **network.arrays())  # pyright: ignore[reportArgumentType]  # for the keyword allow_pickle
    results: dict[str, object] = {"refinement": request.out / REFINEMENT_ASSET, "definition": definition.tolist()}
    for model, source in held_out.items():
        for prefix, hands in ((model, source.hands), (f"{model}_joints", joints[model])):
            metrics = refinement_metrics(network, model, hands, source.maps)
            results |= {f"{prefix}_{name}": value for name, value in metrics.items()}
    return results


def refinement_losses(network: Refinement, batch: Mapping[str, list[Tensor]]) -> Mapping[str, Tensor]:
    """Return the losses of a batch by name."""
    losses: dict[str, Tensor] = {}
    for model, (*maps, keypoints, world, exact, exact_world) in batch.items():
        rounds, metres, log_error = network(model, maps, keypoints, world)
        weight = exact.new_tensor([1, 1, _DEPTH_WEIGHT])
        parts = [
            (_ROUND_WEIGHT if number + 1 < len(rounds) else 1.0)
            * (weight * smooth_l1_loss(found, exact, beta=_BETA, reduction="none")).mean()
            for number, found in enumerate(rounds)
        ]
        losses[f"{model}_places"] = 200 * torch.stack(parts).sum()
        scaled = smooth_l1_loss(WORLD_SCALE * metres, WORLD_SCALE * exact_world, beta=_WORLD_BETA)
        losses[f"{model}_world"] = 10 * _WORLD_WEIGHT * scaled
        distance = (rounds[-1] - exact)[..., :2].detach().norm(dim=-1)
        # The Laplace likelihood of the distance: the expected error is its mean.
        losses[f"{model}_error"] = _ERROR_WEIGHT * (log_error + distance / log_error.exp()).mean()
    return losses


@torch.no_grad()
def refined(network: Refinement, model: str, hands: RefinableHands, maps: MapFiles) -> tuple[Float32Array, ...]:
    """Return the refined keypoints (N, 21, 3), metres (N, 21, 3) and expected errors (N, 21) of hands."""
    device = next(network.parameters()).device
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(hands), 256):
        rows = np.arange(start, min(start + 256, len(hands)))
        own = hands.take(rows)
        inputs = [torch.from_numpy(values).to(device) for values in (own.keypoints, own.world)]
        found, metres, log_error = network(model, [each.to(device) for each in maps.rows(rows)], *inputs)
        share = torch.ones_like(found[-1][:1])
        share[..., :2] = network.share.to(device)[:, None]
        parts.append((inputs[0] + share * (found[-1] - inputs[0]), metres, log_error.exp()))
    return tuple(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))


def refinement_metrics(network: Refinement, model: str, hands: RefinableHands, maps: MapFiles) -> dict[str, float]:
    """Return metrics of held-out hands. Errors are fractions of the hand's extent, or millimetres."""
    keypoints, world, expected = refined(network, model, hands, maps)
    before, after = hands.errors(hands.keypoints), hands.errors(keypoints)
    ratios = after.mean(1) / before.mean()
    low, high = mean_interval(ratios, clusters=hands.image.tolist())
    exact = hands.exact_world - hands.exact_world[:, :1]
    metres = [1000 * np.linalg.norm(points - points[:, :1] - exact, axis=2) for points in (hands.world, world)]
    depths = [
        np.abs((points - points[:, :1])[..., 2] - hands.exact[..., 2])
        for points in (hands.keypoints / [1, 1, 0.4], keypoints)
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
        "depth": float((depths[1] / hands.extent[:, None]).mean()),
        "depth_published": float((depths[0] / hands.extent[:, None]).mean()),
        "expected_error_ratio": float(expected.mean() / (after * hands.extent[:, None]).mean()),
        "hands": len(hands),
    }


def _source(request: TrainingRequest, names: tuple[str, ...], model: str, more: int) -> _Source:
    """Return the hands of some folders below the data, computed once per run."""

    def folder_of(name: str) -> Path:
        return request.out / "maps" / f"{name}-{model}"

    hands = RefinableHands.from_folders(
        request,
        names,
        f"maps/{{}}-{model}/rows.npz",
        lambda root, progress: write_refinable_hands(root, model, more, folder_of(root.name), progress),
    )
    return _Source(hands, MapFiles([map_files(folder_of(name)) for name in names], CHANNELS[model]))
