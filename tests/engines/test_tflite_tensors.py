"""Tensors of TFLite files: sparse and quantized tensors, and damaged files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonjit._util.errors import SonjitError
from sonjit.engines.tflite import Level, TfliteFile, TfliteTensors, dense_from_sparse
from sonjit.weights import find_weight


@pytest.fixture(scope="module", params=["hand-full", "face-full"])  # halves; sparse halves
def published(request):
    try:
        return find_weight(request.param).read_bytes()
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")


def sparse_rows(dense):
    """Return a tensor with dense rows and sparse columns."""
    rows, columns = np.nonzero(dense)
    segments = np.searchsorted(rows, np.arange(len(dense) + 1))
    return dense[rows, columns], (Level(len(dense)), Level(dense.shape[1], segments, columns))


@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 0, 1, -3])))
def test_rows_of_some_columns_become_dense_again(dense):
    values, levels = sparse_rows(dense)
    np.testing.assert_array_equal(dense_from_sparse(values, dense.shape, (0, 1), (), levels), dense)
    transposed = dense_from_sparse(values, dense.T.shape, (1, 0), (), levels)
    np.testing.assert_array_equal(transposed, dense.T)


def test_every_constant_of_a_published_file_can_be_read(published):
    file = TfliteFile(published)
    tensors = TfliteTensors(file)
    weights = [
        (tensors.constant(operator.inputs[1]), tensors.tensors[operator.inputs[1]])
        for operator in file.operators
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    assert weights
    assert all(values is not None and values.dtype == np.float32 for values, _ in weights)
    assert all(
        values.shape == tensor.shape and np.isfinite(values).all() and values.any() for values, tensor in weights
    )
    assert tensors.constant(file.inputs[0]) is None
    assert tensors.constant(-1) is None


def test_damage_never_does_more_than_a_value_error(published):
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(40):
        data = bytearray(published)
        for position in rng.integers(0, len(data), 20):
            data[position] = rng.integers(256)
        # The tables stand at the end, or at the beginning, of files of different converters.
        for position in (*rng.integers(0, 4096, 8), *rng.integers(len(data) - 4096, len(data), 8)):
            data[position] = rng.integers(256)
        data[4:8] = b"TFL3"
        try:
            tensors = TfliteTensors(TfliteFile(bytes(data)))
            for number in range(len(tensors.tensors)):
                tensors.constant(number)
            read += 1
        except ValueError:
            pass
    assert read < 40
