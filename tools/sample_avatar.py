"""Write the avatar that the live app shows at first: a skinned VRM 1.0 figure of own shapes and colours.

    python tools/sample_avatar.py [src/sonjit/server/page/avatar/sample.vrm]

Each part of the body is a tube of elliptic rings along a bone chain. Lengths are metres: x to the figure's left, y up,
z forward. The rest pose is a T with the palms down. The hands have the proportions of `sonjit`'s characters.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from sonjit._util.glb import GlbBuilder
from sonjit.media.tables.characters import BONES, FINGER_PARTS, PARENTS, SIDES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit._util.arrays import FloatArray, IndexArray

OUT: Final = Path(__file__).parents[1] / "src/sonjit/server/page/avatar/sample.vrm"
Vector: TypeAlias = tuple[float, float, float]
COLOURS: Final = {
    "skin": (0.78, 0.48, 0.34),
    "shirt": (0.09, 0.30, 0.52),
    "trousers": (0.045, 0.055, 0.085),
    "shoes": (0.72, 0.70, 0.66),
    "sole": (0.10, 0.10, 0.11),
    "hair": (0.05, 0.025, 0.015),
    "white": (0.92, 0.92, 0.9),
    "iris": (0.06, 0.03, 0.02),
    "mouth": (0.28, 0.05, 0.05),
}
JOINTS: Final[dict[str, Vector]] = {  # of the trunk and the left side
    "hips": (0, 0.95, 0),
    "spine": (0, 1.04, 0),
    "chest": (0, 1.16, 0),
    "upperChest": (0, 1.28, 0),
    "neck": (0, 1.44, 0),
    "head": (0, 1.53, 0.01),
    "leftEye": (0.036, 1.632, 0.088),
    "leftShoulder": (0.03, 1.4, 0),
    "leftUpperArm": (0.16, 1.4, 0),
    "leftLowerArm": (0.43, 1.4, 0),
    "leftHand": (0.67, 1.4, 0),
    "leftUpperLeg": (0.09, 0.92, 0),
    "leftLowerLeg": (0.09, 0.51, 0),
    "leftFoot": (0.09, 0.08, 0),
    "leftToes": (0.09, 0.025, 0.115),
}
FINGERS: Final[dict[str, tuple[Vector, Vector, tuple[float, float, float]]]] = {
    # base relative to the wrist, direction, lengths of the bones
    "Thumb": ((0.025, -0.012, 0.022), (0.75, 0, 0.66), (0.043, 0.032, 0.028)),
    "Index": ((0.088, 0, 0.028), (1, 0, 0), (0.044, 0.026, 0.022)),
    "Middle": ((0.09, 0.003, 0.005), (1, 0, 0), (0.049, 0.03, 0.024)),
    "Ring": ((0.083, 0, -0.015), (1, 0, 0), (0.045, 0.028, 0.023)),
    "Little": ((0.073, -0.006, -0.033), (1, 0, 0), (0.035, 0.021, 0.02)),
}
CAP: Final = np.deg2rad([85, 60, 30])  # angles of the rings of a rounded end
HEAD: Final = np.array([0.0, 1.645, 0.012])
HEAD_RADII: Final = np.array([0.098, 0.126, 0.106])
MOUTH: Final = np.array([0.0, 1.577, 0.101])
SOLE_M: Final = 0.018  # height of the soles
BLEND_M: Final = 0.05  # half of the length in which a joint bends the skin
EXPRESSIONS: Final = {  # presets of VRM as weights of the shapes, which have ARKit's names
    "aa": {"jawOpen": 0.8},
    "ih": {"jawOpen": 0.25, "mouthSmileLeft": 0.4, "mouthSmileRight": 0.4},
    "ou": {"jawOpen": 0.3, "mouthPucker": 0.9},
    "ee": {"jawOpen": 0.3, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6},
    "oh": {"jawOpen": 0.6, "mouthPucker": 0.6},
    "happy": {"mouthSmileLeft": 1, "mouthSmileRight": 1},
    "sad": {"mouthFrownLeft": 1, "mouthFrownRight": 1, "browInnerUp": 0.8},
    "angry": {"browDownLeft": 1, "browDownRight": 1, "mouthFrownLeft": 0.4, "mouthFrownRight": 0.4},
    "surprised": {"browInnerUp": 1, "jawOpen": 0.5},
    "relaxed": {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.4},
    "blink": {"eyeBlinkLeft": 1, "eyeBlinkRight": 1},
    "blinkLeft": {"eyeBlinkLeft": 1},
    "blinkRight": {"eyeBlinkRight": 1},
}
SHAPES: Final = (
    "jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "browDownLeft", "browDownRight",
)  # fmt: skip
_OPTIONAL: Final = ("leftEye", "rightEye")
NODES: Final = (*BONES, *_OPTIONAL)


def mirrored(vector: FloatArray | Vector) -> FloatArray:
    """Return a vector of the left side for the right one."""
    return np.asarray(vector) * (-1, 1, 1)


def joints() -> dict[str, FloatArray]:
    """Return the position (3,) of each bone."""
    left = {name: np.array(at, float) for name, at in JOINTS.items()}
    for finger, (base, way, lengths) in FINGERS.items():
        at = left["leftHand"] + base
        for part, length in zip(FINGER_PARTS[finger], lengths, strict=True):
            left[f"left{finger}{part}"] = at
            at = at + length * np.array(way) / np.linalg.norm(way)
    right = {name.replace("left", "right"): mirrored(at) for name, at in left.items() if name.startswith("left")}
    return left | right


PLACES: Final = joints()


class Surface:
    """Triangles of one colour, with the bones of each vertex and the offsets of each shape."""

    def __init__(self, vertices: FloatArray, faces: IndexArray, weights: dict[str, FloatArray]) -> None:
        self.vertices, self.faces, self.weights = vertices, faces, weights
        self.shapes: dict[str, FloatArray] = {}

    def mirrored(self) -> Surface:
        """Return the surface of the other side."""
        swap = {"left": "right", "right": "left"}
        weights = {
            next((other + bone.removeprefix(side) for side, other in swap.items() if bone.startswith(side)), bone): row
            for bone, row in self.weights.items()
        }
        return Surface(mirrored(self.vertices), self.faces[:, ::-1], weights)

    def normals(self) -> FloatArray:
        """Return the unit normals (V, 3), averages of the triangles around a vertex."""
        a, b, c = (self.vertices[self.faces[:, corner]] for corner in range(3))
        across = np.cross(b - a, c - a)
        sums = np.zeros_like(self.vertices)
        for corner in range(3):
            np.add.at(sums, self.faces[:, corner], across)
        return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    def skin(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the four joints (V, 4) of each vertex with the largest weights, and the weights as bytes (V, 4)."""
        table = np.zeros((len(self.vertices), len(NODES)))
        for bone, row in self.weights.items():
            table[:, NODES.index(bone)] += row
        order = np.argsort(-table, axis=1)[:, :4]
        chosen = np.take_along_axis(table, order, 1)
        whole = np.round(255 * chosen / chosen.sum(1, keepdims=True))
        whole[:, 0] += 255 - whole.sum(1)
        return np.where(whole > 0, order, 0).astype(np.uint8), whole.astype(np.uint8)


