"""Networks with operators that OpenVINO's reader of TFLite does not know, as one OpenVINO model.

The parts of the graph between those operators are read by OpenVINO; the operators themselves are written in its own
operations, and all is joined: one inference, with nothing carried in and out in between.

The three custom operators of MediaPipe's attention mesh, in OpenVINO's operations.

Together they are a spatial transformer per region of the face (Grishchenko et al. 2020, Attention Mesh, section 2.1).
What each computes was found by comparing tensors with mediapipe 0.10.21. Nodes of one kind are written together: an
operation over three regions costs little more than over one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from sonjit.engines.tflite import Operator, Option, TfliteFile, read_options
from sonjit.files import WorkFolder

Emitter: TypeAlias = Callable[[Sequence[Operator], Sequence[list[ov.Output]]], list[ov.Output]]
"""From nodes of one kind and the inputs of each to the output of each."""


def read_with_custom_operators(core: ov.Core, path: Path) -> ov.Model:
    """One model from a TFLite file that holds custom operators.

    Raises:
        ValueError: the file is damaged, or holds custom operators other than those known here.
    """
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
    made: dict[int, ov.Output] = {}
    try:
        while waiting:
            part, rest = _ready(waiting, varying, {*made, *file.inputs}, custom=False)
            _add_part(core, file, part, rest, varying, made, parameters)
            custom, rest = _ready(rest, varying, set(made), custom=True)
            for name in dict.fromkeys(operator.custom for operator in custom):
                alike = [operator for operator in custom if operator.custom == name]
                values = EMITTERS[name](alike, [[made[t] for t in operator.inputs] for operator in alike])
                made.update(zip((operator.outputs[0] for operator in alike), values, strict=True))
            if len(rest) == len(waiting):
                raise ValueError("operators that wait for each other")
            waiting = rest
        return ov.Model([made[tensor] for tensor in file.outputs], parameters, path.stem)  # pyright: ignore
    except (KeyError, IndexError) as error:
        raise ValueError("a graph that does not hang together") from error


def _ready(
    waiting: Sequence[Operator], varying: set[int], made: set[int], *, custom: bool
) -> tuple[list[Operator], list[Operator]]:
    """Operators of one sort that can run, one after the other, on what is made; and the rest."""
    ready: list[Operator] = []
    rest: list[Operator] = []
    for operator in waiting:
        if bool(operator.custom) == custom and varying.intersection(operator.inputs) <= made:
            ready.append(operator)
            if not custom:  # those of one kind are written together
                made.update(operator.outputs)
        else:
            rest.append(operator)
    return ready, rest


def _add_part(
    core: ov.Core,
    file: TfliteFile,
    part: Sequence[Operator],
    rest: Sequence[Operator],
    varying: set[int],
    made: dict[int, ov.Output],
    parameters: list[ov.op.Parameter],
) -> None:
    """Let OpenVINO read some operators; what others need of them is then made."""
    own = {tensor for operator in part for tensor in operator.outputs}
    outputs = sorted(own & {*file.outputs, *(tensor for operator in rest for tensor in operator.inputs)})
    inputs = sorted(varying.intersection(tensor for operator in part for tensor in operator.inputs) - own)
    if not outputs:
        return
    with WorkFolder() as folder:  # OpenVINO reads TFLite from files only
        (part_file := Path(folder) / "part.tflite").write_bytes(file.part(inputs, outputs))
        model = core.read_model(part_file)
    for tensor, parameter in zip(inputs, model.get_parameters(), strict=True):
        if tensor in made:
            parameter.output(0).replace(made[tensor])
        else:
            parameters.append(parameter)
    made.update(zip(outputs, (result.input_value(0) for result in model.get_results()), strict=True))


_TINY = np.float32(1e-6)


def _matrices_from_landmarks(nodes: Sequence[Operator], inputs: Sequence[list[ov.Output]]) -> list[ov.Output]:
    """Landmarks2TransformMatrix: from pixels of a region's own map to pixels of the whole map, (1, 4, 4) each.

    The region is the box around some of the landmarks (1, K, 3), turned to have the way from its left to its right
    landmark level, and made larger by a scale.
    """
    options = [read_options(node.options) for node in nodes]
    regions, most = len(nodes), max(len(_indices(option)) for option in options)
    of_region = 3 * np.arange(regions) * inputs[0][0].get_shape()[1]  # where each node's landmarks begin
    chosen = np.array([np.resize(_indices(option), most) for option in options])  # one twice changes no box
    xy = np.arange(2)

    def places(indices: np.ndarray) -> np.ndarray:
        """(R, ..., 2) places of x and y in all nodes' landmarks, from indices (R, ...) within each."""
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

    place, rest = np.zeros((6, 16), np.float32), np.zeros((1, 16), np.float32)
    place[range(6), [0, 1, 3, 4, 5, 7]], rest[:, [10, 15]] = 1, 1
    two_rows = ops.reshape(ops.concat([linear, shift], 2), _axes(regions, 6), False)
    whole = ops.add(ops.matmul(two_rows, place, False, False), rest)
    return ops.split(ops.reshape(whole, _axes(regions, 4, 4), False), 0, regions).outputs()


