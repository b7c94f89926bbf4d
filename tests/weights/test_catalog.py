import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest

from sonjit import create_detector
from sonjit._util.errors import InputError, SonjitError
from sonjit.weights import find_weight, load_catalog, load_groups, select_weights

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
        assert (str(weight.bytes), weight.sha256, weight.licence) == (
            row["bytes"],
            row["sha256"],
            row["license"].partition(" (")[0],
        )
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
@pytest.mark.parametrize("kind", ["hands", "face", "body", "holistic"])
def test_the_group_of_a_kind_has_all_networks_of_its_default_model(kind, tmp_path):
    for weight in select_weights([kind]):
        try:
            (tmp_path / weight.file).symlink_to(find_weight(weight.name))
        except SonjitError as error:
            pytest.skip(str(error))
    with create_detector(kind, models_dir=tmp_path, static_image=True, search="thorough") as detector:
        assert detector.detect(np.zeros((96, 96, 3), np.uint8)) == []
