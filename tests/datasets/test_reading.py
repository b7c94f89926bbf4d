"""Streams of JSON, MATLAB's arrays, plain YAML and numbers of a known shape."""

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.datasets.mat_files import load_mat
from sonjit.datasets.plain_yaml import load_plain_yaml
from sonjit.datasets.reading import load_json, numbers, stream_json
from sonjit.errors import InputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def at_depth(value, depth, keys=()):
    """What `stream_json` is to give, from the whole content."""
    if depth == 0:
        yield keys, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from at_depth(inner, depth - 1, (*keys, key))


@given(JSON, st.integers(1, 3), st.integers(1, 40), st.sampled_from([None, 1]))
def test_streams_give_what_the_whole_file_holds(tmp_path_factory, value, depth, chunk, indent):
    path = tmp_path_factory.getbasetemp() / "stream.json"
    path.write_text(json.dumps(value, indent=indent), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonjit.datasets.reading._CHUNK", chunk)
        assert list(stream_json(path, depth)) == list(at_depth(value, depth))


@given(st.lists(st.dictionaries(st.text(), st.integers(), min_size=1), min_size=1), st.data())
def test_streams_that_are_cut_off_say_so(tmp_path_factory, value, data):
    path = tmp_path_factory.getbasetemp() / "cut.json"
    text = json.dumps(value)
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))], "utf-8")
    for read in (lambda: list(stream_json(path, 1)), lambda: load_json(path)):
        with pytest.raises(InputError, match=r"cut\.json is cut off") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    for read in (lambda path: list(stream_json(path, 1)), load_json, load_mat, load_plain_yaml):
        with pytest.raises(InputError, match=r"none\.x"):
            read(tmp_path / "none.x")


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        ([1, 2], (3,), "has 2 numbers and 3"),
        ([[1, 2], [3]], (2, 2), "holds no 2 x 2"),
        ("abc", (), "holds no 1"),
        (None, (3,), "is wanted|are wanted|holds no"),
        ({"a": 1}, (3,), "holds no 3"),
    ],
)
def test_numbers_of_another_shape_are_refused(value, shape, message):
    with pytest.raises(InputError, match=message):
        numbers(value, shape, "labels.json: joints")


@given(st.integers(1, 4), st.integers(1, 5))
def test_numbers_of_any_length(rows, columns):
    array = np.arange(rows * columns).reshape(rows, columns)
    assert np.array_equal(numbers(array.tolist(), (-1, columns), "x"), array)


def element(kind, data, order):
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(name, array, order, numbers_kind, code):
    """A variable as MATLAB writes it."""
    text = name.encode()
    small = struct.pack(order + "HH", *((1, len(text)) if order == "<" else (len(text), 1))) + text.ljust(4, b"\0")
    return element(
        14,
        element(6, struct.pack(order + "II", 6, 0), order)
        + element(5, np.array(array.shape, order + "i4").tobytes(), order)
        + (small if len(text) <= 4 else element(1, text, order))
        + element(numbers_kind, array.astype(order + code).tobytes(order="F"), order),
        order,
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("kind", "code"), [(9, "f8"), (7, "f4"), (4, "u2"), (2, "u1")])
def test_matlab_arrays_come_back(tmp_path, order, packed, kind, code):
    arrays = {"handPara": np.arange(3 * 21 * 2).reshape(3, 21, 2) % 251, "x": np.arange(6).reshape(2, 3)}
    content = b""
    for name, array in arrays.items():
        data = matrix(name, array, order, kind, code)
        if packed:
            data = zlib.compress(data)
            data = struct.pack(order + "II", 15, len(data)) + data
        content += data
    path = tmp_path / "labels.mat"
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    path.write_bytes(head + content)
    read = load_mat(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(read[name], array)
    path.write_bytes(head + content[:-10])
    with pytest.raises(InputError, match=r"labels\.mat is damaged"):
        load_mat(path)
    path.write_bytes(b"MATLAB 7.3" + head[10:] + content)
    with pytest.raises(InputError, match="-v7"):
        load_mat(path)


YAML = """\
# a comment
serials:
- '836212060125'
- "839512060362"
num_frames: 72
extrinsics: 20200702_151821
scale: -1.5e-3
color:
  fx: 615.5
  names: [1, 2]
nothing:
cameras:
  '1':
    - 0.5
    - 2
"""


def test_plain_yaml(tmp_path):
    path = tmp_path / "meta.yml"
    path.write_text(YAML, "utf-8")
    assert load_plain_yaml(path) == {
        "serials": ["836212060125", "839512060362"],
        "num_frames": 72,
        "extrinsics": "20200702_151821",
        "scale": -1.5e-3,
        "color": {"fx": 615.5, "names": [1, 2]},
        "nothing": None,
        "cameras": {"1": [0.5, 2]},
    }


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: 1\n   b: 2\n", "just text\n", "a:\n  b: 1\n c: 2\n"])
def test_yaml_beyond_the_reader_is_refused(tmp_path, text):
    path = tmp_path / "meta.yml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"meta\.yml"):
        load_plain_yaml(path)
