import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import sonjit._util.extensions
import sonjit.detectors.kinds
import sonjit.media.drawing
import sonjit.media.tables
import sonjit.results
import sonjit.results.measures
import sonjit.results.skeletons

collect_ignore = ["counts.py", "spots.py"]
REGISTRIES = (
    sonjit.detectors.kinds.KINDS,
    sonjit._util.extensions._modules,
    sonjit.media.tables.FORMATS,
    sonjit.results.RESULT_TYPES,
    sonjit.results.skeletons._REGISTERED,
)


@contextmanager
def restored(*registries):
    """Remove what the block adds to registries."""
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture(scope="module", autouse=True)
def registries():
    """Remove the registrations of these tests afterwards."""
    with restored(*REGISTRIES):
        yield


@pytest.fixture(scope="module")
def spots(registries):
    """Return the module that registers the kind "spots"."""
    return load_from(__file__, "spots")


@pytest.fixture(scope="module")
def counts(registries):
    """Return the module that registers the table format ".count"."""
    return load_from(__file__, "counts")


def load_from(file, name):
    """Load a module next to a file like a module of a user."""
    spec = importlib.util.spec_from_file_location(f"sonjit_test_{name}", Path(file).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
