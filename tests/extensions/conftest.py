import importlib.util
import sys
from pathlib import Path

import pytest

import sonjit.detectors.kinds
import sonjit.measures.instances
import sonjit.media.drawing
import sonjit.media.tables.tables
import sonjit.results
import sonjit.skeletons

collect_ignore = ["spots.py"]

REGISTRIES = (
    sonjit.detectors.kinds.KINDS,
    sonjit.measures.instances.MEASURE_NAMES,
    sonjit.measures.instances._MEASURE,
    sonjit.media.drawing._DRAWINGS,
    sonjit.media.tables.tables._FORMATS,
    sonjit.results.RESULT_TYPES,
    sonjit.skeletons._REGISTERED,
)


@pytest.fixture(scope="package", autouse=True)
def registries():
    """What these tests register is gone when others run."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture(scope="package")
def spots(registries):
    """The module that registers the kind "spots", loaded as any program's own."""
    name = "sonjit_test_spots"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("spots.py"))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
