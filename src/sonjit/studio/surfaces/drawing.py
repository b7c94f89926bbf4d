"""Draw hand surfaces over the images of the cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit.media import open_source
from sonjit.media.annotated.output import open_drawing_writer
from sonjit.media.drawing.meshes import draw_mesh
from sonjit.media.drawing.strokes import LEFT, RIGHT
from sonjit.studio.cameras.rig import RigCamera
from sonjit.studio.cameras.views import frame_numbers
from sonjit.studio.surfaces.fitting import HandSurface


def draw_surfaces(surfaces: Sequence[HandSurface], camera: RigCamera, frame: int, rgb: Image) -> Image:
    """Return an image (H, W, 3) with the surfaces of one frame set over it, far ones first; right blue, left warm."""
    canvas = rgb.copy()
    visible: list[tuple[float, HandSurface, np.ndarray]] = []
    for surface in surfaces:
        for row in np.flatnonzero(surface.frames == frame).tolist():
            vertices = surface.vertices_m[row].astype(np.float64)
            depth = camera.camera.from_world(vertices)[:, 2:]
            shown = np.concatenate([camera.project(vertices), depth * camera.camera.K[0, 0] / depth.mean()], 1)
            if np.isfinite(shown).all():  # skip surfaces that are partly behind the camera
                visible.append((float(depth.mean()), surface, shown))
    for _, surface, shown in sorted(visible, key=lambda entry: -entry[0]):
        draw_mesh(canvas, shown, surface.faces, RIGHT if surface.side == "Right" else LEFT)
    return canvas


def draw_over_view(
    surfaces: Sequence[HandSurface],
    camera: RigCamera,
    view: Path,
    folder: Path,
    frame_sets: Mapping[int, int] | None = None,
) -> Path:
    """Draw the surfaces over all images of one camera, as `CAMERA.mp4` or a folder `CAMERA`, and return its path.

    Args:
        surfaces: Fitted surfaces.
        camera: Camera of the images.
        view: Video, or folder or pattern of images.
        folder: Folder to write to.
        frame_sets: Number of the frame set by the number of the image. By default they are equal.

    Raises:
        InputError: The images cannot be read, or differ in size from the camera's.
    """
    with open_source(view) as source:
        numbers = frame_numbers(source.files) if source.kind == "folder" else None
        out = folder / (camera.name if numbers else f"{camera.name}.mp4")
        with open_drawing_writer(out, source) as writer:
            for frame in source:
                height, width = frame.rgb.shape[:2]
                if (width, height) != (camera.width, camera.height):
                    raise InputError(
                        f"{view}: images of {width} x {height} pixels; camera {camera.name!r} has {camera.width} x "
                        f"{camera.height}"
                    )
                number = frame.index if numbers is None else numbers[frame.index]
                number = number if frame_sets is None else frame_sets.get(number, -1)
                drawn = draw_surfaces(surfaces, camera, number, frame.rgb)
                writer.write(drawn, frame.time, index=frame.index, under=frame)
    return out
