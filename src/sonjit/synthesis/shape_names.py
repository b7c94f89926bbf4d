"""The 36 numbers that make one person's hand differ from another's."""

from __future__ import annotations

from typing import Final

_BONE_SPREADS: Final = (0.035, 0.045, 0.05)  # from the palm outwards

SHAPE_SPREADS: Final = {
    "size": 0.06,
    "thumb_metacarpal_length": 0.04,
    "thumb_proximal_length": 0.045,
    "thumb_distal_length": 0.05,
    **{
        f"{finger}_{bone}_length": spread
        for finger in ("index", "middle", "ring", "little")
        for bone, spread in zip(("proximal", "middle", "distal"), _BONE_SPREADS, strict=True)
    },
    **{f"{finger}_thickness": 0.045 for finger in ("thumb", "index", "middle", "ring", "little")},
    "palm_length": 0.03,
    "palm_width": 0.04,
    "palm_depth": 0.06,
    "palm_arch": 0.0012,
    "wrist_width": 0.05,
    "wrist_depth": 0.06,
    "thenar": 0.0014,
    "hypothenar": 0.0012,
    "knuckles": 0.0007,
    "finger_joints": 0.04,
    "webs": 0.0012,
    "thumb_web": 0.0015,
    "tip_taper": 0.04,
    "finger_depth": 0.03,
    "softness": 0.0002,
}
"""One standard deviation of each: a share of its own measure, or metres where the rig has nothing to measure against.

`size` grows the whole hand; all else counts beside it. Surveys of soldiers' hands (Greiner 1991, Garrett 1971) give a
hand's length and breadth and its fingers' breadths and depths coefficients of variation of 5 to 8 %, men and women
apart; phalanges vary by 3 to 6 % around their share of a hand's length (Buchholz et al. 1992). What no survey measures
is set by eye: arch, bulges, knuckles, webs, taper.
"""

SHAPE_NAMES: Final = tuple(SHAPE_SPREADS)
"""Names of a shape's values, which count in standard deviations from the rig."""
