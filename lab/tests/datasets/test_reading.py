"""Readers of JSON streams, MATLAB arrays, YAML and arrays of a known shape."""

import json
import random
import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.io import savemat

from sonjit._util import data_files, errors
from sonjit._util.extras import MissingExtraError
from sonjit._util.records import load_yaml
from sonjit_lab.datasets.reading import load_matlab, stream_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def at_depth(value, depth, keys=()):
    """Return the expected result of `stream_json`, from the complete content."""
    if depth == 0:
        yield keys, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from at_depth(inner, depth - 1, (*keys, key))


@example([0.5, 1e300, 1e-7], 1, 1, None)  # numbers that are cut after the point, the e and the sign
@given(JSON, st.integers(1, 3), st.integers(1, 40), st.sampled_from([None, 1]))
def test_streams_give_the_content_of_the_file(tmp_path_factory, value, depth, chunk, indent):
    path = tmp_path_factory.getbasetemp() / "stream.json"
    path.write_text(json.dumps(value, indent=indent), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonjit_lab.datasets.reading._CHUNK", chunk)
        assert list(stream_json(path, depth)) == list(at_depth(value, depth))


@given(st.lists(st.dictionaries(st.text(), st.integers(), min_size=1), min_size=1), st.data())
@pytest.mark.slow
def test_streams_that_are_cut_off_are_reported(tmp_path_factory, value, data):
    path = tmp_path_factory.getbasetemp() / "cut.json"
    text = json.dumps(value)
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))], "utf-8")
    for read in (lambda: list(stream_json(path, 1)), lambda: data_files.read_json(path)):
        with pytest.raises(errors.InputError, match=r"cut\.json is damaged") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    for read in (lambda path: list(stream_json(path, 1)), data_files.read_json, load_matlab, load_yaml):
        with pytest.raises(errors.InputError, match=r"none\.x"):
            read(tmp_path / "none.x")


def matlab(arrays, **options):
    """Return a file's content as MATLAB writes it."""
    file = BytesIO()
    savemat(file, arrays, **options)
    return file.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("code", ["f8", "f4", "u2", "i1"])
def test_matlab_arrays_survive_a_round_trip(tmp_path, packed, code):
    arrays = {"handPara": np.arange(126).reshape(3, 21, 2).astype(code), "x": np.arange(6).reshape(2, 3).astype(code)}
    path = tmp_path / "labels.mat"
    path.write_bytes(matlab(arrays, do_compression=packed))
    read = load_matlab(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(read[name], array)


@pytest.mark.parametrize(
    "value", [{"inner": 1.0}, "text", np.array([1j]), np.array([1, "a"], object), b"\0\2IM", b"\0" * 4]
)
def test_matlab_variables_of_other_kinds_and_other_versions_are_refused(tmp_path, value):
    content, is_version = matlab({"handPara": value}), isinstance(value, bytes)
    (tmp_path / "labels.mat").write_bytes(content[:124] + value + content[128:] if is_version else content)
    with pytest.raises(errors.InputError, match="-v7" if is_version else r"labels\.mat is damaged: .*real numbers"):
        load_matlab(tmp_path / "labels.mat")


def mutated(content, chance):
    """Change, remove or insert some bytes, or truncate the data."""
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 3))):
        place = chance.randrange(len(content))
        place = chance.choice((place, min(place, 124 + chance.randrange(120))))
        match chance.randrange(4):
            case 0:
                content[place] = chance.randrange(256)
            case 1:
                content[place : place + 4] = chance.choice((b"\xff" * 4, bytes(4), b"&*!["))
            case 2:
                content[place:place] = chance.randbytes(chance.randrange(1, 9))
            case _:
                del content[place : place + chance.choice((1, 8, len(content)))]
        content = content or bytearray(b"\0")
    return bytes(content)


def complaint(path):
    try:
        load_matlab(path)
    except errors.InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_matlab_files_are_one_line(tmp_path, packed):
    chance = random.Random(0)
    path = tmp_path / "labels.mat"
    content = matlab({"x": np.arange(6.0), "handPara": np.arange(126.0)}, do_compression=packed)
    refused = 0
    for _ in range(400):
        path.write_bytes(mutated(content, chance))
        message = complaint(path)
        refused += message is not None
        assert message is None or (message.startswith(str(path)) and "\n" not in message)
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [b"", b"- 1\n- 2\n", b"a: 1\n   b: 2\n", b"just text\n", b"a: !!python/object/apply:os.getcwd []", b"a: !!int ''",
     b"a: 2020-99-99", b"a: \xff", b"[" * 5000],
)  # fmt: skip
def test_other_yaml_is_one_line(tmp_path, content):
    path = tmp_path / "meta.yml"
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match=r"meta\.yml") as caught:
        load_yaml(path)
    assert "\n" not in str(caught.value)


def test_without_the_extra_its_name_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"\[eval\]"):
        load_yaml(tmp_path / "labels")
