"""How long a network takes on this machine, as a detector would run it."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from sonjit.engines import EngineOptions, load_engine
from sonjit.networks.export import export_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sonjit.networks.base import Network
    from sonjit.networks.registry import InputSpec

_WARM_UP, _RUNS = 20, 200


def measured_ms(network: Network, inputs: Sequence[InputSpec], folder: Path) -> float:
    """Median of 200 runs on one picture, float32, one thread of OpenVINO, in milliseconds.

    Args:
        network: in eval mode, on the CPU.
        inputs: what it takes.
        folder: where its exported file is left, `timed.onnx`.
    """
    file = export_network(network, inputs, folder / "timed.onnx").path
    engine = load_engine(file, EngineOptions(precision="f32", threads=1))
    engine.input[...] = np.random.default_rng(0).random(engine.input.shape, np.float32).astype(engine.input.dtype)
    times: list[float] = []
    for _ in range(_WARM_UP + _RUNS):
        start = perf_counter()
        engine.run()
        times.append(1000 * (perf_counter() - start))
    return median(times[_WARM_UP:])
