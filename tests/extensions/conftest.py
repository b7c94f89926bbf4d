import pytest

from ..support.registered import load_from  # noqa: TID252  # one helper for all packages

collect_ignore = ["counts.py", "spots.py"]


@pytest.fixture(scope="module")
def spots(registries):
    """Return the module that registers the kind "spots"."""
    return load_from(__file__, "spots")


@pytest.fixture(scope="module")
def counts(registries):
    """Return the module that registers the table format ".count"."""
    return load_from(__file__, "counts")
