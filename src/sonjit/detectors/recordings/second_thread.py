"""The second thread of a recording, which works ahead of the first one and beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from sonjit._util import Image
from sonjit.detectors.observations import O
from sonjit.detectors.search.ahead import Helpers
from sonjit.geometry.boxes import RotatedBox

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import Kind, StillSearch


class Networks(NamedTuple, Generic[O]):
    """What a thread runs: a kind, and its search of key frames."""

    kind: Kind[O, Any]
    search: StillSearch[O] | None


class SecondThread(Generic[O]):
    """Search key frames before their turn, and observe instances of a frame at the same time as the first thread.

    What it computes depends on images and boxes only, so that results do not depend on the threads. `own` are the
    networks of the first thread. `load` makes equal ones at the first use.
    """

    def __init__(self, own: Networks[O], load: Callable[[], Networks[O]]) -> None:
        self._own = own
        self._helper = Helpers(load, 1)
        self._searched: tuple[Image, Future[tuple[list[O], bool]]] | None = None

    def start(self, rgb: Image) -> None:
        """Begin to search an image (H, W, 3), unless another search is running."""
        if self._searched is None or (self._searched[0] is not rgb and self._searched[1].done()):
            self._searched = rgb, self._helper.submit(lambda: _search(self._helper.networks(self._own), rgb))

    def search(self, rgb: Image) -> tuple[list[O], bool]:
        """Return the result of an image (H, W, 3), which the thread may have begun to search as this array."""
        if self._searched is None or self._searched[0] is not rgb:
            return _search(self._own, rgb)
        result = self._searched[1].result()
        self._searched = None
        return result

    def observe(self, rgb: Image, boxes: Sequence[RotatedBox]) -> list[O]:
        """Run the landmark network on boxes of an image (H, W, 3), half of them in the thread unless it searches."""
        if self._searched is not None and not self._searched[1].done():
            return _observe(self._own, rgb, boxes)
        half = (len(boxes) + 1) // 2
        others = self._helper.submit(lambda: _observe(self._helper.networks(self._own), rgb, boxes[half:]))
        return [*_observe(self._own, rgb, boxes[:half]), *others.result()]

    def close(self) -> None:
        """Wait for a running search, and end the thread."""
        self._helper.close()


def _search(networks: Networks[O], rgb: Image) -> tuple[list[O], bool]:
    assert networks.search is not None
    return networks.search(rgb)


def _observe(networks: Networks[O], rgb: Image, boxes: Sequence[RotatedBox]) -> list[O]:
    return [networks.kind.observe(rgb, box) for box in boxes]
