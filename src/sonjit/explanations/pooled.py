"""Run networks that end in a map, its mean and linear heads, and return the map too.

Every number of such a head is `bias + sum_k w_k mean(F_k)`, so it is also the mean of a map, `sum_k w_k F_k`, plus the
bias: which parts of the image decide it can be read off exactly. Source: Zhou et al. 2016, Learning Deep Features for
Discriminative Localization, section 2.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit.engines import EngineOptions, model_file
from sonjit.engines.graph_edits import take_images
from sonjit.engines.openvino import compile_settings, constant_of, core, ov, read_model

_SAME_ROW = ("Reshape", "Squeeze", "Unsqueeze", "Transpose")


@dataclass(frozen=True, eq=False)
class LinearHead:
    """One output: `weights @ mean + bias`."""

    weights: Float32Array  # (N, K) float32, K being the map's channels
    bias: Float32Array  # (N,) float32
    logistic: bool  # the output is the sigmoid of that


class PooledNetwork:
    """A network whose outputs are all linear in the mean of one map; runs on OpenVINO in f32. It is not thread-safe.

    `model` is the network of the file, if OpenVINO does not read the file itself.

    Attributes:
        input: Input buffer (1, H, W, 3) uint8: write an image into it, then call `run()`.
        heads: Linear heads, one per output, in file order.
    """

    precision = "f32"

    def __init__(self, path: Path, threads: int | None, device: str, model: ov.Model | None = None) -> None:
        path = model_file(path)
        model = read_model(path) if model is None else model
        results = list(model.get_results())
        heads, maps, (self._rows_first, *_) = zip(
            *(_trace(path, number, result) for number, result in enumerate(results)), strict=True
        )
        self.heads = list(heads)
        if len({end.get_node().get_friendly_name() for end in maps}) != 1:
            raise InputError(f"{path}: its outputs do not share one map, so no map of them is exact")
        results.append(ov.op.Result(maps[0]))
        model = ov.Model(results, model.get_parameters())  # pyright: ignore
        model = take_images(model, path, (0.0, 1.0))
        options = EngineOptions(device=device, precision="f32", threads=threads)
        network = core().compile_model(model, options.device, compile_settings(options, "f32"))
        self._request = network.create_infer_request()
        self.input: Image = self._request.get_input_tensor(0).data
        self.output_sizes = [len(head.bias) for head in self.heads]

    def run(self) -> tuple[Float32Array, list[Float32Array]]:
        """Run the network on `input` and return copies of the map (K, h, w) and of the outputs."""
        self._request.infer()
        *outputs, last = (self._request.get_output_tensor(i).data.copy() for i in range(len(self.heads) + 1))
        return (last[0].transpose(2, 0, 1) if self._rows_first else last[0]), outputs


def _trace(path: Path, number: int, result: ov.Node) -> tuple[LinearHead, ov.Output, bool]:
    """Trace an output back to the map in whose mean it is linear. Return also whether the channels are last in it."""
    complaint = InputError(f"{path}: output {number} is not linear in the mean of a map, so no map of it is exact")

    def constant(port: ov.Output) -> Float32Array:
        values = constant_of(port)
        if values is None:
            raise complaint
        return np.array(values, np.float32)

    weights = bias = None
    logistic, scale = False, 1.0
    port = result.input_value(0)
    while (node := port.get_node()).get_type_name() != "ReduceMean":
        kind = node.get_type_name()
        if kind == "Sigmoid" and weights is bias is None:
            logistic = True
        elif kind == "Add" and weights is bias is None:
            bias = constant(node.input_value(1)).ravel()
        elif kind == "Multiply" and weights is None and len(factor := constant(node.input_value(1)).ravel()) == 1:
            scale *= float(factor[0])  # of ONNX's Gemm
        elif kind == "MatMul" and weights is None and not node.get_attributes()["transpose_a"]:
            weights = constant(node.input_value(1))
            weights = weights if node.get_attributes()["transpose_b"] else weights.T
        elif kind not in _SAME_ROW or sum(size != 1 for size in port.get_shape()) > 1:  # reshaping must keep order
            raise complaint
        port = node.input_value(0)
    features = node.input_value(0)
    shape = tuple(features.get_shape())
    axes = {int(axis) % len(shape) for axis in constant(node.input_value(1)).ravel()}
    if weights is None or weights.ndim != 2 or len(shape) != 4 or axes not in ({1, 2}, {2, 3}):
        raise complaint
    bias = np.zeros(len(weights), np.float32) if bias is None else bias
    return LinearHead(scale * weights, np.broadcast_to(bias, len(weights)), logistic), features, axes == {1, 2}
