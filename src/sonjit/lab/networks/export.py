"""Export networks to ONNX and to OpenVINO's IR, and compare the files with PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util.errors import InputError, JobError
from sonjit._util.files import WorkFolder, failing_as_job
from sonjit.lab.networks.checkpoints import METADATA
from sonjit.lab.networks.registry import InputSpec, Network

Format = Literal["onnx", "openvino"]

ENDINGS: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}

MAX_DIFFERENCE = 1e-3
"""Maximum difference from PyTorch, as a fraction of an output's range; files with a larger one are not written."""

_SEEDS = range(3)


@dataclass(frozen=True)
class Export:
    """An exported file.

    Attributes:
        path: Path of the file; the weights of OpenVINO's IR are in a `.bin` file with the same name.
        size: Size in bytes, including those weights.
        differences: Maximum difference from PyTorch on seeded inputs by output, as a fraction of the output's range.
    """

    path: Path
    size: int
    differences: Mapping[str, float]


def export_network(
    network: Network,
    inputs: Sequence[InputSpec],
    path: Path,
    *,
    to: Format | None = None,
    dynamic_batch: bool = False,
) -> Export:
    """Export a network to a file for another runtime.

    Args:
        network: Network whose outputs become those of the file, by name and in their order.
        inputs: Inputs of the network; images are (B, 3, H, W).
        path: Path that ends with `.onnx` or `.xml`.
        to: Format; it must match the ending of the path.
        dynamic_batch: True for batches of any size, False for batches of one.

    Raises:
        InputError: The ending is unknown or does not match the format.
        JobError: The format does not support a part of the network, the outputs differ from PyTorch's, or the file
            cannot be written.
    """
    file_format = _format(path, to)
    with failing_as_job(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    training = network.training
    network.eval()
    try:
        with failing_as_job(path), WorkFolder(path.parent) as folder, _kept_interrupt() as check_interrupt:
            draft = Path(folder) / f"{path.stem}.onnx"
            _write_onnx(network, inputs, draft, dynamic_batch=dynamic_batch)
            if file_format == "openvino":
                draft = _ir_from_onnx(draft)
            differences = _differences(network, inputs, draft)
            worst = max(differences, key=lambda name: differences[name])
            if not differences[worst] <= MAX_DIFFERENCE:
                raise JobError(
                    f"{path}: not written, because {worst} differs from PyTorch's by {differences[worst]:.1e} of the "
                    f"range (maximum: {MAX_DIFFERENCE:g})"
                )
            check_interrupt()
            size = draft.stat().st_size
            if file_format == "openvino":
                size += draft.with_suffix(".bin").stat().st_size
                draft.with_suffix(".bin").replace(path.with_suffix(".bin"))
            draft.replace(path)
    finally:
        network.train(training)
    return Export(path, size, differences)


def _format(path: Path, to: Format | None) -> Format:
    known: dict[str, Format] = {ending: name for name, ending in ENDINGS.items()}
    found = known.get(path.suffix)
    if to is not None and found != to:
        raise InputError(f"{path}: a file for {to} must end with {ENDINGS[to]}")
    if found is None:
        raise InputError(f"{path}: Unknown file ending {path.suffix!r} of an export. Choose from {', '.join(known)}")
    return found


class _TupleOutputs(nn.Module):
    """A network that returns its outputs as a tuple, as ONNX requires."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(*values).values())


def _write_onnx(network: Network, inputs: Sequence[InputSpec], path: Path, *, dynamic_batch: bool) -> None:
    device = next(network.parameters()).device
    examples = tuple(spec.example(2 if dynamic_batch else 1).to(device) for spec in inputs)
    with torch.inference_mode():
        names = list(network(*examples))
    sizes = (tuple({0: torch.export.Dim("batch")} for _ in inputs),) if dynamic_batch else None
    try:
        with _quiet():
            program = torch.onnx.export(
                _TupleOutputs(network).eval(),
                examples,
                dynamo=True,
                input_names=[spec.name for spec in inputs],
                output_names=names,
                dynamic_shapes=sizes,
                verbose=False,
            )
            assert program is not None
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()  # source code locations, with paths of this machine
            if network.saved:
                program.model.metadata_props[METADATA] = network.saved.to_json()
            program.save(path, external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error.__cause__ or error).strip().splitlines() or ["unknown reason"])[0]
        raise JobError(f"{network.name} cannot be exported to ONNX: {reason[:200]}") from None


def _ir_from_onnx(path: Path) -> Path:
    from sonjit.engines.quiet_openvino import ov

    ir = path.with_suffix(".xml")
    try:
        ov.save_model(ov.Core().read_model(path), ir, compress_to_fp16=False)
    except RuntimeError as error:
        raise JobError(f"OpenVINO cannot read {path.stem}: {str(error).strip().splitlines()[-1][:200]}") from None
    return ir


def _differences(network: Network, inputs: Sequence[InputSpec], path: Path) -> dict[str, float]:
    """Return the maximum difference between file and network by output, as a fraction of the output's range."""
    from sonjit.engines.quiet_openvino import ov

    try:
        compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise JobError(f"OpenVINO cannot run {path.stem}: {str(error).strip().splitlines()[-1][:200]}") from None
    device = next(network.parameters()).device
    expected: dict[str, list[np.ndarray]] = {}
    actual: dict[str, list[np.ndarray]] = {}
    for seed in _SEEDS:
        examples = [spec.example(seed=seed) for spec in inputs]
        with torch.inference_mode():
            outputs = network(*(example.to(device) for example in examples))
        results = compiled([example.numpy() for example in examples])
        for index, (name, value) in enumerate(outputs.items()):
            expected.setdefault(name, []).append(value.cpu().numpy())
            actual.setdefault(name, []).append(results[index])
    return {name: _difference(np.stack(expected[name]), np.stack(actual[name])) for name in expected}


def _difference(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    scale = max(float(np.ptp(expected)), float(np.abs(expected).max()), 1e-6)
    return float(np.abs(expected - actual).max()) / scale


@contextlib.contextmanager
def _kept_interrupt() -> Generator[Callable[[], None]]:
    """Yield a function that raises a Ctrl-C again which native code or a finalizer of PyTorch discarded."""
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if callable(before):
            before(number, frame)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield check
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Suppress the exporter's prints, warnings and log lines."""
    disabled = logging.root.manager.disable
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)
