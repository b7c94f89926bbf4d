"""What every lesson shares: how its numbers are printed, where its plots go, and how they look."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
from cycler import cycler

mpl.use("svg")  # before pyplot: no screen is needed

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Numbers = dict[str, Any]
    """Name -> number, text, or a dictionary of such; JSON."""

HERE = Path(__file__).parent

mpl.rcParams.update(
    {
        "axes.grid": True,
        "axes.prop_cycle": cycler(color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"]),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "path.simplify_threshold": 0.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "sonjit",  # the same names inside, run after run
    }
)


def axes(columns: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """A figure 8 inches wide with so many plots side by side."""
    figure, found = plt.subplots(1, columns, figsize=(8, height), squeeze=False)
    return figure, list(found[0])


def finish(numbers: Numbers, figures: Mapping[str, Figure], out: Path = HERE) -> None:
    """Print a lesson's numbers, which its page states, and write its drawings into `plots/`."""
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for title, figure in figures.items():
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
        short = re.sub(r"(\d\.\d\d)\d+", r"\1", drawn.getvalue())  # a hundredth of a point will do
        (out / "plots" / f"{title}.svg").write_text(short, "utf-8")
    sys.stdout.write(json.dumps(rounded(numbers), indent=1) + "\n")


def rounded(value: object) -> object:
    """Numbers to six digits: more would say more than was measured."""
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in cast("dict[object, object]", value).items()}
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value
