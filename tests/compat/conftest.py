"""Where the weights and the reference data are, or why a test is skipped."""

import os
from pathlib import Path

import pytest

from sonjit.errors import SonjitError
from sonjit.weights import find_weight

DATA = Path(os.environ.get("SONJIT_TEST_DATA", Path(__file__).parents[3] / "shared"))
GOLDENS = sorted((DATA / "goldens" / "mediapipe").glob("hands.*static*.json"))


@pytest.fixture
def weights():
    """Skip where the hand networks are not on this machine."""
    for name in ("palm-lite", "palm-full", "hand-lite", "hand-full"):
        try:
            find_weight(name)
        except SonjitError as error:
            pytest.skip(str(error))


@pytest.fixture
def data():
    """The reference data's folder."""
    return DATA


def pytest_generate_tests(metafunc):
    """One case per golden file of stills."""
    if "golden_file" in metafunc.fixturenames:
        absent = pytest.param(None, marks=pytest.mark.skip(f"no goldens/mediapipe/hands.*static*.json in {DATA}"))
        metafunc.parametrize("golden_file", GOLDENS or [absent], ids=lambda file: file and file.stem)
