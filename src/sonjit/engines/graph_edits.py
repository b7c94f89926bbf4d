"""Edit the graph of a network before it is compiled: image inputs, exact last layers, further outputs, kernels.

Last layers in f32. The heads of landmark networks are matrix products, or convolutions over a complete small map, whose
results are pixels. In bf16 a value above 128 moves in steps of one pixel, which is most of what bf16 costs.

Kernels. For depthwise convolutions in f32 OpenVINO takes those made of small matrix products (brgconv) first. The older
kernels take less processor time. The attention network crops its inner maps and keeps OpenVINO's choice. The older
kernels for all other convolutions would move hands by up to 0.2 px: palms that differ in the last bits are cropped on
another grid. The tables are in research/int8.md.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from openvino import opset13 as ops

from sonjit._util import InputError, files
from sonjit.engines import ValueRange, check_takes_bytes, image_shape
from sonjit.engines.devices import processor_flags
from sonjit.engines.quiet_openvino import ov

PRODUCTS: Final = ("Convolution", "GroupConvolution", "MatMul")
"""Operations that take most of the time of a network."""
_SMALL = 4  # maximum side of a map whose convolutions are rewritten. Later layers take almost no time.

_DEPTHWISE_KERNELS: Final = {"avx512f": "cpu:jit_avx512_dw", "avx2": "cpu:jit_avx2_dw"}
"""Older kernels of OpenVINO by the first of these instruction sets that a processor has."""


def keep_heads_in_f32(model: ov.Model) -> None:
    """Write a model's last convolutions and matrix products as operations that OpenVINO leaves in f32, in place.

    It runs everything up to the last convolution or matrix product in bf16. So, from the outputs backwards, a product
    over one row and a convolution over a complete map become products and sums, and convolutions on maps of 4 x 4 or
    less become transposed convolutions, which do not count.
    """
    pending: list[ov.Node] = [*model.get_results()]
    visited: set[str] = set()
    while pending:
        node = pending.pop()
        if node.get_friendly_name() in visited:
            continue
        visited.add(node.get_friendly_name())
        if node.get_type_name() not in PRODUCTS:
            pending += [port.get_source_output().get_node() for port in node.inputs()]
        elif (exact := _exact(node)) is not None:
            pending.append(node.input_value(0).get_node())
            node.output(0).replace(exact.output(0))


def _exact(node: ov.Node) -> ov.Node | None:
    """Return the layer as other operations, or None if they are not cheaper."""
    values, weights = node.input_value(0), node.input_value(1)
    if values.get_partial_shape().is_dynamic or weights.get_partial_shape().is_dynamic:
        return None
    if node.get_type_name() == "MatMul":
        if not _is_of_one_row(node):
            return None
        return ops.unsqueeze(_products(values, weights), _constant(0))  # (1, K), (N, K) -> (1, N)
    if node.get_type_name() == "Convolution" and _takes_whole_map(node):
        count = weights.get_shape()[0]
        rows = ops.reshape(weights, _constant(count, -1), special_zero=False)  # (N, C * H * W)
        row = ops.reshape(values, _constant(1, -1), special_zero=False)  # (1, C * H * W)
        sums = _products(row.output(0), rows.output(0))
        return ops.reshape(sums, _constant(1, count, 1, 1), special_zero=False)
    return _as_transposed(node) if _keeps_a_small_map(node) else None


def _as_transposed(node: ov.Node) -> ov.Node:
    """Return a convolution of stride 1 as a transposed convolution, with swapped and flipped filters."""
    values, weights = node.input_value(0), node.input_value(1)
    attributes = node.get_attributes()
    steps, begin, end = attributes["strides"], attributes["pads_begin"], attributes["pads_end"]
    grouped = node.get_type_name() == "GroupConvolution"  # weights (G, N, C, h, w), otherwise (N, C, h, w)
    order = [0, 2, 1, 3, 4] if grouped else [1, 0, 2, 3]
    turned: ov.Node = ops.transpose(weights, np.array(order))
    for axis, size in list(enumerate(turned.output(0).get_shape()))[-2:]:
        turned = ops.gather(turned, np.arange(size)[::-1].copy(), np.array(axis))
    make = ops.group_convolution_backprop_data if grouped else ops.convolution_backprop_data
    return make(values, turned, strides=steps, pads_begin=begin, pads_end=end, dilations=[1, 1])


def _products(values: ov.Output, rows: ov.Output) -> ov.Node:
    """Return the sums (N,) of values (1, K) times each row of (N, K)."""
    return ops.reduce_sum(ops.multiply(values, rows), _constant(1))


def _constant(*values: int) -> ov.Node:
    return ops.constant(np.array(values))


def _is_of_one_row(node: ov.Node) -> bool:
    """Return one row of values times rows of weights."""
    values, weights = node.input_value(0).get_shape(), node.input_value(1).get_shape()
    attributes = node.get_attributes()
    return (
        attributes["transpose_b"]
        and not attributes["transpose_a"]
        and len(values) == len(weights) == 2
        and values[0] == 1
    )


def _has_fixed_weights(node: ov.Node) -> bool:
    """Check whether all shapes are known and the second factor is stored in the network, maybe in half precision."""
    weights = node.input_value(1).get_node()
    if weights.get_type_name() == "Convert":
        weights = weights.input_value(0).get_node()
    return weights.get_type_name() == "Constant" and not node.input_value(0).get_partial_shape().is_dynamic


def _takes_whole_map(node: ov.Node) -> bool:
    """Return a convolution of a map that is not larger than the filter, with one result per filter."""
    ports = node.input_value(0), node.input_value(1), node.output(0)
    values, weights, result = (tuple(port.get_shape()) for port in ports)
    return len(values) == 4 and values == (1, *weights[1:]) and result[2:] == (1, 1)


def _keeps_a_small_map(node: ov.Node) -> bool:
    """Return a convolution of stride 1 of a map up to 4 x 4, with equal padding on all sides."""
    values, result = node.input_value(0), node.output(0)
    shape, attributes = tuple(values.get_shape()), node.get_attributes()
    filters = tuple(node.input_value(1).get_shape())[-2:]
    padding = [size // 2 for size in filters]
    return (
        len(shape) == 4
        and max(shape[2:]) <= _SMALL
        and tuple(result.get_shape())[2:] == shape[2:]
        and all(size % 2 for size in filters)
        and list(attributes["strides"]) == list(attributes["dilations"]) == [1, 1]
        and list(attributes["pads_begin"]) == list(attributes["pads_end"]) == padding
    )


def use_convolutions(model: ov.Model) -> None:
    """Write products of one row as convolutions, in place. These sum in the same order with AVX2 and with AVX-512."""
    for node in model.get_ops():
        if node.get_type_name() == "MatMul" and _has_fixed_weights(node) and _is_of_one_row(node):
            rows, columns = node.input_value(1).get_shape()
            values, filters = (
                ops.reshape(port, _constant(*shape), special_zero=False)
                for port, shape in zip(node.input_values(), ((1, columns, 1, 1), (rows, columns, 1, 1)), strict=True)
            )
            sums = ops.convolution(values, filters, [1, 1], [0, 0], [0, 0], [1, 1])
            node.output(0).replace(ops.reshape(sums, _constant(1, rows), special_zero=False).output(0))


def with_depthwise_kernel(core: ov.Core, model: ov.Model) -> ov.Model:
    """Return the network with a preferred kernel at each depthwise convolution, if that is faster in f32.

    OpenVINO reads the choice of kernels only from its own files, so the network is written to a file and read again.
    """
    kinds = {node.get_type_name() for node in model.get_ops()}
    flags = processor_flags()
    kernel = next((kernel for flag, kernel in _DEPTHWISE_KERNELS.items() if flag in flags), None)
    if kernel is None or kinds & {"Gather", "FakeQuantize"}:
        return model
    choice = {"name": "primitives_priority", "value": kernel}
    return _with_attributes(core, model, lambda layer: choice if layer.get("type") == "GroupConvolution" else {})


def with_exact_start(core: ov.Core, model: ov.Model, share: float) -> ov.Model:
    """Return the network with bf16 only in dense convolutions, and only after a share of the layers."""
    count = sum(node.get_type_name() in PRODUCTS for node in model.get_ops())
    passed = -1

    def choose(layer: ET.Element) -> dict[str, str]:
        nonlocal passed
        passed += layer.get("type") in PRODUCTS
        is_exact = layer.get("type") != "Convolution" or max(passed, 0) < share * count
        return {"name": "precise"} if is_exact and layer.get("type") not in ("Const", "Parameter", "Result") else {}

    return _with_attributes(core, model, choose)


def _with_attributes(core: ov.Core, model: ov.Model, choose: Callable[[ET.Element], dict[str, str]]) -> ov.Model:
    """Return the network with an attribute for OpenVINO's CPU plugin at each layer for which there is one."""
    with files.WorkFolder() as folder:
        graph, weights = Path(folder) / "network.xml", Path(folder) / "network.bin"
        ov.serialize(model, graph, weights)
        root = ET.fromstring(graph.read_text("utf-8"))  # written the line before
        for layer in root.iter("layer"):
            if attribute := choose(layer):
                information = layer.find("rt_info")
                information = ET.SubElement(layer, "rt_info") if information is None else information
                ET.SubElement(information, "attribute", attribute | {"version": "0"})
        return core.read_model(ET.tostring(root), weights.read_bytes())