def chain_weights(along: FloatArray, bones: list[str], starts: list[float]) -> dict[str, FloatArray]:
    """Return the weights of positions (V,) along a chain of bones, which begin at `starts` and blend there."""
    steps = [np.ones_like(along)]
    for start in starts[1:]:
        share = np.clip((along - start) / (2 * BLEND_M) + 0.5, 0, 1)
        steps.append(share * share * (3 - 2 * share))
    steps.append(np.zeros_like(along))
    return {bone: np.maximum(steps[k] - steps[k + 1], 0) for k, bone in enumerate(bones)}


def tube(
    start: FloatArray | Vector,
    way: Vector,
    profile: list[tuple[float, float, float]],
    side: Vector,
    bones: list[str],
    starts: list[float],
    corners: int = 14,
    rings: int = 14,
) -> Surface:
    """Return a rounded tube from a start along a unit direction.

    `profile` has rows (distance, radius along `side`, radius across) from end to end.
    """
    stations, first, second = np.array(profile).T
    t = np.linspace(stations[0], stations[-1], rings)
    a, b = np.interp(t, stations, first), np.interp(t, stations, second)
    for _ in range(2):  # round the edges of the profile
        a[1:-1], b[1:-1] = ((row[:-2] + 2 * row[1:-1] + row[2:]) / 4 for row in (a, b))
    ends = [(t[0] - np.sin(angle) * min(a[0], b[0]), np.cos(angle) * a[0], np.cos(angle) * b[0]) for angle in CAP]
    ends += [(t[k], a[k], b[k]) for k in range(rings)]
    ends += [
        (t[-1] + np.sin(angle) * min(a[-1], b[-1]), np.cos(angle) * a[-1], np.cos(angle) * b[-1]) for angle in CAP[::-1]
    ]
    rows = np.array(ends)
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    axes = np.array([side, np.cross(way, side)])
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    around = (ring[None] * rows[:, None, 1:]) @ axes
    vertices = (np.asarray(start) + rows[:, :1] * np.array(way))[:, None] + around
    return Surface(
        vertices.reshape(-1, 3),
        _walls(len(rows), corners),
        chain_weights(np.repeat(rows[:, 0], corners), bones, starts),
    )


