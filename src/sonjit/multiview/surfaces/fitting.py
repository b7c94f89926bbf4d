"""The rigged hand or MANO laid into a recording's joints: vertices and parameters, in the world.

Source of the way that fits MANO: Moon et al. 2022, NeuralAnnot, whose fits of InterHand2.6M have the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sonjit.arrays import Float32Array, FloatArray, IndexArray, IntArray
from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.hand_models.rig import RigMotion, Side
from sonjit.multiview.triangulation.exports import WholeHand, hand_motions, whole_hands
from sonjit.multiview.triangulation.people import PeopleInSpace

_AT_ONCE: Final = 256
"""Frame sets whose vertices are made at once."""


@dataclass(frozen=True, eq=False)
class HandSurface:
    """One hand's surface in N frame sets.

    Attributes:
        name: of the hand in files, such as "right" or "person2-left".
        side: whose hand it is.
        frames: (N,) numbers of the frame sets.
        vertices_m: (N, V, 3) in the world.
        faces: (F, 3) indices, counterclockwise from outside.
        parameters: by name. Of the rigged hand: rotation_xyzw (N, 4), wrist_m (N, 3), angles_rad (N, 5, 3, 3) as
            `RigPose` has them, and bones_m (20,). Of MANO: pose (N, 48), axis-angles in radians, the fingers' counted
            from its mean pose; shape (10,); trans (N, 3) metres.
        error_m: (N,) mean distance of its joints from those that it was fitted to.
    """

    name: str
    side: Side
    frames: IndexArray
    vertices_m: Float32Array
    faces: IntArray
    parameters: Mapping[str, FloatArray]
    error_m: FloatArray


def fit_surfaces(people: PeopleInSpace, mano: Mapping[Side, Path] | None = None) -> list[HandSurface]:
    """The surface of every hand, in the frame sets of which all its joints are known.

    Args:
        people: over a recording; a person's bones, or MANO's shape, are the same throughout.
        mano: MANO_RIGHT.pkl and MANO_LEFT.pkl of the user's own; by default the rigged hand is fitted.

    Raises:
        InputError: no hand is whole, the rigs are not here, or MANO's file of a side is missing or wrong.
    """
    if not mano:
        pairs = zip(whole_hands(people), hand_motions(people), strict=True)
        return [_surface_of(hand, motion) for hand, motion in pairs]
    return list(_mano_surfaces(people, mano))


def _surface_of(hand: WholeHand, motion: RigMotion) -> HandSurface:
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
    return HandSurface(hand.name, hand.side, hand.frames, vertices, rig.faces, parameters, error)


def _mano_surfaces(people: PeopleInSpace, mano: Mapping[Side, Path]) -> Iterator[HandSurface]:
    hands = whole_hands(people)
    for side in sorted({hand.side for hand in hands} - set(mano)):
        raise InputError(f"there are {side.lower()} hands: give MANO_{side.upper()}.pkl too")
    from sonjit.hand_models.mano import load_mano
    from sonjit.multiview.surfaces.mano_fit import fit_mano, mano_points

    models = {side: load_mano(path, "right" if side == "Right" else "left") for side, path in mano.items()}
    for hand in hands:
        model = models[hand.side].double()
        fit = fit_mano(model, hand.points_m)
        parts = [
            mano_points(model, fit.pose[k : k + _AT_ONCE], fit.shape, fit.trans_m[k : k + _AT_ONCE])
            for k in range(0, len(fit.pose), _AT_ONCE)
        ]
        vertices, joints = (np.concatenate(one) for one in zip(*parts, strict=True))
        error = np.linalg.norm(joints - hand.points_m, axis=-1).mean(-1)
        yield HandSurface(
            hand.name, hand.side, hand.frames, vertices.astype(np.float32), model.faces.numpy().astype(np.int64),
            {"pose": fit.pose, "shape": fit.shape, "trans": fit.trans_m}, error,
        )  # fmt: skip


def save_surfaces(path: Path, surfaces: Sequence[HandSurface]) -> None:
    """Write `NAME_frames`, `NAME_vertices_m` (float32), `NAME_faces`, `NAME_error_m` and the parameters, as `.npz`.

    Raises:
        InputError: another ending, or a folder that cannot be written to.
    """
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: surfaces are saved as .npz")
    arrays = {
        f"{one.name}_{name}": value
        for one in surfaces
        for name, value in {
            "frames": one.frames, "vertices_m": one.vertices_m, "faces": one.faces, "error_m": one.error_m,
            **one.parameters,
        }.items()
    }  # fmt: skip
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  # a keyword of its own besides
