"""Marks: where a person or a machine sees a joint in one frame of one view; and the joints that follow from them.

A joint is a number from 0 to 41: 21 keypoints of the right hand in MediaPipe's order, then 21 of the left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, get_args

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.triangulation.bones import PER_HAND, SIDES
from sonjit.multiview.triangulation.triangulation import triangulate
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras.rig import CameraRig

JOINTS: Final = 2 * PER_HAND
MACHINE: Final = "machine"
"""The annotator whose marks are a machine's."""

MarkState = Literal["seen", "occluded", "uncertain", "absent", "cleared"]
"""`occluded`: hidden, its place is estimated; `absent`: not in the image; `cleared`: the mark was deleted."""

MarkSource = Literal["H", "M", "H+M"]
"""By a human, by a machine, or by a machine and checked by a human."""

WEIGHTS: Final[Mapping[MarkState, float]] = {"seen": 1.0, "occluded": 0.5, "uncertain": 0.25}
"""Weight of a mark with a place in a triangulation."""

_LONGEST_NAME = 60
_LONGEST_ID = 64
_FARTHEST_PX = 1e6
_FRAMES = 1 << 53
_MEMBERS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", "view", "state", "source"), str),
    **dict.fromkeys(("frame", "joint"), int),
    **dict.fromkeys(("x", "y"), float),
}


@dataclass(frozen=True)
class Mark:
    """One mark.

    Attributes:
        id: given by its writer, unique; sent twice, it is written once.
        frame: number of the frame set.
        view: name of the camera.
        joint: 0 to 41.
        annotator: who.
        state: how it is seen.
        x, y: pixels of the view; None where absent or cleared.
        source: by whom the place was found.
        version: of the store when it was written; 0 before.
        time_s: since 1970, when it was written; 0 before.
    """

    id: str
    frame: int
    view: str
    joint: int
    annotator: str
    state: MarkState = "seen"
    x: float | None = None
    y: float | None = None
    source: MarkSource = "H"
    version: int = 0
    time_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: names the field and its value.
        """
        check_name("annotator", self.annotator)
        if not (0 < len(self.id) <= _LONGEST_ID and self.id.isprintable()):
            raise InputError(f"mark id {self.id[:80]!r}: give 1 to {_LONGEST_ID} printable characters")
        if not 0 <= self.frame < _FRAMES:
            raise InputError(f"mark {self.id}: frame {self.frame}; frames are numbers from 0")
        if not 0 <= self.joint < JOINTS:
            raise InputError(f"mark {self.id}: joint {self.joint}; joints are 0 to {JOINTS - 1}")
        for name, value, known in (("state", self.state, MarkState), ("source", self.source, MarkSource)):
            if value not in get_args(known):
                raise InputError(f"mark {self.id}: {name} {value!r}; known: {', '.join(get_args(known))}")
        if (self.source == "M") != (self.annotator == MACHINE):
            raise InputError(f"mark {self.id}: source {self.source} by {self.annotator}; M is what {MACHINE!r} writes")
        if not self.has_place:
            if self.x is not None or self.y is not None:
                raise InputError(f"mark {self.id}: {self.state} with a place; leave x and y out")
        elif not all(abs(value) < _FARTHEST_PX for value in self.xy_px):
            raise InputError(f"mark {self.id}: x {self.x} and y {self.y}; give pixels of the view")

    @property
    def has_place(self) -> bool:
        """Whether it has x and y."""
        return self.state in WEIGHTS

    @property
    def xy_px(self) -> tuple[float, float]:
        """Its place; NaN without."""
        return (math.nan, math.nan) if self.x is None or self.y is None else (self.x, self.y)

    @property
    def place(self) -> tuple[int, str, int, str]:
        """Its key, of which there is one mark: frame, view, joint, annotator."""
        return self.frame, self.view, self.joint, self.annotator


def check_name(what: str, name: str) -> str:
    """An annotator's or a project's name.

    Raises:
        InputError: empty, too long or not printable.
    """
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise InputError(f"{what} {name[:80]!r}: give 1 to {_LONGEST_NAME} printable characters")
    return name


def joint_names() -> tuple[str, ...]:
    """Names of all joints, such as `right_wrist`."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return tuple(f"{side.lower()}_{name}" for side in SIDES for name in names)


