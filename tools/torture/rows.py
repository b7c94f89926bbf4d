"""The record of one test."""

import math
import time
from dataclasses import dataclass, field


@dataclass
class Row:
    """Record of one test: number of tries, and failures.

    Attributes:
        name: Name of the test.
        seed: Seed of its random numbers.
        max_tries: Maximum number of tries.
        until_s: End of its time on the monotonic clock, in seconds.
    """

    name: str
    seed: int
    max_tries: float = math.inf
    until_s: float = 0.0
    tried: int = 0
    failures: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def has_time(self, for_s: float = 0.0) -> bool:
        """Return whether there is time for another try. The first try always runs."""
        return not self.tried or (self.tried < self.max_tries and time.monotonic() + for_s < self.until_s)

    def fail(self, *messages: object) -> None:
        """Record the messages that are not empty."""
        self.failures += [f"try {self.tried}: {message}" for message in messages if message]
