import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pytest

from sonjit._util.data_files import npz_arrays, parse_toml, read_json, read_npz, read_toml, write_json
from sonjit._util.errors import InputError


@dataclass(frozen=True)
class Inner:
    count: int = 1


@dataclass(frozen=True)
class Card:
    name: str
    scores: tuple[float, ...] = ()
    inner: Inner = field(default_factory=Inner)
    shares: Mapping[str, float] = field(default_factory=dict[str, float])


def test_json_is_strict_and_not_escaped(tmp_path):
    file = tmp_path / "new" / "손.json"
    write_json(file, {"a": [1, "손"], "b": float("nan")})
    assert file.read_text("utf-8") == '{"a": [1, "손"], "b": null}\n'
    assert read_json(file) == {"a": [1, "손"], "b": None}


DAMAGED = {
    "JSON": [b"", b'{"a": 1', b"\xff{}", b"[" * 100_000, b"1" * 5_000],
    "TOML": [b"a = ", b"\xff = 1", b"a = " + b"[" * 100_000, b"a = " + b"1" * 5_000, b"a = 1\na = 2"],
}


@pytest.mark.parametrize(("kind", "content"), [(kind, content) for kind in DAMAGED for content in DAMAGED[kind]])
def test_damaged_files_are_refused_by_name_and_without_advice_on_python(tmp_path, kind, content):
    file = tmp_path / f"a.{kind.lower()}"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"{file.name} is damaged or not {kind}: ") as refusal:
        read_json(file) if kind == "JSON" else read_toml(file, Card)
    assert ("value has 5000 digits" in str(refusal.value)) == content.endswith(b"1" * 5_000)
    assert "sys." not in str(refusal.value)


@pytest.mark.parametrize(
    "key", [".".join(["a"] * 20_000), " . ".join(['"b.\\"c"'] * 5_000), "[" + ".".join(["'d'"] * 8_000) + "]"]
)
def test_toml_keys_of_many_parts_are_refused(key):
    with pytest.raises(InputError, match=r"a\.toml .*: a key has more than 32 parts \(at line 2\)"):
        parse_toml(f"x = 1\n{key} = 1", "a.toml")


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "a." * 30 + " " * 10**6 + "b", '"' * 10**6, "a b " * 10**5, "'a'.\n" * 10**5]
)
def test_the_search_for_long_keys_takes_linear_time(text):
    with pytest.raises(InputError, match="damaged or not TOML"):
        parse_toml(text, "a.toml")


def test_toml_becomes_a_dataclass(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('name = "a"\nscores = [1, 2.5]\nshares = {real = 0.5}\n[inner]\ncount = 3\n')
    assert read_toml(file, Card) == Card("a", (1.0, 2.5), Inner(3), {"real": 0.5})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"a\.toml: name is missing"),
        ('name = "a"\ncolour = 1', r"a\.toml: Unknown key 'colour'\. Choose from name, scores, inner, shares"),
        ("name = 1", r"a\.toml: name=1: must be text"),
        ('name = "a"\nscores = [true]', r"a\.toml: scores\[0\]=True: must be a number"),
        (f'name = "a"\nscores = [1{400 * "0"}]', r"a\.toml: scores\[0\]=10{59}: must be a number"),
        ('name = "a"\ninner = {count = 1.5}', r"a\.toml: inner: count=1.5: must be an integer"),
    ],
)
def test_wrong_keys_and_types_are_refused(tmp_path, text, problem):
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_toml(file, Card)


def test_missing_files_are_refused_by_name(tmp_path):
    for read in (read_json, lambda path: read_toml(path, Card), read_npz):
        with pytest.raises(InputError, match=r"nothing\.x cannot be read: No such file"):
            read(tmp_path / "nothing.x")


def packed(**arrays):
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_open_header():
    """Return an archive with an array whose header does not end."""
    with zipfile.ZipFile(BytesIO(packed(x=np.arange(9)))) as archive:
        array = archive.read("x.npy")
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", array.replace(b"}", b"("))
    return file.getvalue()


def in_other_compression():
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", b"x")
    return file.getvalue()


DAMAGED = (
    *(b"", b"text", packed(x=np.arange(9))[:-30], packed(x=np.array([{}], object)), with_open_header()),
    in_other_compression(),
)


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_and_pickled_arrays_are_refused_by_name(content):
    with pytest.raises(InputError, match=r"a\.npz is damaged or no \.npz file"):
        npz_arrays(BytesIO(content), "a.npz")


def test_arrays_larger_than_allowed_are_refused():
    with pytest.raises(InputError, match=r"a\.npz has \d+ bytes, more than 1000"):
        npz_arrays(BytesIO(packed(x=np.zeros(1000))), "a.npz", max_bytes=1000)
