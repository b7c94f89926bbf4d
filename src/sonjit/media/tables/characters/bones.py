"""Name the bones of a character, in the order parents first, as four conventions call them.

Sources: VRM 1.0, humanoid bones. Adobe, rig of Mixamo. Epic Games, skeleton of Unreal's mannequin. W3C, WebXR Body
Tracking.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

BoneNames: TypeAlias = Literal["vrm", "mixamo", "unreal", "webxr"]
"""Convention of bone names."""


CHARACTER_ENDINGS: Final = (".bvh", ".glb", ".vrma")
"""Endings of character files."""

SIDES: Final = ("left", "right")
FINGERS: Final = ("Thumb", "Index", "Middle", "Ring", "Little")
_THUMB_PARTS: Final = ("Metacarpal", "Proximal", "Distal")
_PARTS: Final = ("Proximal", "Intermediate", "Distal")
FINGER_PARTS: Final = {finger: _THUMB_PARTS if finger == "Thumb" else _PARTS for finger in FINGERS}
"""Names of a finger's three bones, from the palm to the tip."""

_TRUNK: Final = (
    # VRM, parent, Mixamo, Unreal, WebXR
    ("hips", "", "Hips", "pelvis", "hips"),
    ("spine", "hips", "Spine", "spine_01", "spine-lower"),
    ("chest", "spine", "Spine1", "spine_02", "spine-middle"),
    ("upperChest", "chest", "Spine2", "spine_03", "spine-upper"),
    ("neck", "upperChest", "Neck", "neck_01", "neck"),
    ("head", "neck", "Head", "head", "head"),
)
_LIMBS: Final = (
    # VRM, parent, Mixamo, Unreal, WebXR; each for a side
    ("{side}Shoulder", "upperChest", "{Side}Shoulder", "clavicle_{s}", "{side}-shoulder"),
    ("{side}UpperArm", "{side}Shoulder", "{Side}Arm", "upperarm_{s}", "{side}-arm-upper"),
    ("{side}LowerArm", "{side}UpperArm", "{Side}ForeArm", "lowerarm_{s}", "{side}-arm-lower"),
    ("{side}Hand", "{side}LowerArm", "{Side}Hand", "hand_{s}", "{side}-hand-wrist"),
    ("{side}UpperLeg", "hips", "{Side}UpLeg", "thigh_{s}", "{side}-upper-leg"),
    ("{side}LowerLeg", "{side}UpperLeg", "{Side}Leg", "calf_{s}", "{side}-lower-leg"),
    ("{side}Foot", "{side}LowerLeg", "{Side}Foot", "foot_{s}", "{side}-foot-ankle"),
    ("{side}Toes", "{side}Foot", "{Side}ToeBase", "ball_{s}", "{side}-foot-ball"),
)
_FINGERS: Final = tuple(
    (
        f"{{side}}{finger}{part}",
        f"{{side}}{finger}{FINGER_PARTS[finger][number - 2]}" if number > 1 else "{side}Hand",
        f"{{Side}}Hand{'Pinky' if finger == 'Little' else finger}{number}",
        f"{'pinky' if finger == 'Little' else finger.lower()}_{number:02d}_{{s}}",
        f"{{side}}-hand-{finger.lower()}-{'' if part == 'Metacarpal' else 'phalanx-'}{part.lower()}",
    )
    for finger in FINGERS
    for number, part in enumerate(FINGER_PARTS[finger], 1)
)
_ROWS: Final = _TRUNK + tuple(
    tuple(name.format(side=side, Side=side.title(), s=side[0]) for name in row)
    for side in SIDES
    for row in _LIMBS + _FINGERS
)

PARENTS: Final = {bone: parent for bone, parent, *_ in _ROWS}
"""Parent of each bone by its name in VRM. The parent of the hips is empty."""

BONES: Final = tuple(PARENTS)
"""Names of all bones as in VRM. A parent comes before its children."""

NAMES: Final[dict[BoneNames, dict[str, str]]] = {
    "vrm": {bone: bone for bone in BONES},
    "mixamo": {bone: f"mixamorig:{name}" for bone, _, name, *_ in _ROWS},
    "unreal": {bone: name for bone, *_, name, _ in _ROWS},
    "webxr": {bone: name for bone, *_, name in _ROWS},
}
"""Name of each bone by convention and its name in VRM."""
