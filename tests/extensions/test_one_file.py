"""Each extension needs one file, and loading it adds nothing else."""

import re
from pathlib import Path

import pytest

import sonjit.detectors.kinds
import sonjit.lab.datasets.registry
import sonjit.lab.evaluation.run
import sonjit.media.tables
import sonjit.results
from sonjit.lab.datasets import list_datasets

from .conftest import load

REGISTRIES = {
    "kind": sonjit.detectors.kinds.KINDS,
    "result type": sonjit.results.RESULT_TYPES,
    "data set": sonjit.lab.datasets.registry._ENTRIES,
    "task": sonjit.lab.evaluation.run.EVALUATORS,
    "table format": sonjit.media.tables.FORMATS,
}
NEW = {
    "spots": {"kind": {"spots"}, "result type": {"spots"}},
    "lamps": {"data set": {"lamps"}},
    "lamp_task": {"task": {"lamps"}},
    "counts": {"table format": {".count"}},
}
TABLE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8").partition("To add, touch")[2]


@pytest.mark.parametrize("name", NEW)
def test_one_file_adds_one_thing(name):
    list_datasets()  # those of the package are registered at the first use
    before = {what: set(registry) for what, registry in REGISTRIES.items()}
    load(name)
    added = {what: set(registry) - before[what] for what, registry in REGISTRIES.items()}
    assert {what: names for what, names in added.items() if names} == NEW[name]


@pytest.mark.parametrize("name", NEW)
def test_the_file_imports_only_sonjit_and_its_dependencies(name):
    text = Path(__file__).with_name(f"{name}.py").read_text("utf-8")
    imported = {line.split()[1].partition(".")[0] for line in re.findall(r"^(?:from|import) .*", text, re.MULTILINE)}
    assert imported <= {"cv2", "dataclasses", "math", "numpy", "pathlib", "sonjit", "typing"}


def test_the_table_of_contributors_names_files_that_exist():
    named = set(re.findall(r"`(tests/extensions/\w+\.py)`", TABLE))
    assert {f"tests/extensions/{name}.py" for name in NEW} <= named
    assert [name for name in named if not (Path(__file__).parents[2] / name).is_file()] == []
