"""Run networks on OpenVINO.

OpenVINO reads TFLite and ONNX files directly. Compiled networks are cached in files for a fast second start, and in
memory for detectors that share them.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, Image, InputError, SonjitError, check_memory, files, is_out_of_memory
from sonjit.engines import BEFORE_RUN, FORKED, EngineOptions, ValueRange, kept_networks, refuse_in_fork, tflite
from sonjit.engines.precision import f32_share, find_int8, is_accurate_enough
from sonjit.engines.quiet_openvino import ov

_KEPT_S = 90 * 24 * 3600  # maximum time in seconds for which an unused network is cached
_KEPT_BYTES = 1 << 29  # maximum size of all cached networks
_BLOB = re.compile(r".+-[0-9a-f]{20}\.blob", re.DOTALL)  # names of cached networks, see `_blob_path`
_CHECKSUM_BYTES = 4  # of CRC-32, before a kept network

CompileSettings = dict[str, "str | int | bool"]  # OpenVINO's properties for `compile_model`, by name
_REVISION = 12  # revision of the graph edits. Cached networks of another revision are not used.
_RUN_SETTINGS = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING", "PERF_COUNT")
"""Settings that OpenVINO applies when it reads a compiled network: a cached network serves all of their values."""
_SHARED_THREADS = 2
"""Threads of one image on a shared network. A single image is nearly twice as fast as on one thread, and many images
lose a sixth."""
_OF_CONSTANTS: dict[str, Callable[..., NDArray[Any]] | None] = {
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze")),  # only the shape changes
    "Convert": partial(np.asarray, dtype=np.float32),
    "Multiply": np.multiply,
    "Subtract": np.subtract,
    "Transpose": np.transpose,
}
"""Operations in which files keep constants: other number formats, other layouts, quantized values."""
_shared: WeakValueDictionary[_Network, ov.CompiledModel] = WeakValueDictionary()
"""Networks that engines share, while any engine uses them."""
_shared_lock = threading.Lock()
_kept: OrderedDict[_Network, ov.CompiledModel] = OrderedDict()
"""Networks that were used last, at most `kept_networks`."""
_kept_lock = threading.Lock()


def import_blob(core: ov.Core, blob: Path, device: str, config: CompileSettings) -> ov.CompiledModel | None:
    """Read a compiled network from the cache; None if the file is missing or damaged."""
    try:
        with blob.open("rb") as file:
            checksum = file.read(_CHECKSUM_BYTES)
            # Into OpenVINO's own memory: a stream would be copied there.
            data = ov.Tensor(ov.Type.u8, [max(os.fstat(file.fileno()).st_size - _CHECKSUM_BYTES, 0)])
            content = data.data.data
            file.readinto(content)
    except OSError:
        return None
    if zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None
    try:
        network = core.import_model(data, device, config)
    except RuntimeError:
        return None
    with suppress(OSError):
        blob.touch()  # used today: not to be cleared away
    return network


def keep_blob(blob: Path, network: ov.CompiledModel) -> None:
    """Write a compiled network to the cache. A cache that cannot be written is not an error."""
    with suppress(SonjitError, OSError, RuntimeError):
        data: bytes = network.export_model().getvalue()
        blob.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(blob, zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "little") + data)
        _clear_unused(blob)


def _clear_unused(kept: Path) -> None:
    """Remove cached networks unused for a quarter, and those unused for longest where all are too large."""
    used: list[tuple[float, int, Path]] = []
    for blob in kept.parent.glob("*.blob"):
        if not _BLOB.fullmatch(blob.name):
            continue
        with suppress(OSError):
            stat = blob.stat()
            used.append((stat.st_mtime, stat.st_size, blob))
    oldest, total = time.time() - _KEPT_S, 0
    for used_s, size, blob in sorted(used, reverse=True):
        total += size
        if blob != kept and (used_s < oldest or total > _KEPT_BYTES):
            with suppress(OSError):
                blob.unlink()


@dataclass(frozen=True)
class _Network:
    """Key of a network, which engines with equal keys can share. It may have no image input."""

    path: Path
    size: int
    changed_ns: int
    options: EngineOptions
    precision: str
    value_range: ValueRange | None
    outputs: tuple[int, ...] | None
    taps: tuple[int, ...]
    input_size: tuple[int, int] | None
    config: tuple[tuple[str, Any], ...]


class LayerTime(NamedTuple):
    """Time of one layer."""

    name: str  # name of the layer in OpenVINO's graph
    operation: str  # operation, such as "Convolution"
    kernel: str  # kernel of OpenVINO with its instruction set and number format
    ms: float  # wall time in milliseconds


class OpenVinoEngine:
    """A network on OpenVINO with the buffers of all inputs and its name; see `Engine` for the interface."""

    input: Image
    inputs: list[NDArray[Any]]
    precision: str
    output_sizes: list[int]
    recorded: list[Image] | None = None  # copies of the input of each run, see `engines.recorded_inputs`

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        value_range: ValueRange | None,
        outputs: tuple[int, ...] | None = None,
        taps: tuple[int, ...] = (),
        size: tuple[int, int] | None = None,
    ) -> None:
        refuse_in_fork()
        self.precision = resolve_precision(options, path)
        if self.precision == "int8":
            path = find_int8(path)
        self.name = path.stem
        stat, config = path.stat(), compile_settings(options, self.precision)
        file, settings = (path.resolve(), stat.st_size, stat.st_mtime_ns), tuple(sorted(config.items()))
        key = _Network(*file, options, self.precision, value_range, outputs, taps, size, settings)
        network = _shared_network(key) if options.shared else _kept_network(key)
        self._network = network  # the cache has a weak reference
        self._request = network.create_infer_request()
        self.inputs = [self._request.get_input_tensor(i).data for i in range(len(network.inputs))]
        self.input = self.inputs[0]
        self._outputs = [self._request.get_output_tensor(i).data for i in range(len(network.outputs))]
        self.output_sizes = [output.size for output in self._outputs]
        self._before_run = BEFORE_RUN.get()

    def run(self) -> list[Float32Array]:
        """Run the network on `input` and return the selected outputs. The next run overwrites them."""
        refuse_in_fork()
        if self._before_run is not None:
            self._before_run()
        if self.recorded is not None:
            self.recorded.append(self.input.copy())
        self._request.infer(share_outputs=True)  # otherwise it copies them
        return self._outputs

    def layer_times(self) -> list[LayerTime]:
        """Return the times of the layers in the last run, if the network was loaded in `profiled_networks`."""
        return [
            LayerTime(layer.node_name, layer.node_type, layer.exec_type, layer.real_time.total_seconds() * 1e3)
            for layer in self._request.profiling_info
            if layer.status == layer.Status.EXECUTED
        ]


def compile_settings(options: EngineOptions, precision: str) -> CompileSettings:
    """Return the properties with which OpenVINO compiles a network in a precision."""
    config: CompileSettings = {"PERFORMANCE_HINT": "LATENCY"}
    if options.device == "CPU":
        threads = options.thread_count
        if options.shared:
            threads = threads or _SHARED_THREADS
            config["NUM_STREAMS"] = streams = max(1, (os.cpu_count() or 1) // threads)
            threads *= streams
        config["INFERENCE_NUM_THREADS"] = threads
        # Pinned threads wait for their core where others work too: three times the time on a busy machine.
        config["ENABLE_CPU_PINNING"] = False
    if options.profiled:
        config["PERF_COUNT"] = True
    if precision != "default":  # where a network in int8 is not rounded it is f32
        config["INFERENCE_PRECISION_HINT"] = {"int8": "f32", "mixed": "bf16"}.get(precision, precision)
    return config


def resolve_precision(options: EngineOptions, path: Path | None = None) -> str:
    """Replace `auto` by a low precision that keeps the rule of `sonjit.engines.precision`, or by f32.

    `mixed` is bf16 in later dense convolutions, `default` is for devices other than the CPU.
    """
    if options.precision != "auto":
        return options.precision
    if options.device != "CPU":
        return "default"
    if path is not None and f32_share(path) is not None and has_bf16():
        return "mixed"
    return "int8" if path is not None and is_accurate_enough(path) else "f32"


def has_bf16() -> bool:
    """Check whether the CPU computes in bf16 natively."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def devices() -> dict[str, str]:
    """Return the devices of OpenVINO on this machine, with their full names."""
    return {device: core().get_property(device, "FULL_DEVICE_NAME") for device in core().available_devices}


