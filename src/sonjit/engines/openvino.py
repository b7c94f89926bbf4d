"""OpenVINO: reads TFLite and ONNX files as they are; compiled networks are kept for a fast second start."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import time
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit.engines.quiet_openvino import ov
from sonjit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.engines.base import Calibration, EngineOptions

_REVISION = 4
"""Of how networks are changed before they are compiled; kept ones of another revision are not taken."""

_KEPT_S = 90 * 24 * 3600


class OpenVinoEngine:
    """A network on OpenVINO; see `Engine` for the interface."""

    input: NDArray[np.uint8]
    precision: str
    output_sizes: list[int]

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        value_range: tuple[float, float],
        calibration: Calibration | None = None,
        outputs: tuple[int, ...] | None = None,
    ) -> None:
        self.precision = resolve_precision(options)
        config = compile_settings(options, self.precision)
        network = _load(path, options, config, value_range, calibration, outputs)
        self._request = network.create_infer_request()
        self.input = self._request.get_input_tensor(0).data
        self._outputs = [self._request.get_output_tensor(i).data for i in range(len(network.outputs))]
        self.output_sizes = [output.size for output in self._outputs]

    def run(self) -> list[NDArray[np.float32]]:
        """The chosen outputs for the picture in `input`; overwritten by the next run."""
        self._request.infer()
        return self._outputs


def compile_settings(options: EngineOptions, precision: str) -> dict[str, Any]:
    """What OpenVINO is told when it compiles a network that runs in this precision."""
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if options.device == "CPU":
        config["INFERENCE_NUM_THREADS"] = options.thread_count
        # Pinned threads wait for their core where others work too: three times the time on a busy machine.
        config["ENABLE_CPU_PINNING"] = False
    if precision in ("f32", "bf16", "f16"):
        config["INFERENCE_PRECISION_HINT"] = precision
    return config


def resolve_precision(options: EngineOptions) -> str:
    """`auto` as what this device runs natively: bf16 where the CPU has it, else f32; `default` off the CPU."""
    if options.precision != "auto":
        return options.precision
    if options.device != "CPU":
        return "default"
    return "bf16" if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def devices() -> dict[str, str]:
    """OpenVINO's devices here, with their full names."""
    return {device: core().get_property(device, "FULL_DEVICE_NAME") for device in core().available_devices}


@cache
def core() -> ov.Core:
    """OpenVINO itself, once for all networks."""
    return ov.Core()


def _load(
    path: Path,
    options: EngineOptions,
    config: dict[str, Any],
    value_range: tuple[float, float],
    calibration: Calibration | None,
    outputs: tuple[int, ...] | None,
) -> ov.CompiledModel:
    """The compiled network, from the cache where it stands there."""
    blob = _blob_path(path, options, config, value_range, outputs) if options.cache else None
    if blob and (network := _import_blob(blob, options.device, config)):
        return network
    network = _compile(path, options, config, value_range, calibration, outputs)
    if blob:
        _keep_blob(blob, network)
    return network


def _compile(
    path: Path,
    options: EngineOptions,
    config: dict[str, Any],
    value_range: tuple[float, float],
    calibration: Calibration | None,
    outputs: tuple[int, ...] | None,
) -> ov.CompiledModel:
    model = read_model(path)
    if outputs is not None:
        model = _with_outputs(model, path, outputs)
    model = take_pictures(model, path, value_range)
    if options.precision == "int8":
        from sonjit.engines.int8 import quantize

        if calibration is None:
            raise InputError(f"{path.name}: no pictures to set int8 ranges with; use precision='auto'")
        model = quantize(model, calibration())
    if config.get("INFERENCE_PRECISION_HINT") == "bf16":
        from sonjit.engines.precision import keep_heads_in_f32

        keep_heads_in_f32(model)
    try:
        return core().compile_model(model, options.device, config)
    except RuntimeError as error:
        raise InputError(
            f"OpenVINO cannot run {path.name} on device {options.device!r} ({_first_line(error)}); "
            f"devices here: {', '.join(core().available_devices)}"
        ) from None


def read_model(path: Path) -> ov.Model:
    """The network in a file, with the custom operators that Sonjit knows; InputError where it cannot be read."""
    try:
        return core().read_model(path)
    except RuntimeError as error:
        reason = _first_line(error)
    if path.suffix == ".tflite":
        from sonjit.engines.tflite_custom import read_with_custom_operators

        try:
            return read_with_custom_operators(core(), path)
        except (ValueError, RuntimeError) as error:
            reason = _first_line(error)
    raise InputError(f"{path}: not a model that OpenVINO reads ({reason})")


