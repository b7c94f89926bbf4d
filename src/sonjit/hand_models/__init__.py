"""Models of a hand's shape and pose: MANO, and a rigged hand for those who have no MANO file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonjit.hand_models.mano import Mano, demo_mano, load_mano

__all__ = ["Mano", "demo_mano", "load_mano"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used: MANO needs PyTorch, the rigged hand does not."""
    if name not in __all__:
        raise AttributeError(f"module 'sonjit.hand_models' has no attribute {name!r}")
    from sonjit.hand_models import mano

    return getattr(mano, name)
