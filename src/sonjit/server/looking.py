"""A detector at work for one client: pictures in, JSON text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonjit.media.json_tables import json_from
from sonjit.results import Frame
from sonjit.server.encode import json_of_all, strict_dict
from sonjit.runs import LISTS, Meaning, table_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.server.encode import Said
    from sonjit.server.explaining import Explainers
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

    def __init__(self, spec: Spec, detector: Detector[Any, Any], explainers: Explainers) -> None:
        self.detector = detector
        self._explainers = explainers
        self.list = LISTS[spec.kind]
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
        """What is in a picture (H, W, 3), as a member of a JSON object: `"hands":[...]`.

        Args:
            rgb: the picture.
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
        rows = self._meaning.of(frame).extras or []
        return [_members(row) for row in rows]

    def _begin(self, spec: Spec) -> None:
        self.spec = spec
        self._columns = table_columns(spec.name, measures=True) if spec.measures else {}
        self._forget()

    def _forget(self) -> None:
        self._meaning, self._time_s = Meaning(self._columns, None), 0.0


def _members(row: dict[str, Any]) -> Said:
    measures = {name: value for name, value in row.items() if name not in (_GESTURE, _GESTURE_SCORE)}
    said: Said = {"measures": measures}
    if _GESTURE in row:
        said["gesture"] = {"name": row[_GESTURE], "score": row[_GESTURE_SCORE]}
    return said
