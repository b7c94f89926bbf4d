"""A renderer, or a skipped test, plots that are not rendered, and ONNX operators that are listed once."""

from functools import cache

import pytest
from torch.onnx._internal.exporter import _registration

from sonjit._util.errors import SonjitError
from sonjit.report import documents
from sonjit_lab.synthesis.renderer import Renderer


@pytest.fixture(scope="session")
def renderer():
    """Return a renderer for all tests."""
    try:
        made = Renderer()
    except SonjitError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(autouse=True)
def _unrendered(request, monkeypatch):
    """Let reports draw their plots without writing them as SVG, which takes Matplotlib a tenth of a second."""

    def draw_only(draw, title, *, columns=1, **_):
        draw(*pytest.importorskip("matplotlib.figure").Figure().subplots(1, columns, squeeze=False)[0])
        return f'<svg role="img" aria-label="{title}"></svg>'

    if not request.module.__name__.endswith(("test_documents", "test_cards")):
        monkeypatch.setattr(documents, "_plot", draw_only)


@pytest.fixture(scope="session", autouse=True)
def _operators_listed_once():
    """Let exports share PyTorch's list of ONNX operators, which takes 0.6 s to make."""
    registry = _registration.ONNXRegistry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(cache(registry.from_torchlib)))
        yield
