"""Drawings of made instances look as in a stored image, which `tests/support/drawings.py` writes."""

import numpy as np
import pytest

from sonjit.media import rgb_from

from ..support.drawings import STORED, drawings, sheet  # noqa: TID252

OTHER_LEVEL = 24  # versions of OpenCV smooth the edges of lines differently by less


@pytest.fixture(scope="module")
def drawn():
    return drawings()


def test_drawings_look_as_stored(drawn):
    shown, stored = sheet(drawn).astype(int), rgb_from(STORED)
    assert shown.shape == stored.shape
    height, width = drawn.shape[1:3]
    differs = (np.abs(shown - stored).max(2) > OTHER_LEVEL).reshape(-1, height, 3, width).transpose(0, 2, 1, 3)
    assert differs.sum((2, 3)).ravel().tolist() == [0] * len(drawn)
