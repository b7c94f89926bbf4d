"""Meshes of a scene's hands: skin, forearm, gloves, rings and sleeves, by name, and their keypoints.

The rig is cut just behind the wrist. The forearm begins with the vertices of the edge of that cut, so that no seam is
visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array, FloatArray, IndexArray, IntArray, RealArray
from sonjit._util.errors import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector, vertex_normals
from sonjit.lab.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.drawable import Drawable, Material, Surface
from sonjit.lab.synthesis.mesh import HandFiles, load_hand_mesh
from sonjit.lab.synthesis.person import HandAppearance, rig_from_shape, skin_marks, skin_material

_Colour = tuple[float, float, float]


class Glove(NamedTuple):
    """Kind of glove: cloth, colours (linear RGB), metres off the skin, and whether the tips are open."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    thick_m: float
    fingerless: bool = False


class Sleeve(NamedTuple):
    """Kind of sleeve: cloth, colours, and metres behind the wrist, off the skin and of its folds."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    start_m: float
    width_m: float
    folds_m: float


_CUT: Final = (-0.009, 0.35)  # metres behind the wrist, and how much farther forward a metre towards the back
_UPRIGHT_M: Final = 0.016  # before the cut, where the rig's normals already follow its own end
_UPRIGHT: Final = 0.85
_STATIONS_M: Final = np.array([0, 0.005, 0.011, 0.018, 0.027, 0.04, 0.06, 0.09, 0.13, 0.18, 0.24])
_EVEN_WIDTH_M: Final = 0.045  # over which the edge's shape is lost, more than it is uneven
_BENT_M: Final = 0.05  # over which the wrist bends
_WIDTH: Final = 0.55  # growth of the arm's breadth up to the last station, muscles mostly
_DEPTH: Final = 0.85

_METALS: Final = ((0.83, 0.6, 0.25), (0.62, 0.62, 0.64), (0.7, 0.42, 0.32))
_RING_M: Final = 0.0011  # half its thickness
_RING_AT: Final = 0.5  # of the finger's first free bone
GLOVES: Final = {
    "latex": Glove("rubber", 0.45, ((0.62, 0.68, 0.66), (0.12, 0.3, 0.62), (0.02, 0.02, 0.025)), 0.0005),
    "knit": Glove("cloth", 0.95, ((0.32, 0.04, 0.05), (0.05, 0.06, 0.1), (0.4, 0.38, 0.34), (0.05, 0.16, 0.1)), 0.0016),
    "leather": Glove("rubber", 0.55, ((0.05, 0.025, 0.012), (0.014, 0.012, 0.012), (0.22, 0.09, 0.03)), 0.0013),
    "work": Glove("rubber", 0.7, ((0.62, 0.3, 0.02), (0.02, 0.25, 0.1), (0.55, 0.55, 0.5)), 0.002),
    "fingerless": Glove("cloth", 0.9, ((0.02, 0.02, 0.022), (0.2, 0.05, 0.03), (0.12, 0.12, 0.14)), 0.0013, True),
}
SLEEVES: Final = {
    "shirt": Sleeve("cloth", 0.85, ((0.7, 0.72, 0.75), (0.12, 0.22, 0.45), (0.45, 0.2, 0.22)), 0.006, 0.005, 0.002),
    "knit": Sleeve("cloth", 0.97, ((0.1, 0.17, 0.33), (0.3, 0.28, 0.24), (0.22, 0.03, 0.05)), 0.002, 0.006, 0.003),
    "jacket": Sleeve("cloth", 0.8, ((0.03, 0.03, 0.035), (0.08, 0.1, 0.06), (0.16, 0.1, 0.05)), 0.016, 0.011, 0.004),
    "rain": Sleeve("rubber", 0.4, ((0.7, 0.5, 0.03), (0.03, 0.1, 0.28), (0.4, 0.05, 0.04)), 0.012, 0.012, 0.005),
    "rolled": Sleeve("cloth", 0.88, ((0.6, 0.6, 0.58), (0.09, 0.13, 0.2), (0.3, 0.1, 0.06)), 0.1, 0.009, 0.003),
}


class Edge(NamedTuple):
    """Plane cut of the hand's skin.

    Attributes:
        faces: Remaining faces (F, 3) over the rig's vertices and, after them, the K new ones on the plane.
        pairs: Pairs (K, 2) of old vertices on both sides of each new vertex.
        shares: Shares (K, 1) of the way to the second vertex.
        loop: Indices (K,) of the new vertices in their order around the arm.
        nearness: Weights (V + K, 1): 1 on the plane and beyond, 0 well before it.
    """

    faces: IntArray
    pairs: IndexArray
    shares: FloatArray
    loop: IndexArray
    nearness: FloatArray

    def extend(self, values: RealArray) -> FloatArray:
        """Return values (V, C) of the rig's vertices as (V + K, C)."""
        first, second = values[self.pairs[:, 0]], values[self.pairs[:, 1]]
        return np.asarray(np.concatenate([values, first + self.shares * (second - first)]), np.float64)

    def straighten_normals(self, normals: FloatArray, back: FloatArray) -> FloatArray:
        """Return normals (V + K, 3) that follow the straight arm along `back` (3,) and not the rig's rounded end."""
        normals = normals - self.nearness * np.outer(normals @ back, back)
        return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.float64)


