"""Registries of the tracker, what tests add to them, and modules that register."""

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

import sonjit._util.extensions
import sonjit.detectors.kinds
import sonjit.media.tables
import sonjit.results
import sonjit.results.skeletons

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


def load_from(file, name):
    """Load a module next to a file like a module of a user."""
    spec = importlib.util.spec_from_file_location(f"sonjit_test_{name}", Path(file).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
