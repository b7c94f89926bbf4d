"""The custom operators of the attention mesh, compared with implementations in numpy."""

import math

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from sonjit.engines.custom_operators import EMITTERS
from sonjit.engines.tflite import Operator

RNG = np.random.default_rng(4)


def run(name, nodes, *values):
    """Return the outputs of one operator for nodes (options, input values). Equal values are one tensor."""
    parameters = [ops.parameter(value.shape, np.float32) for value in values]
    operators = [Operator(tuple(inputs), (100 + i,), name, options) for i, (options, inputs) in enumerate(nodes)]
    made = EMITTERS[name](operators, [[parameters[i].output(0) for i in node.inputs] for node in operators])
    network = ov.Core().compile_model(ov.Model(made, parameters), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(network(list(values)).values())


def flexbuffer(**options):
    """Return options as a flexbuffer map with 4 bytes per value: numbers and vectors of integers."""
    names = sorted(options)
    data, places = bytearray(), {}
    for name in names:
        places[name] = len(data)
        data += name.encode() + b"\0"
    vectors = {}
    for name in names:
        if isinstance(options[name], tuple):
            data += bytes(-len(data) % 4) + len(options[name]).to_bytes(4, "little")
            vectors[name] = len(data)
            data += np.array(options[name], "<i4").tobytes()
    data += bytes(-len(data) % 4) + len(names).to_bytes(4, "little")
    keys = len(data)
    for name in names:
        data += (len(data) - places[name]).to_bytes(4, "little")
    data += (len(data) - keys).to_bytes(4, "little") + (4).to_bytes(4, "little") + len(names).to_bytes(4, "little")
    values = len(data)
    for name in names:
        value = options[name]
        if name in vectors:
            data += (len(data) - vectors[name]).to_bytes(4, "little")
        else:
            data += np.array(value, "<f4" if isinstance(value, float) else "<i4").tobytes()
    data += bytes(4 * (11 if name in vectors else 3 if isinstance(options[name], float) else 1) + 2 for name in names)
    return bytes(data) + (len(data) - values).to_bytes(1, "little") + bytes([9 * 4 + 2, 1])


def expected_matrix(landmarks, subset, left, right, scale, size, target):
    """Return the matrix (4, 4) of the box around a subset, as in mediapipe's definition."""
    way = landmarks[right] - landmarks[left]
    r = target - math.atan2(way[1], way[0])
    turn = np.array([[math.cos(r), -math.sin(r)], [math.sin(r), math.cos(r)]])
    level = landmarks[list(subset), :2] @ turn.T
    low, high = level.min(axis=0), level.max(axis=0)
    matrix = np.eye(4)
    matrix[:2, :2] = turn.T * (scale * (high - low) / size)
    matrix[:2, 3] = turn.T @ ((low + high) / 2) - matrix[:2, :2] @ (np.array(size) / 2)
    return matrix


def expected_map(source, matrix, height, width):
    """Return bilinear samples (height, width, C), which are 0 outside the pixel centres of the source."""
    result = np.zeros((height, width, source.shape[2]))
    for y in range(height):
        for x in range(width):
            u, v = matrix[:2, :2] @ (x + 0.5, y + 0.5) + matrix[:2, 3] - 0.5
            if 0 <= u <= source.shape[1] - 1 and 0 <= v <= source.shape[0] - 1:
                i, j = min(int(u), source.shape[1] - 2), min(int(v), source.shape[0] - 2)
                above = source[j, i] * (i + 1 - u) + source[j, i + 1] * (u - i)
                below = source[j + 1, i] * (i + 1 - u) + source[j + 1, i + 1] * (u - i)
                result[y, x] = above * (j + 1 - v) + below * (v - j)
    return result


@pytest.mark.parametrize("target", [0.0, 0.5, -2.0])
def test_matrices_from_landmarks(target):
    landmarks = [RNG.uniform(0, 48, (1, 20, 3)).astype(np.float32) for _ in range(2)]
    regions = [((0, 3, 5, 7), 3, 0), ((1, 2, 4, 6, 8, 19, 11), 19, 8)]
    nodes = [
        (
            flexbuffer(
                subset_idxs=subset, left_rotation_idx=left, right_rotation_idx=right, scale_x=1.5, scale_y=1.25,
                output_width=16, output_height=8, target_rotation_radians=target,
            ),
            [i],
        )
        for i, (subset, left, right) in enumerate(regions)
    ]  # fmt: skip
    matrices = run("Landmarks2TransformMatrix", nodes, *landmarks)
    for matrix, points, (subset, left, right) in zip(matrices, landmarks, regions, strict=True):
        expected = expected_matrix(points[0], subset, left, right, (1.5, 1.25), (16, 8), target)
        np.testing.assert_allclose(matrix[0], expected, atol=1e-4)


def test_sampled_maps_are_zero_beyond_the_source():
    source = RNG.normal(size=(1, 9, 12, 5)).astype(np.float32)
    matrices = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1, 1))
    matrices[0, 0, :2, 3] = 2.25, 1.5
    matrices[1, 0, :2] = [[1.2, 0.7, 0, -3], [-0.7, 1.2, 0, 4]]
    matrices[2, 0, :2] = [[1.5, 0, 0, -0.25], [0, 1.5, 0, 0]]
    options = flexbuffer(output_height=6, output_width=8)
    maps = run("TransformTensorBilinear", [(options, [0, 1 + i]) for i in range(3)], source, *matrices)
    for sampled, matrix in zip(maps, matrices, strict=True):
        np.testing.assert_allclose(sampled[0], expected_map(source[0], matrix[0], 6, 8), atol=1e-4)
    assert (maps[1][0] == 0).all(axis=-1).any()
    assert (maps[1][0] != 0).all(axis=-1).any()


def test_the_identity_samples_the_map_itself():
    source = RNG.normal(size=(1, 4, 4, 3)).astype(np.float32)
    options = flexbuffer(output_height=4, output_width=4)
    (sampled,) = run("TransformTensorBilinear", [(options, [0, 1])], source, np.eye(4, dtype=np.float32)[np.newaxis])
    np.testing.assert_allclose(sampled, source, atol=1e-6)


def test_transformed_landmarks():
    points = [RNG.normal(size=(1, count, 2)).astype(np.float32) for count in (5, 9)]
    matrix = RNG.normal(size=(1, 4, 4)).astype(np.float32)
    transformed = run("TransformLandmarks", [(b"", [0, 2]), (b"", [1, 2])], *points, matrix)
    for moved, before in zip(transformed, points, strict=True):
        np.testing.assert_allclose(moved[0], before[0] @ matrix[0, :2, :2].T + matrix[0, :2, 3], atol=1e-5)


def test_missing_options_are_named():
    with pytest.raises(ValueError, match="subset_idxs"):
        run("Landmarks2TransformMatrix", [(flexbuffer(scale_x=1.0), [0])], np.zeros((1, 4, 3), np.float32))
