"""Which cameras do not fit the others, and why: swapped, mirrored, resized, late, moved, or of another lens.

Two views of the same points must agree along their epipolar lines. The cameras of the largest group that agrees are
believed; each of the others is asked which single mistake would explain what it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.explanations import Evidence, explain
from sonjit.multiview.triangulation import triangulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig

_MOST_POINTS = 400
_FEWEST_POINTS = 8
_AGREEING_SHARE = 0.6


@dataclass(frozen=True)
class Finding:
    """What is wrong with a camera.

    Attributes:
        camera: its name.
        kind: swapped, duplicate, mirrored, turned, resized, late, moved, lens, silent, or unknown.
        says: one line for people.
    """

    camera: str
    kind: str
    says: str


@dataclass(frozen=True)
class Consistency:
    """Which cameras agree.

    Attributes:
        good: names of those that agree.
        findings: what is wrong with the others.
    """

    good: tuple[str, ...]
    findings: tuple[Finding, ...]

    def refuse(self) -> None:
        """Raise an InputError that names what is wrong, where something is.

        Raises:
            InputError: as it says.
        """
        if self.findings:
            raise InputError("; ".join(finding.says for finding in self.findings))


def check_views(
    rig: CameraRig,
    points_px: NDArray[np.floating],
    valid: NDArray[np.bool_] | None = None,
    *,
    threshold_px: float = 10.0,
) -> Consistency:
    """Find the cameras whose pixels do not fit the rig.

    Args:
        rig: C cameras.
        points_px: (C, N, 2), or (C, F, J, 2) over F instants, which lets a late camera be told from a wrong one.
        valid: (C, N) or (C, F, J) which are known; by default those that are finite.
        threshold_px: how far the views of one point may be apart.

    Raises:
        InputError: the arrays do not fit to the rig, or no two cameras agree.
    """
    pixels = np.asarray(points_px, np.float64)
    if pixels.ndim not in (3, 4) or len(pixels) != len(rig) or pixels.shape[-1] != 2:
        raise InputError(
            f"points_px has the shape {pixels.shape}: ({len(rig)}, N, 2) or ({len(rig)}, F, J, 2) is needed"
        )
    known = np.asarray(np.isfinite(pixels).all(-1))
    if valid is not None:
        known &= np.asarray(valid, np.bool_)
    pixels = np.where(known[..., None], pixels, np.nan)
    agree = _agreements(rig, pixels.reshape(len(rig), -1, 2), threshold_px)
    best = int(np.argmax((agree == 1).sum(1)))
    good = np.flatnonzero((agree[best] == 1) | (np.arange(len(rig)) == best))
    good = good[[(agree[row, good] == 1).sum() >= _AGREEING_SHARE * (len(good) - 1) for row in good]]
    if len(good) < 2:
        raise InputError(
            f"no two of the cameras {', '.join(rig.names)} agree within {threshold_px:g} px: the pictures are of "
            "another rig, of other instants, or their names are exchanged"
        )
    rest = [row for row in range(len(rig)) if row not in good]
    points = triangulate(
        rig.subset(rig.names[row] for row in good), pixels[good], method="ransac", threshold_px=threshold_px
    ).points_m
    evidence = Evidence(rig, pixels, points, frozenset(int(row) for row in rest), threshold_px)
    return Consistency(
        tuple(rig.names[row] for row in good),
        tuple(Finding(rig.names[row], *explain(evidence, row)) for row in rest),
    )


def _agreements(rig: CameraRig, pixels: NDArray[np.float64], threshold_px: float) -> NDArray[np.int8]:
    """(C, C) 1 where two cameras agree on what both see, -1 where not, 0 where they share too little."""
    agree = np.zeros((len(rig), len(rig)), np.int8)
    known = np.isfinite(pixels.sum(-1))
    for a in range(len(rig)):
        for b in range(a + 1, len(rig)):
            shared = np.flatnonzero(known[a] & known[b])
            if len(shared) < _FEWEST_POINTS:
                continue
            asked = shared[:: -(-len(shared) // _MOST_POINTS)]
            found = triangulate(rig.subset([rig.names[a], rig.names[b]]), pixels[[a, b]][:, asked], refine=False)
            near = found.ok & (np.nan_to_num(found.residual_px, nan=np.inf) < threshold_px / 2).all(0)
            agree[a, b] = agree[b, a] = 1 if near.mean() > _AGREEING_SHARE else -1
    return agree
