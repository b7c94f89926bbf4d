"""A row of the table."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass
class Row:
    """One test: how often it was tried, and what failed.

    Attributes:
        name: of the test.
        seed: of all that is random in it.
        until_s: when its time is over, on the monotonic clock.
        most: tries, however much time is left.
    """

    name: str
    seed: int
    until_s: float = 0.0
    most: float = math.inf
    tried: int = 0
    failures: list[str] = field(default_factory=list[str])

    def goes_on(self, for_s: float = 0.0) -> bool:
        """Whether one more try fits; the first always does."""
        return not self.tried or (self.tried < self.most and time.monotonic() + for_s < self.until_s)

    def fail(self, *sayings: object) -> None:
        """Note what is not empty."""
        self.failures += [f"try {self.tried}: {saying}" for saying in sayings if saying]
