"""Run networks on ONNX Runtime, for devices and platforms without OpenVINO (extra `[onnx]`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, Image, InputError, check_memory, optional_import
from sonjit.engines import BEFORE_RUN, EngineOptions, ValueRange, check_takes_bytes, devices, image_shape
from sonjit.engines.openvino import constant_of, ov, read_selected

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


_NUMBERS: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
"""Number formats of inputs, by ONNX Runtime's names."""
_OPSET: Final = 17
_IR_VERSION: Final = 9
_FIRST, _LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # orders of the axes with the channels before and after height and width
_SAME_OPERATORS: Final = {
    "Add": "Add",
    "Multiply": "Mul",
    "PRelu": "PRelu",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "HSwish": "HardSwish",
}
"""ONNX's names of operators without attributes."""
_RESHAPING: Final = ("Reshape", "Squeeze", "Unsqueeze")


class OnnxRuntimeEngine:
    """A network on ONNX Runtime, in f32; see `Engine` for the interface."""

    input: Image
    precision = "f32"
    output_sizes: list[int]
    _before_run: Callable[[], object] | None = None

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        value_range: ValueRange,
        outputs: tuple[int, ...] | None,
        taps: tuple[int, ...],
        size: tuple[int, int] | None = None,
    ) -> None:
        self._session = _load_session(path, options, outputs, taps)
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise InputError(f"{path}: takes {len(inputs)} inputs, not one image of shape 1 x H x W x 3")
        node = inputs[0]
        given = [item if isinstance(item, int) else None for item in node.shape]
        if len(given) == 4 and given[0] not in (1, None):
            raise InputError(f"{path}: takes {given[0]} images at a time. Export it for one image")
        shape, self._channels_first = image_shape(path, given, size)
        if node.type not in _NUMBERS:
            raise InputError(f"{path}: takes {node.type}. Choose from {', '.join(_NUMBERS)}")
        self._type = _NUMBERS[node.type]
        if self._type is np.uint8:
            check_takes_bytes(path, value_range)
        names: list[str] = [output.name for output in self._session.get_outputs()]
        if path.suffix == ".tflite":  # the conversion has selected them
            outputs = None
        if outputs and max(outputs) >= len(names):
            raise InputError(f"{path}: has {len(names)} output(s), not the {max(outputs) + 1} of the published network")
        self._outputs = None if outputs is None else [names[index] for index in outputs]
        self._name = node.name
        height, width = shape[2:] if self._channels_first else shape[1:3]
        self.input = np.zeros((1, height, width, 3), np.uint8)
        low, high = (np.asarray(value, np.float64) for value in value_range)
        self._scale, self._low = ((high - low) / 255.0).astype(np.float32), low.astype(np.float32)
        try:
            self.output_sizes = [output.size for output in self.run()]
        except Exception as error:  # onnxruntime's own exception classes are not public
            check_memory(error)
            raise InputError(f"{path}: ONNX Runtime cannot run it ({str(error).splitlines()[0][:200]})") from None
        self._before_run = BEFORE_RUN.get()

    def run(self) -> list[Float32Array]:
        """Run the network on `input` and return the selected outputs."""
        if self._before_run is not None:
            self._before_run()
        values = (self.input * self._scale + self._low).astype(self._type, copy=False)  # (1, H, W, 3)
        if self._channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, {self._name: values})  # pyright: ignore[reportAssignmentType]
        return [np.asarray(output, np.float32) for output in outputs]


def _load_session(
    path: Path, options: EngineOptions, outputs: tuple[int, ...] | None, taps: tuple[int, ...]
) -> InferenceSession:
    """Load a network."""
    with optional_import("engine='onnxruntime'"):
        import onnxruntime as ort
    if options.precision not in ("auto", "f32"):
        raise InputError(f"precision={options.precision!r}: ONNX Runtime runs f32 here; use engine='openvino'")
    if path.suffix not in (".onnx", ".tflite"):
        raise InputError(f"{path.name}: ONNX Runtime runs .onnx and .tflite; use engine='openvino' for {path.suffix}")
    if taps and path.suffix != ".tflite":
        raise InputError(f"{path.name}: visibility reads the published .tflite networks, or takes engine='openvino'")
    providers = devices.onnxruntime_providers(options.device, ort.get_available_providers())
    network = onnx_from_tflite(path, outputs, taps) if path.suffix == ".tflite" else str(path)
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


def onnx_from_tflite(path: Path, outputs: tuple[int, ...] | None = None, taps: tuple[int, ...] = ()) -> bytes:
    """Convert a network, as OpenVINO reads it with `read_selected`, to an ONNX file."""
    with optional_import(f"{path.name} on engine='onnxruntime'", "onnx"):
        import onnx
    model = read_selected(path, outputs, taps)
    try:
        return _Conversion(onnx).model(model, path.stem).SerializeToString()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be made ONNX ({error}); use engine='openvino'") from None


