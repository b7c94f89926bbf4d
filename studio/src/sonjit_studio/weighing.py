"""Weigh people's marks: how far they are from each other, and from the joint in space that they give."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray, IntArray, pluralize
from sonjit_studio.bones import SIDES
from sonjit_studio.marks import CONFLICT_PX, MACHINE, Mark, conflicts
from sonjit_studio.rig import CameraRig

FAR_PX: Final = 5.0
"""Distance of a mark from its joint above which the page asks for a check, in pixels."""


class Weighed(NamedTuple):
    """People's marks of the joints (2, 21) of one frame set, right hand first."""

    residual_px: FloatArray  # (2, 21) root mean square distance of all marks from the joint, NaN without a joint
    worst_px: FloatArray  # (2, 21) largest of these distances
    seen: BoolArray  # (C, 2, 21) views with a mark
    source: IntArray  # (2, 21) index in `SOURCES`: 2 by hand only, 3 if a mark is a checked one of the machine
    conflicts: int  # joints of views on which people disagree
    apart_px: float  # largest distance of two people's marks of a joint in a view


def weigh_marks(rig: CameraRig, marks: Sequence[Mark], joints_m: FloatArray) -> Weighed:
    """Weigh the marks of one frame set against the joints (2, 21, 3) in metres that they give, NaN where unknown."""
    people = [mark for mark in marks if mark.annotator != MACHINE]
    placed = [mark for mark in people if mark.has_position and mark.view in rig.names]
    projected = rig.project(joints_m)  # (C, 2, 21, 2)
    squares, counts = np.zeros((2, 21)), np.zeros((2, 21), np.int64)
    worst, seen, source = np.zeros((2, 21)), np.zeros((len(rig), 2, 21), np.bool_), np.full((2, 21), 2, np.int64)
    for mark in placed:
        view, joint = rig.names.index(mark.view), divmod(mark.joint, 21)
        distance = float(np.linalg.norm(projected[view][joint] - mark.position_px))
        squares[joint] += distance**2
        counts[joint] += 1
        worst[joint] = max(worst[joint], distance)
        seen[view][joint] = True
        source[joint] = max(source[joint], 3 if mark.source == "H+M" else 2)
    unknown = (counts == 0) | ~np.isfinite(joints_m).all(-1)
    residual = np.where(unknown, np.nan, np.sqrt(squares / np.maximum(counts, 1)))
    disputed = conflicts(people)
    apart = max((conflict["apart_px"] or 0.0 for conflict in disputed), default=0.0)
    return Weighed(residual, np.where(unknown, np.nan, worst), seen, source, len(disputed), apart)


def doubt_of(weighed: Weighed) -> str:
    """Return why the marks of a frame set need a check; empty if they do not."""
    reasons: list[str] = []
    if weighed.conflicts:
        apart = f" by {weighed.apart_px:.0f} px" if weighed.apart_px > CONFLICT_PX else " on what is visible"
        reasons.append(f"people disagree{apart}")
    worst = np.nan_to_num(weighed.worst_px)
    if worst.max() > FAR_PX:
        side, joint = np.unravel_index(int(worst.argmax()), worst.shape)
        reasons.append(f"a mark is {worst.max():.0f} px off {SIDES[side].lower()} joint {joint}")
    return ", ".join(reasons)


def doubts_text(doubts: Iterable[int]) -> str:
    """Return a line that counts the frame sets whose marks need a check; empty without any."""
    frames = sorted(doubts)
    if not frames:
        return ""
    noun = pluralize(len(frames), "frame set")
    limits = f"disagree by more than {CONFLICT_PX:g} px or are more than {FAR_PX:g} px off their joint"
    return f"people's marks in {noun} {limits}, first {frames[0]}. Check them on the page: sonjit annotate rank"
