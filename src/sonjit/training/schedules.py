"""How the learning rate changes on the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonjit.training.options import LoopOptions


def rate_at(step: int, options: LoopOptions) -> float:
    """Part of the highest learning rate in a step, from 0: a straight rise, then as the schedule says.

    >>> from sonjit.training.options import LoopOptions
    >>> for name in ("constant", "step", "1/t", "cosine"):
    ...     options = LoopOptions(steps=9, warmup=1, schedule=name)
    ...     print([round(rate_at(step, options), 2) for step in range(9)])
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    [1.0, 1.0, 0.8, 0.67, 0.57, 0.5, 0.44, 0.4, 0.36]
    [1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """
    if step < options.warmup:
        return (step + 1) / options.warmup
    part = (step - options.warmup) / max(options.steps - options.warmup, 1)
    match options.schedule:
        case "constant":
            return 1.0
        case "step":
            return options.decay ** sum(part >= at for at in options.decay_at)
        case "1/t":
            return 1 / (1 + part / options.decay_at[0])
        case "cosine":
            return (1 + math.cos(math.pi * part)) / 2
