"""A detector at work for one client: images in, JSON text out.

Where the hand network looked: maps of one of its numbers for the hands of an image.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.detectors.kinds import find_kind
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.explain import load_hand_explainer
from sonjit.json_text import json_from
from sonjit.results import Frame, shortest_floats
from sonjit.runs import Annotator, table_columns
from sonjit.server.encode import json_of_all, strict_dict
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.explain import HandExplainer, TargetMap
    from sonjit.results import Hand
    from sonjit.server.encode import Said
    from sonjit.server.options import Spec

_GESTURE, _GESTURE_SCORE = "gesture", "gesture_score"


class Looker:
    """One detector, with what is said of its results.

    Args:
        spec: what it was made of.
        detector: of the stock.
        explainers: where networks looked is asked of these.

    Attributes:
        list: name of the list that its results stand in.
    """

    def __init__(self, spec: Spec, detector: Detector[Any], explainers: Explainers) -> None:
        self.detector = detector
        self._explainers = explainers
        self.list = find_kind(spec.kind).list_name
        self._begin(spec)

    def reset(self) -> None:
        """Forget every instance."""
        self.detector.reset()
        self._forget()

    def say_as(self, spec: Spec) -> None:
        """From now on say what a spec of the same detector asks for."""
        if spec != self.spec:
            self._begin(spec)

    def look(self, rgb: NDArray[np.uint8], time_s: float | None, *, strict: bool = False) -> str:
        """What is in an image (H, W, 3), as a member of a JSON object: `"hands":[...]`.

        Args:
            rgb: the image.
            time_s: of the frame; None for a still.
            strict: only the members of tfjs-models' shape.
        """
        found = self.detector.detect(rgb, time=time_s)
        if strict:
            return f'"{self.list}":{json_from([strict_dict(one) for one in found])}'
        said = self._say(Frame.holding(0, time_s, found)) if self.spec.measures else None
        if self.spec.explain != "none":
            maps = self._explainers.maps(rgb, found, self.spec)
            said = [members | {"map": one} for members, one in zip(said or [{}] * len(maps), maps, strict=True)]
        return f'"{self.list}":{json_of_all(found, said)}'

    def _say(self, frame: Frame) -> list[Said]:
        """Measures of each instance, and the gesture of each hand."""
        if frame.time is None or not frame.time >= self._time_s:  # a clip that begins anew
            self._forget()
        self._time_s = frame.time or 0.0
        rows = self._annotator.annotate(frame).extras or []
        return [_members(row) for row in rows]

    def _begin(self, spec: Spec) -> None:
        self.spec = spec
        self._columns = table_columns(spec.name, measures=True) if spec.measures else {}
        self._forget()

    def _forget(self) -> None:
        self._annotator, self._time_s = Annotator(self._columns, None), 0.0


def _members(row: dict[str, Any]) -> Said:
    measures = {name: value for name, value in row.items() if name not in (_GESTURE, _GESTURE_SCORE)}
    said: Said = {"measures": measures}
    if _GESTURE in row:
        said["gesture"] = {"name": row[_GESTURE], "score": row[_GESTURE_SCORE]}
    return said


_KEYPOINTS = load_skeleton("hand_mediapipe21").keypoints
_AXES = ("x", "y", "z", "x_m", "y_m", "z_m")
TARGETS = ("handedness", "presence", *(f"{name}.{axis}" for name in _KEYPOINTS for axis in _AXES))
"""Every number that can be asked for."""

TARGETS_TOLD = (
    "handedness, presence, or x, y, z (pixels of the network's input), x_m, y_m, z_m (metres) of a keypoint, as in "
    f"index_finger_tip.x; keypoints: {', '.join(_KEYPOINTS)}"
)


class Explainers:
    """Lends explainers to those who ask where the network looked; nobody waits for another.

    There come to be as many of each network as are in use at a time, which the workers bound.
    """

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, bool], list[HandExplainer]] = defaultdict(list)
        self._lock = threading.Lock()

    def load(self, spec: Spec) -> None:
        """Have what a spec needs ready for its first image."""
        if spec.explain != "none":
            with self.lent(spec.model, mirrored=spec.mirrored):
                pass

    @contextmanager
    def lent(self, model: str, *, mirrored: bool) -> Generator[HandExplainer]:
        """One for the time of a block, in the thread of the caller; loaded where all are in use."""
        idle = self._idle[model, mirrored]
        with self._lock:
            explainer = idle.pop() if idle else None
        explainer = explainer or load_hand_explainer(model, mirrored=mirrored, threads=1)
        try:
            yield explainer
        finally:
            with self._lock:
                idle.append(explainer)

    def maps(self, rgb: NDArray[np.uint8], hands: Sequence[Hand], spec: Spec) -> list[dict[str, Any]]:
        """The map of each hand as plain JSON types, on the canvas that its keypoints are on.

        Args:
            rgb: (H, W, 3) the image that they were found in.
            hands: as the detector of the spec gave them.
            spec: which number, and how the hands were found.
        """
        if not hands:
            return []
        with self.lent(spec.model, mirrored=spec.mirrored) as explainer:
            return [self._map(explainer, rgb, hand, spec) for hand in hands]

    def _map(self, explainer: HandExplainer, rgb: NDArray[np.uint8], hand: Hand, spec: Spec) -> dict[str, Any]:
        points, width = hand.keypoints, rgb.shape[1]
        if spec.flip_horizontal:  # back to where the hand is in the image
            points = points * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
        (found,) = explainer.look(rgb, box_around_hand(points), [spec.explain])
        return map_dict(found, flipped_in=width if spec.flip_horizontal else None)


def map_dict(found: TargetMap, *, flipped_in: int | None = None) -> dict[str, Any]:
    """A map as plain JSON types: its values row by row, from the upper left corner of its box.

    Args:
        found: in the image.
        flipped_in: width of the image in pixels where x is counted from the right.
    """
    box, values = found.box, found.values
    if flipped_in is not None:
        box, values = box._replace(cx=flipped_in - box.cx, rotation=-box.rotation), values[:, ::-1]
    return {
        "of": found.target,
        "value": round(found.value, 4),
        "unit": found.unit,
        "bias": round(found.bias, 4),
        "size": list(values.shape),
        "values": shortest_floats(values.ravel()),
        "box": {name: round(number, 3) for name, number in box._asdict().items()},
    }