def _walls(rings: int, corners: int) -> IndexArray:
    """Return the triangles (F, 3) between rings of vertices, and those that close both ends."""
    faces = []
    for ring in range(rings - 1):
        for corner in range(corners):
            here, there = ring * corners + corner, ring * corners + (corner + 1) % corners
            faces += [(here, there, here + corners), (there, there + corners, here + corners)]
    last = (rings - 1) * corners
    faces += [(0, corner + 1, corner) for corner in range(1, corners - 1)]
    faces += [(last, last + corner, last + corner + 1) for corner in range(1, corners - 1)]
    return np.array(faces)


def ellipsoid(centre: FloatArray | Vector, radii: FloatArray | Vector, bone: str, rings: int = 12) -> Surface:
    """Return an ellipsoid that one bone moves."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    grid = np.stack(
        [np.outer(np.sin(polar), np.sin(around)),
         np.outer(np.cos(polar), np.ones_like(around)),
         np.outer(np.sin(polar), np.cos(around))], -1,
    ).reshape(-1, 3)  # fmt: skip
    vertices = np.concatenate([grid, [[0, 1, 0], [0, -1, 0]]])
    corners = len(around)
    faces = [tuple(face) for face in _walls(len(polar), corners)[: 2 * (len(polar) - 1) * corners].tolist()]
    faces = [(a, c, b) for a, b, c in faces]
    top, bottom = len(grid), len(grid) + 1
    last = len(grid) - corners
    for corner in range(corners):
        following = (corner + 1) % corners
        faces += [(top, corner, following), (bottom, last + following, last + corner)]
    at = np.asarray(centre) + vertices * np.asarray(radii)
    return Surface(at, np.array(faces), {bone: np.ones(len(at))})


def body() -> list[tuple[str, Surface]]:
    """Return the parts below the head, with the names of their colours."""
    x, y, z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    trunk = ["hips", "spine", "chest", "upperChest", "neck", "head"]
    heights = [PLACES[bone][1] for bone in trunk]
    floor = (0.0, 0.0, 0.0)
    shirt = [(0.975, 0.14, 0.098), (1.08, 0.127, 0.09), (1.17, 0.14, 0.097), (1.27, 0.158, 0.105),
             (1.35, 0.162, 0.1), (1.405, 0.13, 0.08), (1.44, 0.075, 0.062)]  # fmt: skip
    pelvis = [(0.87, 0.12, 0.095), (0.93, 0.143, 0.106), (1.0, 0.134, 0.095)]
    neck = [(1.4, 0.05, 0.05), (1.48, 0.042, 0.044), (1.56, 0.045, 0.05)]
    parts = [
        ("shirt", tube(floor, y, shirt, x, trunk, heights, 24, 22)),
        ("trousers", tube(floor, y, pelvis, x, trunk, heights, 24, 8)),
        ("skin", tube(floor, y, neck, x, trunk, heights, 16, 8)),
    ]
    left: list[tuple[str, Surface]] = []
    leg = ["leftUpperLeg", "leftLowerLeg", "leftFoot"]
    hip = PLACES["leftUpperLeg"]
    down = [0.0, *(hip[1] - PLACES[bone][1] for bone in leg[1:])]
    trouser = [(0.0, 0.083, 0.092), (0.12, 0.08, 0.087), (0.3, 0.064, 0.068), (0.41, 0.055, 0.057),
               (0.5, 0.055, 0.06), (0.7, 0.045, 0.047), (0.81, 0.043, 0.046)]  # fmt: skip
    left.append(("trousers", tube(hip, (0.0, -1.0, 0.0), trouser, x, leg, down, 16, 26)))
    shoe = [(-0.06, 0.036, 0.05), (0.0, 0.042, 0.062), (0.07, 0.048, 0.045), (0.13, 0.05, 0.034), (0.185, 0.042, 0.028)]
    for colour, low, high, wide in (("shoes", SOLE_M, 1.0, 1.0), ("sole", 0.0, SOLE_M, 1.06)):
        part = tube((hip[0], 0.0, 0.0), z, shoe, x, ["leftFoot", "leftToes"], [-0.1, 0.115], 16, 14)
        rise = np.interp(part.vertices[:, 2], *np.array(shoe)[:, [0, 2]].T)
        part.vertices[:, 1] = np.clip(part.vertices[:, 1] + 0.4 * rise, low, high)  # flat and wide on the floor
        part.vertices[:, 0] = hip[0] + (part.vertices[:, 0] - hip[0]) * wide
        left.append((colour, part))
    arm = ["leftShoulder", "leftUpperArm", "leftLowerArm", "leftHand"]
    ahead = [PLACES[bone][0] for bone in arm]
    line = (0.0, JOINTS["leftHand"][1], 0.0)
    sleeve = [(0.09, 0.05, 0.04), (0.15, 0.054, 0.05), (0.22, 0.05, 0.049), (0.33, 0.05, 0.05)]
    bare = [(0.3, 0.04, 0.04), (0.41, 0.038, 0.038), (0.48, 0.04, 0.038), (0.6, 0.03, 0.027), (0.68, 0.027, 0.02)]
    palm = [(0.665, 0.026, 0.019), (0.69, 0.03, 0.018), (0.73, 0.04, 0.016), (0.752, 0.041, 0.013)]
    left.append(("shirt", tube(line, x, sleeve, z, arm, ahead, 16, 14)))
    left.append(("skin", tube(line, x, bare, z, arm, ahead, 14, 20)))
    left.append(("skin", tube(line, x, palm, z, arm, ahead, 16, 10)))
    for finger, (_, way, lengths) in FINGERS.items():
        names = [f"left{finger}{part}" for part in FINGER_PARTS[finger]]
        along = np.array(way) / np.linalg.norm(way)
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        thick = {"Thumb": 0.0115, "Little": 0.0075}.get(finger, 0.0088)
        profile = [(-0.012, thick, thick), (sum(lengths) - 0.8 * thick, 0.8 * thick, 0.8 * thick)]
        side = np.cross(along, (0, 1, 0))
        surface = tube(PLACES[names[0]], tuple(along), profile, tuple(side), names, begins.tolist(), 8, 13)
        near = surface.vertices - PLACES[names[0]]
        surface.weights = finger_weights(near @ along, names, begins)
        left.append(("skin", surface))
    return parts + left + [(colour, surface.mirrored()) for colour, surface in left]


def finger_weights(along: FloatArray, bones: list[str], starts: FloatArray) -> dict[str, FloatArray]:
    """Return weights as `chain_weights`, with the short joints of fingers."""
    return chain_weights(along * 8, bones, (starts * 8).tolist())


def face() -> list[tuple[str, Surface]]:
    """Return the parts of the head, whose shapes move."""
    skull = ellipsoid(HEAD, HEAD_RADII, "head", 16)
    low = HEAD[1] - 0.02
    chin = np.clip((low - skull.vertices[:, 1]) / 0.1, 0, 1)
    skull.vertices[:, 0] *= 1 - 0.28 * chin  # a narrow chin
    skull.shapes["jawOpen"] = np.outer(chin * (skull.vertices[:, 2] > HEAD[2] - 0.02), [0, -0.02, 0])
    hair = ellipsoid(HEAD + np.array([0, 0.014, -0.012]), HEAD_RADII * (1.06, 1.02, 1.06), "head", 16)
    line = hair.vertices[:, 1] - HEAD[1] - 0.9 * (hair.vertices[:, 2] - HEAD[2]) + 0.01
    inner = HEAD + (hair.vertices - HEAD) * 0.9
    hair.vertices = np.where((line < 0)[:, None], inner, hair.vertices)  # hidden below the hairline
    nose = ellipsoid((0, 1.608, 0.116), (0.013, 0.018, 0.017), "head", 8)
    parts = [("skin", skull), ("hair", hair), ("skin", nose), ("mouth", mouth())]
    for side, name in zip((1, -1), SIDES, strict=True):
        at = PLACES[f"{name}Eye"]
        parts.append(("skin", ellipsoid((side * 0.097, 1.628, 0.0), (0.014, 0.026, 0.018), "head", 8)))
        blink = f"eyeBlink{name.title()}"
        for colour, centre, radii in (
            ("white", at, (0.022, 0.02, 0.02)),
            ("iris", at + np.array([0, 0, 0.0135]), (0.0115, 0.0125, 0.008)),
        ):
            eye = ellipsoid(centre, radii, f"{name}Eye", 8)
            eye.shapes[blink] = (at - eye.vertices) * (0, 0.94, 0) + (0, -0.004, 0)
            parts.append((colour, eye))
        brow = ellipsoid(at + np.array([side * 0.002, 0.034, 0.012]), (0.023, 0.004, 0.007), "head", 8)
        inward = np.clip(0.5 - side * (brow.vertices[:, 0] - at[0]) / 0.04, 0, 1)
        brow.vertices[:, 1] += 0.004 * (1 - inward * inward)
        brow.shapes["browInnerUp"] = np.outer(inward, [0, 0.014, 0])
        brow.shapes[f"browDown{name.title()}"] = np.outer(0.3 + inward, [0, -0.008, 0.001])
        parts.append(("hair", brow))
    return parts


def mouth() -> Surface:
    """Return the lips, a line that opens."""
    lips = ellipsoid(MOUTH, (0.03, 0.0045, 0.014), "head", 12)
    out = (lips.vertices - MOUTH) / (0.03, 0.0045, 0.014)
    lips.shapes["jawOpen"] = out * (-0.004, 0.017, 0) + (0, -0.012, -0.002)
    lips.shapes["mouthPucker"] = out * (-0.015, 0.005, 0) + (0, 0, 0.006)
    for side, name in zip((1, -1), SIDES, strict=True):
        corner = np.clip(side * out[:, 0], 0, 1) ** 2
        lips.shapes[f"mouthSmile{name.title()}"] = np.outer(corner, [side * 0.008, 0.017, -0.006])
        lips.shapes[f"mouthFrown{name.title()}"] = np.outer(corner, [0, -0.014, -0.004])
    return lips


def add_mesh(builder: GlbBuilder, name: str, parts: list[tuple[str, Surface]], shapes: tuple[str, ...]) -> int:
    """Add a mesh with a primitive for each colour and the shapes as sparse morph targets. Return its index."""
    primitives: list[dict[str, Any]] = []
    for colour in dict.fromkeys(colour for colour, _ in parts):
        same = [surface for own, surface in parts if own == colour]
        skins = [surface.skin() for surface in same]
        begins = np.cumsum([0, *(len(surface.vertices) for surface in same)])
        builder.add_mesh(
            name,
            np.concatenate([surface.faces + begin for surface, begin in zip(same, begins[:-1], strict=True)]),
            COLOURS[colour],
            POSITION=np.concatenate([surface.vertices for surface in same]).astype(np.float32),
            NORMAL=np.concatenate([surface.normals() for surface in same]).astype(np.float32),
            JOINTS_0=np.concatenate([joints for joints, _ in skins]),
            WEIGHTS_0=np.concatenate([weights for _, weights in skins]),
        )
        document = builder.document
        (primitive,) = document["meshes"].pop()["primitives"]
        document["materials"][-1]["name"] = f"{name} {colour}"
        weights = document["accessors"][primitive["attributes"]["WEIGHTS_0"]]
        weights["normalized"] = True
        if shapes:
            empty = np.zeros((begins[-1], 3))
            primitive["targets"] = []
            for shape in shapes:
                moves = empty.copy()
                for surface, begin in zip(same, begins[:-1], strict=True):
                    if shape in surface.shapes:
                        moves[begin : begin + len(surface.vertices)] = surface.shapes[shape]
                primitive["targets"].append({"POSITION": sparse(builder, moves)})
        primitives.append(primitive)
    mesh: dict[str, Any] = {"name": name, "primitives": primitives}
    if shapes:
        mesh["extras"] = {"targetNames": list(shapes)}
    builder.document["meshes"].append(mesh)
    return len(builder.document["meshes"]) - 1


def sparse(builder: GlbBuilder, rows: FloatArray) -> int:
    """Add an accessor that stores only the rows (V, 3) that are not 0, and return it."""
    used = np.flatnonzero(np.abs(rows).max(1) > 1e-6)
    accessor: dict[str, Any] = {"componentType": 5126, "count": len(rows), "type": "VEC3"}
    moved = rows.astype(np.float32)
    accessor |= {"min": moved.min(0).tolist(), "max": moved.max(0).tolist()}
    accessors = builder.document["accessors"]
    if len(used):
        at = accessors[builder.add(used.astype(np.uint16))]["bufferView"]
        values = accessors[builder.add(moved[used])]["bufferView"]
        del accessors[-2:]
        indices = {"bufferView": at, "componentType": 5123}
        accessor["sparse"] = {"count": len(used), "indices": indices, "values": {"bufferView": values}}
    accessors.append(accessor)
    return len(accessors) - 1


def avatar() -> bytes:
    """Return the complete VRM file."""
    builder = GlbBuilder()
    document = builder.document
    parents = {**PARENTS, "leftEye": "head", "rightEye": "head"}
    nodes: list[dict[str, Any]] = []
    for bone in NODES:
        above = PLACES[parents[bone]] if parents[bone] else np.zeros(3)
        node: dict[str, Any] = {"name": bone, "translation": np.round(PLACES[bone] - above, 6).tolist()}
        children = [NODES.index(child) for child, parent in parents.items() if parent == bone]
        nodes.append(node | ({"children": children} if children else {}))
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(NODES), 1, 1))
    inverse[:, :3, 3] = [-PLACES[bone] for bone in NODES]
    meshes = [add_mesh(builder, "Body", body(), ()), add_mesh(builder, "Face", face(), SHAPES)]
    document["skins"] = [{"joints": list(range(len(NODES))), "inverseBindMatrices": builder.add(inverse)}]
    nodes += [{"name": name, "mesh": mesh, "skin": 0} for name, mesh in zip(("Body", "Face"), meshes, strict=True)]
    head = len(nodes) - 1

    def expression(weights: Mapping[str, float], **more: object) -> dict[str, Any]:
        return {
            "morphTargetBinds": [
                {"node": head, "index": SHAPES.index(shape), "weight": weight} for shape, weight in weights.items()
            ],
            **more,
        }

    document["nodes"] = nodes
    document["scenes"], document["scene"] = [{"nodes": [0, head - 1, head]}], 0
    document["extensionsUsed"] = ["VRMC_vrm"]
    meta = {
        "name": "Sonjit's sample",
        "version": "1",
        "authors": ["Sonjit"],
        "licenseUrl": "https://vrm.dev/licenses/1.0/",
        "avatarPermission": "everyone",
        "commercialUsage": "corporation",
        "modification": "allowModificationRedistribution",
        "creditNotation": "unnecessary",
        "allowRedistribution": True,
    }
    reach = {"inputMaxValue": 30.0, "outputScale": 25.0}
    document["extensions"] = {
        "VRMC_vrm": {
            "specVersion": "1.0",
            "meta": meta,
            "humanoid": {"humanBones": {bone: {"node": NODES.index(bone)} for bone in NODES}},
            "expressions": {
                "preset": {name: expression(weights) for name, weights in EXPRESSIONS.items()},
                "custom": {shape: expression({shape: 1.0}) for shape in SHAPES},
            },
            "lookAt": {
                "type": "bone",
                "offsetFromHeadBone": [0.0, *np.round(PLACES["leftEye"] - PLACES["head"], 4)[1:].tolist()],
                **{f"rangeMap{name}": reach for name in ("HorizontalInner", "HorizontalOuter", "VerticalDown",
                                                         "VerticalUp")},
            },
        }
    }  # fmt: skip
    return builder.to_bytes()


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(avatar())
    print(f"{path}: {path.stat().st_size} bytes")
