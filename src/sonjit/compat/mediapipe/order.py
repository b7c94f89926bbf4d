"""Order of tracked hands and faces as in MediaPipe's graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class InstanceOrder:
    """Order of the instances of a video. Instances that stay in view keep their order.

    Args:
        new_first: True if instances that appear are placed before the others, False if after them.
    """

    def __init__(self, *, new_first: bool) -> None:
        self._new_first = new_first
        self._ids: list[int] = []

    def sort(self, instances: Sequence[Any]) -> list[Any]:
        """Return the instances of the next frame in their order. Instances without a track ID stay as they are."""
        by_id = {instance.id: instance for instance in instances}
        if None in by_id:
            return list(instances)
        tracked = [number for number in self._ids if number in by_id]
        new = [number for number in by_id if number not in tracked]
        self._ids = [*new, *tracked] if self._new_first else [*tracked, *new]
        return [by_id[number] for number in self._ids]

    def reset(self) -> None:
        """Forget the order. The next frame starts a new video."""
        self._ids = []
