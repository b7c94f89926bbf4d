"""Export trained networks and measure how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from sonjit._util.errors import InputError
from sonjit.engines import EngineOptions, load_engine
from sonjit.lab.networks import InputSpec, Network
from sonjit.lab.networks.export import ENDINGS, export_network
from sonjit.lab.training.recipes import TrainingRequest

_WARM_UP_RUNS, _TIMED_RUNS = 20, 200


def export_trained(network: Network, name: str, side: int, request: TrainingRequest) -> dict[str, object]:
    """Export a trained network if the request asks for it.

    Args:
        network: Trained network.
        name: File name without the ending.
        side: Side of the input images in pixels.
        request: Training request with the format and the folder of the run.

    Returns:
        The path of the file as "export", or an empty dict.
    """
    if request.export is None:
        return {}
    file = request.out / f"{name}{ENDINGS[request.export]}"
    return {"export": export_network(network.cpu(), (InputSpec("images", (3, side, side)),), file).path}


def refuse_export(request: TrainingRequest) -> None:
    """Refuse `--export` for a recipe whose weights `sonjit export` converts.

    Raises:
        InputError: The request has an export format.
    """
    if request.export is not None:
        raise InputError(
            f"--export does not apply to {request.recipe}, which writes PyTorch weights; convert them with "
            f"sonjit export {request.recipe} --weights FILE --out FILE"
        )


def median_run_ms(network: Network, inputs: Sequence[InputSpec], folder: Path) -> float:
    """Return the median duration of 200 runs on one image in milliseconds, in float32 on one thread of OpenVINO.

    Args:
        network: Network in eval mode, on the CPU.
        inputs: Inputs of the network.
        folder: Folder in which the exported file `timed.onnx` stays.
    """
    file = export_network(network, inputs, folder / "timed.onnx").path
    engine = load_engine(file, EngineOptions(precision="f32", threads=1))
    engine.input[...] = np.random.default_rng(0).random(engine.input.shape, np.float32).astype(engine.input.dtype)
    times: list[float] = []
    for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
        start = perf_counter()
        engine.run()
        times.append(1000 * (perf_counter() - start))
    return median(times[_WARM_UP_RUNS:])
