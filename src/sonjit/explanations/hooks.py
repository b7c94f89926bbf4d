"""What other distributions provide for explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sonjit._util.extensions import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sonjit.explanations.task import BackpropModel, Explain

LOAD_CLASSIFIERS: Final[Hook[Callable[[Explain], Sequence[BackpropModel]]]] = Hook("another classifier", "sonjit-lab")
"""Function that loads classifiers that Sonjit does not ship, and classifiers with saliency by backprop."""
