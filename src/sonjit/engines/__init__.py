"""A model file -> run(images): OpenVINO by default, ONNX Runtime behind the same small interface."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from sonjit.arrays import Float32Array
from sonjit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.engines.openvino import OpenVinoEngine

EngineName = Literal["openvino", "onnxruntime"]

Precision = Literal["auto", "f32", "bf16", "f16", "int8"]

_IS_SHARED = ContextVar("sonjit_shared_networks", default=False)

_RECORDED: ContextVar[tuple[Path, list[NDArray[np.uint8]]] | None] = ContextVar("sonjit_recorded_inputs", default=None)


@contextmanager
def shared_networks() -> Generator[None]:
    """Detectors made inside share their networks with one another: each costs its buffers only.

    A shared network runs as many images at a time as there are pairs of cores. One that is not shared belongs to
    its detector, which disturbs no other.
    """
    token = _IS_SHARED.set(True)
    try:
        yield
    finally:
        _IS_SHARED.reset(token)


@contextmanager
def recorded_inputs(path: Path, inputs: list[NDArray[np.uint8]]) -> Generator[None]:
    """Engines of that model file loaded inside add a copy of each image (1, H, W, 3) that they run on to `inputs`."""
    token = _RECORDED.set((path, inputs))
    try:
        yield
    finally:
        _RECORDED.reset(token)


@dataclass(frozen=True)
class EngineOptions:
    """How a network runs.

    Attributes:
        engine: which runtime.
        device: `cpu`, `gpu`, `npu` or `auto`, and for ONNX Runtime `cuda`, `tensorrt`, `coreml` or `directml`, in any
            case; see `sonjit.engines.devices`. Upper case once it is made.
        precision: `auto` takes bf16 where the CPU has it natively, else the int8 form of a network where it keeps its
            promise (see `sonjit.engines.promise`), else f32; `int8` what `sonjit models quantize` wrote.
        threads: how many, 0 for all cores; SONJIT_THREADS of the environment is used where it is None.
        cache: folder for compiled networks, or None to keep none.
        shared: with other engines that ask for the same; see `shared_networks`. OpenVINO only.
    """

    engine: EngineName = "openvino"
    device: str = "CPU"
    precision: Precision = "auto"
    threads: int | None = None
    cache: Path | None = None
    shared: bool = field(default_factory=_IS_SHARED.get)

    def __post_init__(self) -> None:
        """Refuse unknown names at once, in one line."""
        if self.engine not in get_args(EngineName):
            raise InputError(f"unknown engine {self.engine!r}; known: {', '.join(get_args(EngineName))}")
        if self.precision not in get_args(Precision):
            raise InputError(f"unknown precision {self.precision!r}; known: {', '.join(get_args(Precision))}")
        if self.threads is not None and self.threads < 0:
            raise InputError(f"threads={self.threads}: give 0 for all cores or a positive number")
        device = self.device.upper()
        if self.engine == "openvino" and device != "CPU":  # the usual one needs no look at what there is
            from sonjit.engines.devices import openvino_device
            from sonjit.engines.openvino import core

            device = openvino_device(device, core().available_devices)
        object.__setattr__(self, "device", device)

    @property
    def thread_count(self) -> int:
        """Threads to ask the runtime for; 0 leaves it to the runtime."""
        if self.threads is not None:
            return self.threads
        text = os.environ.get("SONJIT_THREADS", "0")
        if not text.isdecimal():
            raise InputError(f"SONJIT_THREADS={text!r} is not a number of threads; unset it or give e.g. 2")
        return int(text)


class Engine(Protocol):
    """One loaded network. Not for several threads at once: each caller takes an engine of its own.

    Attributes:
        input: (1, H, W, 3) uint8, the network's own input buffer: write an image into it, then `run()`.
        precision: what the network runs in.
        output_sizes: how many numbers each output holds, in the order of `run`.
    """

    input: NDArray[np.uint8]
    precision: str
    output_sizes: list[int]

    def run(self) -> list[Float32Array]:
        """The chosen outputs for what is in `input`, in file order if all are; valid until the next run."""
        ...


class _RecordingEngine:
    """An engine that keeps what it runs on."""

    def __init__(self, engine: Engine, inputs: list[NDArray[np.uint8]]) -> None:
        self._engine, self._inputs = engine, inputs
        self.input, self.precision, self.output_sizes = engine.input, engine.precision, engine.output_sizes

    def run(self) -> list[Float32Array]:
        """As the engine."""
        self._inputs.append(self.input.copy())
        return self._engine.run()


_ENDINGS = (".tflite", ".onnx", ".xml")


def load_number_engine(path: Path, options: EngineOptions) -> OpenVinoEngine:
    """Load a network that takes arrays of numbers, not an image; OpenVINO runs it on the CPU, in f32, on one thread.

    Its `inputs` are float32 in the network's own shapes.

    Raises:
        InputError: the file is missing, or OpenVINO cannot read it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    from sonjit.engines.openvino import OpenVinoEngine

    own = replace(options, engine="openvino", device="CPU", precision="f32", threads=1)
    return OpenVinoEngine(path, own, None)


def load_engine(
    path: Path,
    options: EngineOptions,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    outputs: tuple[int, ...] | None = None,
    taps: tuple[int, ...] = (),
) -> Engine:
    """Load a network that takes one RGB image.

    Args:
        path: a `.tflite`, `.onnx` or `.xml` file, the last for OpenVINO alone, with one image input of batch 1, NHWC
            or NCHW. In int8 the form beside it is taken that `sonjit models quantize` writes.
        options: how to run it.
        value_range: what the network expects for the bytes 0 and 255.
        outputs: indices of the outputs that are wanted, in the wanted order; what only the others need is never
            computed. None: all, in file order.
        taps: sides of maps on the way that are given too, behind the outputs, see
            `graph_edits.with_taps`; on ONNX Runtime of `.tflite` files only.

    Raises:
        InputError: the file is missing, unreadable for the runtime, takes no image or has too few outputs.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    if path.name == "model.json":
        raise InputError(
            f"{path}: a network as tfjs stores it; sonjit models pull fetches the same published ones as .tflite, "
            "and python -m tf2onnx.convert --tfjs model.json --output model.onnx converts one of your own"
        )
    if path.suffix not in _ENDINGS:
        raise InputError(f"{path}: unknown ending {path.suffix!r} of a model file; known: {', '.join(_ENDINGS)}")
    if options.engine == "onnxruntime":
        from sonjit.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, options, value_range, outputs, taps)
    from sonjit.engines.openvino import OpenVinoEngine

    engine = OpenVinoEngine(path, options, value_range, outputs, taps)
    recorded = _RECORDED.get()
    return _RecordingEngine(engine, recorded[1]) if recorded and recorded[0] == path else engine
