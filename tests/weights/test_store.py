from pathlib import Path

import pytest

from sonjit._util.errors import InputError
from sonjit.weights import cache_folder, catalog, find_weight, models_folder, pull_weights, verify_weights


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"SONJIT_HOME": "/data/s"}, "/data/s"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/sonjit"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/sonjit"),
        ("linux", {}, "/home/me/.cache/sonjit"),
        ("darwin", {}, "/home/me/Library/Caches/sonjit"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/sonjit"),
        ("win32", {}, "/home/me/AppData/Local/sonjit"),
    ],
)
def test_cache_folder(monkeypatch, platform, environment, expected):
    for name in ("SONJIT_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(catalog.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder() == Path(expected)


def test_no_home_folder_is_one_line(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SONJIT_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(catalog.sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(InputError, match="set SONJIT_HOME"):
        cache_folder()


def test_find_in_the_cache_by_record_and_by_file_name(shelf):
    pull_weights(["one"])
    assert find_weight("one") == find_weight("one.tflite") == models_folder() / "one.tflite"


def test_find_in_a_given_folder_only(shelf, tmp_path, contents):
    pull_weights(["one", "two"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "one.tflite").write_bytes(contents["one"])
    assert find_weight("one", tmp_path / "mine") == tmp_path / "mine" / "one.tflite"
    with pytest.raises(InputError, match=r"two.tflite is not in .*mine; run: sonjit models pull two .*copy it"):
        find_weight("two", str(tmp_path / "mine"))


def test_a_missing_file_names_itself_the_folder_and_the_command(shelf):
    with pytest.raises(InputError) as caught:
        find_weight("one")
    assert str(caught.value) == f"one.tflite is not in {models_folder()}; run: sonjit models pull one"


def test_a_file_of_the_wrong_size_is_named(shelf):
    (path,) = pull_weights(["one"])
    path.write_bytes(b"short")
    with pytest.raises(
        InputError, match=r"one.tflite is damaged: it has 5 bytes, not 650; run: sonjit models pull one"
    ):
        find_weight("one")


def test_an_unknown_name_lists_the_known_ones(home):
    with pytest.raises(InputError, match=r"Unknown weight 'hand'. Choose from palm-lite, palm-full"):
        find_weight("hand")


def test_verify_names_missing_and_damaged_files(shelf, contents):
    assert verify_weights() == []
    paths = pull_weights(["one", "two"])
    assert verify_weights(["one", "two"]) == []
    paths[0].write_bytes(b"X" + contents["one"][1:])
    paths[1].write_bytes(b"X")
    assert [(p.name, p.kind) for p in verify_weights()] == [("one", "damaged"), ("two", "damaged")]
    problems = verify_weights(["two", "packed"])
    assert [(p.name, p.kind) for p in problems] == [("two", "damaged"), ("packed", "missing")]
    assert problems[1].path == models_folder() / "packed.tflite"
