import importlib.util
import sys
from pathlib import Path

import pytest

import sonjit.datasets
import sonjit.detectors.kinds
import sonjit.evaluation.run
import sonjit.extensions
import sonjit.measures
import sonjit.media.drawing
import sonjit.media.tables.tables
import sonjit.results
import sonjit.skeletons
from sonjit.datasets import list_datasets

collect_ignore = ["lamps.py", "spots.py"]

REGISTRIES = (
    sonjit.datasets.registry._ENTRIES,
    sonjit.detectors.kinds.KINDS,
    sonjit.evaluation.run.EVALUATORS,
    sonjit.extensions._modules,
    sonjit.measures.MEASURE_NAMES,
    sonjit.measures._MEASURE,
    sonjit.media.drawing._DRAWINGS,
    sonjit.media.tables.tables._FORMATS,
    sonjit.results.RESULT_TYPES,
    sonjit.skeletons._REGISTERED,
)


@pytest.fixture(scope="module", autouse=True)
def registries():
    """What these tests register is gone when others run."""
    list_datasets()  # those of the package, which stay
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture(scope="module")
def spots(registries):
    """The module that registers the kind "spots"."""
    return load("spots")


@pytest.fixture(scope="module")
def lamps(registries):
    """The module that registers the data set and the task "lamps" and the table format ".count"."""
    return load("lamps")


def load(name):
    """A module beside this one, loaded as any program's own."""
    spec = importlib.util.spec_from_file_location(f"sonjit_test_{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