class Tube(NamedTuple):
    """Mesh around the forearm.

    Attributes:
        vertices: Vertices (V, 3) in metres.
        normals: Normals (V, 3).
        faces: Faces (F, 3).
        behind: Distance (V,) from the edge along the arm, metres.
    """

    vertices: FloatArray
    normals: FloatArray
    faces: IntArray
    behind: FloatArray


@lru_cache(maxsize=4)
def wrist_edge(side: Side, files: HandFiles | None = None) -> Edge:
    """Return the hand's faces without the rig's own end, and the edge between.

    Raises:
        InputError: The hand's files cannot be used.
    """
    rig = load_hand_mesh(side, files)
    local = (rig.vertices - rig.joints[0]) @ rig.frames[0]
    beyond = -local[:, 2] - _CUT[0] - _CUT[1] * local[:, 1] + 1e-9  # metres before the plane
    kept = beyond[rig.faces] > 0
    new: dict[tuple[int, int], int] = {}
    following: dict[int, int] = {}
    faces = [rig.faces[kept.all(1)]]
    for face, stays in zip(rig.faces[kept.any(1) & ~kept.all(1)], kept[kept.any(1) & ~kept.all(1)], strict=True):
        # rotated so that the single vertex of its side is first
        a, b, c = np.roll(face, -int(np.argmax(stays == (stays.sum() == 1)))).tolist()
        ab, ac = (new.setdefault((min(a, x), max(a, x)), len(rig.vertices) + len(new)) for x in (b, c))
        if stays.sum() == 1:
            faces.append(np.array([[a, ab, ac]]))
            following[ab] = ac
        else:
            faces.append(np.array([[ab, b, c], [ab, c, ac]]))
            following[ac] = ab
    pairs = np.array(list(new), np.intp)
    near, far = beyond[pairs].T
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    nearness = np.append(np.clip(1 - beyond / _UPRIGHT_M, 0, 1), np.ones(len(pairs)))[:, None] * _UPRIGHT
    return Edge(np.concatenate(faces), pairs, (near / (near - far))[:, None], np.array(loop, np.intp), nearness)


def forearm(edge: FloatArray, normals: FloatArray, axes: FloatArray, bend: tuple[float, float]) -> Tube:
    """Return the bare arm.

    Args:
        edge: Current positions (K, 3) of the vertices of `Edge.loop`.
        normals: Skin normals (K, 3) at the edge.
        axes: Columns (3, 3) of the wrist's frame: bend axis, out of the back, back along the arm.
        bend: Radians by which the arm is bent towards the palm and turned towards the frame's x, relative to the hand.
    """
    tube = _tube(edge, axes, bend, _STATIONS_M, np.zeros(len(_STATIONS_M)))
    tube.normals[: len(edge)] = normals
    return tube


def sleeve(
    edge: FloatArray,
    axes: FloatArray,
    bend: tuple[float, float],
    *,
    start_m: float,
    width_m: float,
    folds_m: float,
    seed: float,
) -> Tube:
    """Return cloth around the arm, open towards the hand.

    Args:
        edge: Current positions (K, 3) of the vertices of `Edge.loop`.
        axes: Columns (3, 3) of the wrist's frame: bend axis, out of the back, back along the arm.
        bend: Radians by which the arm is bent towards the palm and turned towards the frame's x, relative to the hand.
        start_m: Distance from the edge to its start, metres.
        width_m: Distance from the skin, metres.
        folds_m: Height of its folds, metres.
        seed: Seed of its folds.
    """
    stations = np.array([start_m + 0.003, start_m, *np.linspace(start_m + 0.004, 0.25, 16)])
    off = np.full(len(stations), width_m)
    off[0] = width_m * 0.35  # the hem turns in
    rng = np.random.default_rng(abs(int(seed * 1000)) + 1)
    turn = np.linspace(0, 2 * np.pi, len(edge), endpoint=False)
    waves = rng.uniform(2, 5, 3).round()[:, None, None] * turn + rng.uniform(60, 140, (3, 1, 1)) * stations[:, None]
    folds = np.sin(waves + rng.uniform(0, 7, (3, 1, 1))).mean(0) * folds_m * np.clip(off / width_m, 0, 1)[:, None]
    folds[:2] = 0
    return _tube(edge, axes, bend, stations, off[:, None] + folds + 0.3 * folds_m)


