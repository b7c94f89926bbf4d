"""Building blocks of recipes: lazy sequences, pictures for reports, and exported networks."""

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar, overload

import numpy as np

from sonjit._util import BoolArray, Image, RealArray
from sonjit.engines import EngineOptions, load_engine
from sonjit.media.drawing.strokes import Colour, draw_path, draw_ring
from sonjit_lab.networks import InputSpec, Network, export
from sonjit_lab.training.recipes import TrainingRequest

P = TypeVar("P")
PICTURE = "predictions (orange) and labels (green)"  # name of the picture, which is its caption in the report
MAX_CROPS = 16  # maximum number of crops in a picture
_CELL_PX, _COLUMNS, _GAP_PX = 256, 4, 4
_PREDICTED: Colour = (255, 96, 32)
_LABELLED: Colour = (64, 255, 128)
_WARM_UP_RUNS, _TIMED_RUNS = 20, 200


class LazySequence(Sequence[P]):
    """Base class of sequences that define `__len__` and `item`; slices are lazy, too."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def item(self, index: int) -> P:
        """Return the item at 0 <= index < len(self)."""

    @overload
    def __getitem__(self, index: int) -> P: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[P]: ...
    def __getitem__(self, index: int | slice) -> P | Sequence[P]:
        """Return one item, or the subset of a slice; negative indices count from the end."""
        indices = range(len(self))[index]
        return self.item(indices) if isinstance(indices, int) else Subset(self, indices)


class Subset(LazySequence[P]):
    """The items of a sequence at the given indices, in their order."""

    def __init__(self, items: Sequence[P], indices: Sequence[int]) -> None:
        self._items, self._indices = items, np.array(indices, np.int64)

    def __len__(self) -> int:
        return len(self._indices)

    def item(self, index: int) -> P:
        """Return the item of the underlying sequence."""
        return self._items[int(self._indices[index])]


class Concat(LazySequence[P]):
    """Several sequences, one after the other."""

    def __init__(self, sequences: Sequence[Sequence[P]]) -> None:
        self._sequences, self._starts = sequences, [0, *accumulate(map(len, sequences))]

    def __len__(self) -> int:
        return self._starts[-1]

    def item(self, index: int) -> P:
        """Return the item at the index."""
        number = bisect_right(self._starts, index) - 1
        return self._sequences[number][index - self._starts[number]]


def evenly_spaced(items: Sequence[P], maximum: int) -> Sequence[P]:
    """Return at most `maximum` evenly spaced items; 0 returns all."""
    if not maximum or maximum >= len(items):
        return items
    return Subset(items, [i * len(items) // maximum for i in range(maximum)])


def draw_predictions(
    crops: Sequence[Image], predicted: Sequence[RealArray], labelled: Sequence[RealArray], valid: Sequence[BoolArray]
) -> Image:
    """Draw keypoints (K, 2), and labels where known (K,), into the first crops (S, S, 3) uint8, four in a row."""
    import cv2

    shown = range(min(len(crops), MAX_CROPS))
    columns = max(1, min(len(shown), _COLUMNS))
    step = _CELL_PX + _GAP_PX
    sheet = np.full((-(-len(shown) // columns) * step, columns * step, 3), 40, np.uint8)
    for index in shown:
        cell = np.array(cv2.resize(crops[index], (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_CUBIC), np.uint8)
        scale = _CELL_PX / crops[index].shape[0]
        for predicted_point, label in zip(
            (predicted[index] * scale)[valid[index]], (labelled[index] * scale)[valid[index]], strict=True
        ):
            draw_path(cell, np.stack([predicted_point, label]).astype(np.float64), _PREDICTED, 1)
            draw_ring(cell, label, 4.0, _LABELLED, 1)
            draw_ring(cell, predicted_point, 1.5, _PREDICTED, 2)
        top, left = index // columns * step, index % columns * step
        sheet[top : top + _CELL_PX, left : left + _CELL_PX] = cell
    return sheet


def export_trained(network: Network, request: TrainingRequest, name: str = "") -> dict[str, object]:
    """Export a trained network if the request asks for it, and return the path of the file as "export"."""
    if request.export is None:
        return {}
    file = request.out / f"{name or request.recipe}{export.ENDINGS[request.export]}"
    return {"export": export.export_network(network.cpu().eval(), network.inputs, file).path}


def median_run_ms(network: Network, inputs: Sequence[InputSpec], folder: Path) -> float:
    """Return the median duration of 200 runs on one image in milliseconds, in float32 on one thread of OpenVINO."""
    file = export.export_network(network, inputs, folder / "timed.onnx").path
    engine = load_engine(file, EngineOptions(precision="f32", threads=1))
    engine.input[...] = np.random.default_rng(0).random(engine.input.shape, np.float32).astype(engine.input.dtype)
    times: list[float] = []
    for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
        start = perf_counter()
        engine.run()
        times.append(1000 * (perf_counter() - start))
    return median(times[_WARM_UP_RUNS:])
