import importlib.util
import sys
from pathlib import Path

import pytest

import sonjit._util.extensions
import sonjit.detectors.kinds
import sonjit.media.drawing
import sonjit.media.tables
import sonjit.results
import sonjit.results.measures
import sonjit.results.skeletons
import sonjit_lab.datasets
import sonjit_lab.evaluation.run
from sonjit_lab.datasets import list_datasets

collect_ignore = ["counts.py", "lamp_task.py", "lamps.py", "spots.py"]
REGISTRIES = (
    sonjit_lab.datasets.registry._ENTRIES,
    sonjit.detectors.kinds.KINDS,
    sonjit_lab.evaluation.run.EVALUATORS,
    sonjit._util.extensions._modules,
    sonjit.media.tables.FORMATS,
    sonjit.results.RESULT_TYPES,
    sonjit.results.skeletons._REGISTERED,
)


@pytest.fixture(scope="module", autouse=True)
def registries():
    """Remove the registrations of these tests afterwards."""
    list_datasets()  # those of the package, which stay
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture(scope="module")
def spots(registries):
    """Return the module that registers the kind "spots"."""
    return load("spots")


@pytest.fixture(scope="module")
def lamps(registries):
    """Return the module that registers the data set "lamps"."""
    return load("lamps")


@pytest.fixture(scope="module")
def lamp_task(registries):
    """Return the module that registers the evaluation task "lamps"."""
    return load("lamp_task")


@pytest.fixture(scope="module")
def counts(registries):
    """Return the module that registers the table format ".count"."""
    return load("counts")


def load(name):
    """Load a module of this folder like a module of a user."""
    spec = importlib.util.spec_from_file_location(f"sonjit_test_{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
