"""Models of a hand's shape and pose: MANO, and a rigged hand that needs no licence."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonjit_lab.hand_models.mano import Mano, load_mano
    from sonjit_lab.hand_models.placeholders import demo_mano

__all__ = ["Mano", "demo_mano", "load_mano"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name on first use: MANO requires PyTorch, the rigged hand does not."""
    if name not in __all__:
        raise AttributeError(f"module 'sonjit_lab.hand_models' has no attribute {name!r}")
    from sonjit_lab.hand_models import mano, placeholders

    return getattr(placeholders if name == "demo_mano" else mano, name)
