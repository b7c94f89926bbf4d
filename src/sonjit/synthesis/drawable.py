"""What the renderer takes and what it gives: meshes with their surfaces in, buffers out.

World and camera frames: x right, y down, z forward, metres. Colours are linear RGB, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Surface = Literal["skin", "cloth", "rubber", "metal", "plastic", "wood", "image"]
"""What a mesh is made of; `image` takes its colours from a picture by `Drawable.uv`."""

NO_PART = 255
"""In `Buffers.parts` and `Drawable.parts`: nothing that has parts."""


@dataclass(frozen=True)
class Material:
    """A surface.

    Attributes:
        surface: what it is made of.
        albedo: linear RGB of its plain colour.
        roughness: 0 a mirror, 1 chalk.
        variant: which pattern of its kind, from 0.
        seed: shifts every pattern.
        amounts: strength by name, 0 to 1; for skin `pores`, `creases`, `nails`, `veins`, `freckles`, `tattoo`. A name
            that is not there is 0.
        image: (H, W, 3) uint8 RGB for `image`.
    """

    surface: Surface
    albedo: tuple[float, float, float]
    roughness: float = 0.6
    variant: int = 0
    seed: float = 0.0
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Drawable:
    """A mesh where it stands.

    Attributes:
        vertices: (V, 3) metres in the world.
        normals: (V, 3) unit.
        faces: (F, 3) indices, counterclockwise from outside.
        material: its surface.
        instance: 1 to 250, what it belongs to: each hand has its own, as has each object. Sleeves, gloves and rings
            have their own too, see `Scene`.
        rest: (V, 3) metres where each vertex lies on the body at rest: patterns hang on it and move with the skin.
            None: the vertices themselves.
        parts: (V,) which joint (0 to 24, `hand_models.rig.JOINTS`) moves each vertex most; None where it has none.
        marks: (V, 4) 0 to 1: how much of a vertex is nail, crease, palm side, back of the hand; None where it has none.
        uv: (V, 2) place in `Material.image`, from its upper left corner; None without.
    """

    vertices: NDArray[np.float64]
    normals: NDArray[np.float64]
    faces: NDArray[np.int64]
    material: Material
    instance: int
    rest: NDArray[np.float64] | None = None
    parts: NDArray[np.uint8] | None = None
    marks: NDArray[np.float32] | None = None
    uv: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Light:
    """A light far away, or a lamp.

    Attributes:
        direction: unit vector in the world from the surface towards the light.
        colour: linear RGB times its strength.
        shadows: it casts them.
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    shadows: bool = False


@dataclass(frozen=True)
class Lighting:
    """All light in a scene.

    Attributes:
        lights: at most 4, of which the first may cast shadows.
        ambient: linear RGB from everywhere.
    """

    lights: tuple[Light, ...]
    ambient: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Buffers:
    """What one camera sees.

    Attributes:
        rgb: (H, W, 3) uint8 RGB in sRGB, smooth at edges, the background behind.
        cover: (H, W) float32, how much of each pixel is no background, 0 to 1.
        depth: (H, W) float32 metres along the camera's z; 0 where there is nothing.
        normals: (H, W, 3) float32 in the camera's frame; 0 where there is nothing.
        instances: (H, W) uint8 `Drawable.instance` at the pixel's centre; 0 background.
        parts: (H, W) uint8 joint whose skin is there; `NO_PART` elsewhere.
    """

    rgb: NDArray[np.uint8]
    cover: NDArray[np.float32]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    instances: NDArray[np.uint8]
    parts: NDArray[np.uint8]