def with_taps(model: ov.Model, path: Path, sides: Sequence[int]) -> ov.Model:
    """Return the network with further outputs after its own. The model must not be used afterwards.

    These are the last residual sum (1, C, side, side) for each of the `sides` and, if the network computes one, the
    mean (1, C) of its last map.
    """
    sums: dict[int, ov.Output] = {}
    mean: ov.Output | None = None
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "ReduceMean":
            mean = node.output(0)
        elif kind == "Add" and len({port.get_partial_shape().to_string() for port in node.inputs()}) == 1:
            shape = node.output(0).get_partial_shape()  # two maps of one size: no bias
            if shape.rank.get_length() == 4 and shape[2].is_static and shape[2] == shape[3]:
                sums[shape[2].get_length()] = node.output(0)
    lacking = [str(side) for side in sides if side not in sums]
    if lacking:
        pattern = f"residual map of {lacking[0]} x {lacking[0]}"
        raise InputError(f"{path}: has no {pattern}; the heads were trained on the published networks")
    taps = [*(sums[side] for side in sides), *([] if mean is None else [mean])]
    ends = [ov.op.Result(port) for port in taps]
    return ov.Model([*model.get_results(), *ends], model.get_parameters())  # pyright: ignore


def take_images(model: ov.Model, path: Path, value_range: ValueRange, size: tuple[int, int] | None = None) -> ov.Model:
    """Return the network with a uint8 NHWC input of batch 1, which it scales itself, and with float32 outputs.

    `size`: width and height of the input in pixels, for networks without fixed ones. OpenVINO raises a RuntimeError for
    a network that it cannot run with this input.
    """
    if len(model.inputs) != 1 or model.input(0).partial_shape.rank.is_dynamic:
        raise InputError(f"{path}: takes {len(model.inputs)} input(s), not one image of shape 1 x H x W x 3")
    given = [item.get_length() if item.is_static else None for item in model.input(0).partial_shape]
    shape, is_first = image_shape(path, given, size)
    number = model.input(0).get_element_type()
    if number == ov.Type.u8:
        check_takes_bytes(path, value_range)
    elif number not in (ov.Type.f32, ov.Type.f16, ov.Type.f64, ov.Type.bf16):
        raise InputError(f"{path}: takes {number.get_type_name()}, not float32, float16 or bytes")
    if tuple(given) != shape:
        model.reshape(list(shape))
    image, values = _image_input(shape, value_range, channels_first=is_first)
    old = model.get_parameters()[0]
    old.output(0).replace((values if number == ov.Type.f32 else ops.convert(values, number)).output(0))
    ends = [_as_float32(result) for result in model.get_results()]
    return ov.Model(ends, [image], model.get_friendly_name())  # pyright: ignore


