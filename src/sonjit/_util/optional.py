"""Access from the tracker to functions of `sonjit.lab` and `sonjit.studio`, which it never imports.

A command of the tracker may offer one function of the lab, such as lifting hands into the camera's space. It names the
function here and loads it when a user asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Literal

FunctionName = Literal["FineTuning", "create_lifter", "network_entry", "project_router", "renderer_name"]

FUNCTIONS: Final[dict[FunctionName, str]] = {
    "FineTuning": "sonjit.lab.training.int8",
    "create_lifter": "sonjit.lab.lifting",
    "network_entry": "sonjit.lab.networks",
    "project_router": "sonjit.studio.server.annotation",
    "renderer_name": "sonjit.lab.synthesis.opengl",
}
"""The module of each function."""


def load_function(name: FunctionName) -> Any:  # noqa: ANN401  # each function has a type of its own
    """Return a function of the lab or the studio.

    Args:
        name: Name of the function.

    Raises:
        MissingExtraError: The function needs an extra that is not installed.
    """
    return getattr(import_module(FUNCTIONS[name]), name)
