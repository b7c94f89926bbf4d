"""A renderer, or a skipped test."""

import pytest

from sonjit._util.errors import SonjitError
from sonjit.lab.synthesis.renderer import Renderer


@pytest.fixture(scope="session")
def renderer():
    """Return a renderer for all tests."""
    try:
        made = Renderer()
    except SonjitError as error:
        pytest.skip(str(error))
    with made:
        yield made
