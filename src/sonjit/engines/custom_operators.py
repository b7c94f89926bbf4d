"""Read networks with custom operators, which OpenVINO's reader of TFLite does not know, as one OpenVINO model.

OpenVINO reads the parts of the graph between those operators. The operators themselves are written in OpenVINO's
operations and joined with the parts, so that one inference runs the network without copies in between.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from sonjit._util.files import WorkFolder
from sonjit.engines.tflite import FlexValue, Operator, TfliteFile, read_options

Emitter: TypeAlias = Callable[[Sequence[Operator], Sequence[list[ov.Output]]], list[ov.Output]]
"""Function from nodes of one kind and their inputs to their outputs."""
_TINY = np.float32(1e-6)


def read_with_custom_operators(core: ov.Core, path: Path) -> ov.Model:
    """Return one model of a TFLite file. A damaged file or an unknown custom operator is a ValueError."""
    file = TfliteFile(path.read_bytes())
    unknown = {operator.custom for operator in file.operators} - {"", *EMITTERS}
    if unknown:
        raise ValueError(f"custom operators {', '.join(sorted(unknown))}")
    varying = set(file.inputs)  # tensors that depend on the input; constants go along with every part
    for operator in file.operators:
        if varying.intersection(operator.inputs):
            varying.update(operator.outputs)
    waiting = [operator for operator in file.operators if varying.intersection(operator.inputs)]
    parameters: list[ov.op.Parameter] = []
    tensors: dict[int, ov.Output] = {}
    try:
        while waiting:
            part, remaining = _ready(waiting, varying, {*tensors, *file.inputs}, custom=False)
            _add_part(
                core, file, part=part, remaining=remaining, varying=varying, tensors=tensors, parameters=parameters
            )
            custom, remaining = _ready(remaining, varying, set(tensors), custom=True)
            for name in dict.fromkeys(operator.custom for operator in custom):
                alike = [operator for operator in custom if operator.custom == name]
                values = EMITTERS[name](alike, [[tensors[t] for t in operator.inputs] for operator in alike])
                tensors.update(zip((operator.outputs[0] for operator in alike), values, strict=True))
            if len(remaining) == len(waiting):
                raise ValueError("operators that wait for each other")
            waiting = remaining
        return ov.Model([tensors[tensor] for tensor in file.outputs], parameters, path.stem)  # pyright: ignore
    except (KeyError, IndexError) as error:
        raise ValueError("a graph that does not hang together") from error


def _ready(
    waiting: Sequence[Operator], varying: set[int], tensors: set[int], *, custom: bool
) -> tuple[list[Operator], list[Operator]]:
    """Split operators into those that can run now and the rest."""
    ready: list[Operator] = []
    remaining: list[Operator] = []
    for operator in waiting:
        if bool(operator.custom) == custom and varying.intersection(operator.inputs) <= tensors:
            ready.append(operator)
            if not custom:  # those of one kind are written together
                tensors.update(operator.outputs)
        else:
            remaining.append(operator)
    return ready, remaining


def _add_part(
    core: ov.Core,
    file: TfliteFile,
    *,
    part: Sequence[Operator],
    remaining: Sequence[Operator],
    varying: set[int],
    tensors: dict[int, ov.Output],
    parameters: list[ov.op.Parameter],
) -> None:
    """Read some operators with OpenVINO and store the tensors that others need."""
    produced = {tensor for operator in part for tensor in operator.outputs}
    outputs = sorted(produced & {*file.outputs, *(tensor for operator in remaining for tensor in operator.inputs)})
    inputs = sorted(varying.intersection(tensor for operator in part for tensor in operator.inputs) - produced)
    if not outputs:
        return
    with WorkFolder() as folder:  # OpenVINO reads TFLite from files only
        (part_file := Path(folder) / "part.tflite").write_bytes(file.part(inputs, outputs))
        model = core.read_model(part_file)
    for tensor, parameter in zip(inputs, model.get_parameters(), strict=True):
        if tensor in tensors:
            parameter.output(0).replace(tensors[tensor])
        else:
            parameters.append(parameter)
    tensors.update(zip(outputs, (result.input_value(0) for result in model.get_results()), strict=True))


def matrices_from_landmarks(nodes: Sequence[Operator], inputs: Sequence[list[ov.Output]]) -> list[ov.Output]:
    """Build Landmarks2TransformMatrix: matrices (1, 4, 4) from pixels of a region's map to pixels of the full map.

    The region is the box around some of the landmarks (1, K, 3), turned to have the way from its left to its right
    landmark level, and made larger by a scale.
    """
    options = [read_options(node.options) for node in nodes]
    regions, max_count = len(nodes), max(len(_indices(option)) for option in options)
    of_region = 3 * np.arange(regions) * inputs[0][0].get_shape()[1]  # where each node's landmarks begin
    chosen = np.array([np.resize(_indices(option), max_count) for option in options])  # one twice changes no box
    xy = np.arange(2)

    def places(indices: np.ndarray) -> np.ndarray:
        """Return the indices (R, ..., 2) of x and y in all nodes' landmarks, from indices (R, ...) within each."""
        starts = of_region.reshape(-1, *[1] * (indices.ndim - 1))
        return (starts + 3 * indices)[..., np.newaxis] + xy

    size = np.array([_numbers(option, "output_width", "output_height") for option in options], np.float32)
    scale = np.array([_numbers(option, "scale_x", "scale_y") for option in options], np.float32)
    ends = np.array([_numbers(option, "left_rotation_idx", "right_rotation_idx") for option in options], np.int64)
    turns = [_turn(*_numbers(option, "target_rotation_radians")) for option in options]

    flat = ops.concat([ops.reshape(landmarks, _axes(-1), False) for (landmarks,) in inputs], 0)
    points = ops.gather(flat, places(chosen).transpose(0, 2, 1), 0)  # (R, 2, K)
    way = ops.subtract(ops.gather(flat, places(ends[:, 1]), 0), ops.gather(flat, places(ends[:, 0]), 0))  # (R, 2)
    unit = ops.divide(way, ops.maximum(ops.reduce_l2(way, _axes(1), True), _TINY))
    turn = ops.matmul(np.array(turns, np.float32), ops.unsqueeze(unit, _axes(2)), False, False)  # (R, 4, 1)
    back = ops.reshape(turn, _axes(regions, 2, 2), False)  # from the level region to the image
    level = ops.matmul(back, points, True, False)  # (R, 2, K)
    low, high = (reduce(level, _axes(2), True) for reduce in (ops.reduce_min, ops.reduce_max))  # (R, 2, 1)
    centre = ops.matmul(back, ops.multiply(ops.add(low, high), np.float32(0.5)), False, False)
    growth = ops.multiply(ops.subtract(high, low), (scale / size)[..., np.newaxis])
    linear = ops.multiply(back, ops.transpose(growth, _axes(0, 2, 1)))  # (R, 2, 2)
    shift = ops.subtract(centre, ops.matmul(linear, (size / 2)[..., np.newaxis], False, False))  # (R, 2, 1)

    scatter, constant_row = np.zeros((6, 16), np.float32), np.zeros((1, 16), np.float32)
    scatter[range(6), [0, 1, 3, 4, 5, 7]], constant_row[:, [10, 15]] = 1, 1
    two_rows = ops.reshape(ops.concat([linear, shift], 2), _axes(regions, 6), False)
    matrices = ops.add(ops.matmul(two_rows, scatter, False, False), constant_row)
    return ops.split(ops.reshape(matrices, _axes(regions, 4, 4), False), 0, regions).outputs()


