"""Define characters: the names of their bones, and their motion.

Axes of a character are x to the person's left in the rest pose, y up and z forward, in metres. The rest pose is a T
with the palms down. All bones then have no rotation. Bones are in the order parents first, named by four conventions.

Sources: VRM 1.0, humanoid bones. Adobe, rig of Mixamo. Epic Games, skeleton of Unreal's mannequin. W3C, WebXR Body
Tracking.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from sonjit._util import BoolArray, FloatArray
from sonjit.media.tables.formats import Download, TableFormat

BoneNames: TypeAlias = Literal["vrm", "mixamo", "unreal", "webxr"]  # convention of bone names

SIDES: Final = ("left", "right")
FINGERS: Final = ("Thumb", "Index", "Middle", "Ring", "Little")
_THUMB_PARTS: Final = ("Metacarpal", "Proximal", "Distal")
_PARTS: Final = ("Proximal", "Intermediate", "Distal")
FINGER_PARTS: Final = {finger: _THUMB_PARTS if finger == "Thumb" else _PARTS for finger in FINGERS}
"""Names of a finger's three bones, from the palm to the tip."""

_FIXED: Final = (0.0, 0.0, 0.0)
_OF_THUMB: Final = (  # per joint: (minimum, maximum, spread) of turn, bend and twist; degrees
    ((-45, 45, 40), (-40, 60, 40), (-35, 35, 20)),
    ((-15, 15, 8), (-25, 75, 40), _FIXED),
    (_FIXED, (-30, 95, 50), _FIXED),
)
_OF_FINGER: Final = (
    ((-28, 28, 15), (-40, 115, 60), (-15, 15, 6)),
    (_FIXED, (-15, 125, 60), _FIXED),
    (_FIXED, (-25, 95, 50), _FIXED),
)
FINGER_LIMITS: Final = (_OF_THUMB, *[_OF_FINGER] * 4)
"""Bends are relative to the straight joint, all other angles to the rig's rest pose. Sources: the ranges of motion of
the American Academy of Orthopaedic Surgeons, widened by what pressing a finger adds, and by the keypoints of fists;
the thumb's saddle joint in the rig's axes."""

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

BONES: Final = tuple(PARENTS)  # names of all bones as in VRM. A parent comes before its children.

NAMES: Final[dict[BoneNames, dict[str, str]]] = {
    "vrm": {bone: bone for bone in BONES},
    "mixamo": {bone: f"mixamorig:{name}" for bone, _, name, *_ in _ROWS},
    "unreal": {bone: name for bone, *_, name, _ in _ROWS},
    "webxr": {bone: name for bone, *_, name in _ROWS},
}
"""Name of each bone by convention and its name in VRM."""


@dataclass(frozen=True)
class CharacterChoice:
    """How a character is written."""

    bones: BoneNames | None = None  # convention of bone names; None for VRM's
    onto: Path | None = None  # .vrm or .glb file of the model that moves


@dataclass(frozen=True)
class Motion:
    """A character in F frames."""

    name: str  # name of the person
    # Position of each bone (B, 3) relative to its parent in the rest pose, in metres. The first has the height of the
    # hips.
    offsets: FloatArray
    ends: dict[str, FloatArray]  # end of each bone without a child, relative to the bone, by name
    rotations: FloatArray  # rotations (F, B, 3, 3) relative to the parent
    hips: FloatArray  # position of the hips (F, 3) in metres
    is_held: BoolArray  # frames (F,) that repeat the pose of another frame
    # Frames (F,) in which the fingers do not follow keypoints, by side; in files only of detected hands
    hands_held: dict[str, BoolArray] = field(default_factory=dict[str, "BoolArray"])
    # Frames (F,) in which a foot does not move in the image, by side; empty if unknown
    still_feet: dict[str, BoolArray] = field(default_factory=dict[str, "BoolArray"])
    # Weight (F,) of each blendshape, by name
    expressions: dict[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])

    def joints(self) -> tuple[FloatArray, FloatArray]:
        """Return the positions (F, B, 3) of the bones in metres, and their rotations (F, B, 3, 3) in space."""
        positions, rotations = np.empty(self.rotations.shape[:3]), self.rotations.copy()
        for number, bone in enumerate(BONES):
            if not PARENTS[bone]:
                positions[:, number] = self.hips
                continue
            parent = BONES.index(PARENTS[bone])
            positions[:, number] = positions[:, parent] + rotations[:, parent] @ self.offsets[number]
            rotations[:, number] = rotations[:, parent] @ rotations[:, number]
        return positions, rotations

    def rest_joints(self) -> FloatArray:
        """Return the positions (B, 3) of the bones in the rest pose in metres."""
        positions = self.offsets.copy()
        for number, parent in enumerate(PARENTS.values()):
            if parent:
                positions[number] += positions[BONES.index(parent)]
        return positions

    def moved(self, offset: FloatArray) -> "Motion":
        """Return the motion at another position (3,) in metres."""
        return replace(self, hips=self.hips + offset)


_CHARACTER: Final = TableFormat(
    "sonjit.media.tables.characters.writer:CharacterWriter",
    group="characters",
    noun="Characters",
    sources="one",
    has_bones=True,
    people="files",
    needs_size=True,
)
BVH = replace(
    _CHARACTER,
    summary="motion capture for programs of animators",
    has_fixed_rate=True,
    downloads=(
        Download(
            {
                "en": ("Motion capture", "BVH for programs of animators"),
                "ko": ("모션 캡처", "애니메이션 프로그램용 BVH"),
            },
            of="bodies",
        ),
    ),
)
GLB = replace(
    _CHARACTER,
    summary="an animated figure for Blender, Unity and Unreal",
    people="files onto a model",
    downloads=(
        Download(
            {
                "en": ("Animated character", "glTF for Blender, Unity and Unreal"),
                "ko": ("움직이는 캐릭터", "Blender, Unity, Unreal용 glTF"),
            },
            of="bodies",
        ),
    ),
)
VRMA = replace(
    _CHARACTER,
    summary="an animation for VRM avatars",
    downloads=(
        Download({"en": ("VRM animation", "For VRM avatars"), "ko": ("VRM 애니메이션", "VRM 아바타용")}, of="bodies"),
    ),
)
