"""Networks as files for other runtimes: ONNX, and OpenVINO's IR made from it; each is compared with PyTorch at once.

What a network costs and where its weights are: the facts that `sonjit networks` prints.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sonjit.errors import InputError, JobError
from sonjit.files import WorkFolder, failing_as_job
from sonjit.networks.checkpoints import METADATA
from sonjit.networks.mask_rcnn.mask_rcnn import MaskRCNN
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, network_entry

Format = Literal["onnx", "openvino"]

ENDINGS: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}

MOST_DIFFERENT = 1e-3
"""Of an output's range: a file that differs more from PyTorch is not written."""

_SEEDS = range(3)


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: of it; the weights of OpenVINO's IR are beside it as `.bin`.
        size: in bytes, with those weights.
        differences: by output, the largest difference from PyTorch on seeded inputs, as part of the output's range.
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
) -> Exported:
    """Write a network as a file for another runtime.

    Args:
        network: whose outputs become those of the file, by name and in their order.
        inputs: what it takes; images are (B, 3, H, W).
        path: `.onnx` or `.xml`.
        to: the format; one that does not fit the ending is refused.
        dynamic_batch: batches of any size, not of one.

    Raises:
        InputError: another ending.
        JobError: the network has a part that the format lacks, the file's outputs differ from PyTorch's, or the
            disk refuses.
    """
    kind = _format(path, to)
    with failing_as_job(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    training = network.training
    network.eval()
    try:
        with failing_as_job(path), WorkFolder(path.parent) as folder:
            draft = Path(folder) / f"{path.stem}.onnx"
            _write_onnx(network, inputs, draft, dynamic_batch=dynamic_batch)
            if kind == "openvino":
                draft = _ir_from_onnx(draft)
            differences = _differences(network, inputs, draft)
            worst = max(differences, key=lambda name: differences[name])
            if not differences[worst] <= MOST_DIFFERENT:
                raise JobError(
                    f"{path}: not written, for its {worst} differs from PyTorch's by {differences[worst]:.1e} of the "
                    f"range (at most {MOST_DIFFERENT:g} is allowed)"
                )
            size = draft.stat().st_size
            if kind == "openvino":
                size += draft.with_suffix(".bin").stat().st_size
                draft.with_suffix(".bin").replace(path.with_suffix(".bin"))
            draft.replace(path)
    finally:
        network.train(training)
    return Exported(path, size, differences)


def _format(path: Path, to: Format | None) -> Format:
    known: dict[str, Format] = {ending: kind for kind, ending in ENDINGS.items()}
    kind = known.get(path.suffix)
    if to is not None and kind != to:
        raise InputError(f"{path}: a file for {to} ends with {ENDINGS[to]}")
    if kind is None:
        raise InputError(f"{path}: unknown ending {path.suffix!r} of an export; known: {', '.join(known)}")
    return kind


class _InOrder(nn.Module):
    """A network whose outputs are a tuple, as ONNX has them."""

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
                _InOrder(network).eval(),
                examples,
                dynamo=True,
                input_names=[spec.name for spec in inputs],
                output_names=names,
                dynamic_shapes=sizes,
                verbose=False,
            )
            assert program is not None
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()  # where in the source code it came from, by this machine's paths
            if network.saved:
                program.model.metadata_props[METADATA] = network.saved.to_json()
            program.save(path, external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error.__cause__ or error).strip().splitlines() or ["no reason given"])[0]
        raise JobError(f"{network.name} cannot be written as ONNX: {reason[:200]}") from None


def _ir_from_onnx(path: Path) -> Path:
    from sonjit.engines.quiet_openvino import ov

    ir = path.with_suffix(".xml")
    try:
        ov.save_model(ov.Core().read_model(path), ir, compress_to_fp16=False)
    except RuntimeError as error:
        raise JobError(f"OpenVINO cannot read {path.stem}: {str(error).strip().splitlines()[-1][:200]}") from None
    return ir


def _differences(network: Network, inputs: Sequence[InputSpec], path: Path) -> dict[str, float]:
    """By output, the largest difference between file and network, as part of the range that the network gives."""
    from sonjit.engines.quiet_openvino import ov

    try:
        compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise JobError(f"OpenVINO cannot run {path.stem}: {str(error).strip().splitlines()[-1][:200]}") from None
    device = next(network.parameters()).device
    own: dict[str, list[np.ndarray]] = {}
    its: dict[str, list[np.ndarray]] = {}
    for seed in _SEEDS:
        examples = [spec.example(seed=seed) for spec in inputs]
        with torch.inference_mode():
            wanted = network(*(example.to(device) for example in examples))
        given = compiled([example.numpy() for example in examples])
        for index, (name, value) in enumerate(wanted.items()):
            own.setdefault(name, []).append(value.cpu().numpy())
            its.setdefault(name, []).append(given[index])
    return {name: _difference(np.stack(own[name]), np.stack(its[name])) for name in own}


def _difference(wanted: np.ndarray, given: np.ndarray) -> float:
    if wanted.shape != given.shape:
        return float("inf")
    scale = max(float(np.ptp(wanted)), float(np.abs(wanted).max()), 1e-6)
    return float(np.abs(wanted - given).max()) / scale


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep the exporter's prints, warnings and log lines from the caller."""
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


@dataclass(frozen=True)
class NetworkFacts:
    """One network.

    Attributes:
        name: under which it is created.
        summary: one line: what it finds.
        source: the paper that it follows.
        parameters: that can be trained.
        flops: of one image, a multiply-add counted as two; of Mask R-CNN with as many proposals and instances as
            there may be (1000 and 100), for what it really costs depends on the image.
        inputs: their names, shapes without the batch, and ranges.
        licence: of the published weights.
        weights: where they can be downloaded, in words or as the command that fetches them.
        here: they are on this machine.
    """

    name: str
    summary: str
    source: str
    parameters: int
    flops: int
    inputs: tuple[InputSpec, ...]
    licence: str
    weights: str
    here: bool


def describe_network(name: str) -> NetworkFacts:
    """The facts of one network by name, worked out without its weights."""
    entry = network_entry(name)
    with torch.device("meta"):
        network = entry.build().eval()
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    network.requires_grad_(False)  # the counter stumbles over parameters that are handed from module to module
    weights, here = _weights(entry)
    return NetworkFacts(
        name=name,
        summary=entry.summary,
        source=entry.source,
        parameters=parameters,
        flops=_flops(network, entry.inputs),
        inputs=entry.inputs,
        licence=entry.licence,
        weights=weights,
        here=here,
    )


def _flops(network: Network, inputs: tuple[InputSpec, ...]) -> int:
    """Of one forward pass on shapes alone."""
    examples = [torch.empty((1, *spec.shape), device="meta") for spec in inputs]
    work = network.on_full_budget if isinstance(network, MaskRCNN) else network
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work(*examples)
    return counter.get_total_flops()


def _weights(entry: NetworkEntry) -> tuple[str, bool]:
    from sonjit.weights import find_weight

    if entry.weight is None:
        return entry.where or "your own, by path", False
    try:
        return str(find_weight(entry.weight)), True
    except InputError:
        return f"sonjit models pull {entry.weight}", False
