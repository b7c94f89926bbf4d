"""TFLite files: their operators, parts of their graph, and damaged files."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.engines import EngineOptions, load_engine
from sonjit.engines.openvino import read_constants
from sonjit.engines.tflite import TfliteFile, read_options

from .flat_tables import write_table

ADD, CUSTOM = 0, 32
OPTIONS = b"n\0\x01\x03\x01\x01\x01\x07\x04\x02\x24\x01"  # the flexbuffer of {"n": 7}


def make_file(*operators, inputs=(0,), outputs=(3,), custom=b"Twist"):
    """Write a TFLite file of operators (index of the code, inputs, outputs, options)."""
    graph = {
        1: list(inputs),
        2: list(outputs),
        3: [{0: c, 1: list(i), 2: list(o)} | ({5: options} if options else {}) for c, i, o, options in operators],
    }
    data = bytearray(8)
    _, model = write_table({0: 3, 1: [{0: ADD}, {0: CUSTOM, 1: custom, 3: CUSTOM}], 2: [graph]}, data)
    data[:8] = struct.pack("<I", model) + b"TFL3"
    return bytes(data)


CHAIN = make_file((0, (0, 9), (1,), b""), (1, (1,), (2,), OPTIONS), (0, (2,), (3,), b""), (0, (1,), (4,), b""))


@pytest.fixture(scope="module")
def attention(need):
    return need("face-attention")["face-attention"]


def test_operators_are_read():
    file = TfliteFile(CHAIN)
    assert (file.inputs, file.outputs) == ((0,), (3,))
    assert [operator.custom for operator in file.operators] == ["", "Twist", "", ""]
    assert [(operator.inputs, operator.outputs) for operator in file.operators[:2]] == [((0, 9), (1,)), ((1,), (2,))]
    assert read_options(file.operators[1].options) == {"n": 7}


def test_a_part_contains_the_operators_between_its_inputs_and_outputs():
    complete = TfliteFile(CHAIN)
    part = TfliteFile(complete.part([2], [3]))
    assert (part.inputs, part.outputs, part.operators) == ((2,), (3,), [complete.operators[2]])
    both = TfliteFile(complete.part([0], [4, 2]))
    assert (both.inputs, both.outputs) == ((0,), (4, 2))
    assert both.operators == [complete.operators[0], complete.operators[1], complete.operators[3]]


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\x08\0\0\0TFL3", b"\xff\xff\xff\xffTFL3" + bytes(9), b"no file at all"]
)
def test_invalid_tflite_file_is_refused(data):
    with pytest.raises(ValueError, match="TFLite"):
        TfliteFile(data)


@given(st.integers(0, len(CHAIN) - 1), st.integers(0, 255), st.integers(0, len(CHAIN)))
def test_damage_never_does_more_than_a_value_error(position, value, length):
    data = bytearray(CHAIN)
    data[position] = value
    for damaged in (bytes(data), CHAIN[:length]):
        try:
            file = TfliteFile(damaged)
            for operator in file.operators:
                read_options(operator.options)
            file.part(file.inputs, file.outputs)
        except ValueError:
            pass


@given(st.binary(max_size=40))
def test_options_are_a_map_or_a_value_error(data):
    try:
        options = read_options(data)
    except ValueError:
        return
    assert all(isinstance(name, str) for name in options)


@pytest.mark.parametrize(
    ("data", "reason"), [(CHAIN, "custom operators Twist"), (CHAIN[:200], "damaged"), (b"nothing", "no TFLite file")]
)
def test_the_engine_reports_unreadable_files_in_one_line(data, reason, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        load_engine(path, EngineOptions(precision="f32"))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_cut_off_attention_mesh_is_refused_in_one_line(kept, attention, tmp_path):
    complete = attention.read_bytes()
    path = tmp_path / attention.name
    path.write_bytes(complete[: int(kept * len(complete))])
    with pytest.raises(InputError, match=path.name) as caught:
        load_engine(path, EngineOptions(precision="f32"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_attention_mesh_runs_as_one_network(attention):
    network = load_engine(attention, EngineOptions(precision="f32"))
    network.input[:] = np.random.default_rng(1).integers(0, 256, network.input.shape, np.uint8)
    outputs = network.run()
    assert [output.shape for output in outputs] == [(1, 1, 1, size) for size in (1404, 160, 142, 142, 10, 10, 1)]
    assert all(np.isfinite(output).all() for output in outputs)


@pytest.mark.parametrize("name", ["hand-full", "face-full", "face-mesh", "iris"])  # halves; sparse; floats
def test_every_weight_of_a_published_file_can_be_read(name, need):
    file = TfliteFile(need(name)[name].read_bytes())
    layers = [o for o in file.operators if o.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    weights = read_constants(file, {tensor for layer in layers for tensor in layer.inputs[1:]})
    assert layers
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in weights.values())
    assert all(weights[layer.inputs[1]].any() and weights[layer.inputs[1]].ndim == 4 for layer in layers)
    with pytest.raises(ValueError, match="without weights"):
        read_constants(file, file.inputs)


@pytest.mark.parametrize("name", ["hand-full", "face-full"])
def test_damaged_weights_are_at_most_a_value_error(name, need):
    rng, complete = np.random.default_rng(0), need(name)[name].read_bytes()
    for _ in range(20):
        data = bytearray(complete)
        for position in (*rng.integers(0, 4096, 4), *rng.integers(len(data) - 4096, len(data), 4)):
            data[position] = rng.integers(256)  # the tables are at one of the ends
        data[4:8] = b"TFL3"
        with suppress(ValueError):
            file = TfliteFile(bytes(data))
            read_constants(file, {tensor for operator in file.operators for tensor in operator.inputs[1:3]})