def _turn(target_rad: float) -> list[list[float]]:
    """Return the matrix (4, 2) that turns a unit vector into the 2 x 2 rotation from the x axis to it, for target 0."""
    cos, sin = math.cos(target_rad), math.sin(target_rad)
    return [[cos, sin], [sin, -cos], [-sin, cos], [cos, sin]]


def sampled_maps(nodes: Sequence[Operator], inputs: Sequence[list[ov.Output]]) -> list[ov.Output]:
    """Build TransformTensorBilinear: maps (1, h, w, C) sampled from a map (1, H, W, C) by matrices (1, 4, 4).

    Pixel centres are at halves; a pixel whose source lies outside is 0.
    """
    sizes = {_numbers(read_options(node.options), "output_height", "output_width") for node in nodes}
    if len(sizes) != 1 or len({node.inputs[0] for node in nodes}) != 1:
        raise ValueError("maps of several sizes or sources")
    height, width = (int(number) for number in sizes.pop())
    map_height, map_width, channels = list(inputs[0][0].get_shape())[1:]

    grid = np.zeros((4, height, width), np.float32)
    grid[0] = np.arange(width) + 0.5
    grid[1] = np.arange(height)[:, np.newaxis] + 0.5
    grid[3] = 1
    matrices = ops.gather(ops.concat([matrix for _, matrix in inputs], 0), _axes(0, 1), 1)  # (R, 2, 4)
    where = ops.subtract(ops.matmul(matrices, grid.reshape(4, -1), False, False), np.float32(0.5))  # (R, 2, P)
    last = np.array([[map_width - 1], [map_height - 1]], np.float32)
    inside = ops.minimum(ops.maximum(where, np.float32(0)), last)
    low = ops.minimum(ops.floor(inside), last - 1)
    is_inside = ops.reduce_logical_and(ops.equal(inside, where), _axes(1), False)  # (R, P)

    # The neighbours (x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1): their weights, then their rows of channels.
    part = ops.unsqueeze(ops.subtract(inside, low), _axes(3))  # (R, 2, P, 1)
    at_zero = np.array([[[1, 0, 1, 0]], [[1, 1, 0, 0]]], np.float32)  # (2, 1, 4)
    by_axis = ops.add(ops.multiply(part, 1 - 2 * at_zero), at_zero)
    weights = ops.multiply(ops.reduce_prod(by_axis, _axes(1)), ops.unsqueeze(ops.convert(is_inside, "f32"), _axes(2)))
    first = ops.convert(ops.reduce_sum(ops.multiply(low, np.array([[1], [map_width]], np.float32)), _axes(1)), "i32")
    four = ops.add(ops.unsqueeze(first, _axes(2)), np.array([0, 1, map_width, map_width + 1], np.int32))  # (R, P, 4)
    rows = ops.reshape(_copy(inputs[0][0]), _axes(-1, channels), False)  # (H * W, C)
    pixels = ops.multiply(ops.gather(rows, four, 0), ops.unsqueeze(weights, _axes(3)))  # (R, P, 4, C)
    maps = ops.reshape(ops.reduce_sum(pixels, _axes(2)), _axes(-1, height, width, channels), False)
    return ops.split(maps, 0, len(nodes)).outputs()


