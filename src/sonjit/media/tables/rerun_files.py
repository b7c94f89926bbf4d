"""Write results as a recording for the viewer Rerun."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util import optional_import
from sonjit._util.files import Draft, failing_as_job
from sonjit.media.tables.base import Extras, ExtraTypes, FrameWriter, Header
from sonjit.media.tables.formats import Download, TableFormat
from sonjit.results import RESULT_TYPES, Frame
from sonjit.results.schema import Result

_IMAGE: Final = "image"
"""Entity of keypoints in pixels."""
_SPACE: Final = "space"
"""Entity of keypoints in metres: x right, y down, z forward."""


class RerunWriter(FrameWriter):
    """Keypoints of each frame, in pixels below `image` and in metres below `space`, and further values as curves.

    An instance has the name of its list and its track ID, such as `image/hands/1`, or its number in a still from 1.
    """

    def __init__(self, path: Path, header: Header, extra: ExtraTypes, _: None = None) -> None:
        super().__init__()
        with optional_import(".rrd recordings", "rerun"):
            import rerun
        self._rerun: Any = rerun
        self._numbers = [name for name, kind in extra.items() if kind is not str]
        self._draft = Draft(path)
        self._classes: dict[str, object] = {}
        self._shown: set[str] = set()
        self._recording = self._rerun.RecordingStream("sonjit")
        with failing_as_job(self._draft.final):
            self._recording.save(self._draft.path)
        self._recording.send_recording_name(header.source or "sonjit")
        self._recording.log(_SPACE, self._rerun.ViewCoordinates.RDF, static=True)
        if header.width and header.height:
            border = self._rerun.Boxes2D(
                array=[[0, 0, header.width, header.height]], array_format=self._rerun.Box2DFormat.XYXY
            )
            self._recording.log(f"{_IMAGE}/border", border, static=True)

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        self._recording.reset_time()
        self._recording.set_time("frame", sequence=frame.index)
        if frame.time is not None:
            self._recording.set_time("time", duration=frame.time)
        shown: set[str] = set()
        for number, (entity, part) in enumerate(_parts(frame)):
            self._log(entity, part)
            shown.add(entity)
            for name in self._numbers if extras else ():
                value = extras[number].get(name) if extras else None
                if isinstance(value, (int, float)):
                    self._recording.log(f"values/{entity}/{name}", self._rerun.Scalars(value))
        for entity in self._shown - shown:
            for place in (_IMAGE, _SPACE):
                self._recording.log(f"{place}/{entity}", self._rerun.Clear(recursive=True))
        self._shown = shown

    def _log(self, entity: str, part: Result) -> None:
        """Write the keypoints of an instance that are known."""
        number = self._class_of(part)
        for place, points in ((_IMAGE, part.keypoints[:, :2]), (_SPACE, getattr(part, "keypoints_3d", None))):
            if points is None:
                continue
            finite_rows = np.flatnonzero(np.isfinite(points).all(1))
            kind = self._rerun.Points2D if place == _IMAGE else self._rerun.Points3D
            shown = kind(points[finite_rows], class_ids=number, keypoint_ids=finite_rows, show_labels=False)
            self._recording.log(f"{place}/{entity}", shown)

    def _class_of(self, part: Result) -> int:
        """Return the number of a skeleton, whose names and lines are written when it first occurs."""
        skeleton = part.skeleton
        if skeleton.name not in self._classes:
            number = len(self._classes)
            self._classes[skeleton.name] = self._rerun.ClassDescription(
                info=self._rerun.AnnotationInfo(number, part.kind),
                keypoint_annotations=[self._rerun.AnnotationInfo(k, name) for k, name in enumerate(skeleton.keypoints)],
                keypoint_connections=list(skeleton.connections),
            )
            self._recording.log("/", self._rerun.AnnotationContext(list(self._classes.values())), static=True)
        return list(self._classes).index(skeleton.name)

    def _complete(self) -> None:
        with failing_as_job(self._draft.final):
            self._recording.flush()
            self._recording.disconnect()

    def _abort(self) -> None:
        self._recording.disconnect()
        self._draft.drop()


def _parts(frame: Frame) -> Iterator[tuple[str, Result]]:
    """Yield the entity and the result of each instance, in the order of `Frame.instances()`."""
    for list_name in RESULT_TYPES:
        for number, result in enumerate(frame.results(list_name), 1):
            entity = f"{list_name}/{number if result.id is None else result.id}"
            if not result.members:
                yield entity, result
            for name in result.members:
                part: Result | None = getattr(result, name)
                if part is not None:
                    yield f"{entity}/{name}", part


RERUN = TableFormat(
    RerunWriter,
    summary="for the viewer Rerun",
    group="others",
    noun="Recordings for Rerun",
    sources="photographs",
    extra="rerun",
    downloads=(
        Download(
            {"en": ("Rerun", "A recording for the viewer Rerun"), "ko": ("Rerun", "뷰어 Rerun용 기록")}, of="videos"
        ),
    ),
)
