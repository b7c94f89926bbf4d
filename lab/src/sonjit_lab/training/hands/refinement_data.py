"""Training data of the refinement: outputs and maps of the published hand networks for rendered hands."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError, IntArray, RealArray
from sonjit.detectors.kinds.hand_heads import TAPS
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.engines import Engine, load_engine
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, points_into_crop
from sonjit.weights import find_weight
from sonjit_lab.datasets import Sample, open_dataset
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.training.array_rows import ArrayRows
from sonjit_lab.training.augment import jittered_box, recoloured
from sonjit_lab.training.hands.head_data import EXACT, MIN_PRESENCE
from sonjit_lab.training.hands.samples import exact_keypoints

_MAX_ERROR: Final = 0.25  # maximum mean error of the network's keypoints, relative to the hand's extent, for a match
_TURN_RAD: Final = 0.3  # maximum rotation of the box of tracking, or of the palm, against that of exact keypoints
_WELL_DETECTED: Final = 0.06  # maximum mean error of a hand for the fit of a definition, relative to its extent
_FITS: Final = 3
_RIDGE: Final = 1e-5
_FINGERS: Final = (5, 9, 13, 17)
_NEIGHBOURS: Final = np.array(
    [(9, 5, 17), (0, 2, 9), (1, 3, 9), (2, 4, 9), (3, 2, 9)]
    + [row for k in _FINGERS for row in ((0, k + 1, 9), (k, k + 2, 9), (k + 1, k + 3, 9), (k + 2, k + 1, 9))]
)
"""Two neighbours of each keypoint. The third entry is used for the wrist."""


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
        """Return the same hands with exact keypoints in another definition (21, 3), see `published_definition`."""
        exact, exact_world = (
            points + np.einsum("nkbd,kb->nkd", _directions(points), definition).astype(np.float32)
            for points in (self.exact, self.exact_world)
        )
        return replace(self, exact=exact, exact_world=exact_world)

    def errors(self, keypoints: RealArray) -> FloatArray:
        """Return the (N, 21) errors of keypoints (N, 21, 2 or 3) of the crop, relative to the hand's extent."""
        distance = np.linalg.norm(keypoints[..., :2].astype(np.float64) - self.exact[..., :2], axis=2)
        return distance / self.extent[:, None]


def published_definition(hands: RefinableHands) -> FloatArray:
    """Return where a network places each keypoint relative to the joints of the rendered hands: weights (21, 3).

    Data sets define the positions of joints differently. The published network's definition of a knuckle, for example,
    is 3 % of the hand's extent away from the joint of the rendered hand. The weights move each exact keypoint along
    three directions of the hand, so that visible keypoints of well detected hands have no mean offset.
    """
    definition = np.zeros((hands.exact.shape[1], _NEIGHBOURS.shape[1]))
    directions = _directions(hands.exact)[..., :2].astype(np.float64) / hands.extent[:, None, None, None]
    offsets = (hands.keypoints - hands.exact)[..., :2].astype(np.float64) / hands.extent[:, None, None]
    for _ in range(_FITS):
        well_found = hands.defined_by(definition).errors(hands.keypoints).mean(1) < _WELL_DETECTED
        for k in range(len(definition)):
            used = well_found & hands.visible[:, k]
            design = directions[used, k].transpose(0, 2, 1).reshape(-1, definition.shape[1])
            curvature = design.T @ design + _RIDGE * max(len(design), 1) * np.eye(design.shape[1])
            definition[k] = np.linalg.solve(curvature, design.T @ offsets[used, k].ravel())
    return definition


def _directions(points: RealArray) -> RealArray:
    """Return (N, 21, 3, 3) for points (N, 21, 3): vectors to two neighbours, and from the wrist to the palm's end."""
    vectors = points[:, _NEIGHBOURS] - points[:, :, None]
    vectors[:, 1:, 2] = (points[:, 9] - points[:, 0])[:, None]
    return vectors


class MapFiles:
    """Maps of the crops of some folders, in files, because they take 125 kB a crop.

    `files` are for each folder its files of the maps of `TAPS`, each of float16 (N, side * side, C). `channels` are C.
    """

    def __init__(self, files: Sequence[Sequence[Path]], channels: Sequence[int]) -> None:
        shapes = [(-1, side * side, count) for side, count in zip(TAPS, channels, strict=True)]
        self._maps = [
            [np.memmap(file, np.float16, "r").reshape(shape) for file, shape in zip(row, shapes, strict=True)]
            for row in files
        ]
        self._starts = np.cumsum([0, *(len(row[0]) for row in self._maps)])

    def rows(self, rows: IntArray) -> list[Tensor]:
        """Return the maps (B, side * side, C) of some rows (B,)."""
        folder = np.searchsorted(self._starts, rows, "right") - 1
        read: list[Tensor] = []
        for number, first in enumerate(self._maps[0]):
            values = np.empty((len(rows), *first.shape[1:]), np.float16)
            for index in np.unique(folder):
                values[folder == index] = self._maps[index][number][rows[folder == index] - self._starts[index]]
            read.append(torch.from_numpy(values))
        return read


