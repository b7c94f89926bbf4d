"""Convert cameras, lights and materials into the uniforms of the shaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray
from sonjit.lab.synthesis.render.drawable import lens_edge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.lab.synthesis.render.drawable import Lighting, Material
_AMOUNTS: Final = ("pores", "creases", "nails", "veins", "freckles", "tattoo")


def camera_pose(camera: CalibratedCamera) -> tuple[FloatArray, FloatArray]:
    """Return R (3, 3) and t (3,) of a camera; a camera without a pose is at the world's origin."""
    R = np.eye(3) if camera.R is None else camera.R
    t = np.zeros(3) if camera.t is None else camera.t
    return R, t


def camera_uniforms(
    camera: CalibratedCamera, samples: tuple[int, int], depths: tuple[float, float]
) -> Mapping[str, object]:
    """Return the uniforms of the projection.

    Args:
        camera: Camera with intrinsics in pixels.
        samples: Columns and rows of samples: one in the middle of each pixel, one between, one at each edge.
        depths: Depths of the near and the far plane, metres.
    """
    R, t = camera_pose(camera)
    K = camera.K * np.array([[2], [2], [1]]) + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return {
        "R": columns(R),
        "t": tuple(t),
        "K": columns(K),
        "samples": samples,
        "near_far": depths,
        "lens": tuple(np.zeros(5) if camera.distortion is None else camera.distortion),
        "lens_edge": 0.0 if camera.distortion is None else lens_edge(camera.distortion),
    }


def light_uniforms(lighting: Lighting, camera: CalibratedCamera, light_view: FloatArray | None) -> Mapping[str, object]:
    """Return the uniforms of the light in the camera's frame.

    Args:
        lighting: Light in the world.
        camera: Camera of the image.
        light_view: Matrix (4, 4) from the world to the shadow map; None without shadows.
    """
    R, t = camera_pose(camera)
    directions, colours = np.zeros((4, 3)), np.zeros((4, 3))
    for index, light in enumerate(lighting.lights):
        directions[index], colours[index] = R @ np.array(light.direction), light.colour
    back = np.eye(4)
    back[:3, :3], back[:3, 3] = R.T, -R.T @ t
    return {
        "light_count": len(lighting.lights),
        "light_directions": [tuple(each) for each in directions],
        "light_colours": [tuple(each) for each in colours],
        "ambient": lighting.ambient,
        "up": tuple(-R[:, 1]),
        "shadows": light_view is not None,
        "light_view": columns(back if light_view is None else light_view @ back),
    }


def material_uniforms(material: Material) -> Mapping[str, object]:
    """Return the uniforms of a material."""
    return {
        **{name: material.amounts.get(name, 0.0) for name in _AMOUNTS},
        "albedo": material.albedo,
        "roughness": material.roughness,
        "variant": material.variant,
        "seed": material.seed,
    }


def columns(matrix: RealArray) -> tuple[float, ...]:
    """Return a matrix column by column, as OpenGL stores it."""
    return tuple(matrix.T.reshape(-1).tolist())
