"""Additions of the lab to Sonjit: commands, networks in PyTorch, and a check of `sonjit doctor`.

Import strings name what is imported when it is used, so that the commands of the tracker start quickly.
"""

import importlib.util
from collections.abc import Iterator
from typing import Final

from sonjit._util import JobError
from sonjit._util.extensions import FUNCTIONS
from sonjit.cli.checks import CHECKS, Finding
from sonjit.cli.commands import COMMANDS, Command

GROUP: Final = "Lab"
"""Group of the commands in `sonjit --help`."""
_COMMANDS: Final = {
    "mesh": ("sonjit_lab.cli.mesh:mesh", "Turn the hands of an image or video into meshes."),
    "networks": ("sonjit_lab.cli.train:networks", "List the networks that can be trained and exported."),
    "train": ("sonjit_lab.cli.train:train", "Train a network with a recipe."),
    "export": ("sonjit_lab.cli.train:export", "Write a network as ONNX, OpenVINO IR or TFLite."),
    "datasets": ("sonjit_lab.cli.datasets:app", "List, check, show and convert data sets."),
    "eval": ("sonjit_lab.cli.eval:evaluate", "Evaluate a model with a protocol and write a report."),
    "card": ("sonjit_lab.cli.eval:card", "Write a model card from evaluations."),
    "compare": ("sonjit_lab.cli.eval:compare", "Draw the results of several evaluations next to each other."),
    "synth": ("sonjit_lab.cli.synth:synth", "Render hands with exact labels."),
}


def register() -> None:
    """Add everything. The entry point of the group `sonjit.extensions` calls it."""
    for name, (function, summary) in _COMMANDS.items():
        COMMANDS.add(name, Command(function, summary, GROUP, takes_inputs=name == "mesh"), replace=True)
    CHECKS.add("OpenGL", "sonjit_lab.extension:check_opengl", replace=True)
    FUNCTIONS.add("load_classifiers", "sonjit_lab.papers.cam.loading:load_classifiers", replace=True)
    FUNCTIONS.add("create_lifter", "sonjit_lab.lifting:create_lifter", replace=True)
    FUNCTIONS.add("open_finder", "sonjit_lab.papers.mask_rcnn.finders:open_finder", replace=True)


def check_opengl() -> Iterator[Finding]:
    """Report the renderer of hands, if its library is installed."""
    if importlib.util.find_spec("moderngl") is None:
        return
    from sonjit_lab.synthesis.renderer import renderer_name

    try:
        yield Finding("ok", "OpenGL without a screen", renderer_name())
    except JobError as error:
        yield Finding("note", "OpenGL without a screen", f"rendered hands need it: {error}")
