"""Colour hands, and dress them with gloves, sleeves and rings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import Float32Array, FloatArray, IndexArray, InputError, IntArray, RealArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, vertex_normals
from sonjit_lab.hand_models.drawing import linear_light
from sonjit_lab.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit_lab.synthesis import read_table
from sonjit_lab.synthesis.drawables import Drawable, Material, Surface
from sonjit_lab.synthesis.hand_meshes import HandFiles, load_hand_mesh
from sonjit_lab.synthesis.hand_shapes import fade

MONK_TONES: Final[tuple[str, ...]] = tuple(read_table("scenes")["tones"])
"""Ten tones of the Monk scale as published (Monk 2019, skintone.google), sRGB, lightest first."""
TEXTURES: Final[tuple[tuple[str, float, Mapping[str, float]], ...]] = tuple(
    (name, entry["roughness"], {detail: amount for detail, amount in entry.items() if detail != "roughness"})
    for name, entry in read_table("scenes")["textures"].items()
)
"""Variants of the skin: name, roughness, and additional strength of details."""

_LIGHTEST: Final = 0.72  # of white, so that lamps do not clip the skin
_UNDERTONE: Final = np.array([0.05, 0.015, 0.06])  # how far red, green and blue go from cool to warm
_NAIL_FROM: Final = 0.42  # of the way from a finger's last joint to its end
_NAIL_WIDTH: Final = 0.8  # of the finger's half width
_CREASE_M: Final = 0.0014
_Colour = tuple[float, float, float]
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


@dataclass(frozen=True)
class HandAppearance:
    """Appearance of a hand's surface."""

    tone: int = 4  # tone on the Monk scale, 1 (lightest) to 10 (darkest)
    texture: int = 0  # variant of the skin, 0 to 4 or more
    # Strength of details by name, see `drawable.Material.amounts`
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    glove: str | None = None  # name of a glove, or None
    rings: tuple[int, ...] = ()  # fingers with a ring, 0 (thumb) to 4 (little)
    sleeve: str | None = None  # name of a sleeve, or None for a bare forearm
    seed: float = 0.0  # seed of every pattern


def albedo_from_tone(tone: int, undertone: float = 0.0) -> tuple[float, float, float]:
    """Return the linear RGB colour of a skin: tone 1 to 10 on the Monk scale, undertone -1 (cool) to 1 (warm)."""
    if not 1 <= tone <= len(MONK_TONES):
        raise InputError(f"skin tone {tone}: the Monk scale has 1 to {len(MONK_TONES)}")
    code = MONK_TONES[tone - 1]
    red, green, blue = (int(code[place : place + 2], 16) for place in (1, 3, 5))
    linear = np.array(linear_light((red, green, blue))) * _LIGHTEST * (1 + undertone * _UNDERTONE * [1, 0.3, -1])
    red, green, blue = linear.tolist()
    return red, green, blue


def skin_material(appearance: HandAppearance) -> Material:
    """Return the material of a hand's skin."""
    if not 0 <= appearance.texture < len(TEXTURES):
        raise InputError(f"skin texture {appearance.texture}: must be 0 to {len(TEXTURES) - 1}")
    _, roughness, more = TEXTURES[appearance.texture]
    undertone = float(np.random.default_rng(abs(int(appearance.seed * 1000))).uniform(-1, 1))
    amounts = {
        name: min(max(appearance.amounts.get(name, 0.0) + more.get(name, 0.0), 0), 1)
        for name in {**appearance.amounts, **more}
    }
    albedo = albedo_from_tone(appearance.tone, undertone)
    return Material("skin", albedo, roughness, appearance.texture, appearance.seed, amounts)


@lru_cache(maxsize=4)
def skin_marks(side: Side, files: HandFiles | None = None) -> Float32Array:
    """Return the amounts (V, 4) of nail, crease, palm side and back of each vertex, see `Drawable.marks`."""
    rig = load_hand_mesh(side, files)
    back = np.zeros(len(rig.vertices))
    for joint in range(25):
        back += rig.weights[:, joint] * (rig.normals @ rig.frames[joint][:, 1])
    marks = [_nails(rig), _creases(rig, back), fade(-back, -0.15, 0.55), fade(back, -0.15, 0.55)]
    return np.stack(marks, 1).astype(np.float32)


def _nails(rig: Rig) -> FloatArray:
    """Return patches on the back of each finger's last bone."""
    nails = np.zeros(len(rig.vertices))
    for chain in FINGERS:
        joint = chain[2]
        in_finger = rig.weights[:, list(chain[2:])].sum(1) > 0.5
        local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
        ahead = -local[:, 2] / (-local[in_finger, 2]).max()
        half = np.abs(local[in_finger & (ahead > 0.3) & (ahead < 0.8), 0]).max()
        aside = np.abs(local[:, 0]) / (half * _NAIL_WIDTH)
        up = rig.normals @ rig.frames[joint][:, 1]
        patch = fade(ahead, _NAIL_FROM - 0.06, _NAIL_FROM + 0.06) * fade(1.25 - aside, 0.1, 0.4) * fade(up, 0.05, 0.4)
        nails = np.maximum(nails, patch * in_finger)
    return nails


