"""Grasped objects and occluders: solids with exact distances.

A solid's frame has its axis as z and its centre as origin. Positions, radii and distances of all solids are in
metres, in this frame.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from sonjit._util import FloatArray, IntArray
from sonjit_lab.synthesis import read_table
from sonjit_lab.synthesis.drawables import Drawable, Material, Surface

SolidKind = Literal["ball", "cylinder", "box"]
Grip = Literal["wrap", "pinch"]
_Mesh = tuple["FloatArray", "FloatArray", "IntArray"]


@dataclass(frozen=True)
class Solid:
    """Ball, cylinder or box. Its frame has its axis as z and its middle as origin, in metres."""

    kind: SolidKind  # kind of solid
    # metres: a ball's radius three times, a cylinder's radius twice and half its length, half a box's edges
    size: tuple[float, float, float]
    round_m: float = 0.0  # radius of a box's edges

    def distances(self, points: FloatArray) -> FloatArray:
        """Return the signed distances (...,) in metres from points (..., 3) to the surface, negative inside."""
        if self.kind == "ball":
            return np.asarray(np.linalg.norm(points, axis=-1) - self.size[0], np.float64)
        if self.kind == "cylinder":
            over = np.stack([np.hypot(points[..., 0], points[..., 1]), np.abs(points[..., 2])], -1)
            over = over - [self.size[0], self.size[2]]
        else:
            over = np.abs(points) - (np.array(self.size) - self.round_m)
        outside = np.linalg.norm(np.maximum(over, 0), axis=-1)
        return np.asarray(outside + np.minimum(over.max(-1), 0) - self.round_m, np.float64)


@dataclass(frozen=True)
class SceneObject:
    """Everyday object."""

    solid: Solid  # solid of its shape
    grip: Grip  # grip of the hand around it
    surfaces: tuple[Surface, ...]  # possible surfaces


SCENE_OBJECTS: Final = {
    name: SceneObject(
        Solid(entry["kind"], tuple(entry["size"]), entry.get("round_m", 0.0)), entry["grip"], tuple(entry["surfaces"])
    )
    for name, entry in read_table("scenes")["objects"].items()
}
"""Objects by name, in common sizes."""


def drawable_from_solid(
    solid: Solid, rotation: FloatArray, place: FloatArray, material: Material, instance: int
) -> Drawable:
    """Return the mesh of a solid with a rotation (3, 3) from its frame and the place (3,) of its middle in metres."""
    rest, normals, faces = _ball(solid.size[0]) if solid.kind == "ball" else _tube(solid)
    return Drawable(rest @ rotation.T + place, normals @ rotation.T, faces, material, instance, rest=rest)


def sample_material(surfaces: tuple[Surface, ...], rng: np.random.Generator) -> Material:
    """Return one of some surfaces, in a possible colour."""
    surface = surfaces[rng.integers(len(surfaces))]
    colour = rng.uniform(0.02, 0.7, 3) ** 1.3
    if surface == "wood":
        colour = np.array([0.35, 0.2, 0.1]) * rng.uniform(0.4, 1.6)
    elif surface == "metal":
        colour = np.full(3, rng.uniform(0.35, 0.7)) * rng.uniform(0.92, 1.08, 3)
    red, green, blue = colour.tolist()
    rough = {"metal": (0.2, 0.5), "plastic": (0.25, 0.6), "rubber": (0.6, 0.9)}.get(surface, (0.5, 0.9))
    return Material(surface, (red, green, blue), float(rng.uniform(*rough)), int(rng.integers(4)), rng.uniform(0, 100))


def occluder(rng: np.random.Generator, place: FloatArray, size_m: float, instance: int) -> Drawable:
    """Return an object of about a size at a position (3,), both in metres, in a random rotation."""
    name = list(SCENE_OBJECTS)[rng.integers(len(SCENE_OBJECTS))]
    item = SCENE_OBJECTS[name]
    grown = np.array(item.solid.size) * size_m / (2 * max(item.solid.size))
    x, y, z = grown.tolist()
    solid = Solid(item.solid.kind, (x, y, z), min(item.solid.round_m, min(x, y, z) / 2))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= np.linalg.det(turn)
    return drawable_from_solid(solid, turn, place, sample_material(item.surfaces, rng), instance)


def _ball(radius: float) -> _Mesh:
    """Return a half circle of radii and heights, rotated around z."""
    around = 32
    angles, turn = np.linspace(0, np.pi, 17), np.linspace(0, 2 * np.pi, around, endpoint=False)
    profile = np.stack([np.sin(angles), -np.cos(angles)], 1) * radius
    across = profile[:, None, :1] * np.stack([np.cos(turn), np.sin(turn)], -1)
    heights = np.broadcast_to(profile[:, None, 1:], (len(profile), around, 1))
    points = np.concatenate([across, heights], -1).reshape(-1, 3)
    return points, points / radius, _strips(len(profile), around)


def _tube(solid: Solid) -> _Mesh:
    """Return a cylinder or a box: its outline extruded along z, flat at both ends; sharp edges have vertices twice."""
    x, y, z = solid.size
    if solid.kind == "cylinder":
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        out = np.stack([np.cos(turn), np.sin(turn)], -1)
        outline, way = out * x, out
    else:
        turn = np.linspace(0, np.pi / 2, 5)
        corner = np.stack([np.cos(turn), np.sin(turn)], -1)
        quarter = np.array([[0, -1], [1, 0]])
        way = np.concatenate([corner @ np.linalg.matrix_power(quarter, k).T for k in range(4)])
        signs = np.sign(way.round(9) + np.concatenate([np.repeat([[1, 1], [-1, 1], [-1, -1], [1, -1]], 5, 0)]) * 1e-3)
        outline = signs * (np.array([x, y]) - solid.round_m) + way * solid.round_m
    count = len(outline)
    sides = np.concatenate([np.column_stack([outline, np.full(count, end)]) for end in (-z, z)])
    points = np.concatenate([sides, sides, [[0, 0, -z], [0, 0, z]]])
    up = np.array([0, 0, 1.0])
    flat = np.column_stack([way, np.zeros(count)])
    normals = np.concatenate([flat, flat, np.tile(-up, (count, 1)), np.tile(up, (count, 1)), [-up, up]])
    item = np.arange(count)
    two = np.roll(item, -1)
    low = np.stack([np.full(count, 4 * count), 2 * count + two, 2 * count + item], 1)
    high = np.stack([np.full(count, 4 * count + 1), 3 * count + item, 3 * count + two], 1)
    return points, normals, np.concatenate([_strips(2, count), low, high])


def _strips(rows: int, count: int) -> IntArray:
    """Return faces (F, 3) between rows of points around z, ascending, facing outwards."""
    first = np.arange((rows - 1) * count).reshape(rows - 1, count)
    after = np.roll(first, -1, 1)
    quads = np.stack([first, after, first + count, after, after + count, first + count], -1)
    return quads.reshape(-1, 3)
