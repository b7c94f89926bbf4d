"""Fit the rigged hand or MANO to a recording's joints, and draw the surfaces over the views.

A fit gives vertices and parameters in the world. MANO's fit follows Moon et al. 2022, NeuralAnnot, whose fits of
InterHand2.6M have the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, IndexArray, InputError, IntArray, files
from sonjit.geometry.rotations import align_rigidly, quaternion_wxyz_from_matrix
from sonjit.media import open_source
from sonjit.media.annotated import open_drawing_writer
from sonjit.media.drawing.strokes import LEFT, RIGHT
from sonjit_lab.hand_models import drawing, mano_files
from sonjit_lab.hand_models.rig import Side
from sonjit_studio import exports, views
from sonjit_studio.people import PeopleInSpace
from sonjit_studio.rig import RigCamera

if TYPE_CHECKING:
    from sonjit_lab.hand_models.mano import Mano

_PALM_JOINTS: Final = [0, 1, 5, 9, 13, 17]
_POSE_SIZE: Final = 3 * mano_files.JOINTS
_TRANSLATION: Final = slice(_POSE_SIZE, _POSE_SIZE + 3)
_SHAPE_SIZE: Final = 10
_JOINT_STD_M: Final = 0.002  # standard deviation of joints
_POSE_STD_RAD: Final = 0.8  # standard deviation of a joint's rotation from MANO's mean pose
_TWIST_STD_RAD: Final = 0.1  # standard deviation about its own bone, which joints do not determine
_SHAPE_FRAMES: Final = 32  # frame sets that determine the shape
_FITTED_BATCH: Final = 32
_GAUSS_NEWTON_STEPS: Final = 12
_MAX_STEP: Final = 0.5  # radians, metres, or units of shape
_DIFFERENCE: Final = 1e-6  # step of numerical derivatives
_BATCH_SIZE: Final = 256  # number of frame sets per batch


def fit_mano(mano: Mano, points_m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit MANO to joints (N, 21, 3) in metres, each frame independently, with one shape.

    Gauss-Newton steps minimise distances of joints, rotations from the mean pose, particularly about a bone, and the
    shape's distance. Return pose (N, 48) as axis-angles from the mean pose, shape (10,) and translation (N, 3).
    """
    rows = np.unique(np.linspace(0, len(points_m) - 1, min(_SHAPE_FRAMES, len(points_m))).round().astype(int))
    values, shape = _initial_values(mano, points_m), np.zeros(_SHAPE_SIZE)
    _, shape = _optimize(mano, points_m[rows], values[rows], shape, shaping=True)
    for first in range(0, len(values), _FITTED_BATCH):
        part = slice(first, first + _FITTED_BATCH)
        values[part] = _optimize(mano, points_m[part], values[part], shape, shaping=False)[0]
    return values[:, :_POSE_SIZE], shape, values[:, _TRANSLATION]