def _creases(rig: Rig, back: FloatArray) -> FloatArray:
    """Return lines across each finger at its joints, deep on the palm side and faint on the back."""
    creases = np.zeros(len(rig.vertices))
    for chain in FINGERS:
        for step, joint in enumerate(chain[:3]):
            bone = float(np.linalg.norm(rig.joints[chain[step + 1]] - rig.joints[joint]))
            local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
            if step == 0:
                if chain[0] == 1:
                    continue
                local[:, 2] += 0.45 * bone  # a finger leaves the palm well beyond its first joint
            near = rig.weights[:, [joint, max(joint - 1, 0)]].sum(1) * (np.hypot(local[:, 0], local[:, 1]) < 0.016)
            line = np.exp(-((local[:, 2] / _CREASE_M) ** 2) / 2) * near
            creases = np.maximum(creases, line * np.where(back < 0.2, 1.0, 0.5 if step else 0.0))
    return creases


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


class Edge(NamedTuple):
    """Plane cut of the hand's skin."""

    faces: IntArray  # remaining faces (F, 3) over the rig's vertices and, after them, the K new ones on the plane
    pairs: IndexArray  # pairs (K, 2) of old vertices on both sides of each new vertex
    shares: FloatArray  # shares (K, 1) of the way to the second vertex
    loop: IndexArray  # indices (K,) of the new vertices in their order around the arm
    nearness: FloatArray  # weights (V + K, 1): 1 on the plane and beyond, 0 well before it

    def extend(self, values: RealArray) -> FloatArray:
        """Return values (V, C) of the rig's vertices as (V + K, C), in the same unit."""
        first, second = values[self.pairs[:, 0]], values[self.pairs[:, 1]]
        return np.asarray(np.concatenate([values, first + self.shares * (second - first)]), np.float64)

    def straighten_normals(self, normals: FloatArray, back: FloatArray) -> FloatArray:
        """Return normals (V + K, 3), of unit length, that follow the straight arm along `back` (3,).

        The rig's own end is rounded.
        """
        normals = normals - self.nearness * np.outer(normals @ back, back)
        return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.float64)


class Tube(NamedTuple):
    """Mesh around the forearm."""

    vertices: FloatArray  # vertices (V, 3) in metres
    normals: FloatArray  # normals (V, 3)
    faces: IntArray  # faces (F, 3)
    behind: FloatArray  # distance (V,) from the edge along the arm, metres


@lru_cache(maxsize=4)
def wrist_edge(side: Side, files: HandFiles | None = None) -> Edge:
    """Return the hand's faces without the rig's own end, and the edge between."""
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
    """Return the bare arm from the positions (K, 3) and normals (K, 3) of the vertices of `Edge.loop`.

    `axes`: columns (3, 3) of the wrist's frame: bend axis, out of the back, back along the arm; `bend`: radians by
    which the arm is bent towards the palm and turned towards the frame's x, relative to the hand.
    """
    tube = _tube(edge, axes, bend, _STATIONS_M, np.zeros(len(_STATIONS_M)))
    tube.normals[: len(edge)] = normals
    return tube


def sleeve(edge: FloatArray, axes: FloatArray, bend: tuple[float, float], kind: Sleeve, seed: float) -> Tube:
    """Return cloth around the arm, open towards the hand, from the edge (K, 3) in metres.

    For edge, axes and bend see `forearm`.
    """
    stations = np.array([kind.start_m + 0.003, kind.start_m, *np.linspace(kind.start_m + 0.004, 0.25, 16)])
    off = np.full(len(stations), kind.width_m)
    off[0] = kind.width_m * 0.35  # the hem turns in
    rng = np.random.default_rng(abs(int(seed * 1000)) + 1)
    turn = np.linspace(0, 2 * np.pi, len(edge), endpoint=False)
    waves = rng.uniform(2, 5, 3).round()[:, None, None] * turn + rng.uniform(60, 140, (3, 1, 1)) * stations[:, None]
    folds = np.sin(waves + rng.uniform(0, 7, (3, 1, 1))).mean(0) * kind.folds_m
    folds = folds * np.clip(off / kind.width_m, 0, 1)[:, None]
    folds[:2] = 0
    return _tube(edge, axes, bend, stations, off[:, None] + folds + 0.3 * kind.folds_m)


