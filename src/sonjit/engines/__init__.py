"""Load a model file and run it on images: OpenVINO by default, ONNX Runtime with the same interface."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit._util.settings import check_settings

if TYPE_CHECKING:
    from sonjit.engines.openvino import OpenVinoEngine

EngineName = Literal["openvino", "onnxruntime"]

Precision = Literal["auto", "f32", "bf16", "f16", "int8"]

ValueRange: TypeAlias = "tuple[float, float] | tuple[tuple[float, ...], tuple[float, ...]]"
T = TypeVar("T")
_IS_SHARED = ContextVar("sonjit_shared_networks", default=False)
_IS_PROFILED = ContextVar("sonjit_profiled_networks", default=False)
_RECORDED: ContextVar[tuple[Path, list[Image]] | None] = ContextVar("sonjit_recorded_inputs", default=None)

BEFORE_RUN: ContextVar[Callable[[], object] | None] = ContextVar("sonjit_before_run", default=None)
"""Function that the engines that are loaded in a context call before each run; see `called_before_runs`."""

FORKED = threading.Event()
"""Set in a process that was forked after OpenVINO had started: its threads are missing there, and calls would hang."""

MAX_THREADS = MAX_KEPT = 1024
_ENDINGS = (".tflite", ".onnx", ".xml")


def shared_networks() -> AbstractContextManager[None]:
    """Share the networks of the detectors that are created inside: each further detector costs only its buffers.

    A shared network runs as many images at a time as there are pairs of cores. Others belong to one detector.
    """
    return _set_inside(_IS_SHARED, True)


def profiled_networks() -> AbstractContextManager[None]:
    """Let OpenVINO measure each layer of the networks that are loaded inside, see `OpenVinoEngine.layer_times`."""
    return _set_inside(_IS_PROFILED, True)


def recorded_inputs(path: Path, inputs: list[Image]) -> AbstractContextManager[None]:
    """Append a copy of each input image (1, H, W, 3) of a model file to `inputs`, for engines loaded inside."""
    return _set_inside(_RECORDED, (path, inputs))


def called_before_runs(call: Callable[[], object]) -> AbstractContextManager[None]:
    """Call a function before each run of the networks that are loaded inside."""
    return _set_inside(BEFORE_RUN, call)


def refuse_in_fork() -> None:
    """Raise InputError in a process that was forked after networks were loaded, which lacks the threads."""
    if FORKED.is_set():
        raise InputError(
            "this process was forked from one that had loaded networks, and OpenVINO's threads are not copied: "
            "start processes by spawn, multiprocessing.get_context('spawn'), or before anything is loaded"
        )


@contextmanager
def _set_inside(variable: ContextVar[T], value: T) -> Generator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@dataclass(frozen=True)
class EngineOptions:
    """Options of an engine."""

    engine: EngineName = "openvino"
    # `cpu`, `gpu`, `npu` or `auto`, and for ONNX Runtime `cuda`, `tensorrt`, `coreml` or `directml`, in any case; see
    # `sonjit.engines.devices`. The attribute is upper case.
    device: str = "CPU"
    # Number format. `auto` uses bf16 or int8 only for networks that keep the rule of `sonjit.engines.precision`, and
    # f32 for others. `int8` uses what `sonjit models quantize` wrote.
    precision: Precision = "auto"
    threads: int | None = None  # number of threads, 0 for all cores. None: the environment variable SONJIT_THREADS.
    cache: Path | None = None  # folder for compiled networks, or None for no cache
    # True if the network is shared with equal engines; see `shared_networks`. OpenVINO only.
    shared: bool = field(default_factory=_IS_SHARED.get)
    # True if the time of each layer is measured; see `profiled_networks`. OpenVINO only.
    profiled: bool = field(default_factory=_IS_PROFILED.get)

    def __post_init__(self) -> None:
        """Check the names."""
        check_settings(self)
        check_threads(self.threads)
        device = self.device.upper()
        if self.engine == "openvino" and device != "CPU":  # OpenVINO need not be loaded for the CPU
            from sonjit.engines.devices import openvino_device
            from sonjit.engines.openvino import core

            device = openvino_device(device, core().available_devices)
        object.__setattr__(self, "device", device)

    @property
    def thread_count(self) -> int:
        """Return the number of threads for the runtime; 0 leaves the choice to the runtime."""
        if self.threads is not None:
            return self.threads
        return _number("SONJIT_THREADS", MAX_THREADS, "of threads")


def kept_networks() -> int:
    """Return how many networks stay in memory for later detectors, by the environment variable SONJIT_KEPT_NETWORKS."""
    return _number("SONJIT_KEPT_NETWORKS", MAX_KEPT, "of networks")


def _number(variable: str, maximum: int, unit: str) -> int:
    """Return the number in an environment variable, 0 if it is not set."""
    text = os.environ.get(variable, "0")
    if not text.isdecimal() or len(text) > len(str(maximum)) or int(text) > maximum:
        raise InputError(f"{variable}={text!r} is not a number {unit}; unset it or give e.g. 2")
    return int(text)


def check_threads(threads: int | None) -> None:
    """Check a number of threads."""
    if threads is not None and not 0 <= threads <= MAX_THREADS:
        raise InputError(f"threads={threads}: give 0 for all cores, or at most {MAX_THREADS}")


class Engine(Protocol):
    """One loaded network. An engine is not thread-safe: each caller needs its own engine."""

    input: Image  # buffer (1, H, W, 3): write an image into it, then call `run()`
    precision: str  # number format in which the network runs
    output_sizes: list[int]  # number of values in each output, in the order of `run`

    def run(self) -> list[Float32Array]:
        """Run the network on `input` and return the selected outputs. They are valid until the next run."""
        ...


def image_shape(
    path: Path, shape: Sequence[int | None], size: tuple[int, int] | None
) -> tuple[tuple[int, int, int, int], bool]:
    """Return the input shape of a network for one image, and whether its channels come first.

    `shape` has None for free sizes. `size` is the width and height of the input in pixels for networks without fixed
    ones. Raise InputError for other inputs than one image.
    """
    text = " x ".join("?" if item is None else str(item) for item in shape)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise InputError(f"{path}: input shape {text} is neither 1 x H x W x 3 nor 1 x 3 x H x W")
    is_first = shape[3] != 3
    height, width = shape[2:] if is_first else shape[1:3]
    if size is None and None in (height, width):
        advice = "Export it with a fixed size, or give input = [width, height] in a TOML file of the network"
        raise InputError(f"{path}: input shape {text} has a free height or width. {advice}")
    if size is not None and (width or size[0], height or size[1]) != size:
        raise InputError(f"{path}: input shape {text} does not accept input = [{size[0]}, {size[1]}]")
    width, height = size or (width or 1, height or 1)
    return ((1, 3, height, width) if is_first else (1, height, width, 3)), is_first


def check_takes_bytes(path: Path, value_range: ValueRange) -> None:
    """Raise InputError if a network that takes bytes gets other values."""
    if np.any(np.asarray(value_range) != np.reshape((0, 255), (2,) + (1,) * (np.ndim(value_range) - 1))):
        advice = "Give mean = [0, 0, 0] and std = [1, 1, 1] in a TOML file of the network"
        raise InputError(f"{path}: takes bytes from 0 to 255. {advice}")


def model_file(path: Path) -> Path:
    """Return the exported network in the folder of a run of `sonjit train`, or the path of another file as it is."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path}: no such model file")
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS)
    if len(files) == 1:
        return files[0]
    if files:
        raise InputError(f"{path} contains {files[0].name} and {files[1].name}; give one of them")
    raise InputError(f"{path} is a folder without {', '.join(_ENDINGS)}; write one with sonjit export --weights {path}")