def _tube(edge: FloatArray, axes: FloatArray, bend: tuple[float, float], stations: FloatArray, off: FloatArray) -> Tube:
    """Return rings of the edge's outline along the arm, growing, each (S,) or (S, K) metres off the skin."""
    centre = edge.mean(0)
    outline = (edge - centre) @ axes  # (K, 3)
    half = np.sqrt(2) * outline[:, :2].std(0)
    angles = np.unwrap(np.arctan2(outline[:, 1] / half[1], outline[:, 0] / half[0]))
    angles = _smooth_angles(angles)
    plane = np.stack([half[0] * np.cos(angles), half[1] * np.sin(angles), np.zeros_like(angles)], 1)
    grown = stations[:, None] / _STATIONS_M[-1]
    even = np.clip(stations / _EVEN_WIDTH_M, 0, 1)[:, None, None]
    rings = outline + even * (plane - outline)  # (S, K, 3): from the edge as it is to an ellipse
    rings[..., 0] *= 1 + _WIDTH * np.sqrt(grown) * grown
    rings[..., 1] *= 1 + _DEPTH * np.sqrt(grown) * grown
    off = off.reshape(len(stations), -1)
    rings += off[..., None] * plane / np.linalg.norm(plane, axis=1, keepdims=True)
    steps = np.concatenate([[0.0], np.linspace(0, stations.max(), 24)[1:]])
    share = np.clip(steps / _BENT_M, 0, 1)
    turns = matrix_from_rotation_vector(np.outer(share, [bend[0], bend[1], 0]))
    way = np.concatenate([np.zeros((1, 3)), (turns[:-1, :, 2] * np.diff(steps)[:, None]).cumsum(0)])
    middle = np.stack([np.interp(stations, steps, way[:, axis]) for axis in range(3)], 1)
    share = np.clip(stations / _BENT_M, 0, 1)
    turned = matrix_from_rotation_vector(np.outer(share, [bend[0], bend[1], 0]))
    local = (rings @ np.swapaxes(turned, 1, 2) + middle[:, None]).reshape(-1, 3)
    faces = _ring_faces(len(stations), len(edge))
    vertices = local @ axes.T + centre
    return Tube(vertices, vertex_normals(vertices, faces), faces, stations.repeat(len(edge)))


def _smooth_angles(angles: FloatArray) -> FloatArray:
    """Return angles (K,) once around, monotonic: the edge's teeth are averaged out."""
    count = len(angles)
    around = np.sign(angles[-1] - angles[0]) * 2 * np.pi
    turn = around * np.arange(count) / count
    uneven = angles - turn
    window = np.arange(-6, 7)
    return turn + uneven[(np.arange(count)[:, None] + window) % count].mean(1)


def _ring_faces(rings: int, count: int) -> IntArray:
    """Return faces (F, 3) between neighbouring rings, facing outwards."""
    first = np.arange((rings - 1) * count).reshape(rings - 1, count)
    after = np.roll(first, -1, 1)
    quads = np.stack([first, first + count, after, after, first + count, after + count], -1)
    return quads.reshape(-1, 3)


def cloth_material(kind: Glove | Sleeve, seed: float) -> Material:
    """Return the surface of cloth in one of its colours."""
    rng = np.random.default_rng(abs(int(seed * 1000)) + 2)
    colour = np.array(kind.colours[rng.integers(len(kind.colours))]) * rng.uniform(0.8, 1.2, 3)
    red, green, blue = colour.clip(0, 0.9).tolist()
    return Material(kind.surface, (red, green, blue), kind.roughness, int(rng.integers(3)), seed)


