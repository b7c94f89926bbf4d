"""Fit the rigged hand or MANO to a recording's joints, and draw the surfaces over the views.

A fit gives vertices and parameters in the world. MANO's fit follows Moon et al. 2022, NeuralAnnot, whose fits of
InterHand2.6M have the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.arrays import Float32Array, FloatArray, Image, IndexArray, IntArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.lab.hand_models.rig import RigMotion, Side
from sonjit.media import open_source
from sonjit.media.annotated import open_drawing_writer
from sonjit.media.drawing.instances import draw_mesh
from sonjit.media.drawing.strokes import LEFT, RIGHT
from sonjit.studio.cameras.rig import RigCamera
from sonjit.studio.cameras.views import frame_numbers
from sonjit.studio.triangulation.exports import CompleteHand, complete_hands, hand_motions
from sonjit.studio.triangulation.people import PeopleInSpace

_BATCH_SIZE: Final = 256
"""Number of frame sets per batch."""


@dataclass(frozen=True, eq=False)
class HandSurface:
    """One hand's surface in N frame sets.

    Attributes:
        name: Name of the hand in files, such as "right" or "person2-left".
        side: Side of the hand.
        frames: (N,) numbers of the frame sets.
        vertices_m: (N, V, 3) vertices in the world.
        faces: (F, 3) indices, counterclockwise from outside.
        parameters: Parameters by name. The rigged hand has rotation_xyzw (N, 4), wrist_m (N, 3), angles_rad (N, 5, 3,
            3) as in `RigPose`, and bones_m (20,). MANO has pose (N, 48), axis-angles in radians relative to its mean
            pose; shape (10,); trans (N, 3) metres.
        error_m: (N,) mean distance of its joints from the given ones.
    """

    name: str
    side: Side
    frames: IndexArray
    vertices_m: Float32Array
    faces: IntArray
    parameters: Mapping[str, FloatArray]
    error_m: FloatArray


def fit_surfaces(people: PeopleInSpace, mano: Mapping[Side, Path] | None = None) -> list[HandSurface]:
    """Fit the surface of every hand in the frame sets in which all its joints are known.

    Args:
        people: People over a recording. A person's bones, or MANO's shape, are constant.
        mano: The user's MANO_RIGHT.pkl and MANO_LEFT.pkl. By default the rigged hand is fitted.
    """
    if not mano:
        pairs = zip(complete_hands(people), hand_motions(people), strict=True)
        return [_surface_of(hand, motion) for hand, motion in pairs]
    return list(_mano_surfaces(people, mano))


def _surface_of(hand: CompleteHand, motion: RigMotion) -> HandSurface:
    """Return the surface of a fitted rigged hand."""
    pose, rig = motion.pose, motion.rig
    vertices = np.empty((len(pose), *rig.vertices.shape), np.float32)
    for row in range(len(pose)):
        vertices[row] = rig.points(pose[row])[0]
    parameters = {
        "rotation_xyzw": np.roll([quaternion_wxyz_from_matrix(turn) for turn in pose.rotation], -1, axis=1),
        "wrist_m": pose.translation,
        "angles_rad": pose.angles,
        "bones_m": rig.lengths,
    }
    error = np.linalg.norm(rig.keypoints(pose) - hand.points_m, axis=-1).mean(-1)
    return HandSurface(
        name=hand.name,
        side=hand.side,
        frames=hand.frames,
        vertices_m=vertices,
        faces=rig.faces,
        parameters=parameters,
        error_m=error,
    )


def _mano_surfaces(people: PeopleInSpace, mano: Mapping[Side, Path]) -> Iterator[HandSurface]:
    """Iterate over the fitted surfaces of MANO."""
    hands = complete_hands(people)
    for side in sorted({hand.side for hand in hands} - set(mano)):
        raise InputError(f"{side.lower()} hands require MANO_{side.upper()}.pkl")
    from sonjit.lab.hand_models.mano import load_mano
    from sonjit.studio.surfaces.mano_fit import fit_mano, mano_points

    models = {side: load_mano(path, "right" if side == "Right" else "left") for side, path in mano.items()}
    for hand in hands:
        model = models[hand.side].double()
        pose, shape, trans_m = fit_mano(model, hand.points_m)
        parts = [
            mano_points(model, pose[k : k + _BATCH_SIZE], shape, trans_m[k : k + _BATCH_SIZE])
            for k in range(0, len(pose), _BATCH_SIZE)
        ]
        vertices, joints = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        error = np.linalg.norm(joints - hand.points_m, axis=-1).mean(-1)
        yield HandSurface(
            name=hand.name,
            side=hand.side,
            frames=hand.frames,
            vertices_m=vertices.astype(np.float32),
            faces=model.faces.numpy().astype(np.int64),
            parameters={"pose": pose, "shape": shape, "trans": trans_m},
            error_m=error,
        )


def save_surfaces(path: Path, surfaces: Sequence[HandSurface]) -> None:
    """Write `NAME_frames`, `NAME_vertices_m` (float32), `NAME_faces`, `NAME_error_m` and the parameters, as `.npz`."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: surfaces are saved as .npz")
    arrays = {
        f"{surface.name}_{name}": value
        for surface in surfaces
        for name, value in {
            "frames": surface.frames, "vertices_m": surface.vertices_m, "faces": surface.faces,
            "error_m": surface.error_m,
            **surface.parameters,
        }.items()
    }  # fmt: skip
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  # NumPy also has a keyword argument


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
