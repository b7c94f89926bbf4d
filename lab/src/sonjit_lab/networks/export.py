"""Export networks to ONNX, to OpenVINO's IR and to TFLite, and compare the files with PyTorch."""

import contextlib
import io
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util import InputError, JobError, check_memory, require
from sonjit._util.extras import MissingExtraError
from sonjit._util.files import WorkFolder, failing_as_job, note_kept
from sonjit_lab.networks.checkpoints import METADATA
from sonjit_lab.networks.modes import eval_mode
from sonjit_lab.networks.registry import InputSpec, Network

Format = Literal["onnx", "openvino", "tflite"]

ENDINGS: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "tflite": ".tflite"}

MAX_DIFFERENCE = 1e-3  # from PyTorch, as a share of an output's range, of files that are written

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
    metadata: Mapping[str, str] | None = None,
) -> Export:
    """Export a network to a file for another runtime.

    Args:
        network: Network whose outputs become those of the file, by name and in their order.
        inputs: Inputs of the network; images are (B, 3, H, W). Images of a TFLite file are (1, H, W, 3).
        path: Path that ends with `.onnx`, `.xml` or `.tflite`.
        to: Format; it must match the ending of the path.
        dynamic_batch: True for batches of any size, False for batches of one.
        metadata: Further texts in an ONNX file by their keys.

    Raises:
        InputError: The ending is unknown or does not match the format, or a TFLite file shall have a dynamic batch.
        MissingExtraError: The format is TFLite and the extra `tflite` is not installed completely.
        JobError: The format does not support a part of the network, the outputs differ from PyTorch's, or the file
            cannot be written.
    """
    file_format = _format(path, to)
    if file_format == "tflite":
        if dynamic_batch:
            raise InputError(f"{path}: dynamic_batch does not apply to TFLite, whose batches have one image")
        require("litert_torch", "export to TFLite")
    with failing_as_job(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with (
        eval_mode(network),
        failing_as_job(path),
        WorkFolder(path.parent) as folder,
        _preserve_interrupt() as defer_interrupt,
    ):
        draft = Path(folder) / f"{path.stem}.onnx"
        if file_format == "tflite":
            draft = draft.with_suffix(".tflite")
            _write_tflite(network, inputs, draft)
        else:
            _write_onnx(network, inputs, draft, dynamic_batch=dynamic_batch, metadata=metadata or {})
        if file_format == "openvino":
            draft = _ir_from_onnx(draft)
        differences = _differences(network, inputs, draft)
        worst = max(differences, key=lambda name: differences[name])
        if not differences[worst] <= MAX_DIFFERENCE:
            advice = "; after few steps many scores are nearly equal: train for longer" if network.selects else ""
            raise JobError(
                f"{path}: not written, because {worst} differs from PyTorch's by {differences[worst]:.1e} of the "
                f"range (maximum: {MAX_DIFFERENCE:g}){advice}"
            )
        defer_interrupt()
        size = draft.stat().st_size
        if file_format == "openvino":
            size += draft.with_suffix(".bin").stat().st_size
            draft.with_suffix(".bin").replace(path.with_suffix(".bin"))
        draft.replace(path)
    return Export(path, size, differences)


def _format(path: Path, to: Format | None) -> Format:
    formats: dict[str, Format] = {ending: name for name, ending in ENDINGS.items()}
    file_format = formats.get(path.suffix)
    if to is not None and file_format != to:
        raise InputError(f"{path}: a file for {to} must end with {ENDINGS[to]}")
    if file_format is None:
        raise InputError(f"{path}: Unknown file ending {path.suffix!r} of an export. Choose from {', '.join(formats)}")
    return file_format


class _TupleOutputs(nn.Module):
    """A network that returns its outputs as a tuple, as exporters require; optionally of images (B, H, W, 3)."""

    def __init__(self, network: Network, *, is_last: bool = False) -> None:
        super().__init__()
        self.network, self.is_last = network, is_last

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        moved = (value.movedim(-1, -3) if self.is_last and value.ndim > 3 else value for value in values)
        return tuple(self.network(*moved).values())


def _write_onnx(
    network: Network, inputs: Sequence[InputSpec], path: Path, *, dynamic_batch: bool, metadata: Mapping[str, str]
) -> None:
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
            program.model.metadata_props.update(metadata)
            program.save(path, external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        check_memory(error)
        reason = (str(error.__cause__ or error).strip().splitlines() or ["unknown reason"])[0]
        raise JobError(f"{network.name} cannot be exported to ONNX: {reason[:200]}") from None


def _channels_last(example: Tensor) -> Tensor:
    return example.movedim(-3, -1).contiguous() if example.ndim > 3 else example


def _write_tflite(network: Network, inputs: Sequence[InputSpec], path: Path) -> None:
    examples = tuple(_channels_last(spec.example()) for spec in inputs)
    device = next(network.parameters()).device
    try:
        with _quiet():
            litert: Any = import_module("litert_torch")
            litert.convert(_TupleOutputs(network.cpu(), is_last=True).eval(), examples).export(str(path))
            add_normalization(path, inputs)
    except ImportError as error:  # of its parts
        raise MissingExtraError(f"export to TFLite ({str(error)[:100]})", "sonjit-lab[tflite]") from None
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        check_memory(error)
        reason = (str(error).strip().splitlines() or ["unknown reason"])[0]
        raise JobError(f"{network.name} cannot be exported to TFLite: {reason[:200]}") from None
    finally:
        network.to(device)


def add_normalization(path: Path, inputs: Sequence[InputSpec]) -> None:
    """Record in a TFLite file how bytes of images become its inputs, which MediaPipe Tasks requires.

    Source: TensorFlow Lite metadata schema, tables ModelMetadata, SubGraphMetadata, TensorMetadata, ProcessUnit and
    NormalizationOptions.
    """
    schema: Any = import_module("ai_edge_litert.schema_py_generated")
    flatbuffers: Any = import_module("flatbuffers")
    builder = flatbuffers.Builder(0)

    def table(slots: int, **fields: int) -> int:
        """Write a table of offsets by slot, `s3=offset`."""
        builder.StartObject(slots)
        for name, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(int(name[1:]), offset, 0)
        return builder.EndObject()

    def vector(offsets: Sequence[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    tensors: list[int] = []
    for spec in inputs:
        std = 255 / (spec.high - spec.low)  # (byte - mean) / std
        mean, scale = (builder.CreateNumpyVector(np.array([value], "<f4")) for value in (-spec.low * std, std))
        options = table(2, s0=mean, s1=scale)
        builder.StartObject(2)
        builder.PrependUint8Slot(0, 1, 0)  # NormalizationOptions
        builder.PrependUOffsetTRelativeSlot(1, options, 0)
        unit = vector([builder.EndObject()])
        tensors.append(table(7, s0=builder.CreateString(spec.name), s4=unit))
    subgraph = table(7, s2=vector(tensors))
    builder.Finish(table(8, s3=vector([subgraph])), b"M001")

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    content, record = schema.BufferT(), schema.MetadataT()
    content.data = np.frombuffer(builder.Output(), np.uint8)
    record.name, record.buffer = "TFLITE_METADATA", len(model.buffers)
    model.buffers.append(content)
    model.metadata = [*(model.metadata or ()), record]
    packed = flatbuffers.Builder(0)
    packed.Finish(model.Pack(packed), b"TFL3")
    path.write_bytes(bytes(packed.Output()))


def _ir_from_onnx(path: Path) -> Path:
    from sonjit.engines.quiet_openvino import ov

    ir = path.with_suffix(".xml")
    try:
        ov.save_model(ov.Core().read_model(path), ir, compress_to_fp16=False)
    except RuntimeError as error:
        check_memory(error)
        raise JobError(f"OpenVINO cannot read {path.stem}: {str(error).strip().splitlines()[-1][:200]}") from None
    return ir


def _runner(path: Path) -> Callable[[list[np.ndarray]], Any]:
    """Return the function of a file, run by LiteRT or OpenVINO, which confuses axes of some outputs of TFLite files."""
    try:
        if path.suffix != ".tflite":
            from sonjit.engines.quiet_openvino import ov

            return ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        interpreter: Any = import_module("ai_edge_litert.interpreter").Interpreter(str(path))
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        check_memory(error)
        reason = str(error).strip().splitlines()[0 if path.suffix == ".tflite" else -1]
        raise JobError(f"{path.stem} cannot be run: {reason[:200]}") from None

    def outputs(values: list[np.ndarray]) -> list[np.ndarray]:
        outputs_by_name = run(**{f"args_{index}": value for index, value in enumerate(values)})
        return [outputs_by_name[f"output_{index}"] for index in range(len(outputs_by_name))]

    return outputs


def _differences(network: Network, inputs: Sequence[InputSpec], path: Path) -> dict[str, float]:
    """Return the maximum difference between file and network by output, as a fraction of the output's range."""
    run = _runner(path)
    device = next(network.parameters()).device
    expected: dict[str, list[np.ndarray]] = {}
    actual: dict[str, list[np.ndarray]] = {}
    for seed in _SEEDS:
        examples = [spec.example(seed=seed) for spec in inputs]
        with torch.inference_mode():
            outputs = network(*(example.to(device) for example in examples))
        if path.suffix == ".tflite":
            examples = [_channels_last(example) for example in examples]
        results = run([example.numpy() for example in examples])
        for index, (name, value) in enumerate(outputs.items()):
            expected.setdefault(name, []).append(value.cpu().numpy())
            actual.setdefault(name, []).append(results[index])
    for name, source in network.maxima.items():  # of nearly equal values, a file may choose another one
        values, (x, y, z) = np.stack(expected[source]), np.moveaxis(np.stack(actual[name]).astype(int), -1, 0)
        places = (z * values.shape[-2] + y) * values.shape[-1] + x
        values = values.reshape(*places.shape, -1)
        expected[name], actual[name] = [values.max(-1)], [np.take_along_axis(values, places[..., None], -1)[..., 0]]
    if network.selects:  # the file of a wrong graph differs in every example, one of equal scores in few
        pairs = {name: zip(expected[name], actual[name], strict=True) for name in expected}
        return {name: float(np.median([_difference(*pair) for pair in pairs[name]])) for name in pairs}
    return {name: _difference(np.stack(expected[name]), np.stack(actual[name])) for name in expected}


def _difference(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    scale = max(float(np.ptp(expected)), float(np.abs(expected).max()), 1e-6)
    return float(np.abs(expected - actual).max()) / scale


@contextlib.contextmanager
def _preserve_interrupt() -> Generator[Callable[[], None]]:
    """Raise a Ctrl-C again that native code or PyTorch discarded or converted to another error.

    Yields:
        Function that raises a discarded Ctrl-C, and defers later ones to the end of the block.
    """
    came = is_deferred = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if callable(before) and not is_deferred:
            before(number, frame)

    def defer() -> None:
        nonlocal is_deferred
        is_deferred = True
        if came:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield defer
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield defer
        if came:
            stop = KeyboardInterrupt()
            note_kept(stop)
            raise stop
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
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