def glove_faces(rig: Rig, faces: IntArray, fingerless: bool) -> IntArray:
    """Return the faces of the skin that a glove covers: all, or those before the middle of each finger's first free
    bone.
    """
    if not fingerless:
        return faces
    bare = np.zeros(len(rig.vertices), np.bool_)
    for chain in FINGERS:
        first = chain[1] if chain[0] == 1 else chain[0]
        bone = rig.joints[first + 1] - rig.joints[first]
        ahead = (rig.vertices - rig.joints[first]) @ bone / (bone @ bone)
        bare |= (rig.weights[:, first : chain[3] + 1].sum(1) > 0.5) & (ahead > 0.75)
    bare = np.append(bare, np.zeros(faces.max() + 1 - len(bare), np.bool_))  # vertices added by the cut at the wrist
    return faces[~bare[faces].any(1)]


def ring_drawable(rig: Rig, pose: RigPose, finger: int, seed: float, instance: int) -> Drawable:
    """Return a ring on a finger, 0 (thumb) to 4.

    Raises:
        InputError: The finger is out of range.
    """
    if not 0 <= finger < len(FINGERS):
        raise InputError(f"a ring on finger {finger}: fingers are 0 (thumb) to {len(FINGERS) - 1}")
    chain = FINGERS[finger]
    joint = chain[1] if finger == 0 else chain[0]
    share = _RING_AT if finger == 0 else 0.72
    bone = float(np.linalg.norm(rig.joints[joint + 1] - rig.joints[joint]))
    local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
    near = (rig.weights[:, joint : joint + 2].sum(1) > 0.6) & (np.abs(local[:, 2] + share * bone) < 0.003)
    middle = (local[near].min(0) + local[near].max(0)) / 2
    radii = (np.ptp(local[near, :2], axis=0) / 2) + 0.4 * _RING_M
    around, across = np.meshgrid(
        np.linspace(0, 2 * np.pi, 28, False), np.linspace(0, 2 * np.pi, 8, False), indexing="ij"
    )
    wide = 1.6 + np.random.default_rng(abs(int(seed * 1000)) + finger).uniform(0, 1.2)
    out = np.stack([np.cos(around), np.sin(around)], -1)
    points = np.empty((28, 8, 3))
    points[..., :2] = middle[:2] + out * (radii + _RING_M * np.cos(across)[..., None])
    points[..., 2] = -share * bone + wide * _RING_M * np.sin(across)
    normals = np.concatenate([out * np.cos(across)[..., None], np.sin(across)[..., None]], -1)
    frames, places = rig.joint_frames(pose)
    turn = frames[0, joint]
    red, green, blue = _METALS[int(seed * 7 + finger) % len(_METALS)]
    return Drawable(
        points.reshape(-1, 3) @ turn.T + places[0, joint],
        normals.reshape(-1, 3) @ turn.T,
        _torus_faces(28, 8),
        Material("metal", (red, green, blue), 0.3, seed=seed),
        instance,
        rest=points.reshape(-1, 3),
    )


def _torus_faces(around: int, across: int) -> IntArray:
    a = np.arange(around * across).reshape(around, across)
    b, c = np.roll(a, -1, 0), np.roll(a, -1, 1)
    d = np.roll(b, -1, 1)
    return np.stack([a, b, d, a, d, c], -1).reshape(-1, 3)


GLOVE: Final = 100
"""Offset from a hand's instance to that of its glove."""

ARM: Final = 150
"""Offset from a hand's instance to that of its forearm, sleeve and rings."""

_FADE_M: Final = 0.08  # along the arm, for the difference between palm side and back


@dataclass(frozen=True, eq=False)
class SceneHand:
    """Hand in the world.

    Attributes:
        side: The person's own hand.
        shape: Values (36,) by `hands.SHAPE_NAMES`, in standard deviations from the rig.
        pose: Pose of one frame, in the world's axes.
        appearance: Appearance of its surface.
        person: Index of its person.
        bend: Radians by which the hand is bent towards its palm and turned towards the thumb's side, relative to its
            forearm.
        files: Files of the user's own hand; None for the catalog's rig.
    """

    side: Side
    shape: FloatArray
    pose: RigPose
    appearance: HandAppearance
    person: int = 0
    bend: tuple[float, float] = (0.0, 0.0)
    files: HandFiles | None = None