@cache
def core() -> ov.Core:
    """Return the OpenVINO core, created once for all networks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=FORKED.set)
    return ov.Core()


def _shared_network(key: _Network) -> ov.CompiledModel:
    """Return a shared network, and load it if no engine uses it yet. Other callers wait."""
    with _shared_lock:
        network = _shared.get(key)
        if network is None:
            _shared[key] = network = _load(key)
        return network


def _kept_network(key: _Network) -> ov.CompiledModel:
    """Return a kept network, or load it, and keep it instead of those not used for longest."""
    with _kept_lock:
        network = _kept.pop(key, None)
    if network is None:
        network = _load(key)
    with _kept_lock:
        _kept[key] = network
        while len(_kept) > kept_networks():
            _kept.popitem(last=False)
    return network


def _load(network: _Network) -> ov.CompiledModel:
    """Return the compiled network, from the cache if possible."""
    blob = _blob_path(network, network.options.cache) if network.options.cache else None
    if blob and (cached := import_blob(core(), blob, network.options.device, dict(network.config))):
        return cached
    compiled = _compile(network)
    if blob:
        keep_blob(blob, compiled)
    return compiled


def _compile(network: _Network) -> ov.CompiledModel:
    from sonjit.engines import graph_edits  # slow to import, and a cached network does without

    path = network.path
    options = network.options
    config = dict(network.config)
    model = read_selected(path, network.outputs, network.taps)
    if network.value_range is not None:
        try:
            model = graph_edits.take_images(model, path, network.value_range, network.input_size)
        except RuntimeError as error:
            check_memory(error)
            raise InputError(f"{path}: OpenVINO cannot run it ({_first_line(error)})") from None
    if config.get("INFERENCE_PRECISION_HINT") == "bf16":
        graph_edits.keep_heads_in_f32(model)
    if network.precision == "mixed":
        model = graph_edits.with_exact_start(core(), model, f32_share(path) or 0.0)
    if options.device == "CPU" and config.get("INFERENCE_PRECISION_HINT") == "f32":
        graph_edits.use_convolutions(model)
        model = graph_edits.with_depthwise_kernel(core(), model)
    try:
        return core().compile_model(model, options.device, config)
    except RuntimeError as error:
        check_memory(error)
        raise InputError(
            f"OpenVINO cannot run {path.name} on device {options.device!r} ({_first_line(error)}); "
            f"devices here: {', '.join(core().available_devices)}"
        ) from None


def read_model(path: Path) -> ov.Model:
    """Read the network in a file, with the custom operators that Sonjit knows, or raise an InputError."""
    try:
        return core().read_model(path)
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter where its message repeats damaged names
        reason = _first_line(error)
    if path.suffix == ".tflite":
        from sonjit.engines.custom_operators import read_with_custom_operators

        try:
            return read_with_custom_operators(core(), path)
        except (ValueError, RuntimeError) as error:
            reason = _first_line(error)
    raise InputError(f"{path}: not a model that OpenVINO reads ({reason})")


def read_selected(path: Path, outputs: tuple[int, ...] | None, taps: tuple[int, ...]) -> ov.Model:
    """Read a network with only the selected outputs, without the branches of others, then taps as further outputs."""
    model = read_model(path)
    count = len(model.get_results())
    if outputs is not None and (needed := max(outputs, default=-1) + 1) > count:
        raise InputError(f"{path}: has {count} output(s), not the {needed} of the published network")
    if taps:
        from sonjit.engines.graph_edits import with_taps

        model = with_taps(model, path, taps)
    if outputs is not None:
        ends = model.get_results()
        model = ov.Model([*(ends[i] for i in outputs), *ends[count:]], model.get_parameters())  # pyright: ignore
    return model


def read_constants(file: tflite.TfliteFile, tensors: Iterable[int]) -> dict[int, Float32Array]:
    """Return the values of constant tensors of a TFLite file by number. Other tensors are a ValueError."""
    constants = {tensor: file.stored(tensor) for tensor in tensors if tensor >= 0}
    computed = [tensor for tensor, values in constants.items() if values is None]
    if computed:
        with files.WorkFolder() as folder:  # OpenVINO reads TFLite from files only
            (path := Path(folder) / "constants.tflite").write_bytes(file.part((), computed))
            try:
                ports = [result.input_value(0) for result in core().read_model(path).get_results()]
            except RuntimeError as error:
                raise ValueError("a damaged TFLite file") from error
        constants |= dict(zip(computed, map(constant_of, ports), strict=False))  # inputs of the network are left out
    if any(values is None for values in constants.values()):
        raise ValueError("a layer without weights")
    return {tensor: np.asarray(values, np.float32) for tensor, values in constants.items()}


def constant_of(port: ov.Output) -> NDArray[Any] | None:
    """Return the values of a constant, halves as float32; None if they depend on the input of the network."""
    node = port.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return node.get_data()
    inputs = [constant_of(source) for source in node.input_values()] if kind in _OF_CONSTANTS else [None]
    constants = [part for part in inputs if part is not None]
    if len(constants) < len(inputs):
        return None
    compute = _OF_CONSTANTS[kind]
    return (compute(*constants) if compute else constants[0]).reshape(list(port.get_shape()))


def _blob_path(network: _Network, folder: Path) -> Path:
    """Return the cache path of a compiled network for this file, device, version and options."""
    options = network.options
    device = "CPU" if options.device != "CPU" else core().get_property("CPU", "FULL_DEVICE_NAME")
    config = [setting for setting in network.config if setting[0] not in _RUN_SETTINGS]  # with the precision
    key = repr(
        (
            str(network.path),
            network.size,
            network.changed_ns,
            ov.__version__,
            device,
            os.cpu_count(),
            options.device,
            config,
            network.precision,
            network.value_range,
            network.outputs,
            *network.taps,
            network.input_size,
            _REVISION,
        )
    )
    return folder / f"{network.path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.blob"


def _first_line(error: Exception) -> str:
    """Return the reason of an OpenVINO error without its source lines."""
    if is_out_of_memory(error):
        return "it is damaged, or needs more memory than is free"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(("Exception from", "Check"))]
    return (reasons or lines or ["no reason given"])[-1][:200]
