"""Grasped objects, occluders and printed boards: solids with exact distances, and boards with exact corners.

A solid's frame has its axis as z and its centre as origin. Positions, radii and distances of all solids are in
metres, in this frame.
"""

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image, IntArray, RealArray
from sonjit._util.errors import InputError
from sonjit.lab.synthesis import read_table
from sonjit.lab.synthesis.renderer import Drawable, Material, Surface

SolidKind = Literal["ball", "cylinder", "box"]
Grip = Literal["wrap", "pinch"]


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


_Mesh = tuple["FloatArray", "FloatArray", "IntArray"]
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
    """Return the mesh of a solid with a pose.

    `rotation`: rotation (3, 3) from its frame; `place`: position (3,) of its middle in metres; `instance`: instance,
    from 200.
    """
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
    """Return an object of about a given size at a position, in a random rotation.

    `place`: position (3,) in metres; `size_m`: longest extent in metres; `instance`: instance, from 200.
    """
    name = list(SCENE_OBJECTS)[rng.integers(len(SCENE_OBJECTS))]
    item = SCENE_OBJECTS[name]
    grown = np.array(item.solid.size) * size_m / (2 * max(item.solid.size))
    x, y, z = grown.tolist()
    solid = Solid(item.solid.kind, (x, y, z), min(item.solid.round_m, min(x, y, z) / 2))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= np.linalg.det(turn)
    return drawable_from_solid(solid, turn, place, sample_material(item.surfaces, rng), instance)


def _ball(radius: float, around: int = 32) -> _Mesh:
    """Return a half circle of radii and heights, rotated around z."""
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


_SQUARE_PX: Final = 64  # sizes that halve evenly keep smaller copies of the print in their place
_THICK_M: Final = 0.004
_WHITE: Final = 245
_BLACK: Final = 12


@dataclass(frozen=True, eq=False)
class RenderedBoard:
    """Flat print. Its frame: x right and y down along the print from its upper left corner, z into the board."""

    image: Image  # image (H, W, 3), uint8 RGB, with its white edge
    size_m: tuple[float, float]  # width and height of the image in metres
    corners: FloatArray  # inner corners (N, 3) in metres in the board's frame, row by row, in OpenCV's order

    def placed(self, rotation: RealArray, translation: RealArray) -> FloatArray:
        """Return the corners (N, 3) in the world.

        Args:
            rotation: Rotation (3, 3) of the board in the world.
            translation: Position (3,) of its upper left corner in metres.
        """
        return np.asarray(self.corners @ np.asarray(rotation).T + translation, np.float64)

    def drawable(self, rotation: RealArray, translation: RealArray, instance: int = 200) -> Drawable:
        """Return the board as a mesh with a white back. Its faces are small, so that a lens bends it."""
        columns, rows = 24, 24
        u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
        uv = np.stack([u, v], -1).reshape(-1, 2)
        front = np.concatenate([uv * self.size_m, np.zeros((len(uv), 1))], 1)
        points = np.concatenate([front, front + np.array([0, 0, _THICK_M])])
        row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        first = row * (columns + 1) + column
        below = first + columns + 1
        faces = np.stack([first, below + 1, below, first, first + 1, below + 1], -1).reshape(-1, 3)
        rotation = np.asarray(rotation, np.float64)
        normals = np.repeat([[0.0, 0, -1], [0, 0, 1]], len(uv), axis=0)
        both = np.concatenate([faces[:, ::-1], faces + len(uv)]).astype(np.int64)
        material = Material("image", (1.0, 1.0, 1.0), roughness=0.8, image=self.image)
        place = np.concatenate([uv, np.zeros_like(uv)])  # the back shows the white edge's corner
        return Drawable(points @ rotation.T + translation, normals @ rotation.T, both, material, instance, uv=place)


def checkerboard(columns: int, rows: int, square_m: float) -> RenderedBoard:
    """Return a checkerboard with an edge as wide as a square.

    `square_m`: side of a square, metres.
    """
    dark = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0
    inner = np.kron(np.where(dark, 0, 255).astype(np.uint8), np.ones((_SQUARE_PX, _SQUARE_PX), np.uint8))
    return _board(inner, columns, rows, square_m)


def charuco_board(
    columns: int, rows: int, square_m: float, marker_m: float, dictionary: int = cv2.aruco.DICT_5X5_100
) -> RenderedBoard:
    """Return a checkerboard with a marker in each white square, of which a part identifies its corners.

    `square_m`: side of a square, metres; `marker_m`: side of a marker, metres; `dictionary`: marker dictionary of
    `cv2.aruco`.
    """
    if not 0 < marker_m < square_m:
        raise InputError(f"markers of {marker_m} m do not fit squares of {square_m} m; make them smaller")
    markers = cv2.aruco.getPredefinedDictionary(dictionary)
    if columns * rows // 2 > len(markers.bytesList):
        raise InputError(f"{columns} x {rows} squares require {columns * rows // 2} markers; the dictionary has fewer")
    board = cv2.aruco.CharucoBoard((columns, rows), square_m, marker_m, markers)
    inner = board.generateImage((columns * _SQUARE_PX, rows * _SQUARE_PX))
    return _board(np.asarray(inner, np.uint8), columns, rows, square_m)


def _board(inner: NDArray[np.uint8], columns: int, rows: int, square_m: float) -> RenderedBoard:
    """Return a print with its edge."""
    if columns < 3 or rows < 3 or not square_m > 0:
        raise InputError(f"a board of {columns} x {rows} squares of {square_m} m: take 3 x 3 or more, above 0 m")
    grey = np.pad(inner, _SQUARE_PX, constant_values=255)
    ink = np.where(grey > 127, _WHITE, _BLACK).astype(np.uint8)
    x, y = np.meshgrid(np.arange(1, columns), np.arange(1, rows))
    corners = np.stack([x + 1, y + 1, np.zeros_like(x)], -1).reshape(-1, 3) * square_m
    size = ((columns + 2) * square_m, (rows + 2) * square_m)
    return RenderedBoard(np.repeat(ink[..., None], 3, axis=-1), size, corners.astype(np.float64))
