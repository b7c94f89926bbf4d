"""The scripts of the lessons compute what their pages state."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

EXTRAS = {"matplotlib": "learn", "sklearn": "learn", "torch": "train"}  # looked for, not imported: that takes seconds
pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"the extra {extra} is not installed")
        for name, extra in EXTRAS.items()
    ),
]

LESSONS = Path(__file__).parents[2] / "docs" / "learn"


@pytest.fixture
def lesson(monkeypatch):
    """Return a function that loads a script of the folder as a module."""
    monkeypatch.syspath_prepend(str(LESSONS))
    return importlib.import_module


@pytest.mark.parametrize("page", [*LESSONS.glob("*.md")], ids=lambda path: path.name)
def test_pages_lead_somewhere_and_every_plot_is_shown(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert (LESSONS / target).is_file(), f"{page.name}: {target}"


def test_every_plot_is_shown_and_small():
    text = "".join(page.read_text("utf-8") for page in LESSONS.glob("*.md"))
    for plot in (LESSONS / "plots").iterdir():
        assert f"plots/{plot.name}" in text
        assert plot.stat().st_size < 60_000, plot.name


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad", "rmsprop", "adam"])
def test_rules_by_hand_are_pytorchs(lesson, name):
    descent = lesson("descent")
    for loss, start in ((descent.valley, descent.START), (descent.saddle, (1.0, 0.2))):
        hand, torchs = (way(name, loss, start, 0.02, 50) for way in (descent.by_hand, descent.by_torch))
        assert float((hand - torchs).abs().max()) < 1e-9


@pytest.mark.nightly
def test_back_propagation_by_hand_is_autograds(lesson):
    back = lesson("networks").back_propagation()
    assert max(back["apart_small"], back["apart_large"]) < 1e-12


@pytest.mark.nightly
def test_gradients_vanish_without_shortcuts(lesson):
    import torch

    deep = lesson("deep")
    X, y = deep.digits()
    ratios = {}
    for kind in deep.KINDS:
        torch.manual_seed(0)
        sizes = deep.gradient_sizes(deep.tower(kind, 12), X[:100], y[:100])
        assert len(sizes) == 13
        ratios[kind] = sizes[0] / sizes[-1]
    assert max(ratios["sigmoid"], ratios["ReLU"]) < 0.01
    assert min(ratios["sigmoid, batch norm"], ratios["ReLU, residual"], ratios["ReLU, He"]) > 0.05


def test_a_script_prints_numbers_and_writes_plots(lesson, tmp_path, capsys):
    svm = lesson("svm")
    numbers, figures = svm.run(60)
    lesson("lesson").finish(numbers, figures, tmp_path)
    assert (tmp_path / "plots" / "svm.svg").read_text("utf-8").rstrip().endswith("</svg>")
    assert "rings" in capsys.readouterr().out
