"""The figure of a character: the surface of the bundled avatar with the proportions of a person."""

from functools import cache
from importlib.resources import as_file, files
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, IndexArray
from sonjit._util.glb import Glb
from sonjit.media.tables.characters import BONES, PARENTS, Motion

_SHIRT: Final = "shirt"
_TRUNK: Final = ("spine", "chest", "upperChest")


class Part(NamedTuple):
    """Triangles of one colour in the rest pose."""

    name: str
    colour: tuple[float, float, float]  # linear RGB, 0 to 1
    faces: IndexArray  # vertices (F, 3) of the triangles
    vertices: Float32Array  # positions (V, 3) in metres
    normals: Float32Array  # unit vectors (V, 3)
    joints: NDArray[np.uint8]  # numbers (V, 4) of the bones that move a vertex
    weights: Float32Array  # their weights (V, 4)

    @property
    def is_shirt(self) -> bool:
        """Whether the colour of the part tells people apart."""
        return self.name == _SHIRT


def figure_of(motion: Motion) -> list[Part]:
    """Return the figure of a character in its rest pose."""
    parts, places = _sample()
    rest = motion.rest_joints()
    rest += (motion.offsets[0, 1] - rest[0, 1]) * np.array([0, 1, 0])
    linear = _stretches(rest, places)
    fitted: list[Part] = []
    for part in parts:
        moved = np.zeros_like(part.vertices)
        for joints, weights in zip(part.joints.T, part.weights.T, strict=True):
            from_joint = (linear[joints] @ (part.vertices - places[joints])[..., None])[..., 0]
            moved += weights[:, None] * (rest[joints] + from_joint)
        fitted.append(part._replace(vertices=moved.astype(np.float32)))
    return fitted


def _stretches(rest: FloatArray, places: FloatArray) -> FloatArray:
    """Return the map (B, 3, 3) of the surface around each bone: its length by that of the bone, its width by height."""
    height = float(rest[0, 1] / places[0, 1])
    linear = np.tile(height * np.eye(3), (len(BONES), 1, 1))
    for number, parent in enumerate(PARENTS.values()):
        if not parent or parent == "hips" or BONES[number].endswith("Shoulder"):
            continue
        bone = BONES.index(parent)
        way = places[number] - places[bone]
        along = way / np.linalg.norm(way)
        length = np.linalg.norm(rest[number] - rest[bone]) / np.linalg.norm(way)
        linear[bone] = height * np.eye(3) + (length - height) * np.outer(along, along)
    left, right = (BONES.index(f"{side}UpperArm") for side in ("left", "right"))
    width = float((rest[left, 0] - rest[right, 0]) / (places[left, 0] - places[right, 0]))
    for bone in _TRUNK:
        linear[BONES.index(bone), 0, 0] = width
    return linear


@cache
def _sample() -> tuple[list[Part], FloatArray]:
    """Return the parts of the bundled avatar, and the positions (B, 3) of its bones in metres."""
    with as_file(files("sonjit.server") / "page" / "avatar" / "sample.vrm") as path:
        file = Glb(path)
    document = file.document
    human = document["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"]
    numbers = {record["node"]: BONES.index(bone) for bone, record in human.items() if bone in BONES}
    skin = document["skins"][0]
    own = np.array([numbers.get(node, BONES.index("head")) for node in skin["joints"]])  # eyes move with the head
    inverse = file.array(skin["inverseBindMatrices"])
    places = np.zeros((len(BONES), 3))
    for joint, node in enumerate(skin["joints"]):
        if node in numbers:
            places[numbers[node]] = -inverse[joint, :3, 3]
    parts: list[Part] = []
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            material = document["materials"][primitive["material"]]
            attributes = {name: file.array(accessor) for name, accessor in primitive["attributes"].items()}
            red, green, blue, _ = material["pbrMetallicRoughness"]["baseColorFactor"]
            parts.append(
                Part(
                    material["name"].split()[-1],
                    (red, green, blue),
                    file.array(primitive["indices"]).reshape(-1, 3),
                    attributes["POSITION"],
                    attributes["NORMAL"],
                    own[attributes["JOINTS_0"]].astype(np.uint8),
                    (attributes["WEIGHTS_0"] / 255).astype(np.float32),
                )
            )
    return parts, places
