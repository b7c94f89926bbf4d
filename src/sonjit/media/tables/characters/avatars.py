"""Move the model of a .vrm or .glb file as a person: its bones, and the morph targets of its face.

Sources: VRM Consortium, VRM 0.0 and VRMC_vrm 1.0. Khronos Group, glTF 2.0.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit._util.data_files import load_spec
from sonjit._util.glb import Glb, GlbBuilder
from sonjit.geometry import rotations
from sonjit.media.tables.characters import BONES, NAMES, PARENTS, SIDES, Motion
from sonjit.results.skeletons.faces import BLENDSHAPES, NO_EXPRESSION

_LIMBS: Final = ("UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot")
_REQUIRED: Final = ("hips", "spine", "head", *(side + bone for side in SIDES for bone in _LIMBS))
_FORMER_THUMB: Final = {"ThumbProximal": "ThumbMetacarpal", "ThumbIntermediate": "ThumbProximal"}
_FORMER_PRESETS: Final = {
    "a": "aa",
    "i": "ih",
    "u": "ou",
    "e": "ee",
    "o": "oh",
    "joy": "happy",
    "sorrow": "sad",
    "blink_l": "blinkLeft",
    "blink_r": "blinkRight",
}
_TOE_M: Final = 0.05  # length of the toes, which end without a bone
_REVERSED: Final = np.diag([-1.0, 1.0, -1.0])  # from a model that looks along -z
_X, _Y, _ = np.eye(3)


_Json: TypeAlias = dict[str, Any]  # part of a file's document


class _Driver(NamedTuple):
    """Morph targets that move by a weighted sum of blendshapes."""

    terms: Mapping[str, float]
    binds: list[tuple[int, int, float]]  # node, index of the morph target, weight
    is_binary: bool = False
    preset: str | None = None  # name of VRM's expression, unless the name is ARKit's

    def value(self, blendshapes: Mapping[str, FloatArray]) -> FloatArray:
        """Return the value (T,), 0 to 1, of weights (T,) of blendshapes."""
        zero = np.zeros_like(next(iter(blendshapes.values())))
        total = sum((factor * blendshapes.get(name, zero) for name, factor in self.terms.items()), zero)
        return (total > 0.5).astype(float) if self.is_binary else np.clip(total, 0, 1)


class Avatar:
    """A humanoid model of a file.

    Positions and rotations are those of the rest pose, a T, in the axes of characters.
    """

    def __init__(self, path: Path) -> None:
        """Read a file. Raise InputError if it is not a complete GLB, or not a humanoid."""
        self._file = Glb(path)
        self._nodes: list[_Json] = self._file.document.get("nodes", [])
        try:
            self._bones = _bones(self._file.document)
            self._parents = {
                child: parent for parent, node in enumerate(self._nodes) for child in node.get("children", [])
            }
            self._worlds = self._rest_worlds()
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} is damaged: its nodes cannot be read ({error!r}). Export it again") from None
        missing = [bone for bone in _REQUIRED if bone not in self._bones]
        if missing:
            raise InputError(
                f"{path} is not a humanoid with known names of bones. Missing: {', '.join(missing[:4])}. "
                "Use a .vrm, or name the bones as VRM, Mixamo, Unreal or WebXR do"
            )
        across = self._at("leftUpperArm") - self._at("rightUpperArm")
        self._turn = _REVERSED if across[0] < 0 else np.eye(3)
        self._straighten()
        feet = [f"{side}{bone}" for side in SIDES for bone in ("Foot", "Toes")]
        floor = min(float(self._place(bone)[1]) for bone in feet if bone in self._bones)
        self._floor = min(floor, 0.0) if abs(floor) > 0.2 else 0.0  # soles are at 0, unless the origin is elsewhere
        self.offsets = self._offsets()
        self._drivers = _drivers(self._file.document)

    def follow(self, motion: Motion) -> Motion:
        """Return the motion in metres with the proportions of the model, whose hips move in proportion to its height.

        A bone that the model lacks has no length, and its rotation is that of the next bones.
        """
        local = motion.rotations.copy()
        for number, bone in enumerate(BONES):
            if bone in self._bones:
                continue
            for child, parent in enumerate(PARENTS.values()):
                if parent == bone:
                    local[:, child] = local[:, number] @ local[:, child]
            local[:, number] = np.eye(3)
        scale = float(self.offsets[0, 1] / motion.offsets[0, 1])
        ends = {bone: end * scale for bone, end in motion.ends.items()}
        for side in SIDES:
            ends[f"{side}Toes"] = np.array([0, 0, _TOE_M * scale])
        return replace(motion, offsets=self.offsets, ends=ends, rotations=local, hips=motion.hips * scale)

    def animated(self, motion: Motion, times: FloatArray) -> bytes:
        """Return the file with one animation, a motion that follows the model at times (T,) in seconds."""
        builder = GlbBuilder("motion", model=self._file)
        builder.document.pop("animations", None)
        since = times - times[0]
        for number, bone in enumerate(BONES):
            if bone not in self._bones:
                continue
            node = self._bones[bone]
            inner = self._turn @ motion.rotations[:, number] @ self._turn.T
            above = self._rotation(self._parents.get(node))
            local = above.T @ inner @ self._rotation(node)
            builder.animate(node, "rotation", since, _quaternions(local))
            _as_parts(self._nodes[node])
        hips = self._bones["hips"]
        parent = self._parents.get(hips)
        to_parent = np.linalg.inv(self._worlds[parent]) if parent is not None else np.eye(4)
        places = (motion.hips + self._floor * _Y) @ self._turn.T
        builder.animate(hips, "translation", since, places @ to_parent[:3, :3].T + to_parent[:3, 3])
        for node, weights in self._weights(motion.expressions, len(times)).items():
            builder.animate(node, "weights", since, weights.reshape(-1))
        return builder.to_bytes()

    def presets(self, expressions: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return the weight (T,), 0 to 1, of each of VRM's presets, of a model without ARKit's names."""
        if not expressions or any(driver.preset is None for driver in self._drivers):
            return {}
        return {str(driver.preset): driver.value(expressions) for driver in self._drivers}

    def _rest_worlds(self) -> dict[int, FloatArray]:
        """Return the transform (4, 4) from each node to the scene."""
        worlds: dict[int, FloatArray] = {}

        def world(node: int) -> FloatArray:
            if node not in worlds:
                local = _transform(self._nodes[node])
                worlds[node] = world(self._parents[node]) @ local if node in self._parents else local
            return worlds[node]

        for node in range(len(self._nodes)):
            world(node)
        return worlds

    def _at(self, bone: str) -> FloatArray:
        return self._worlds[self._bones[bone]][:3, 3]

    def _place(self, bone: str) -> FloatArray:
        return self._turn @ self._at(bone)

    def _rotation(self, node: int | None) -> FloatArray:
        """Return the rotation (3, 3) of a node in the scene, without its scale."""
        if node is None:
            return np.eye(3)
        u, _, vt = np.linalg.svd(self._worlds[node][:3, :3])
        return u @ vt

    def _straighten(self) -> None:
        """Turn arms and legs into the rest pose of characters, such as those of a model in an A."""
        for side, sign in zip(SIDES, (1, -1), strict=True):
            chains = ((("UpperArm", "LowerArm", "Hand"), sign * _X), (("UpperLeg", "LowerLeg", "Foot"), -_Y))
            for (upper, lower, end), way in chains:
                for bone, child in ((upper, lower), (lower, end)):
                    now = self._place(f"{side}{child}") - self._place(f"{side}{bone}")
                    self._turn_branch(self._bones[f"{side}{bone}"], self._turn.T @ _between(now, way) @ self._turn)

    def _turn_branch(self, node: int, turn: FloatArray) -> None:
        """Turn a node and all below it about the node."""
        about = np.eye(4)
        about[:3, :3] = turn
        at = self._worlds[node][:3, 3]
        about[:3, 3] = at - turn @ at
        below = [node]
        for number in below:
            below += self._nodes[number].get("children", [])
            self._worlds[number] = about @ self._worlds[number]

    def _offsets(self) -> FloatArray:
        """Return the position (B, 3) of each bone relative to its parent. Bones that are missing have none."""
        places: dict[str, FloatArray] = {"": self._floor * _Y}
        offsets = np.zeros((len(BONES), 3))
        for number, bone in enumerate(BONES):
            above = places[PARENTS[bone]]
            places[bone] = self._place(bone) if bone in self._bones else above
            offsets[number] = places[bone] - above
        return offsets

    def _weights(self, expressions: Mapping[str, FloatArray], count: int) -> dict[int, FloatArray]:
        """Return the weights (T, W) of the morph targets of each node that blendshapes move."""
        weights: dict[int, FloatArray] = {}
        meshes = self._file.document.get("meshes", [])
        for driver in self._drivers if expressions else ():
            value = driver.value(expressions)
            for node, index, weight in driver.binds:
                size = len(meshes[self._nodes[node]["mesh"]]["primitives"][0].get("targets", []))
                if index < size:
                    rows = weights.setdefault(node, np.zeros((count, size)))
                    rows[:, index] = np.clip(rows[:, index] + weight * value, 0, 1)
        return weights


