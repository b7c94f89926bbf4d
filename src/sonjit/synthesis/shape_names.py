"""The 36 numbers that make one person's hand differ from another's."""

from __future__ import annotations

from typing import Final

SHAPE_NAMES: Final = (
    "size",
    *(f"thumb_{bone}_length" for bone in ("metacarpal", "proximal", "distal")),
    *(
        f"{finger}_{bone}_length"
        for finger in ("index", "middle", "ring", "little")
        for bone in ("proximal", "middle", "distal")
    ),
    *(f"{finger}_thickness" for finger in ("thumb", "index", "middle", "ring", "little")),
    "palm_length",
    "palm_width",
    "palm_depth",
    "palm_arch",
    "wrist_width",
    "wrist_depth",
    "thenar",
    "hypothenar",
    "knuckles",
    "finger_joints",
    "webs",
    "thumb_web",
    "tip_taper",
    "finger_depth",
    "softness",
)
"""Names of a shape's values, which count in standard deviations from the rig."""