def load_ahead(load: Callable[[], T]) -> Future[T]:
    """Start to load networks in another thread, with the context of the caller. A network loads on one core."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="sonjit-load")
    loading = thread.submit(copy_context().run, load)
    thread.shutdown(wait=False)  # the thread ends after this
    return loading


def load_number_engine(path: Path, options: EngineOptions) -> OpenVinoEngine:
    """Load a network whose `inputs` are float32 arrays. OpenVINO runs it on the CPU, in f32, on one thread."""
    path = model_file(path)
    from sonjit.engines.openvino import OpenVinoEngine

    reference_options = replace(options, engine="openvino", device="CPU", precision="f32", threads=1)
    return OpenVinoEngine(path, reference_options, None)


def load_engine(
    path: Path,
    options: EngineOptions,
    *,
    value_range: ValueRange = (0.0, 1.0),
    outputs: tuple[int, ...] | None = None,
    taps: tuple[int, ...] = (),
    size: tuple[int, int] | None = None,
) -> Engine:
    """Load a network that takes one RGB image of batch 1, NHWC or NCHW, from a `.tflite`, `.onnx` or `.xml` file.

    Args:
        value_range: Input values for the bytes 0 and 255, of all channels or of each.
        size: Width and height of the input in pixels, for networks without fixed ones.
        outputs: Indices of the selected outputs in their order, or None for all in file order. What only other outputs
            need is never computed.
        taps: Sides of intermediate maps that become further outputs, see `graph_edits.with_taps`. ONNX Runtime supports
            this for `.tflite` files only.
    """
    path = model_file(path)
    if path.name == "model.json":
        raise InputError(
            f"{path}: a network as tfjs stores it; sonjit models pull fetches the same published ones as .tflite, "
            "and python -m tf2onnx.convert --tfjs model.json --output model.onnx converts one of your own"
        )
    if path.suffix not in _ENDINGS:
        raise InputError(f"{path}: unknown ending {path.suffix!r} of a model file. Choose from {', '.join(_ENDINGS)}.")
    if options.engine == "onnxruntime":
        from sonjit.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, options, value_range, outputs, taps, size)
    from sonjit.engines.openvino import OpenVinoEngine

    engine = OpenVinoEngine(path, options, value_range, outputs, taps, size)
    recorded = _RECORDED.get()
    if recorded and recorded[0] == path:
        engine.recorded = recorded[1]
    return engine