def _bones(document: _Json) -> dict[str, int]:
    """Return the node of each bone of a humanoid, by its name in VRM 1.0."""
    extensions = document.get("extensions", {})
    if "VRMC_vrm" in extensions:
        bones = extensions["VRMC_vrm"]["humanoid"]["humanBones"]
        return {bone: one["node"] for bone, one in bones.items() if bone in PARENTS}
    if "VRM" in extensions:
        found: dict[str, int] = {}
        for one in extensions["VRM"]["humanoid"]["humanBones"]:
            side, _, part = re.fullmatch(r"((left|right)?)(.*)", one["bone"]).groups()  # pyright: ignore[reportOptionalMemberAccess]
            bone = side + _FORMER_THUMB.get(part, part)
            if bone in PARENTS:
                found[bone] = one["node"]
        return found
    names = {_plain(name): bone for table in NAMES.values() for bone, name in table.items()}
    found = {}
    for number, node in enumerate(document.get("nodes", [])):
        bone = names.get(_plain(node.get("name", "")))
        if bone is not None and "mesh" not in node:
            found.setdefault(bone, number)
    return found


def _plain(name: str) -> str:
    """Return a name of a bone without the prefix and the punctuation that programs change."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(?i)^mixamorig\d*[:_]?", "", name).lower())


def _transform(node: _Json) -> FloatArray:
    """Return the transform (4, 4) of a node to its parent."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    result = np.eye(4)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    result[:3, :3] = rotations.matrix_from_quaternion_wxyz(np.array([w, x, y, z])) * node.get("scale", (1, 1, 1))
    result[:3, 3] = node.get("translation", (0, 0, 0))
    return result


