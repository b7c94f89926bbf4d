"""The renderer, or why a test is skipped."""

import os

import pytest

from sonjit.errors import SonjitError
from sonjit.synthesis.render.renderer import Renderer

os.environ.setdefault("LP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def renderer():
    """A renderer for all tests."""
    try:
        made = Renderer()
    except SonjitError as error:
        pytest.skip(str(error))
    with made:
        yield made