def _image_input(
    shape: tuple[int, int, int, int], value_range: ValueRange, *, channels_first: bool
) -> tuple[ov.op.Parameter, ov.Node]:
    """Return a uint8 NHWC input, and its scaled values as float32 in the input shape of a network."""
    image = ops.parameter([1, *(shape[2:] if channels_first else shape[1:3]), 3], ov.Type.u8, "image")
    low, high = (np.asarray(value, np.float64) for value in value_range)
    # Row after row as one line: OpenVINO would else turn the bytes to NCHW first, and the numbers back after.
    line = ops.convert(ops.reshape(image, np.array([1, -1]), special_zero=False), "f32")
    scale = 255 / (high - low)  # exact in bf16 too, as the zero point is, for the usual ranges
    zero, scale = (
        constant if constant.ndim == 0 else np.tile(constant, math.prod(shape[1:]) // 3)
        for constant in (-low * scale, scale)
    )
    if zero.any():
        line = ops.subtract(line, zero.astype(np.float32))
    line = ops.divide(line, scale.astype(np.float32))
    values = ops.reshape(line, np.array(list(image.get_output_shape(0))), special_zero=False)
    return image, ops.transpose(values, np.array([0, 3, 1, 2])) if channels_first else values


def _as_float32(result: ov.Node) -> ov.Node:
    """Return an output of a network as float32."""
    if result.get_output_element_type(0) == ov.Type.f32:
        return result
    return ops.result(ops.convert(result.input_value(0), ov.Type.f32))
