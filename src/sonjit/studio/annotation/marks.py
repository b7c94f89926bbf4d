"""Define marks of joints in views.

A mark is the position of a joint in one view of a frame set, set by a person or a machine. A joint is an index from 0
to 41: 21 keypoints of the right hand in MediaPipe's order, then 21 of the left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict, get_args

from sonjit._util.errors import InputError
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.triangulation.bones import JOINTS_PER_HAND, SIDES

JOINTS: Final = 2 * JOINTS_PER_HAND
MACHINE: Final = "machine"
"""Annotator name of machine marks."""

MarkState = Literal["seen", "occluded", "uncertain", "absent", "cleared"]
"""`occluded`: hidden, its position is estimated; `absent`: not in the image; `cleared`: the mark was deleted."""

MarkSource = Literal["H", "M", "H+M"]
"""H: human; M: machine; H+M: machine, checked by a human."""

WEIGHTS: Final[Mapping[MarkState, float]] = {"seen": 1.0, "occluded": 0.5, "uncertain": 0.25}
"""Weight of a mark with a position in a triangulation."""

_MAX_NAME = 60
_MAX_ID = 64
_MAX_COORDINATE_PX = 1e6
_MAX_FRAMES = 1 << 53
_MEMBER_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", "view", "state", "source"), str),
    **dict.fromkeys(("frame", "joint"), int),
    **dict.fromkeys(("x", "y"), float),
}


@dataclass(frozen=True)
class Mark:
    """One mark.

    Attributes:
        id: Unique id chosen by its writer. A mark that is sent twice is written once.
        frame: Number of the frame set.
        view: Name of the camera.
        joint: Index of the joint, 0 to 41.
        annotator: Name of the annotator.
        state: Visibility of the joint.
        x, y: Position in pixels of the view, None if absent or cleared.
        source: Origin of the position.
        version: Version of the store at which the mark was written, 0 before.
        time_s: Time of writing in seconds since 1970, 0 before.
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
            InputError: A field is invalid. The message names it and its value.
        """
        check_name("annotator", self.annotator)
        if not (0 < len(self.id) <= _MAX_ID and self.id.isprintable()):
            raise InputError(f"mark id {self.id[:80]!r}: give 1 to {_MAX_ID} printable characters")
        if not 0 <= self.frame < _MAX_FRAMES:
            raise InputError(f"mark {self.id}: frame {self.frame}; frames are numbers from 0")
        if not 0 <= self.joint < JOINTS:
            raise InputError(f"mark {self.id}: joint {self.joint}; joints are 0 to {JOINTS - 1}")
        for name, value, enum in (("state", self.state, MarkState), ("source", self.source, MarkSource)):
            if value not in get_args(enum):
                raise InputError(f"mark {self.id}: {name} {value!r}. Choose from {', '.join(get_args(enum))}")
        if (self.source == "M") != (self.annotator == MACHINE):
            raise InputError(
                f"mark {self.id}: source {self.source} by {self.annotator}; source M requires annotator {MACHINE!r}"
            )
        if not self.has_position:
            if self.x is not None or self.y is not None:
                raise InputError(f"mark {self.id}: state {self.state} requires no x and y")
        elif not all(abs(value) < _MAX_COORDINATE_PX for value in self.position_px):
            raise InputError(f"mark {self.id}: x {self.x} and y {self.y}; give pixels of the view")

    @property
    def has_position(self) -> bool:
        """Whether the mark has x and y."""
        return self.state in WEIGHTS

    @property
    def position_px(self) -> tuple[float, float]:
        """Position in pixels, NaN without one."""
        return (math.nan, math.nan) if self.x is None or self.y is None else (self.x, self.y)

    @property
    def key(self) -> tuple[int, str, int, str]:
        """Key of the mark, unique among current marks: frame, view, joint, annotator."""
        return self.frame, self.view, self.joint, self.annotator


def check_name(what: str, name: str) -> str:
    """Check an annotator's or a project's name and return it.

    Raises:
        InputError: The name is empty, too long or not printable.
    """
    if not (0 < len(name) <= _MAX_NAME and name.isprintable() and name == name.strip()):
        raise InputError(f"{what} {name[:80]!r}: give 1 to {_MAX_NAME} printable characters")
    return name


def joint_names() -> tuple[str, ...]:
    """Return the names of all joints, such as `right_wrist`."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return tuple(f"{side.lower()}_{name}" for side in SIDES for name in names)


def mark_from_dict(record: object, annotator: str) -> Mark:
    """Parse a mark of a client.

    Raises:
        InputError: A member is missing, unknown or of another type.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a mark is an object, not {record!r:.60}")
    members: Mapping[Any, Any] = record  # pyright: ignore[reportUnknownVariableType]  # JSON
    defined = {name: _check_member(name, value) for name, value in members.items() if value is not None}
    if missing := [name for name in ("id", "frame", "view", "joint") if name not in defined]:
        raise InputError(f"a mark lacks {', '.join(missing)}")
    return Mark(annotator=annotator, **defined)


def _check_member(name: object, value: object) -> Any:  # noqa: ANN401  # of a mark's own types
    """Return a member's value, checked for its type."""
    kind = _MEMBER_TYPES.get(str(name))
    if kind is None:
        raise InputError(f"unknown mark member {name!r:.60}. Choose from {', '.join(_MEMBER_TYPES)}")
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
    """Return a mark as JSON with annotator, version and time, see `mark_from_dict`."""
    return MarkRecord(**vars(mark))
