"""Write a published classifier as a TFLite file for pages, whose networks run in the browser."""

from typing import Any

import numpy as np

from sonjit._util import require
from sonjit.lab.explain.imagenet import IMAGE_MODELS, SIDE, imagenet_names, read_layers
from sonjit.weights import find_weight


def classifier_file(model: str = IMAGE_MODELS[0]) -> tuple[bytes, list[str]]:
    """Return a TFLite file of a classifier with weights in half precision, and the names of its classes.

    The input (1, 224, 224, 3) is RGB in -1..1. The outputs are the scores (1, C) before the softmax and the class
    activation maps (1, h, w, C). The mean of a map and the bias of its class add up to the score.

    Args:
        model: Classifier whose convolutions are padded as in TensorFlow.

    Raises:
        InputError: The weights are missing.
        MissingExtraError: The extra `page` is not installed.
    """
    require("ai_edge_litert", "networks of pages")
    layers, (weights, biases) = read_layers(find_weight(model), model)
    graph = _Graph()
    x = block = image = graph.tensor((1, SIDE, SIDE, 3), "image")
    for layer in layers:
        if layer.begins_block:
            block = x
        x = graph.convolve(x, layer.filters, layer.bias, layer.stride, is_active=layer.is_active)
        if layer.is_sum:
            x = graph.add(x, block)
    maps = graph.convolve(x, weights[:, :, None, None], np.zeros_like(biases), 1, is_active=False)
    scores = graph.add(graph.mean(maps), graph.constant(biases))
    return graph.file(image, [scores, maps]), list(imagenet_names())


class _Graph:
    """A graph of TFLite under construction. Its methods append operators and return the numbers of their outputs."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._graph: Any = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._buffers, self._shapes, self._codes = [schema.BufferT()], [], []

    def tensor(self, shape: tuple[int, ...], name: str = "", data: np.ndarray[Any, Any] | None = None) -> int:
        """Add a tensor of float32, or a constant."""
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name or f"t{len(self._shapes)}", list(shape), 0
        if data is not None:
            kinds = self._schema.TensorType
            tensor.type = {"float16": kinds.FLOAT16, "int32": kinds.INT32}.get(data.dtype.name, kinds.FLOAT32)
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._graph.tensors.append(tensor)
        self._shapes.append(shape)
        return len(self._shapes) - 1

    def constant(self, values: np.ndarray[Any, Any]) -> int:
        """Add float32 values that are stored in half precision."""
        half = values.astype(np.float16)
        return self._operate("DEQUANTIZE", [self.tensor(half.shape, data=half)], half.shape)

    def convolve(
        self, x: int, filters: np.ndarray[Any, Any], bias: np.ndarray[Any, Any], stride: int, *, is_active: bool
    ) -> int:
        """Convolve with filters (C, K, h, w), or with each channel's own filter (C, 1, h, w)."""
        _, height, width, _ = self._shapes[x]
        shape = (1, -(-height // stride), -(-width // stride), len(filters))
        is_depthwise = filters.shape[1] == 1
        name = "DepthwiseConv2D" if is_depthwise else "Conv2D"
        options = getattr(self._schema, f"{name}OptionsT")()
        options.padding, options.strideH, options.strideW = self._schema.Padding.SAME, stride, stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = self._schema.ActivationFunctionType.RELU6 if is_active else 0
        if is_depthwise:
            options.depthMultiplier = 1
        ordered = filters.transpose((1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1))
        code = "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"
        return self._operate(code, [x, self.constant(ordered), self.constant(bias)], shape, name, options)

    def add(self, x: int, y: int) -> int:
        """Add two tensors, the second of which may be a row."""
        return self._operate("ADD", [x, y], self._shapes[x], "Add", self._schema.AddOptionsT())

    def mean(self, x: int) -> int:
        """Return the mean over the positions of maps."""
        axes = np.array([1, 2], np.int32)
        shape = (1, self._shapes[x][-1])
        return self._operate(
            "MEAN", [x, self.tensor(axes.shape, data=axes)], shape, "Reducer", self._schema.ReducerOptionsT()
        )

    def _operate(
        self, code: str, inputs: list[int], shape: tuple[int, ...], name: str = "", options: object = None
    ) -> int:
        operator = self._schema.OperatorT()
        if code not in self._codes:
            self._codes.append(code)
        operator.opcodeIndex, operator.inputs = self._codes.index(code), inputs
        operator.outputs = [self.tensor(shape)]
        if name:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, f"{name}Options")
            operator.builtinOptions = options
        self._graph.operators.append(operator)
        return operator.outputs[0]

    def file(self, image: int, outputs: list[int]) -> bytes:
        """Return the file."""
        import flatbuffers

        self._graph.inputs, self._graph.outputs = [image], outputs
        model = self._schema.ModelT()
        model.version, model.description, model.subgraphs, model.buffers = 3, "classifier", [self._graph], self._buffers
        model.operatorCodes = []
        for code in self._codes:
            number = self._schema.OperatorCodeT()
            number.builtinCode = number.deprecatedBuiltinCode = getattr(self._schema.BuiltinOperator, code)
            number.version = 2 if code == "DEQUANTIZE" else 1
            model.operatorCodes.append(number)
        builder = flatbuffers.Builder(1 << 24)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