def _as_parts(node: _Json) -> None:
    """Replace the matrix of a node by its parts, as glTF requires of animated nodes."""
    if "matrix" not in node:
        return
    transform = np.array(node.pop("matrix"), np.float64).reshape(4, 4).T
    scale = np.linalg.norm(transform[:3, :3], axis=0)
    turn = _quaternions((transform[:3, :3] / scale)[None])[0]
    node |= {"translation": transform[:3, 3].tolist(), "rotation": turn.tolist(), "scale": scale.tolist()}


def _between(start: FloatArray, stop: FloatArray) -> FloatArray:
    """Return the shortest rotation (3, 3) from one direction to another."""
    axis = np.cross(start, stop)
    size = float(np.linalg.norm(axis))
    angle = float(np.arctan2(size, start @ stop))
    return rotations.matrix_from_rotation_vector(axis / max(size, 1e-12) * angle)


def _quaternions(matrices: FloatArray) -> FloatArray:
    """Return quaternions (F, 4) x, y, z, w of rotations (F, 3, 3), neighbours close to each other."""
    result = np.roll(rotations.quaternion_wxyz_from_matrix(matrices), -1, 1)
    result[1:] *= np.cumprod(np.where((result[1:] * result[:-1]).sum(1) < 0, -1, 1))[:, None]
    return result


def _drivers(document: _Json) -> list[_Driver]:
    """Return what moves a face: expressions with ARKit's names, otherwise morph targets, otherwise VRM's presets."""
    known = {_plain_shape(name): name for name in BLENDSHAPES if name != NO_EXPRESSION}
    expressions = _expressions(document)
    named = [
        driver._replace(terms={known[key]: 1.0}) for name, driver in expressions if (key := _plain_shape(name)) in known
    ]
    if named:
        return named
    targets = [
        _Driver({known[key]: 1.0}, [(node, index, 1.0)])
        for node, mesh in _meshes(document)
        for index, name in enumerate(mesh.get("extras", {}).get("targetNames", []))
        if (key := _plain_shape(name)) in known
    ]
    if targets:
        return targets
    presets = load_spec("avatars")["presets"]
    names = {name for name, _ in expressions}
    if {"blinkLeft", "blinkRight"} <= names:
        presets = {name: terms for name, terms in presets.items() if name != "blink"}
    return [driver._replace(terms=presets[name], preset=name) for name, driver in expressions if name in presets]


def _meshes(document: _Json) -> list[tuple[int, _Json]]:
    """Return the nodes that have a mesh, with it."""
    meshes = document.get("meshes", [])
    return [(number, meshes[node["mesh"]]) for number, node in enumerate(document["nodes"]) if "mesh" in node]


def _expressions(document: _Json) -> list[tuple[str, _Driver]]:
    """Return the expressions of VRM 1.0 or 0 by their names in VRM 1.0."""
    extensions = document.get("extensions", {})
    expressions = extensions.get("VRMC_vrm", {}).get("expressions", {})
    found: list[tuple[str, _Driver]] = []
    for name, one in {**expressions.get("custom", {}), **expressions.get("preset", {})}.items():
        binds = [(bind["node"], bind["index"], bind.get("weight", 1.0)) for bind in one.get("morphTargetBinds", [])]
        found.append((name, _Driver({}, binds, one.get("isBinary", False))))
    for group in extensions.get("VRM", {}).get("blendShapeMaster", {}).get("blendShapeGroups", []):
        binds = [
            (number, bind["index"], bind["weight"] / 100)
            for bind in group.get("binds", [])
            for number, node in enumerate(document["nodes"])
            if node.get("mesh") == bind["mesh"]
        ]
        preset = str(group.get("presetName", "unknown"))
        name = str(group.get("name", "")) if preset == "unknown" else _FORMER_PRESETS.get(preset, preset)
        found.append((name, _Driver({}, binds, group.get("isBinary", False))))
    return found


def _plain_shape(name: str) -> str:
    """Normalise names of different tools: `eyeBlinkLeft`, `EyeBlink_L`, `blendShape1.eyeBlink_L`."""
    last = re.sub(r"(?i)_r$", "right", re.sub(r"(?i)_l$", "left", name.rsplit(".", 1)[-1]))
    return re.sub(r"[^a-z]", "", last.lower())
