"""MANO files: every form is read without running code, and errors have one line."""

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit_lab.hand_models import demo_mano, load_mano, mano_files, pickles


def fields():
    """Return MANO's fields with simple numbers."""
    rng = np.random.default_rng(0)
    made = {name: rng.normal(0, 0.01, shape) for name, shape in mano_files.SHAPES.items()}
    for name in ("J_regressor", "weights"):
        made[name] = np.zeros(mano_files.SHAPES[name])
        rows = np.arange(len(made[name]))
        made[name][rows, rows % made[name].shape[1]] = 0.75
        made[name][rows, (rows + 5) % made[name].shape[1]] = 0.25
    made["f"] = rng.integers(0, 778, mano_files.SHAPES["f"]).astype(np.uint32)
    made["kintree_table"] = np.array([(2**32 - 1, *mano_files.PARENTS[1:]), range(16)], np.uint32)
    return made


@pytest.fixture
def foreign(monkeypatch):
    """Return the classes of chumpy and scipy with the paths and states of the licensed files."""

    made = {}
    for path, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("scipy.sparse.csc", "csc_matrix")):
        for depth in range(1, path.count(".") + 2):
            part = ".".join(path.split(".")[:depth])
            monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
        made[path, name] = type(name, (), {"__module__": path})
        setattr(sys.modules[path], name, made[path, name])

    def make(path, name, **state):
        value = made[path, name]()
        value.__dict__.update(state)
        return value

    return make