def _with_outputs(model: ov.Model, path: Path, outputs: tuple[int, ...]) -> ov.Model:
    """The same network with only these outputs: the branches that lead to others fall away."""
    results = model.get_results()
    if max(outputs) >= len(results):
        raise InputError(f"{path}: has {len(results)} output(s), not the {max(outputs) + 1} of the published network")
    return ov.Model([results[index] for index in outputs], model.get_parameters())  # pyright: ignore


def take_pictures(model: ov.Model, path: Path, value_range: tuple[float, float]) -> ov.Model:
    """The same network with a uint8 NHWC input of batch 1, scaled inside."""
    import numpy as np
    from openvino import opset13 as ops

    if len(model.inputs) != 1 or model.input(0).partial_shape.rank.get_length() != 4:
        raise InputError(f"{path}: takes {len(model.inputs)} input(s), not one picture of shape 1 x H x W x 3")
    shape = [d.get_length() if d.is_static else -1 for d in model.input(0).partial_shape]
    if 3 not in (shape[1], shape[3]) or -1 in shape[1:]:
        raise InputError(f"{path}: input shape {shape} is neither 1 x H x W x 3 nor 1 x 3 x H x W")
    layout = "NHWC" if shape[3] == 3 else "NCHW"
    if shape[0] != 1:
        model.reshape([1, *shape[1:]])
    picture = ops.parameter([1, *(shape[1:3] if layout == "NHWC" else shape[2:]), 3], ov.Type.u8, "picture")
    low, high = value_range
    # Row after row as one line: OpenVINO would else turn the bytes to NCHW first, and the numbers back after.
    line = ops.convert(ops.reshape(picture, np.array([1, -1]), special_zero=False), "f32")
    scale = 255 / (high - low)  # exact in bf16 too, as the zero point is, for the usual ranges
    if low != 0:
        line = ops.subtract(line, np.float32(-low * scale))
    line = ops.divide(line, np.float32(scale))
    values = ops.reshape(line, np.array(list(picture.get_output_shape(0))), special_zero=False)
    if layout == "NCHW":
        values = ops.transpose(values, np.array([0, 3, 1, 2]))
    old = model.get_parameters()[0]
    old.output(0).replace(values.output(0))
    return ov.Model(model.get_results(), [picture], model.get_friendly_name())  # pyright: ignore


def _blob_path(
    path: Path,
    options: EngineOptions,
    config: dict[str, Any],
    value_range: tuple[float, float],
    outputs: tuple[int, ...] | None,
) -> Path:
    """Where the compiled form of this file, on this device, in this version, with these options would stand."""
    assert options.cache is not None
    stat = path.stat()
    device = "CPU" if options.device != "CPU" else core().get_property("CPU", "FULL_DEVICE_NAME")
    key = repr(
        (
            str(path.resolve()), stat.st_size, stat.st_mtime_ns, ov.__version__, device, os.cpu_count(),
            options.device, options.precision, sorted(config.items()), value_range, outputs, _REVISION,
        )
    )  # fmt: skip
    return options.cache / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.blob"


def _import_blob(blob: Path, device: str, config: dict[str, Any]) -> ov.CompiledModel | None:
    """The kept network, or None where there is none or it is damaged: it is then made anew."""
    try:
        with blob.open("rb") as file:
            checksum, data = file.read(4), file.read()
    except OSError:
        return None
    if zlib.crc32(data).to_bytes(4, "little") != checksum:
        return None
    try:
        network = core().import_model(io.BytesIO(data), device, config)
    except RuntimeError:
        return None
    with suppress(OSError):
        blob.touch()  # used today: not to be cleared away
    return network


def _keep_blob(blob: Path, network: ov.CompiledModel) -> None:
    """Keep the compiled network for the next start; a cache that cannot be written is no error."""
    try:
        data: bytes = network.export_model().getvalue()
        blob.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=blob.parent, suffix=".part")
    except (OSError, RuntimeError):
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.crc32(data).to_bytes(4, "little"))
            file.write(data)
        Path(temporary).replace(blob)
        _clear_unused(blob.parent)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _clear_unused(folder: Path) -> None:
    """Remove compiled networks that nobody has used for a quarter: of older versions, say."""
    oldest = time.time() - _KEPT_S
    for blob in folder.glob("*.blob"):
        with suppress(OSError):
            if blob.stat().st_mtime < oldest:
                blob.unlink()


def _first_line(error: Exception) -> str:
    """OpenVINO's own reason without its stack of source lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(("Exception from", "Check"))]
    return (reasons or lines or ["no reason given"])[-1][:200]
