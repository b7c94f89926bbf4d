"""Write networks as TFLite files, such as a published classifier for pages, whose networks run in the browser."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit._util import require
from sonjit.explanations.imagenet import IMAGE_MODELS, SIDE, imagenet_names, read_layers
from sonjit.weights import find_weight

Array = NDArray[np.float32]
_RELU6 = 3  # of TFLite's ActivationFunctionType


def classifier_file(model: str = IMAGE_MODELS[0]) -> tuple[bytes, list[str]]:
    """Return a TFLite file of a classifier with TensorFlow's padding and weights in half precision, and its class
    names.

    The input (1, 224, 224, 3) is RGB in -1..1. The outputs are the scores (1, C) before the softmax and the class
    activation maps (1, h, w, C), whose means plus the bias of their class are the scores.
    """
    require("ai_edge_litert", "networks of pages")
    layers, (weights, biases) = read_layers(find_weight(model), model)
    graph = Graph((1, SIDE, SIDE, 3))
    x = block = 0
    for layer in layers:
        if layer.begins_block:
            block = x
        x = graph.convolve(x, layer.filters, layer.bias, layer.stride, is_active=layer.is_active)
        if layer.is_sum:
            x = graph.add(x, block)
    maps = graph.convolve(x, weights[:, :, None, None], np.zeros_like(biases), is_active=False)
    scores = graph.add(graph.mean(maps), graph.constant(biases))
    return graph.file([scores, maps]), list(imagenet_names())


class Graph:
    """A TFLite file under construction. Its methods append operators and return the numbers of their outputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Begin with an input, whose number is 0. `shapes` has the shapes of all tensors."""
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._graph: Any = schema.SubGraphT()
        self._graph.name = b"main"
        self._graph.tensors = []
        self._graph.operators = []
        self._buffers: list[Any] = [schema.BufferT()]
        self._codes: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        self._graph.inputs = [self._tensor(shape)]

    def _tensor(self, shape: tuple[int, ...], values: Array | None = None) -> int:
        """Add a tensor of float32, or values that are stored in the file."""
        tensor, kinds = self._schema.TensorT(), self._schema.TensorType
        tensor.name = f"t{len(self.shapes)}".encode()
        tensor.shape = list(shape)
        tensor.buffer = 0
        if values is not None:
            tensor.type = {"e": kinds.FLOAT16, "i": kinds.INT32}[values.dtype.char]
            tensor.buffer = len(self._buffers)
            self._buffers.append(self._schema.BufferT())
            self._buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        self._graph.tensors.append(tensor)
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def _operate(self, kind: str, inputs: list[int], shape: tuple[int, ...], options: str, **fields: object) -> int:
        operator, operator_options = self._schema.OperatorT(), getattr(self._schema, f"{options}OptionsT")()
        for name, value in fields.items():
            setattr(operator_options, name, value)
        code = getattr(self._schema.BuiltinOperator, kind)
        self._codes += [] if code in self._codes else [code]
        operator.opcodeIndex, operator.inputs, operator.outputs = self._codes.index(code), inputs, [self._tensor(shape)]
        operator.builtinOptions = operator_options
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, f"{options}Options")
        self._graph.operators.append(operator)
        return operator.outputs[0]

    def constant(self, values: Array) -> int:
        """Add float32 values that are stored in half precision."""
        half = self._tensor(values.shape, values.astype("<f2"))
        return self._operate("DEQUANTIZE", [half], values.shape, "Dequantize")

    def convolve(self, x: int, filters: Array, bias: Array, stride: int = 1, *, is_active: bool) -> int:
        """Convolve with filters (C, K, h, w) and TensorFlow's padding; K is 1 if each channel has its own filter."""
        _, height, width, _ = self.shapes[x]
        is_depthwise = filters.shape[1] == 1
        ordered_filters = filters.transpose((1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1))
        kind = "CONV_2D"
        name = "Conv2D"
        more = {}
        if is_depthwise:
            kind = "DEPTHWISE_CONV_2D"
            name = "DepthwiseConv2D"
            more = {"depthMultiplier": 1}
        return self._operate(
            kind,
            [x, self.constant(ordered_filters), self.constant(bias)],
            (1, -(-height // stride), -(-width // stride), len(filters)),
            name,
            strideH=stride,
            strideW=stride,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=_RELU6 * is_active,
            **more,
        )

    def add(self, x: int, y: int, *, is_active: bool = False) -> int:
        """Add two tensors, the second of which may be a row."""
        return self._operate("ADD", [x, y], self.shapes[x], "Add", fusedActivationFunction=_RELU6 * is_active)

    def mean(self, x: int) -> int:
        """Return the mean over the positions of maps."""
        axes = self._tensor((2,), np.array([1, 2], "<i4"))
        return self._operate("MEAN", [x, axes], (1, self.shapes[x][-1]), "Reducer")

    def enlarge(self, x: int, side: int) -> int:
        """Enlarge maps to a square."""
        size, shape = self._tensor((2,), np.array([side, side], "<i4")), (1, side, side, self.shapes[x][3])
        return self._operate("RESIZE_BILINEAR", [x, size], shape, "ResizeBilinear", halfPixelCenters=True)

    def file(self, outputs: list[int]) -> bytes:
        """Return the file."""
        import flatbuffers

        model = self._schema.ModelT()
        self._graph.outputs = outputs
        model.version = 3
        model.subgraphs = [self._graph]
        model.buffers = self._buffers
        model.operatorCodes = []
        for code in self._codes:
            operator_code = self._schema.OperatorCodeT()
            operator_code.builtinCode = code
            operator_code.deprecatedBuiltinCode = code
            operator_code.version = 3
            model.operatorCodes.append(operator_code)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