def mark_from_dict(record: object, annotator: str) -> Mark:
    """A mark as a client sends it.

    Raises:
        InputError: a member is missing, unknown or of another type.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a mark is an object, not {record!r:.60}")
    members: Mapping[Any, Any] = record  # pyright: ignore[reportUnknownVariableType]  # JSON
    given = {name: _member(name, value) for name, value in members.items() if value is not None}
    missing = [name for name in ("id", "frame", "view", "joint") if name not in given]
    if missing:
        raise InputError(f"a mark lacks {', '.join(missing)}")
    return Mark(annotator=annotator, **given)


def _member(name: object, value: object) -> Any:  # noqa: ANN401  # of a mark's own types
    kind = _MEMBERS.get(str(name))
    if kind is None:
        raise InputError(f"mark member {name!r:.60} is not known; known: {', '.join(_MEMBERS)}")
    if kind is float and type(value) in (int, float):
        return float(value)  # pyright: ignore[reportArgumentType]
    if type(value) is not kind:
        raise InputError(f"mark {name} {value!r:.60}: give {'text' if kind is str else 'a number'}")
    return value


class MarkRecord(TypedDict):
    """A `Mark` as JSON."""

    id: str
    frame: int
    view: str
    joint: int
    annotator: str
    state: MarkState
    x: float | None
    y: float | None
    source: MarkSource
    version: int
    time_s: float


def mark_to_dict(mark: Mark) -> MarkRecord:
    """As `mark_from_dict` reads it, with annotator, version and time."""
    return MarkRecord(
        id=mark.id, frame=mark.frame, view=mark.view, joint=mark.joint, annotator=mark.annotator, state=mark.state,
        x=mark.x, y=mark.y, source=mark.source, version=mark.version, time_s=mark.time_s,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class MarkTable:
    """The marks of one frame set as arrays over cameras, in the rig's order, and joints.

    Attributes:
        points_px: (C, 42, 2) NaN where there is none.
        weights: (C, 42) of each; 0 where there is none.
    """

    points_px: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(C, 42) which marks have a place."""
        return self.weights > 0


def table_of_marks(rig: CameraRig, marks: Iterable[Mark]) -> MarkTable:
    """The median of all marks of a view and joint; views that are not in the rig are left out.

    Args:
        rig: the cameras.
        marks: of one frame set, of one annotator or of several.
    """
    places: dict[tuple[int, int], list[Mark]] = {}
    views = {name: number for number, name in enumerate(rig.names)}
    for mark in marks:
        if mark.has_place and mark.view in views:
            places.setdefault((views[mark.view], mark.joint), []).append(mark)
    points = np.full((len(rig), JOINTS, 2), np.nan)
    weights = np.zeros((len(rig), JOINTS))
    for place, group in places.items():
        points[place] = np.median([mark.xy_px for mark in group], axis=0)
        weights[place] = np.mean([WEIGHTS.get(mark.state, 0.0) for mark in group])
    return MarkTable(points, weights)


_LINE_POINTS = 24


@dataclass(frozen=True, eq=False)
class SolvedJoints:
    """The joints of one frame set, triangulated.

    Attributes:
        points_m: (42, 3) in the world; NaN for joints with fewer than two marks.
        sigma_m: (42,) how well each is known: the root of its covariance's trace; NaN.
        residual_px: (C, 42) from each mark to the joint's projection; NaN without mark.
        projected_px: (C, 42, 2) in every view; NaN where unknown or not before the camera.
    """

    points_m: NDArray[np.float64]
    sigma_m: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    projected_px: NDArray[np.float64]


def solve_joints(rig: CameraRig, table: MarkTable) -> SolvedJoints:
    """Joints from marks, by `triangulate` with the marks' weights; all marks count, residuals are shown."""
    found = triangulate(rig, table.points_px, table.valid, np.where(table.valid, table.weights, 1.0))
    sigma = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1))
    return SolvedJoints(found.points_m, sigma, found.residual_px, rig.project(found.points_m))


def epipolar_lines(rig: CameraRig, table: MarkTable, joint: int) -> dict[str, NDArray[np.float64]]:
    """Epipolar lines (N, 2) in pixels by view, of a joint that is marked in one view alone."""
    (marked,) = np.nonzero(table.valid[:, joint])
    if len(marked) != 1:
        return {}
    own = rig.cameras[int(marked[0])]
    lines = {
        other.name: own.epipolar_line(table.points_px[marked[0], joint], other, points=_LINE_POINTS)
        for other in rig
        if other is not own
    }
    return {name: line for name, line in lines.items() if len(line)}