def mano_points(mano: Mano, pose: FloatArray, shape: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return vertices (N, 778, 3) and joints (N, 21, 3), in metres, of MANO's parameters.

    Poses (N, 48) are axis-angles in radians, the shape is (10,), and translations (N, 3) are in metres.
    """
    import torch

    arrays = pose, np.broadcast_to(shape, (len(pose), _SHAPE_SIZE)), trans_m
    with torch.no_grad():
        result = mano(*(torch.tensor(np.ascontiguousarray(array)) for array in arrays), flat_hand_mean=False)
    return result[0].numpy(), result[1].numpy()


def _initial_values(mano: Mano, points_m: FloatArray) -> FloatArray:
    """Return pose and translation (N, 51) of the mean hand, its palm aligned to the joints'."""
    import torch

    from sonjit_lab.hand_models.mano import axis_angle_from_matrix

    count = len(points_m)
    (rest_joints,) = mano_points(mano, np.zeros((1, _POSE_SIZE)), np.zeros(_SHAPE_SIZE), np.zeros((1, 3)))[1]
    palm = np.broadcast_to(rest_joints[_PALM_JOINTS], (count, len(_PALM_JOINTS), 3))
    rotation, _ = align_rigidly(palm, points_m[:, _PALM_JOINTS])
    values = np.zeros((count, _TRANSLATION.stop))
    values[:, :3] = axis_angle_from_matrix(torch.tensor(np.ascontiguousarray(rotation))).numpy()
    values[:, _TRANSLATION] = points_m[:, 0] - rest_joints[0]
    return values


def _optimize(
    mano: Mano, points_m: FloatArray, values: FloatArray, shape: FloatArray, *, shaping: bool
) -> tuple[FloatArray, FloatArray]:
    """Improve poses and translations (N, 51) for joints (N, 21, 3), and the common shape (10,) if it is `shaping`."""
    prior = np.zeros((_TRANSLATION.stop, _TRANSLATION.stop))
    for joint, bone in enumerate(_bone_directions(mano), 1):
        rows = slice(3 * joint, 3 * joint + 3)
        prior[rows, rows] = np.eye(3) / _POSE_STD_RAD**2 + np.outer(bone, bone) / _TWIST_STD_RAD**2
    for _ in range(_GAUSS_NEWTON_STEPS):
        joints, slopes = _joints_and_jacobian(mano, values, shape, shaping=shaping)
        residual = (points_m - joints).reshape(len(points_m), -1, 1) / _JOINT_STD_M  # (N, 63, 1)
        transposed = np.swapaxes(slopes, 1, 2) / _JOINT_STD_M  # (N, 51 or 61, 63)
        normal_matrix, gradient = transposed @ np.swapaxes(transposed, 1, 2), (transposed @ residual)[..., 0]
        pose = normal_matrix[:, : _TRANSLATION.stop, : _TRANSLATION.stop] + prior + 1e-6 * np.eye(_TRANSLATION.stop)
        pose_gradient = gradient[:, : _TRANSLATION.stop] - values @ prior
        shape_step = np.zeros(_SHAPE_SIZE)
        if shaping:  # solve the shape first, with the poses eliminated
            coupling = normal_matrix[:, : _TRANSLATION.stop, _TRANSLATION.stop :]  # (N, 51, 10)
            solved = np.linalg.solve(pose, np.concatenate([coupling, pose_gradient[..., None]], 2))
            eliminated = np.swapaxes(coupling, 1, 2) @ solved
            reduced = normal_matrix[:, _TRANSLATION.stop :, _TRANSLATION.stop :].sum(0) + np.eye(_SHAPE_SIZE)
            pull = gradient[:, _TRANSLATION.stop :].sum(0) - shape - eliminated[..., -1].sum(0)
            shape_step = np.linalg.solve(reduced - eliminated[..., :-1].sum(0), pull)
            shape_step = np.clip(shape_step, -_MAX_STEP, _MAX_STEP)
            pose_gradient = pose_gradient - coupling @ shape_step
        step = np.linalg.solve(pose, pose_gradient[..., None])[..., 0]
        values, shape = values + np.clip(step, -_MAX_STEP, _MAX_STEP), shape + shape_step
    return values, shape


def _joints_and_jacobian(
    mano: Mano, values: FloatArray, shape: FloatArray, *, shaping: bool
) -> tuple[FloatArray, FloatArray]:
    """Return joints (N, 21, 3) and their derivatives (N, 63, 51 or 61) by pose, translation and shape."""
    parameters = np.concatenate([values, np.broadcast_to(shape, (len(values), _SHAPE_SIZE))], 1)
    size = parameters.shape[1]
    perturbed = parameters[:, None] + np.concatenate([np.zeros((1, size)), _DIFFERENCE * np.eye(size)])
    perturbed = perturbed[:, : 1 + (size if shaping else _TRANSLATION.stop)]  # (N, 1 + P, 61)
    flat = perturbed.reshape(-1, size)
    joints = mano_points(mano, flat[:, :_POSE_SIZE], flat[:, _TRANSLATION.stop :], flat[:, _TRANSLATION])[1]
    joints = joints.reshape(len(values), perturbed.shape[1], -1)
    jacobian = np.swapaxes(joints[:, 1:] - joints[:, :1], 1, 2) / _DIFFERENCE
    return joints[:, 0].reshape(-1, 21, 3), jacobian


def _bone_directions(mano: Mano) -> FloatArray:
    """Return unit vectors (15, 3) along the bones that MANO's joints except the wrist rotate, in the flat hand."""
    import torch

    with torch.no_grad():
        (flat,) = mano(torch.zeros(1, _POSE_SIZE, dtype=torch.float64))[1].numpy()
    mediapipe_index = np.array([mano_files.TO_MEDIAPIPE21.index(joint) for joint in range(1, mano_files.JOINTS)])
    bones = flat[mediapipe_index + 1] - flat[mediapipe_index]
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False)
class HandSurface:
    """One hand's surface in N frame sets."""

    name: str  # name of the hand in files, such as "right" or "person2-left"
    side: Side
    frames: IndexArray  # (N,) numbers of the frame sets
    vertices_m: Float32Array  # (N, V, 3) vertices in the world
    faces: IntArray  # (F, 3) indices, counterclockwise from outside
    # parameters by name. The rigged hand has rotation_xyzw (N, 4), wrist_m (N, 3), angles_rad (N, 5, 3, 3) as in
    # `RigPose`, and bones_m (20,). MANO has pose (N, 48), axis-angles in radians relative to its mean pose; shape
    # (10,); trans (N, 3) metres.
    parameters: Mapping[str, FloatArray]
    error_m: FloatArray  # (N,) mean distance of its joints from the given ones


