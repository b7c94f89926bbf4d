"""What the page is told of one frame set: marks, joints in space, where they fall in every view, what looks wrong."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.multiview.annotation.agreement import agreement, conflicts
from sonjit.multiview.annotation.marks import (
    JOINTS,
    MACHINE,
    Mark,
    SolvedJoints,
    epipolar_lines,
    joint_names,
    mark_to_dict,
    solve_joints,
    table_of_marks,
)
from sonjit.multiview.triangulation.bones import BONES, BoneLengths, bone_lengths, bone_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.multiview.annotation.project import Project


class Frames:
    """A project's frame sets as JSON.

    Args:
        project: whose.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._bones = BoneLengths()
        self._read = 0  # version up to which the bones are known
        self._agreement: tuple[int, dict[str, Any]] = (-1, {})
        self._lock = threading.Lock()

    def project(self) -> dict[str, Any]:
        """What does not change while people work."""
        project = self._project
        missing = project.missing()
        return {
            "name": project.name,
            "frames": project.frames,
            "views": [
                {
                    "name": camera.name,
                    "width": camera.width,
                    "height": camera.height,
                    "rotation": camera.R.tolist(),
                    "translation_m": camera.t.tolist(),
                    "missing": missing.get(camera.name, ()),
                }
                for camera in project.rig
            ],
            "joints": joint_names(),
            "bones": BONES,
            "annotators": project.store.annotators(),
            "version": project.store.version,
        }

    def frame(
        self,
        frame: int,
        annotator: str,
        *,
        joint: int | None = None,
        views: Collection[str] = (),
        everyone: bool = False,
    ) -> dict[str, Any]:
        """One frame set as one annotator sees it.

        Args:
            frame: its number.
            annotator: whose marks make the joints.
            joint: whose epipolar lines are wanted.
            views: in which projections are wanted; all by default.
            everyone: joints are made of all people's marks, the median where several marked one view.
        """
        rig, store = self._project.rig, self._project.store
        version = store.version
        marks = store.marks(frame)
        people = [mark for mark in marks if mark.annotator != MACHINE]
        own = [mark for mark in people if mark.annotator == annotator]
        table = table_of_marks(rig, people if everyone else own)
        solution = solve_joints(rig, table)
        lines = {} if joint is None else epipolar_lines(rig, table, joint)
        shown = [name for name in rig.names if not views or name in views]
        return {
            "frame": frame,
            "version": version,
            "marks": [mark_to_dict(mark) for mark in own],
            "others": [mark_to_dict(mark) for mark in people if mark.annotator != annotator],
            "machine": [mark_to_dict(mark) for mark in marks if mark.annotator == MACHINE],
            "conflicts": [
                {
                    "view": one.view,
                    "joint": one.joint,
                    "annotators": [mark.annotator for mark in one.marks],
                    "apart_px": one.apart_px,
                }
                for one in conflicts(people)
            ],
            **self._joints(solution, shown),
            "lines": {name: _listed(line) for name, line in lines.items() if name in shown},
            "bones": self._warnings(frame, solution),
        }

    def progress(self) -> dict[str, Any]:
        """How far each frame is, and how much it needs a human."""
        store = self._project.store
        needs = {frame: {"score": need.score, "why": need.why} for frame, need in store.needs().items()}
        return {"version": store.version, "joints": JOINTS, "frames": store.triangulable(), "needs": needs}

    def agreement(self) -> dict[str, Any]:
        """Between annotators, over all frames."""
        store = self._project.store
        version = store.version
        if self._agreement[0] != version:
            self._agreement = version, agreement(store.marks())
        return self._agreement[1]

    def _joints(self, solution: SolvedJoints, shown: list[str]) -> dict[str, Any]:
        places = [self._project.rig.index(name) for name in shown]
        return {
            "points_m": _listed(solution.points_m, 6),
            "sigma_mm": _listed(1e3 * solution.sigma_m, 3),
            "projected": {name: _listed(solution.projected_px[k]) for name, k in zip(shown, places, strict=True)},
            "residuals_px": {name: _listed(solution.residual_px[k]) for name, k in zip(shown, places, strict=True)},
        }

    def _warnings(self, frame: int, solution: SolvedJoints) -> list[dict[str, Any]]:
        """Bones of unlikely lengths, beside those of all frames that people have marked."""
        lengths = bone_lengths(solution.points_m)
        with self._lock:
            self._catch_up()
            usual = self._bones.usual_m(without=frame)
        return [
            {
                "bone": one.bone,
                "length_mm": round(1e3 * one.length_m, 1),
                "expected_mm": round(1e3 * one.expected_m, 1),
                "against": one.against,
            }
            for one in bone_warnings(lengths, usual)
        ]

    def _catch_up(self) -> None:
        """Measure the bones of every frame that was written to since the last time, of all people's marks."""
        store, rig = self._project.store, self._project.rig
        version = store.version
        changed = store.changed_frames(self._read)
        by_frame = _people_by_frame(store.marks()) if len(changed) > 8 else None
        for frame in changed:
            marks = (_people_by_frame(store.marks(frame)) if by_frame is None else by_frame).get(frame, [])
            self._bones.write(frame, bone_lengths(solve_joints(rig, table_of_marks(rig, marks)).points_m))
        self._read = version


def _people_by_frame(marks: list[Mark]) -> Mapping[int, list[Mark]]:
    found: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.annotator != MACHINE:
            found.setdefault(mark.frame, []).append(mark)
    return found


def _listed(array: NDArray[np.float64], digits: int = 2) -> list[Any]:
    """As JSON: rounded; None for a number, or a point with one, that is unknown."""
    known = np.asarray(np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    rounded = np.round(array, digits).tolist()
    return [value if there else None for value, there in zip(rounded, known.tolist(), strict=True)]