def drawables_from_hand(hand: SceneHand, instance: int) -> list[Drawable]:
    """Return the hand's skin, then its forearm and garments.

    Args:
        hand: Hand in the world.
        instance: 1 to 49; a glove adds `GLOVE`, and forearm, sleeve and rings add `ARM`.

    Raises:
        InputError: The hand's files cannot be used, or its appearance contains an unknown name.
    """
    rig = rig_from_shape(hand.side, hand.shape, hand.files)
    rest, edge = load_hand_mesh(hand.side, hand.files), wrist_edge(hand.side, hand.files)
    rest_mesh = _rest_mesh(hand.side, hand.files)
    vertices, normals = (edge.extend(values[0]) for values in rig.skin(hand.pose))
    normals = edge.straighten_normals(normals, hand.pose.rotation[0] @ rest_mesh.axes[:, 2])
    appearance, skin = hand.appearance, skin_material(hand.appearance)
    drawables = [
        Drawable(
            vertices=vertices,
            normals=normals,
            faces=edge.faces,
            material=skin,
            instance=instance,
            rest=rest_mesh.rest,
            parts=rest_mesh.parts,
            marks=rest_mesh.marks,
        )
    ]
    drawables += _arm(hand, instance, vertices[edge.loop], normals=normals[edge.loop], rest_mesh=rest_mesh, edge=edge)
    if appearance.glove is not None:
        kind = look_up("glove", GLOVES, appearance.glove)
        faces = glove_faces(rest, edge.faces, kind.fingerless)
        outside = vertices + kind.thick_m * normals
        cloth = cloth_material(kind, appearance.seed)
        drawables.append(
            Drawable(
                vertices=outside,
                normals=normals,
                faces=faces,
                material=cloth,
                instance=instance + GLOVE,
                rest=rest_mesh.rest,
                parts=rest_mesh.parts,
            )
        )
    drawables += [ring_drawable(rig, hand.pose, finger, appearance.seed, instance + ARM) for finger in appearance.rings]
    return drawables


def _arm(
    hand: SceneHand, instance: int, loop: FloatArray, *, normals: FloatArray, rest_mesh: _RestMesh, edge: Edge
) -> list[Drawable]:
    """Return the forearm that starts at the skin's edge (K, 3), and its sleeve."""
    axes = hand.pose.rotation[0] @ rest_mesh.axes
    bend = (hand.bend[0], hand.bend[1] * (-1 if hand.side == "Right" else 1))

    def rest_positions(tube: Tube) -> FloatArray:
        count = len(tube.behind) // len(loop)
        return np.tile(rest_mesh.rest[edge.loop], (count, 1)) + tube.behind[:, None] * rest_mesh.axes[:, 2]

    arm = forearm(loop, normals, axes, bend)
    fade = np.exp(-arm.behind / _FADE_M)[:, None].astype(np.float32)
    marks = np.tile(rest_mesh.marks[edge.loop], (len(fade) // len(loop), 1)) * fade
    skin = skin_material(hand.appearance)
    drawables = [
        Drawable(
            vertices=arm.vertices,
            normals=arm.normals,
            faces=arm.faces,
            material=skin,
            instance=instance + ARM,
            rest=rest_positions(arm),
            marks=marks,
        )
    ]
    if hand.appearance.sleeve is not None:
        garment = look_up("sleeve", SLEEVES, hand.appearance.sleeve)
        tube = sleeve(
            loop,
            axes,
            bend,
            start_m=garment.start_m,
            width_m=garment.width_m,
            folds_m=garment.folds_m,
            seed=hand.appearance.seed,
        )
        cloth = cloth_material(garment, hand.appearance.seed + 3)
        drawables.append(
            Drawable(
                vertices=tube.vertices,
                normals=tube.normals,
                faces=tube.faces,
                material=cloth,
                instance=instance + ARM,
                rest=rest_positions(tube),
            )
        )
    return drawables


class _RestMesh(NamedTuple):
    """Values of all drawn vertices that depend on neither pose nor shape.

    Attributes:
        rest: Rest positions, see `Drawable.rest`.
        parts: Joint indices, see `Drawable.parts`.
        marks: Skin marks, see `Drawable.marks`.
        axes: Columns (3, 3) of the wrist's frame at rest.
    """

    rest: FloatArray
    parts: NDArray[np.uint8]
    marks: Float32Array
    axes: FloatArray


@lru_cache(maxsize=4)
def _rest_mesh(side: Side, files: HandFiles | None) -> _RestMesh:
    rig, edge = load_hand_mesh(side, files), wrist_edge(side, files)
    return _RestMesh(
        edge.extend(rig.vertices),
        edge.extend(rig.weights).argmax(1).astype(np.uint8),
        edge.extend(skin_marks(side, files)).astype(np.float32),
        rig.frames[0],
    )


def keypoints_from_hand(hand: SceneHand) -> FloatArray:
    """Return keypoints (21, 3) in metres in the world, in MediaPipe's order: centres of the joints, and tips within the
    fingers.

    Raises:
        InputError: The hand's files cannot be used.
    """
    return rig_from_shape(hand.side, hand.shape, hand.files).keypoints(hand.pose)[0]