def _copy(values: ov.Output) -> ov.Output:
    """Return the same map (1, H, W, C), by a pooling over single pixels, in a hundredth of the time of the network.

    For the gather, OpenVINO reorders the map of a residual sum by a plain loop, which takes half of that time.
    """
    turned = ops.transpose(values, _axes(0, 3, 1, 2))
    pooled = ops.max_pool(turned, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1]).output(0)
    return ops.transpose(pooled, _axes(0, 2, 3, 1)).output(0)


def transformed_landmarks(nodes: Sequence[Operator], inputs: Sequence[list[ov.Output]]) -> list[ov.Output]:
    """Build TransformLandmarks: points (1, K, 2), each transformed by a matrix (1, 4, 4)."""
    results: list[ov.Output] = []
    for points, matrix in inputs:
        rows = ops.gather(matrix, _axes(0, 1), 1)  # (1, 2, 4)
        shift = ops.transpose(ops.gather(rows, _axes(3), 2), _axes(0, 2, 1))  # (1, 1, 2)
        turned = ops.matmul(points, ops.gather(rows, _axes(0, 1), 2), False, True)
        results.append(ops.add(turned, shift).output(0))
    return results


def _axes(*numbers: int) -> np.ndarray:
    return np.array(numbers)


def _numbers(options: dict[str, FlexValue], *names: str) -> tuple[float, ...]:
    values = [options.get(name) for name in names]
    numbers = tuple(value for value in values if isinstance(value, int | float))
    if len(numbers) != len(names):
        raise ValueError(f"a custom operator without {' or '.join(names)}")
    return numbers


def _indices(options: dict[str, FlexValue]) -> tuple[int, ...]:
    value = options.get("subset_idxs")
    if not isinstance(value, tuple) or not value:
        raise ValueError("a custom operator without subset_idxs")
    return value


EMITTERS: dict[str, Emitter] = {
    "Landmarks2TransformMatrix": matrices_from_landmarks,
    "TransformTensorBilinear": sampled_maps,
    "TransformLandmarks": transformed_landmarks,
}
