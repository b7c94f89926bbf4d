"""What the lab adds to Sonjit when it is installed: commands, networks in PyTorch, and a check of `sonjit doctor`.

Each function imports its module when it is called, so that the commands of the tracker start quickly.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

from sonjit._util.errors import JobError
from sonjit.cli.checks import CHECKS, Finding
from sonjit.cli.commands import COMMANDS, Command
from sonjit.explanations.hooks import LOAD_CLASSIFIERS
from sonjit.runs.hooks import LOAD_LIFTER
from sonjit.segmentation.hooks import OPEN_FINDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cyclopts import App

    from sonjit.explanations.task import BackpropModel, Explain
    from sonjit.runs.task import Lift, Lifter
    from sonjit.segmentation.instances import Finder
    from sonjit.segmentation.task import Segment

GROUP: Final = "Lab"
"""Group of the commands in `sonjit --help`."""


def register() -> None:
    """Add everything. The entry point of the group `sonjit.extensions` calls it."""
    for name, (load, summary) in _COMMANDS.items():
        COMMANDS.add(name, Command(load, summary, GROUP, takes_inputs=name == "mesh"), replace=True)
    CHECKS.add("OpenGL", _check_opengl, replace=True)
    LOAD_CLASSIFIERS.provide(_load_classifiers)
    LOAD_LIFTER.provide(_load_lifter)
    OPEN_FINDER.provide(_open_finder)


def _load_classifiers(task: Explain) -> Sequence[BackpropModel]:
    from sonjit_lab.explain.loading import load_classifiers

    return load_classifiers(task)


def _load_lifter(lift: Lift) -> Lifter:
    from sonjit_lab.lifting import create_lifter

    return create_lifter(lift)


def _open_finder(task: Segment) -> Finder:
    from sonjit_lab.explain.mask_networks import open_finder

    return open_finder(task)


def _check_opengl() -> Iterator[Finding]:
    if importlib.util.find_spec("moderngl") is None:
        return
    from sonjit_lab.synthesis.renderer import renderer_name

    try:
        yield Finding("ok", "OpenGL without a screen", renderer_name())
    except JobError as error:
        yield Finding("note", "OpenGL without a screen", f"rendered hands need it: {error}")


def _mesh() -> Callable[..., Any]:
    from sonjit_lab.cli.mesh import mesh

    return mesh


def _networks() -> Callable[..., Any]:
    from sonjit_lab.cli.train import networks

    return networks


def _train() -> Callable[..., Any]:
    from sonjit_lab.cli.train import train

    return train


def _export() -> Callable[..., Any]:
    from sonjit_lab.cli.train import export

    return export


def _datasets() -> App:
    from sonjit_lab.cli.datasets import app

    return app


def _evaluate() -> Callable[..., Any]:
    from sonjit_lab.cli.eval import evaluate

    return evaluate


def _card() -> Callable[..., Any]:
    from sonjit_lab.cli.eval import card

    return card


def _compare() -> Callable[..., Any]:
    from sonjit_lab.cli.eval import compare

    return compare


def _synth() -> Callable[..., Any]:
    from sonjit_lab.cli.synth import synth

    return synth


_COMMANDS: Final = {
    "mesh": (_mesh, "Turn the hands of an image or video into meshes."),
    "networks": (_networks, "List the networks that can be trained and exported."),
    "train": (_train, "Train a network with a recipe."),
    "export": (_export, "Write a network as ONNX, OpenVINO IR or TFLite."),
    "datasets": (_datasets, "List, check, show and convert data sets."),
    "eval": (_evaluate, "Evaluate a model with a protocol and write a report."),
    "card": (_card, "Write a model card from evaluations."),
    "compare": (_compare, "Draw the results of several evaluations next to each other."),
    "synth": (_synth, "Render hands with exact labels."),
}