def _turn(target_rad: float) -> list[list[float]]:
    """(4, 2): times the unit vector of a way it is the 2 x 2 rotation that takes a level way to it, for target 0."""
    cos, sin = math.cos(target_rad), math.sin(target_rad)
    return [[cos, sin], [sin, -cos], [-sin, cos], [cos, sin]]


def _sampled_maps(nodes: Sequence[Operator], inputs: Sequence[list[ov.Output]]) -> list[ov.Output]:
    """TransformTensorBilinear: maps (1, h, w, C) sampled from one map (1, H, W, C) by matrices (1, 4, 4).

    Pixel centres are at halves; a pixel whose source lies outside is 0.
    """
    sizes = {_numbers(read_options(node.options), "output_height", "output_width") for node in nodes}
    if len(sizes) != 1 or len({node.inputs[0] for node in nodes}) != 1:
        raise ValueError("maps of several sizes or sources")
    height, width = (int(number) for number in sizes.pop())
    map_height, map_width, channels = list(inputs[0][0].get_shape())[1:]

    grid = np.zeros((4, height, width), np.float32)
    grid[0], grid[1], grid[3] = np.arange(width) + 0.5, np.arange(height)[:, np.newaxis] + 0.5, 1
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
    """The same map (1, H, W, C), by a pooling over single pixels.

    OpenVINO brings a map that a residual block adds to into another order for the gather, by a plain loop that takes
    half as long as the whole network; the copy takes a hundredth.
    """
    turned = ops.transpose(values, _axes(0, 3, 1, 2))
    pooled = ops.max_pool(turned, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1]).output(0)
    return ops.transpose(pooled, _axes(0, 2, 3, 1)).output(0)


def _transformed_landmarks(nodes: Sequence[Operator], inputs: Sequence[list[ov.Output]]) -> list[ov.Output]:
    """TransformLandmarks: points (1, K, 2) by a matrix (1, 4, 4) each."""
    results: list[ov.Output] = []
    for points, matrix in inputs:
        rows = ops.gather(matrix, _axes(0, 1), 1)  # (1, 2, 4)
        shift = ops.transpose(ops.gather(rows, _axes(3), 2), _axes(0, 2, 1))  # (1, 1, 2)
        turned = ops.matmul(points, ops.gather(rows, _axes(0, 1), 2), False, True)
        results.append(ops.add(turned, shift).output(0))
    return results


def _axes(*numbers: int) -> np.ndarray:
    return np.array(numbers)


def _numbers(options: dict[str, Option], *names: str) -> tuple[float, ...]:
    values = [options.get(name) for name in names]
    numbers = tuple(value for value in values if isinstance(value, int | float))
    if len(numbers) != len(names):
        raise ValueError(f"a custom operator without {' or '.join(names)}")
    return numbers


def _indices(options: dict[str, Option]) -> tuple[int, ...]:
    value = options.get("subset_idxs")
    if not isinstance(value, tuple) or not value:
        raise ValueError("a custom operator without subset_idxs")
    return value


EMITTERS: dict[str, Emitter] = {
    "Landmarks2TransformMatrix": _matrices_from_landmarks,
    "TransformTensorBilinear": _sampled_maps,
    "TransformLandmarks": _transformed_landmarks,
}
