"""Saliency maps of the hand network for clients."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np

from sonjit._util.arrays import Image
from sonjit._util.json_text import JsonObject
from sonjit.detectors.hand_saliency import HandExplainer, TargetMap, load_hand_explainer
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.detectors.options import HandOptions
from sonjit.results import Hand, shortest_floats
from sonjit.server.options import SessionOptions


class ExplainerPool:
    """Networks that make saliency maps. The pool grows to the number in use at a time, which the workers limit."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, bool], list[HandExplainer]] = defaultdict(list)
        self._lock = threading.Lock()
        self._is_closed = False

    def load(self, options: SessionOptions) -> None:
        """Load the network of a session before its first image."""
        detector = options.detector
        if options.explain != "none" and isinstance(detector, HandOptions):
            with self.borrow(detector.model, mirrored=detector.mirrored):
                pass

    @contextmanager
    def borrow(self, model: str, *, mirrored: bool) -> Generator[HandExplainer]:
        """Provide a network for a block in the caller's thread. Load one if all are in use."""
        key = model, mirrored
        with self._lock:
            explainer = self._idle[key].pop() if self._idle[key] else None
        explainer = explainer or load_hand_explainer(model, mirrored=mirrored, threads=1)
        try:
            yield explainer
        finally:
            with self._lock:
                if not self._is_closed:
                    self._idle[key].append(explainer)

    def close(self) -> None:
        """Release all networks; those in use are released when their block ends."""
        with self._lock:
            self._is_closed = True
            self._idle.clear()

    def maps(self, rgb: Image, hands: Sequence[Hand], options: SessionOptions) -> list[JsonObject]:
        """Return the map of each hand as plain JSON types, in the coordinates of its keypoints.

        Args:
            rgb: (H, W, 3) image that contains the hands.
            hands: Hands as returned by the detector.
            options: Output to explain and options of the detector.
        """
        detector = options.detector
        if not hands or not isinstance(detector, HandOptions):
            return []
        with self.borrow(detector.model, mirrored=detector.mirrored) as explainer:
            return [_explain(explainer, rgb, hand, options) for hand in hands]


def _explain(explainer: HandExplainer, rgb: Image, hand: Hand, options: SessionOptions) -> JsonObject:
    points, width = hand.keypoints, rgb.shape[1]
    if options.detector.flip_horizontal:  # undo the flip, because the image is not flipped
        points = points * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
    (explained,) = explainer.explain(rgb, box_around_hand(points), [options.explain])
    return map_to_dict(explained, flipped_width=width if options.detector.flip_horizontal else None)


def map_to_dict(explained: TargetMap, *, flipped_width: int | None) -> JsonObject:
    """Return a map as plain JSON types, with its values row by row from the upper left corner of its box.

    Args:
        explained: Map in image coordinates.
        flipped_width: Width of the image in pixels if x counts from the right; otherwise None.
    """
    box, values = explained.box, explained.values
    if flipped_width is not None:
        box, values = box._replace(cx=flipped_width - box.cx, rotation=-box.rotation), values[:, ::-1]
    return {
        "of": explained.target,
        "value": round(explained.value, 4),
        "unit": explained.unit,
        "bias": round(explained.bias, 4),
        "size": list(values.shape),
        "values": shortest_floats(values.ravel()),
        "box": {name: round(number, 3) for name, number in box._asdict().items()},
    }