def _tube(edge: FloatArray, axes: FloatArray, bend: tuple[float, float], stations: FloatArray, off: FloatArray) -> Tube:
    """Return rings of the edge's outline along the arm, growing, each (S,) or (S, K) metres off the skin."""
    centre, count = edge.mean(0), len(edge)
    outline = (edge - centre) @ axes  # (K, 3)
    half = np.sqrt(2) * outline[:, :2].std(0)
    angles = np.unwrap(np.arctan2(outline[:, 1] / half[1], outline[:, 0] / half[0]))
    turn = np.sign(angles[-1] - angles[0]) * 2 * np.pi * np.arange(count) / count
    window = (np.arange(count)[:, None] + np.arange(-6, 7)) % count
    angles = turn + (angles - turn)[window].mean(1)  # once around, monotonic: the edge's teeth are averaged out
    plane = np.stack([half[0] * np.cos(angles), half[1] * np.sin(angles), np.zeros_like(angles)], 1)
    grown = stations[:, None] / _STATIONS_M[-1]
    even = np.clip(stations / _EVEN_WIDTH_M, 0, 1)[:, None, None]
    rings = outline + even * (plane - outline)  # (S, K, 3): from the edge as it is to an ellipse
    rings[..., 0] *= 1 + _WIDTH * np.sqrt(grown) * grown
    rings[..., 1] *= 1 + _DEPTH * np.sqrt(grown) * grown
    off = off.reshape(len(stations), -1)
    rings += off[..., None] * plane / np.linalg.norm(plane, axis=1, keepdims=True)

    def turned(places: FloatArray) -> FloatArray:
        return matrix_from_rotation_vector(np.outer(np.clip(places / _BENT_M, 0, 1), [bend[0], bend[1], 0]))

    steps = np.concatenate([[0.0], np.linspace(0, stations.max(), 24)[1:]])
    way = np.concatenate([np.zeros((1, 3)), (turned(steps)[:-1, :, 2] * np.diff(steps)[:, None]).cumsum(0)])
    middle = np.stack([np.interp(stations, steps, way[:, axis]) for axis in range(3)], 1)
    local = (rings @ np.swapaxes(turned(stations), 1, 2) + middle[:, None]).reshape(-1, 3)
    first = np.arange((len(stations) - 1) * count).reshape(-1, count)
    after = np.roll(first, -1, 1)  # faces between neighbouring rings face outwards
    faces = np.stack([first, first + count, after, after, first + count, after + count], -1).reshape(-1, 3)
    vertices = local @ axes.T + centre
    return Tube(vertices, vertex_normals(vertices, faces), faces, stations.repeat(count))


def cloth_material(kind: Glove | Sleeve, seed: float) -> Material:
    """Return the surface of cloth in one of its colours."""
    rng = np.random.default_rng(abs(int(seed * 1000)) + 2)
    colour = np.array(kind.colours[rng.integers(len(kind.colours))]) * rng.uniform(0.8, 1.2, 3)
    red, green, blue = colour.clip(0, 0.9).tolist()
    return Material(kind.surface, (red, green, blue), kind.roughness, int(rng.integers(3)), seed)


def glove_faces(rig: Rig, faces: IntArray, *, fingerless: bool) -> IntArray:
    """Return the faces, vertex indices (F, 3), that a glove covers.

    These are all, or for a fingerless glove those before the middle of each first free bone.
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
    """Return a ring on a finger, 0 (thumb) to 4."""
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
        np.linspace(0, 2 * np.pi, 28, endpoint=False), np.linspace(0, 2 * np.pi, 8, endpoint=False), indexing="ij"
    )
    wide = 1.6 + np.random.default_rng(abs(int(seed * 1000)) + finger).uniform(0, 1.2)
    out = np.stack([np.cos(around), np.sin(around)], -1)
    points = np.empty((28, 8, 3))
    points[..., :2] = middle[:2] + out * (radii + _RING_M * np.cos(across)[..., None])
    points[..., 2] = -share * bone + wide * _RING_M * np.sin(across)
    normals = np.concatenate([out * np.cos(across)[..., None], np.sin(across)[..., None]], -1)
    a = np.arange(28 * 8).reshape(28, 8)
    b, c = np.roll(a, -1, 0), np.roll(a, -1, 1)
    d = np.roll(b, -1, 1)
    frames, places = rig.joint_frames(pose)
    turn = frames[0, joint]
    red, green, blue = _METALS[int(seed * 7 + finger) % len(_METALS)]
    return Drawable(
        points.reshape(-1, 3) @ turn.T + places[0, joint],
        normals.reshape(-1, 3) @ turn.T,
        np.stack([a, b, d, a, d, c], -1).reshape(-1, 3),
        Material("metal", (red, green, blue), 0.3, seed=seed),
        instance,
        rest=points.reshape(-1, 3),
    )
