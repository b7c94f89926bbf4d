"""A model file -> run(images): OpenVINO by default, ONNX Runtime behind the same small interface."""

from __future__ import annotations

from pathlib import Path

from sonjit.engines.base import Calibration, Engine, EngineName, EngineOptions, Precision, shared_networks
from sonjit.errors import InputError

__all__ = ["Calibration", "Engine", "EngineName", "EngineOptions", "Precision", "load_engine", "shared_networks"]


_ENDINGS = (".tflite", ".onnx", ".xml")


def load_engine(
    path: Path,
    options: EngineOptions,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    calibration: Calibration | None = None,
    outputs: tuple[int, ...] | None = None,
    taps: tuple[int, ...] = (),
) -> Engine:
    """Load a network that takes one RGB image.

    Args:
        path: a `.tflite`, `.onnx` or `.xml` file for OpenVINO, `.onnx` for ONNX Runtime, with one image input
            of batch 1, NHWC or NCHW.
        options: how to run it.
        value_range: what the network expects for the bytes 0 and 255.
        calibration: asked for images where the precision is int8 and no compiled network is kept yet.
        outputs: indices of the outputs that are wanted, in the wanted order; what only the others need is never
            computed. None: all, in file order.
        taps: sides of maps on the way that are given too, behind the outputs, see
            `graph_edits.with_taps`; OpenVINO only.

    Raises:
        InputError: the file is missing, unreadable for the runtime, takes no image or has too few outputs.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    if path.suffix not in _ENDINGS:
        raise InputError(f"{path}: unknown ending {path.suffix!r} of a model file; known: {', '.join(_ENDINGS)}")
    if options.engine == "onnxruntime":
        if taps:
            raise InputError("visibility needs maps that only engine='openvino' gives")
        from sonjit.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, options, value_range, outputs)
    from sonjit.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(path, options, value_range, calibration, outputs, taps)
