import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest

from sonjit import create_detector
from sonjit._util.errors import InputError, SonjitError
from sonjit.detectors.kinds import KINDS
from sonjit.weights import (
    cache_folder,
    catalog,
    find_weight,
    load_catalog,
    load_groups,
    models_folder,
    pull_weights,
    select_weights,
    verify_weights,
)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"SONJIT_HOME": "/data/s"}, "/data/s"), ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/sonjit"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/sonjit"), ("linux", {}, "/home/me/.cache/sonjit"),
        ("darwin", {}, "/home/me/Library/Caches/sonjit"), ("win32", {"LOCALAPPDATA": "/local"}, "/local/sonjit"),
        ("win32", {}, "/home/me/AppData/Local/sonjit"),
    ],
)  # fmt: skip
def test_cache_folder(monkeypatch, platform, environment, expected):
    for name in ("SONJIT_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(catalog.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder() == Path(expected)


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


def test_a_missing_and_a_damaged_file_name_the_command(shelf):
    with pytest.raises(InputError) as caught:
        find_weight("one")
    assert str(caught.value) == f"one.tflite is not in {models_folder()}; run: sonjit models pull one"
    (path,) = pull_weights(["one"])
    path.write_bytes(b"short")
    with pytest.raises(InputError, match=r"one.tflite is damaged: it has 5 bytes, not 650; run: sonjit models pull"):
        find_weight("one")


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


SPECS = Path(os.environ.get("SONJIT_TEST_DATA", Path(__file__).parents[3] / "shared")) / "specs" / "weights.csv"


def rows():
    if not SPECS.is_file():
        pytest.skip(f"{SPECS} is not there")
    with SPECS.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tensors(text):
    pairs = re.findall(r"([\w/]+):\[([\d, ]+)\]", text)
    return {name: tuple(int(number) for number in shape.split(",")) for name, shape in pairs}


def test_every_source_is_a_row_of_the_specification_with_its_facts():
    catalog = load_catalog()
    sources = {
        (source.package.name, source.package.version, source.member): weight
        for weight in catalog.values()
        for source in weight.sources
    }
    table = {(row["package"].split(" (")[0], row["version"], row["member path"]): row for row in rows()}
    for (package, version, member), weight in sources.items():
        row = table[package, version, member]
        licence = row["license"].partition(" (")[0]
        assert (str(weight.bytes), weight.sha256, weight.licence) == (row["bytes"], row["sha256"], licence)
        assert weight.inputs == tensors(row["input shape"])
        assert weight.outputs == tensors(row["output names/shapes"])
        assert weight.file in (row["name"], row["name"].replace(".", "_npm."))
        registry = "pypi" if "PyPI" in row["package"] else "npm"
        assert {source.package.registry for source in weight.sources if source.package.name == package} == {registry}


def test_groups_and_names_do_not_meet_and_all_is_everything():
    groups, catalog = load_groups(), load_catalog()
    assert not set(groups) & set(catalog)
    assert groups["segmentation"] == ("selfie", "selfie-landscape")
    assert {"palm-full", "hand-full", "face-full", "body-full"} < set(groups["hands"])  # a search's networks too
    assert {"hands", "face", "body", "all"} <= set(groups)
    assert groups["all"] == tuple(catalog)


def test_select_gives_each_once_by_group_name_and_file():
    chosen = select_weights(["selfie-landscape", "segmentation", "selfie_segmentation.tflite", "body-lite"])
    assert [weight.name for weight in chosen] == ["selfie-landscape", "selfie", "body-lite"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"Unknown weight 'hnad'. Choose from palm-lite, .*groups hands"):
        select_weights(["hnad"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_group_of_a_kind_has_all_networks_of_its_default_model(kind, tmp_path):
    for weight in select_weights(KINDS[kind].weight_groups):
        try:
            (tmp_path / weight.file).symlink_to(find_weight(weight.name))
        except SonjitError as error:
            pytest.skip(str(error))
    with create_detector(kind, models_dir=tmp_path, static_image=True, search="thorough") as detector:
        assert detector.detect(np.zeros((96, 96, 3), np.uint8)) == []