def map_files(folder: Path) -> list[Path]:
    """Return the files of the maps in a folder."""
    return [folder / f"{side}.f16" for side in TAPS]


class _Crop(NamedTuple):
    """A row of `RefinableHands` without the image, and its maps (side * side, C)."""

    row: tuple[NDArray[np.generic], ...]
    maps: list[NDArray[np.float16]]


def write_refinable_hands(
    root: Path, model: str, more: int, out: Path, progress: Callable[[int, int], None] = lambda done, images: None
) -> RefinableHands:
    """Run a published network on crops of every hand of a folder that `sonjit synth` wrote.

    Args:
        root: Folder of rendered hands.
        model: "full" or "lite".
        more: Further images of each image, which are recoloured, and half of which are mirrored.
        out: Folder where the maps are written.
        progress: Callback with the numbers of finished and of all images.

    Raises:
        InputError: No hand was detected.
    """
    network = load_engine(find_weight(f"hand-{model}"), EXACT, taps=TAPS)
    samples, rows = open_dataset("folder", root), list[tuple[object, ...]]()
    out.mkdir(parents=True, exist_ok=True)
    files = [file.open("wb") for file in map_files(out)]
    for number, sample in enumerate(samples):
        for crop in _crops(sample, network, more, np.random.default_rng(number)):
            rows.append((*crop.row, number))
            for file, values in zip(files, crop.maps, strict=True):
                file.write(values.tobytes())
        progress(number + 1, len(samples))
    for file in files:
        file.close()
    if not rows:
        raise InputError(f"{root}: no hand was detected")
    types = (np.float32, np.float32, np.float32, np.float32, np.bool_, np.int64)
    columns = [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True)]
    return RefinableHands(*columns)  # pyright: ignore[reportArgumentType]  # each has its own type


def _crops(sample: Sample, network: Engine, more: int, rng: np.random.Generator) -> Iterator[_Crop]:
    rgb = sample.rgb()
    for number in range(1 + more):
        mirrored = number > 0 and bool(rng.random() < 0.5)
        image = recoloured(rgb, rng) if number else rgb
        image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
        for instance in (ordered_hand(item, name_of(sample)) for item in sample.instances):
            points = None if instance is None else instance.keypoints_px
            if instance is None or points is None or instance.keypoints_m is None or np.isnan(points).any():
                continue
            exact, metres = exact_keypoints(sample, instance)
            if mirrored:
                exact, metres = exact * [-1, 1, 1] + [rgb.shape[1] - 1, 0, 0], metres * [-1, 1, 1]
            visible = np.ones(len(exact), np.bool_) if instance.visible is None else np.asarray(instance.visible)
            box = jittered_box(box_around_hand(exact[:, :2]), rng, _TURN_RAD)
            crop = _crop(image, box, network, exact, metres, visible)
            if crop is not None:
                yield crop


def _crop(
    rgb: Image, box: RotatedBox, network: Engine, exact: FloatArray, metres: FloatArray, visible: BoolArray
) -> _Crop | None:
    """Return the outputs of a network for a hand in a box, or None if it does not detect the hand.

    `exact`: (21, 3) keypoints in pixels, z in their scale; `metres`: (21, 3) in the camera frame; `visible`: (21,).
    """
    crop_on_grid(rgb, box, network.input[0])
    image, presence, _, world, *maps, _ = network.run()
    if presence.item() <= MIN_PRESENCE:
        return None
    keypoints = image.reshape(-1, 3) / np.float32(network.input.shape[1])
    within = np.column_stack([points_into_crop(exact[:, :2], box, 1), exact[:, 2] / box.width])
    extent = np.linalg.norm(np.ptp(within[:, :2], axis=0))
    if np.linalg.norm(keypoints[:, :2] - within[:, :2], axis=1).mean() > _MAX_ERROR * extent:
        return None
    cos, sin = np.cos(box.rotation), np.sin(box.rotation)
    turned = metres @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    world = world.reshape(-1, 3).copy()
    by_cell = [layer_map[0].reshape(layer_map.shape[1], -1).T.astype(np.float16) for layer_map in maps]
    return _Crop((keypoints, world, within, turned - turned.mean(0) + world.mean(0), visible), by_cell)
