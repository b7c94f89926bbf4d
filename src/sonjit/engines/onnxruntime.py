"""Run networks on ONNX Runtime, for devices and platforms without OpenVINO (extra `[onnx]`)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array
from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.engines import EngineOptions
from sonjit.engines.devices import onnxruntime_providers
from sonjit.engines.tflite import Operator, TfliteFile, TfliteTensors

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


_OPSET: Final = 17
_IR_VERSION: Final = 9
_FIRST: Final = [0, 3, 1, 2]
"""Axes order with the channels before height and width."""
_LAST: Final = [0, 2, 3, 1]

# Numbers of the fields in their tables of options.
_POOL_WIDTH, _POOL_HEIGHT = 3, 4
_DILATION_X: Final = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 5}
_MULTIPLIER: Final = 3
_CONCATENATION_AXIS, _MEAN_KEEPS_AXES, _BLOCK_SIZE = 0, 0, 0
_ALIGNS_CORNERS, _HAS_HALF_PIXELS = 2, 3


def onnx_from_tflite(path: Path, taps: Sequence[int] = ()) -> bytes:
    """Convert a network to an ONNX file.

    Args:
        path: File of the network.
        taps: Sides of intermediate maps that become further outputs, see `graph_edits.with_taps`.

    Raises:
        InputError: The file is damaged, or contains unknown operators.
        MissingExtraError: The package onnx is not installed.
    """
    with optional_import(f"{path.name} on engine='onnxruntime'", "onnx"):
        import onnx
    try:
        return _Conversion(TfliteFile(path.read_bytes()), onnx).model(path.stem, taps).SerializeToString()
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise InputError(f"{path}: cannot be made ONNX ({error}); use engine='openvino'") from None


class _Conversion:
    """Conversion of one file. The name of a tensor is its number."""

    def __init__(self, file: TfliteFile, onnx: Any) -> None:  # noqa: ANN401  # it has no strict types
        self._file, self._onnx = file, onnx
        self._held = TfliteTensors(file)
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}

    def model(self, name: str, taps: Sequence[int]) -> Any:  # noqa: ANN401
        file, helper = self._file, self._onnx.helper
        for operator in file.operators:
            if operator.kind not in ("DEQUANTIZE", "DENSIFY"):  # of constants, which are read as they become
                self._convert(operator)
        ends = [
            [
                helper.make_tensor_value_info(str(tensor), self._onnx.TensorProto.FLOAT, self._shape(tensor))
                for tensor in tensors
            ]
            for tensors in (file.inputs, file.outputs)
        ]
        ends[1] += self._tapped(taps) if taps else []
        graph = helper.make_graph(self._nodes, name, *ends, list(self._weights.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        self._onnx.checker.check_model(model)
        return model

    def _tapped(self, sides: Sequence[int]) -> list[Any]:
        """Return the last sum of two maps of each side (1, C, side, side), and the mean of the last map (1, C)."""
        sums: dict[int, int] = {}
        mean: int | None = None
        for operator in self._file.operators:
            number = operator.outputs[0]
            if operator.kind == "MEAN":
                mean = number
            elif operator.kind == "ADD" and len({self._shape(tensor) for tensor in operator.inputs}) == 1:
                shape = self._shape(number)
                if len(shape) == 4 and shape[1] == shape[2]:
                    sums[shape[1]] = number
        lacking = [f"map of {side} x {side}" for side in sides if side not in sums]
        if lacking:
            raise ValueError(f"no {lacking[0]} for the heads")
        ends: list[tuple[str, tuple[int, ...]]] = [
            (self._turned(str(sums[side]), _FIRST), (1, self._shape(sums[side])[-1], side, side)) for side in sides
        ]
        if mean is not None:
            channels = self._shape(mean)[-1]
            ends.append((self._reshaped(str(mean), (1, channels)), (1, channels)))
        float32 = self._onnx.TensorProto.FLOAT
        return [self._onnx.helper.make_tensor_value_info(name, float32, shape) for name, shape in ends]

    def _convert(self, operator: Operator) -> None:
        writers: dict[str, Callable[[Operator], str]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "MAX_POOL_2D": self._pooling,
            "AVERAGE_POOL_2D": self._pooling,
            "FULLY_CONNECTED": self._fully_connected,
            "RESIZE_BILINEAR": self._resize,
            "DEPTH_TO_SPACE": self._depth_to_space,
            "MEAN": self._mean,
            "PAD": lambda item: self._add(
                "Pad", [self._input(item, 0), self._whole(self._constant(item, 1).T.ravel())]
            ),
            "RESHAPE": lambda item: self._reshaped(self._input(item, 0), self._shape(item.outputs[0])),
            "CONCATENATION": lambda item: self._add(
                "Concat", self._inputs(item), axis=self._option(item, _CONCATENATION_AXIS)
            ),
            "ADD": lambda item: self._add("Add", self._inputs(item)),
            "MUL": lambda item: self._add("Mul", self._inputs(item)),
            "PRELU": lambda item: self._add("PRelu", self._inputs(item)),
            "RELU": lambda item: self._add("Relu", self._inputs(item)),
            "RELU6": lambda item: self._activated(self._input(item, 0), "RELU6"),
            "LOGISTIC": lambda item: self._add("Sigmoid", self._inputs(item)),
            "HARD_SWISH": lambda item: self._add("HardSwish", self._inputs(item)),
        }
        if operator.kind not in writers:
            raise ValueError(f"operator {operator.custom or operator.kind}")
        value = self._activated(writers[operator.kind](operator), operator.activation)
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [str(operator.outputs[0])]))

    def _convolution(self, operator: Operator) -> str:
        weights, is_depthwise = self._constant(operator, 1), operator.kind == "DEPTHWISE_CONV_2D"
        # TFLite: (out, height, width, in), and for single channels (1, height, width, out).
        kernel = weights.transpose(3, 0, 1, 2) if is_depthwise else weights.transpose(0, 3, 1, 2)
        parts = [self._turned(self._input(operator, 0), _FIRST), self._weight(np.ascontiguousarray(kernel))]
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            parts.append(self._weight(self._constant(operator, 2)))
        field = _DILATION_X[operator.kind]
        dilations = [self._option(operator, field + 1, 1), self._option(operator, field, 1)]
        groups = len(kernel) // self._option(operator, _MULTIPLIER, 1) if is_depthwise else 1
        kernel_shape, window = [int(size) for size in kernel.shape[-2:]], self._window(operator)
        value = self._add("Conv", parts, kernel_shape=kernel_shape, dilations=dilations, group=groups, **window)
        return self._turned(value, _LAST)

    def _pooling(self, operator: Operator) -> str:
        kernel_shape = [self._option(operator, _POOL_HEIGHT), self._option(operator, _POOL_WIDTH)]
        kind = "MaxPool" if operator.kind == "MAX_POOL_2D" else "AveragePool"
        window = self._window(operator)
        value = self._turned(self._input(operator, 0), _FIRST)
        return self._turned(self._add(kind, [value], kernel_shape=kernel_shape, **window), _LAST)

    def _window(self, operator: Operator) -> dict[str, Any]:
        """Return the attributes of a sliding window."""
        return {"strides": list(operator.stride), "auto_pad": "SAME_UPPER" if operator.same else "VALID"}

    def _fully_connected(self, operator: Operator) -> str:
        weights = self._constant(operator, 1)  # (out, in)
        parts = [self._reshaped(self._input(operator, 0), (-1, weights.shape[1])), self._weight(weights)]
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            parts.append(self._weight(self._constant(operator, 2)))
        return self._reshaped(self._add("Gemm", parts, transB=1), self._shape(operator.outputs[0]))

    def _resize(self, operator: Operator) -> str:
        flat, table = self._file.flat, operator.options_table
        at = "asymmetric"
        if table and flat.byte(table, _ALIGNS_CORNERS):
            at = "align_corners"
        elif table and flat.byte(table, _HAS_HALF_PIXELS):
            at = "half_pixel"
        _, height, width, channels = self._shape(operator.outputs[0])
        sizes = self._whole(np.array([1, channels, height, width]))
        value = self._turned(self._input(operator, 0), _FIRST)
        value = self._add("Resize", [value, "", "", sizes], mode="linear", coordinate_transformation_mode=at)
        return self._turned(value, _LAST)

    def _depth_to_space(self, operator: Operator) -> str:
        value = self._turned(self._input(operator, 0), _FIRST)
        value = self._add("DepthToSpace", [value], blocksize=self._option(operator, _BLOCK_SIZE), mode="DCR")
        return self._turned(value, _LAST)

    def _mean(self, operator: Operator) -> str:
        axes = [int(axis) for axis in self._constant(operator, 1).ravel()]
        flat, table = self._file.flat, operator.options_table
        keeps = int(bool(table and flat.byte(table, _MEAN_KEEPS_AXES)))
        return self._add("ReduceMean", [self._input(operator, 0)], axes=axes, keepdims=keeps)

    def _activated(self, value: str, activation: str) -> str:
        match activation:
            case "":
                return value
            case "RELU":
                return self._add("Relu", [value])
            case "RELU6":
                return self._add("Clip", [value, self._number(0), self._number(6)])
            case _:
                raise ValueError(f"activation {activation}")

    def _add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output and return the output's name."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _turned(self, value: str, order: Sequence[int]) -> str:
        return self._add("Transpose", [value], perm=order)

    def _reshaped(self, value: str, shape: Sequence[int]) -> str:
        return self._add("Reshape", [value, self._whole(np.array(shape))])

    def _inputs(self, operator: Operator) -> list[str]:
        return [self._input(operator, index) for index in range(len(operator.inputs))]

    def _input(self, operator: Operator, index: int) -> str:
        """Return the name of an input, computed or constant."""
        number = operator.inputs[index]
        constant = self._held.constant(number)
        return str(number) if constant is None else self._weight(constant)

    def _constant(self, operator: Operator, index: int) -> NDArray[Any]:
        constant = self._held.constant(operator.inputs[index])
        if constant is None:
            raise ValueError(f"{operator.kind} with parameters that depend on the input")
        return constant

    def _shape(self, number: int) -> tuple[int, ...]:
        return self._held.tensors[number].shape

    def _option(self, operator: Operator, field: int, default: int = 0) -> int:
        return self._file.flat.number(operator.options_table, field, default) if operator.options_table else default

    def _number(self, value: float) -> str:
        return self._weight(np.array(value, np.float32))

    def _whole(self, values: NDArray[Any]) -> str:
        return self._weight(np.ascontiguousarray(values.astype(np.int64)))

    def _weight(self, values: NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights[name] = self._onnx.numpy_helper.from_array(values, name)
        return name