def official(foreign):
    """Return fields as in the licensed file: chumpy arrays and choices, a sparse matrix, and strings."""
    made = fields()
    shapes, regressor = made["shapedirs"], made["J_regressor"]
    inner = foreign("chumpy.ch", "Ch", x=np.concatenate([shapes, shapes], 2), _dirty_vars=set(), _itr=None)
    order = np.arange(inner.x.size).reshape(inner.x.shape)[..., :10].ravel()
    filled = [np.nonzero(column)[0] for column in regressor.T]
    return made | {
        "shapedirs": foreign("chumpy.reordering", "Select", a=inner, idxs=order, preferred_shape=shapes.shape),
        "hands_mean": foreign("chumpy.ch", "Ch", x=made["hands_mean"]),
        "J_regressor": foreign(
            "scipy.sparse.csc",
            "csc_matrix",
            _shape=regressor.shape,
            maxprint=50,
            indices=np.concatenate(filled).astype(np.int32),
            indptr=np.cumsum([0, *map(len, filled)]).astype(np.int32),
            data=np.concatenate([regressor[rows, column] for column, rows in enumerate(filled)]),
        ),
        "posedirs": np.asfortranarray(made["posedirs"]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "some_number": np.float64(3),
        "count": np.int64(3),
    }


class OldPickler(pickle._Pickler):
    """Pickler that writes byte strings as in Python 2."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, bytes):
            self.write(b"T" + struct.pack("<i", len(obj)) + obj)
        else:
            super().save(obj, save_persistent_id)


def old_pickle(value):
    file = io.BytesIO()
    OldPickler(file, 2).dump(value)
    return file.getvalue()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5, "python 2"])
def test_the_licensed_form_is_read_without_its_libraries(foreign, tmp_path, monkeypatch, protocol):
    made = official(foreign)
    content = old_pickle(made) if protocol == "python 2" else pickle.dumps(made, protocol)
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(content)
    for name in ("chumpy", "chumpy.ch", "scipy", "scipy.sparse"):
        monkeypatch.setitem(sys.modules, name, None)  # importing them fails
    read, expected = mano_files.read_mano(path), fields()
    for name in mano_files.SHAPES:
        np.testing.assert_array_equal(read[name], expected[name].astype(read[name].dtype))


def test_npz_and_mapping_and_tensors_are_the_same_model(tmp_path):
    made = fields()
    np.savez(tmp_path / "mano.npz", **made)
    expected = load_mano(made, side="left")
    assert expected.side == "left"
    read = load_mano(str(tmp_path / "mano.npz"), side="left")
    for name, value in read.named_buffers():
        assert value.equal(dict(expected.named_buffers())[name])
    assert demo_mano("left").template.ne(demo_mano("right").template).any()


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_files_that_scipy_saved_again_are_read(kind, protocol, tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    made = fields()
    again = OrderedDict(made, weights=made["weights"].view(np.matrix))
    again["J_regressor"] = getattr(sparse, kind)(made["J_regressor"])
    path = tmp_path / "MANO_RIGHT.pkl"
    for content in (again, defaultdict(list, again, bs_style="lbs", kept=frozenset([1]))):
        path.write_bytes(pickle.dumps(content, protocol))
        for name, values in mano_files.read_mano(path).items():
            np.testing.assert_array_equal(values, made[name])


class Runs:
    """Object that leaves a mark if it is executed."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("where", ["alone", "in a field", "as a state"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_in_a_pickle_is_run(tmp_path, where, protocol):
    mark = tmp_path / "ran"
    hostile = Runs(os.system, f"touch {mark}")
    content = {"alone": hostile, "in a field": fields() | {"f": hostile}, "as a state": {"a": [{"b": hostile}]}}[where]
    path = tmp_path / "mano.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(
        InputError, match=r"mano\.pkl: the pickle requests (posix|nt)\.system.*nothing was run"
    ) as caught:
        load_mano(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


FORGED = {
    "state put on a class": b"cchumpy.ch\nCh\n}(Vx\nI1\nub.",
    "state put on a function": b"ccopy_reg\n_reconstructor\n}(V__code__\nI1\nub.",
    "object of numpy's class": b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\nc__builtin__\nobject\nNtR.",
    "objects as numbers": b"}Vf\ncnumpy\ndtype\n(VO8\nI0\nI1\ntRs.",
    "a record": b"}Vf\ncnumpy\ndtype\n(Vi4,f8\nI0\nI1\ntRs.",
    "bytes by another codec": b"}Vf\nc_codecs\nencode\n(Vabc\nVrot13\ntRs.",
    "nested name": b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94\x8c\x0bobject.__new__\x94\x93.",
    "no array's state": b"}Vf\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\ntbs.",
    "a list": b"(lp0\n.",
    "nothing": b"",
    "text": b"hello",
    "huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_pickles_are_reported_in_one_line(tmp_path, name):
    path = tmp_path / "mano.pkl"
    path.write_bytes(FORGED[name])
    with pytest.raises(InputError, match=r"mano\.pkl: ") as caught:
        load_mano(path)
    assert "\n" not in str(caught.value)


def error_message_of(content):
    """Return the message of the error from a pickle or its fields."""
    try:
        for value in pickles.read_pickled_mapping(content, "a.pkl").values():
            pickles.plain_array(value)
    except InputError as error:
        return str(error)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, MemoryError):
        return ""  # of a field, which `read_mano` names
    return ""


@given(st.data())
@settings(max_examples=150)
@pytest.mark.slow
def test_damaged_pickles_are_reported_in_one_line(data):
    small = {name: np.zeros(2) for name in mano_files.SHAPES} | {"f": {"x": [1.5, "a"]}}
    content = bytearray(pickle.dumps(small, data.draw(st.sampled_from([0, 2, 4]))))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
            content[place] = data.draw(st.integers(0, 255))
    assert "\n" not in error_message_of(bytes(content))


def test_forged_fields_are_named(foreign):
    csc = {"_shape": (16, 778), "indices": np.zeros(1, int), "indptr": np.zeros(779, int), "data": np.ones(2)}
    loop = foreign("chumpy.reordering", "Select", idxs=np.arange(3))
    loop.a = loop
    for field, value in {
        "J_regressor": foreign("scipy.sparse.csc", "csc_matrix", **csc),
        "weights": foreign("scipy.sparse.csc", "csc_matrix", **(csc | {"_shape": (10**9, 10**9)})),
        "posedirs": loop,
        "shapedirs": foreign("chumpy.ch", "Ch"),
        "v_template": "none",
    }.items():
        read = pickles.read_pickled_mapping(pickle.dumps(fields() | {field: value}), "a.pkl")
        with pytest.raises(InputError, match=f"this mapping: {field} is not an array of numbers") as caught:
            mano_files.read_mano(read)
        assert "\n" not in str(caught.value)


def without(name):
    return {key: value for key, value in fields().items() if key != name}


def changed(name, place, value):
    made = fields()
    made[name] = made[name].astype(np.float64)
    made[name][place] = value
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({}, "not a MANO model: v_template, .*mano.is.tue.mpg.de"),
        (without("hands_mean"), "not a MANO model: hands_mean missing; "),
        (fields() | {"v_template": np.zeros((6890, 3))}, r"v_template has shape \(6890, 3\) instead of \(778, 3\)"),
        (changed("posedirs", (0, 0, 0), np.nan), "posedirs contains NaN or infinity"),
        (changed("f", (0, 0), 778), "faces refer to vertices that do not exist"),
        (changed("f", (0, 0), -1), "faces refer to vertices that do not exist"),
        (changed("kintree_table", (0, 2), 7), "the joints have other parents than MANO's"),
        (changed("weights", (3, 3), 2), "rows of weights do not sum to 1"),
        (changed("J_regressor", (3, 3), 2), "rows of J_regressor do not sum to 1"),
        (fields() | {"f": np.array([None])}, "f is not an array of numbers"),
    ],
)
def test_invalid_mano_model_is_reported(made, message):
    with pytest.raises(InputError, match=f"this mapping: {message}") as caught:
        load_mano(made)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_wrong_files_are_reported(tmp_path):
    good = tmp_path / "mano.npz"
    np.savez(good, **fields())
    cut, text, objects, bomb = (tmp_path / f"{name}.npz" for name in ("cut", "text", "objects", "bomb"))
    cut.write_bytes(good.read_bytes()[:5000])
    text.write_text("hello")
    np.savez(objects, **(fields() | {"f": np.array([Runs(os.system, "false")], dtype=object)}))
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("f.npy", "w") as entry:
        for _ in range(65):
            entry.write(bytes(1 << 20))
    damaged = bytearray(good.read_bytes())
    damaged[2000:2100] = bytes(100)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    for path, message in {
        tmp_path / "absent.pkl": "no such file; MANO_RIGHT.pkl and MANO_LEFT.pkl are available.*mano.is.tue.mpg.de",
        tmp_path: "no such file",
        tmp_path / "mano.txt": "Unknown file ending '.txt' of a MANO file. Choose from .pkl, .npz",
        cut: "is damaged or no .npz file",
        text: "is damaged or no .npz file",
        objects: "is damaged .*contains Python objects",
        bomb: "has .* bytes, more than",
        tmp_path / "damaged.npz": "is damaged or no .npz file",
    }.items():
        if path.suffix == ".txt":
            path.write_text("")
        with pytest.raises(InputError, match=f"{path.name}:? {message}") as caught:
            load_mano(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"Unknown side 'both'\. Choose from right, left"):
        load_mano(good, side="both")
