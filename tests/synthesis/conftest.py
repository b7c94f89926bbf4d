"""The renderer and the rigs, or why a test is skipped."""

import os

import pytest

from sonjit.errors import SonjitError
from sonjit.hand_models.rig_files import load_rig
from sonjit.synthesis.render.renderer import Renderer

os.environ.setdefault("LP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def rigs():
    """Both rigged hands by side."""
    try:
        return {side: load_rig(side) for side in ("Right", "Left")}
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull rigs")


@pytest.fixture(scope="session")
def renderer():
    """A renderer for all tests."""
    try:
        made = Renderer()
    except SonjitError as error:
        pytest.skip(str(error))
    with made:
        yield made
