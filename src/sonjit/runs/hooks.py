"""What other distributions provide for runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sonjit._util.extensions import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit.runs.task import Lift, Lifter

LOAD_LIFTER: Final[Hook[Callable[[Lift], Lifter]]] = Hook("--lift", "sonjit-lab")
"""Function that loads the networks that lift hands."""
