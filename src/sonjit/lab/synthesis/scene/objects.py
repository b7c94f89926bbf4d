"""Define grasped objects and occluders: solids with exact distances as meshes.

A solid's frame has its axis as z and its centre as origin. Positions, radii and distances of all solids are in
metres, in this frame.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray, IntArray
from sonjit.lab.synthesis.render.drawable import Drawable, Material, Surface
from sonjit.lab.synthesis.scene.solids import SceneObject, Solid

_Mesh = tuple["FloatArray", "FloatArray", "IntArray"]
SCENE_OBJECTS: Final = {
    "ball": SceneObject(Solid("ball", (0.033, 0.033, 0.033)), "wrap", ("rubber", "plastic", "wood")),
    "cylinder": SceneObject(Solid("cylinder", (0.021, 0.021, 0.08)), "wrap", ("metal", "plastic", "wood")),
    "bottle": SceneObject(Solid("cylinder", (0.033, 0.033, 0.105)), "wrap", ("plastic", "metal")),
    "cup": SceneObject(Solid("cylinder", (0.04, 0.04, 0.05)), "wrap", ("plastic", "wood", "metal")),
    "box": SceneObject(Solid("box", (0.035, 0.024, 0.055), 0.003), "wrap", ("wood", "plastic")),
    "phone": SceneObject(Solid("box", (0.0045, 0.036, 0.075), 0.003), "wrap", ("plastic", "metal")),
    "pen": SceneObject(Solid("cylinder", (0.0045, 0.0045, 0.07)), "pinch", ("plastic", "metal", "wood")),
    "card": SceneObject(Solid("box", (0.0008, 0.027, 0.043), 0.0006), "pinch", ("plastic",)),
}
"""Objects by name, in common sizes."""


def drawable_from_solid(
    solid: Solid, rotation: FloatArray, place: FloatArray, material: Material, instance: int
) -> Drawable:
    """Return the mesh of a solid with a pose.

    Args:
        solid: Solid of its shape.
        rotation: Rotation (3, 3) from its frame.
        place: Position (3,) of its middle in metres.
        material: Material of its surface.
        instance: Instance, from 200.
    """
    rest, normals, faces = _ball(solid) if solid.kind == "ball" else _tube(solid)
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
    """Return an object of about a given size at a position, in a random rotation.

    Args:
        rng: Generator of all random choices.
        place: Position (3,) in metres.
        size_m: Longest extent in metres.
        instance: Instance, from 200.
    """
    name = list(SCENE_OBJECTS)[rng.integers(len(SCENE_OBJECTS))]
    item = SCENE_OBJECTS[name]
    grown = np.array(item.solid.size) * size_m / (2 * max(item.solid.size))
    x, y, z = grown.tolist()
    solid = Solid(item.solid.kind, (x, y, z), min(item.solid.round_m, min(x, y, z) / 2))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= np.linalg.det(turn)
    return drawable_from_solid(solid, turn, place, sample_material(item.surfaces, rng), instance)


def _ball(solid: Solid) -> _Mesh:
    angles = np.linspace(0, np.pi, 17)
    return _revolve(np.stack([np.sin(angles), -np.cos(angles)], 1) * solid.size[0], solid.size[0], 32)


def _revolve(profile: FloatArray, radius: float, around: int) -> _Mesh:
    """Return a ball's profile (P, 2) of radii and heights, rotated around z."""
    turn = np.linspace(0, 2 * np.pi, around, endpoint=False)
    points = np.concatenate(
        [
            profile[:, None, :1] * np.stack([np.cos(turn), np.sin(turn)], -1),
            np.broadcast_to(profile[:, None, 1:], (len(profile), around, 1)),
        ],
        -1,
    )
    return points.reshape(-1, 3), points.reshape(-1, 3) / radius, _strips(len(profile), around)


def _tube(solid: Solid) -> _Mesh:
    """Return a cylinder or a box: its outline extruded along z, flat at both ends; vertices of sharp edges are
    doubled.
    """
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
