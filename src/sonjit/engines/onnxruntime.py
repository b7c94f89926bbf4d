"""Run networks on ONNX Runtime, for devices and platforms without OpenVINO (extra `[onnx]`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array
from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.engines import EngineOptions
from sonjit.engines.devices import onnxruntime_providers
from sonjit.engines.tflite import TfliteFile
from sonjit.engines.tflite_to_onnx import onnx_from_tflite

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxRuntimeEngine:
    """A network on ONNX Runtime, in f32; see `Engine` for the interface."""

    input: NDArray[np.uint8]
    precision = "f32"
    output_sizes: list[int]

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        value_range: tuple[float, float],
        outputs: tuple[int, ...] | None,
        taps: tuple[int, ...],
    ) -> None:
        self._session = _load_session(path, options, taps)
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise InputError(f"{path}: takes {len(inputs)} inputs, not one image of shape 1 x H x W x 3")
        node = inputs[0]
        shape = [d if isinstance(d, int) else 1 for d in node.shape]
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise InputError(f"{path}: input shape {node.shape} is neither 1 x H x W x 3 nor 1 x 3 x H x W")
        names: list[str] = [output.name for output in self._session.get_outputs()]
        count = len(names) if not taps else len(TfliteFile(path.read_bytes()).outputs)
        if outputs is not None and max(outputs) >= count:
            raise InputError(f"{path}: has {count} output(s), not the {max(outputs) + 1} of the published network")
        self._outputs = None if outputs is None else [*(names[index] for index in outputs), *names[count:]]
        self._name = node.name
        self._channels_first = shape[3] != 3
        height, width = shape[2:4] if self._channels_first else shape[1:3]
        self.input = np.zeros((1, height, width, 3), np.uint8)
        low, high = value_range
        self._scale, self._low = np.float32((high - low) / 255.0), np.float32(low)
        self.output_sizes = [output.size for output in self.run()]

    def run(self) -> list[Float32Array]:
        """Run the network on `input` and return the selected outputs."""
        values = self.input * self._scale + self._low  # (1, H, W, 3)
        if self._channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        return self._session.run(self._outputs, {self._name: values})  # pyright: ignore[reportReturnType]


def _load_session(path: Path, options: EngineOptions, taps: tuple[int, ...]) -> InferenceSession:
    """Load a network.

    Raises:
        InputError: ONNX Runtime cannot run the file, or does not support the options here.
        MissingExtraError: ONNX Runtime is not installed.
    """
    with optional_import("engine='onnxruntime'"):
        import onnxruntime as ort
    if options.precision not in ("auto", "f32"):
        raise InputError(f"precision={options.precision!r}: ONNX Runtime runs f32 here; use engine='openvino'")
    if path.suffix not in (".onnx", ".tflite"):
        raise InputError(f"{path.name}: ONNX Runtime runs .onnx and .tflite; use engine='openvino' for {path.suffix}")
    if taps and path.suffix != ".tflite":
        raise InputError(f"{path.name}: visibility reads the published .tflite networks, or takes engine='openvino'")
    providers = onnxruntime_providers(options.device, ort.get_available_providers())
    network = onnx_from_tflite(path, taps) if path.suffix == ".tflite" else str(path)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.thread_count
    settings.log_severity_level = 3
    try:
        session = ort.InferenceSession(network, settings, providers=providers)
    except Exception as error:  # onnxruntime's own exception classes are not public
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a model that ONNX Runtime reads ({reason[:200]})") from None
    if providers[0][0] not in session.get_providers():  # it falls back to another provider and only logs it
        raise InputError(f"ONNX Runtime cannot start {providers[0][0]} here: its driver or libraries are missing")
    return session
