import pytest
from tests.extensions.conftest import counts, spots  # noqa: F401
from tests.support.registered import load_from, restored

import sonjit_lab.datasets
import sonjit_lab.evaluation.run
from sonjit_lab.datasets import list_datasets

collect_ignore = ["lamp_task.py", "lamps.py"]


@pytest.fixture(scope="module", autouse=True)
def lab_registries():
    """Remove the registrations of these tests afterwards."""
    list_datasets()  # those of the package, which stay
    own = (sonjit_lab.datasets.registry._ENTRIES, sonjit_lab.evaluation.run.EVALUATORS)
    with restored(*own):
        yield


@pytest.fixture(scope="module")
def lamps(lab_registries):
    """Return the module that registers the data set "lamps"."""
    return load_from(__file__, "lamps")


@pytest.fixture(scope="module")
def lamp_task(lab_registries):
    """Return the module that registers the evaluation task "lamps"."""
    return load_from(__file__, "lamp_task")
