"""ONNX networks for tests whose outputs are known."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="extra onnx")


def write_constant(path, output, side, number=np.float32):
    """Write a network whose output does not depend on its image of some side in pixels."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(number))
    arrays = {"rows": output.astype(number), "zero": np.zeros((), number)}
    nodes = [
        onnx.helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        onnx.helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        onnx.helper.make_node("Add", ["rows", "nothing"], ["output"]),
    ]
    sides = [onnx.helper.make_tensor_value_info("image", kind, (1, 3, side, side))]
    ends = [onnx.helper.make_tensor_value_info("output", kind, output.shape)]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "constant", sides, ends, held)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)


def add_nodes(path, nodes, shapes):
    """Change the outputs of a network by further nodes."""
    model = onnx.load(path)
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    onnx.save(model, path)