def fit_surfaces(people: PeopleInSpace, mano: Mapping[Side, Path] | None = None) -> list[HandSurface]:
    """Fit the rigged hand, or MANO with the user's files, to every hand with all joints known.

    A person's bones, or MANO's shape, are constant.
    """
    if mano:
        return list(_mano_surfaces(people, mano))
    surfaces: list[HandSurface] = []
    for hand, motion in zip(exports.complete_hands(people), exports.hand_motions(people), strict=True):
        pose, rig = motion.pose, motion.rig
        parameters = {
            "rotation_xyzw": np.roll([quaternion_wxyz_from_matrix(turn) for turn in pose.rotation], -1, axis=1),
            "wrist_m": pose.translation,
            "angles_rad": pose.angles,
            "bones_m": rig.lengths,
        }
        vertices = np.stack([rig.points(pose[row])[0].astype(np.float32) for row in range(len(pose))])
        error = np.linalg.norm(rig.keypoints(pose) - hand.points_m, axis=-1).mean(-1)
        surfaces.append(HandSurface(hand.name, hand.side, hand.frames, vertices, rig.faces, parameters, error))
    return surfaces


def _mano_surfaces(people: PeopleInSpace, mano: Mapping[Side, Path]) -> Iterator[HandSurface]:
    hands = exports.complete_hands(people)
    for side in sorted({hand.side for hand in hands} - set(mano)):
        raise InputError(f"{side.lower()} hands require MANO_{side.upper()}.pkl")
    from sonjit_lab.hand_models.mano import load_mano

    models = {side: load_mano(path, "right" if side == "Right" else "left") for side, path in mano.items()}
    for hand in hands:
        model = models[hand.side].in_convention("corrected").double()  # as InterHand2.6M's labels
        pose, shape, trans_m = fit_mano(model, hand.points_m)
        batches = [np.s_[k : k + _BATCH_SIZE] for k in range(0, len(pose), _BATCH_SIZE)]
        fitted = [mano_points(model, pose[part], shape, trans_m[part]) for part in batches]
        vertices, joints = (np.concatenate(arrays) for arrays in zip(*fitted, strict=True))
        error = np.linalg.norm(joints - hand.points_m, axis=-1).mean(-1)
        parameters = {"pose": pose, "shape": shape, "trans": trans_m}
        vertices, faces = vertices.astype(np.float32), model.faces.numpy().astype(np.int64)
        yield HandSurface(hand.name, hand.side, hand.frames, vertices, faces, parameters, error)


def save_surfaces(path: Path, surfaces: Sequence[HandSurface]) -> None:
    """Write `NAME_frames`, `NAME_vertices_m` (float32), `NAME_faces`, `NAME_error_m` and the parameters, as `.npz`."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: surfaces are saved as .npz")
    names = ("frames", "vertices_m", "faces", "error_m")
    arrays = {
        f"{surface.name}_{name}": value
        for surface in surfaces
        for name, value in [*((name, getattr(surface, name)) for name in names), *surface.parameters.items()]
    }
    with files.atomic_file(path) as draft, draft.open("wb") as file:
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
        drawing.draw_mesh(canvas, shown, surface.faces, RIGHT if surface.side == "Right" else LEFT)
    return canvas


def draw_over_view(
    surfaces: Sequence[HandSurface],
    camera: RigCamera,
    view: Path,
    folder: Path,
    frame_sets: Mapping[int, int] | None = None,
) -> Path:
    """Draw the surfaces over one camera's images, as `CAMERA.mp4` or a folder `CAMERA`, and return its path.

    `view` is a video, folder or pattern. `frame_sets` maps images to frame sets, if their numbers differ.
    """
    with open_source(view) as source:
        numbers = views.frame_numbers(source.files) if source.kind == "folder" else None
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