class _Conversion:
    """Conversion of one network."""

    def __init__(self, onnx: Any) -> None:  # noqa: ANN401  # it has no strict types
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._weights: dict[str, object] = {}
        self._names: dict[str, str] = {}

    def model(self, model: ov.Model, name: str) -> Any:  # noqa: ANN401
        helper = self._onnx.helper
        for node in model.get_ordered_ops():
            kind, value = node.get_type_name(), node.get_friendly_name()
            if kind == "Parameter":
                self._names[value] = value
            elif kind != "Result" and constant_of(node.output(0)) is None:
                self._names[value] = self._converted(node)
        results = list(model.get_results())
        for index, node in enumerate(results):
            self._nodes.append(helper.make_node("Identity", [self._input(node, 0)], [f"output{index}"]))
        ends = [
            [
                helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, list(node.output(0).get_shape()))
                for name, node in named
            ]
            for named in (
                [(node.get_friendly_name(), node) for node in model.get_parameters()],
                [(f"output{index}", node) for index, node in enumerate(results)],
            )
        ]
        graph = helper.make_graph(self._nodes, name, *ends, list(self._weights.values()))
        converted = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        self._onnx.checker.check_model(converted)
        return converted

    def _converted(self, node: ov.Node) -> str:
        """Add the node of an operator, and return the name of its output."""
        kind, attributes = node.get_type_name(), node.get_attributes()
        value, shape = self._input(node, 0), list(node.output(0).get_shape())
        match kind:
            case _ if kind in _SAME_OPERATORS:
                inputs = [self._input(node, index) for index in range(node.get_input_size())]
                return self._add(_SAME_OPERATORS[kind], inputs)
            case _ if kind in _RESHAPING:
                return self._add("Reshape", [value, self._whole(shape)])
            case "Convert":  # from float32 to float32
                return value
            case "Clamp":
                ends = [self._weight(np.float32(attributes[end])) for end in ("min", "max")]
                return self._add("Clip", [value, *ends])
            case "Concat":
                inputs = [self._input(node, index) for index in range(node.get_input_size())]
                return self._add("Concat", inputs, axis=attributes["axis"])
            case "Convolution" | "GroupConvolution":
                kernel = self._constant(node, 1)
                groups = len(kernel) if kind == "GroupConvolution" else 1
                kernel = kernel.reshape(-1, *kernel.shape[-3:])
                window = self._window(attributes, kernel.shape[-2:]) | {"dilations": list(attributes["dilations"])}
                return self._add("Conv", [value, self._weight(kernel)], group=groups, **window)
            case "DepthToSpace":
                return self._add("DepthToSpace", [value], blocksize=attributes["block_size"], mode="DCR")
            case "Interpolate":  # of rows and columns, before the channels
                sizes = self._whole([shape[axis] for axis in _FIRST])
                value = self._add("Transpose", [value], perm=_FIRST)
                mode = attributes["coordinate_transformation_mode"]
                resized = self._add(
                    "Resize", [value, "", "", sizes], mode="linear", coordinate_transformation_mode=mode
                )
                return self._add("Transpose", [resized], perm=_LAST)
            case "MatMul":
                weights = self._constant(node, 1)
                return self._add("Gemm", [value, self._weight(weights)], transB=int(attributes["transpose_b"]))
            case "AvgPool" | "MaxPool":
                name = "AveragePool" if kind == "AvgPool" else kind
                return self._add(name, [value], **self._window(attributes, attributes["kernel"]))
            case "Pad":
                return self._add("Pad", [value, self._whole([*self._constant(node, 1), *self._constant(node, 2)])])
            case "ReduceMean":
                axes = [int(axis) for axis in self._constant(node, 1).ravel()]
                return self._add("ReduceMean", [value], axes=axes, keepdims=int(attributes["keep_dims"]))
            case "Transpose":
                return self._add("Transpose", [value], perm=[int(axis) for axis in self._constant(node, 1)])
            case _:
                raise ValueError(f"operator {kind}")

    def _window(self, attributes: Mapping[str, Any], kernel_shape: Sequence[int]) -> dict[str, object]:
        """Return the attributes of a sliding window."""
        window: dict[str, object] = {"kernel_shape": list(kernel_shape), "strides": list(attributes["strides"])}
        if attributes["auto_pad"] == "explicit":
            return window | {"pads": [*attributes["pads_begin"], *attributes["pads_end"]]}
        return window | {"auto_pad": attributes["auto_pad"].upper()}

    def _add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output and return the output's name."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _input(self, node: ov.Node, index: int) -> str:
        """Return the name of an input, computed or constant."""
        port = node.input_value(index)
        constant = constant_of(port)
        return self._names[port.get_node().get_friendly_name()] if constant is None else self._weight(constant)

    def _constant(self, node: ov.Node, index: int) -> NDArray[Any]:
        constant = constant_of(node.input_value(index))
        if constant is None:
            raise ValueError(f"{node.get_type_name()} with parameters that depend on the input")
        return constant

    def _whole(self, values: Sequence[int]) -> str:
        return self._weight(np.array(values, np.int64))

    def _weight(self, values: NDArray[Any] | np.float32) -> str:
        name = f"w{len(self._weights)}"
        self._weights[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name
