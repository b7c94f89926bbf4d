"""Models of a hand's shape and pose: MANO, and a rigged hand for those who have no MANO file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonjit.hand_models.mano import Mano, load_mano
    from sonjit.hand_models.mano_stand_in import demo_mano

__all__ = ["Mano", "demo_mano", "load_mano"]

_HOMES = {"Mano": "mano", "demo_mano": "mano_stand_in", "load_mano": "mano"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used: MANO needs PyTorch, the rigged hand does not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sonjit.hand_models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sonjit.hand_models.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
