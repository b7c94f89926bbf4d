"""MANO as a differentiable layer: a hand's mesh and joints from pose and shape.

Source: Romero, Tzionas and Black 2017, Embodied Hands; linear blend skinning as in Loper et al. 2015, SMPL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.lab.hand_models.mano_files import JOINTS, LAYOUTS, PARENTS, TO_MEDIAPIPE21, VERTICES, read_mano

with optional_import("MANO"):
    import torch
    from torch import Tensor, nn

    from sonjit.lab.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle

Side = Literal["right", "left"]
SIDES: Final = ("right", "left")
_LEVELS: Final = ((0,), (1, 4, 7, 10, 13), (2, 5, 8, 11, 14), (3, 6, 9, 12, 15))
"""Joints by their depth in the tree: the parents of each level are in the level before."""
_BY_ID: Final = tuple(np.argsort([joint for level in _LEVELS for joint in level]).tolist())
_CHUNK: Final = 64  # number of hands whose mixed transforms fit a processor's cache
_POSE: Final = 3 * JOINTS
_MAX_DIFFERENCE: Final = 1e-5
"""Maximum difference of fields of the same model: metres, or blend weights."""


class PosedHand(NamedTuple):
    """Vertices, joints and joint frames of posed hands; metres."""

    vertices: Tensor  # (N, 778, 3)
    joints: Tensor  # (N, 21, 3) in MediaPipe-21 order
    transforms: Tensor  # (N, 16, 4, 4) from each joint's frame to the hand's, in MANO's order


class Mano(nn.Module):
    """MANO as a layer.

    MANO's fields are not part of a state_dict, because the licence forbids redistributing them with trained weights.

    Args:
        fields: MANO's fields, checked by `read_mano`.
        side: Side of the hand, which is not in the files.
        dtype: Floating point type. Default: torch's default type.
    """

    template: Tensor
    joint_regressor: Tensor
    joints_of_template: Tensor
    blend_shapes: Tensor
    joint_shapes: Tensor
    skinning: Tensor
    components: Tensor
    mean_pose: Tensor
    faces: Tensor

    def __init__(self, fields: Mapping[str, np.ndarray], side: Side, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        dtype = dtype or torch.get_default_dtype()
        self.side: Side = side
        shapes, regressor = fields["shapedirs"], fields["J_regressor"]
        corrections = np.concatenate([shapes, fields["posedirs"]], 2)  # (778, 3, 145)
        buffers = {
            "template": fields["v_template"].T.reshape(-1),  # (3 * 778,): all x, all y, all z
            "joint_regressor": regressor,
            "joints_of_template": regressor @ fields["v_template"],  # (16, 3)
            "blend_shapes": corrections.transpose(2, 1, 0).reshape(-1, 3 * VERTICES),  # (145, 3 * 778)
            "joint_shapes": np.einsum("jv,vkb->bjk", regressor, shapes).reshape(shapes.shape[2], -1),  # (10, 16 * 3)
            "skinning": fields["weights"],
            "components": fields["hands_components"],
            "mean_pose": fields["hands_mean"],
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.tensor(value, dtype=dtype), persistent=False)
        self.register_buffer("faces", torch.tensor(fields["f"]), persistent=False)

    def forward(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        translation: Tensor | None = None,
        *,
        flat_hand_mean: bool = True,
        tips: str = "handoccnet",
        pca: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return vertices (N, 778, 3) and joints (N, 21, 3) in MediaPipe-21 order, in metres; see `posed`."""
        return self.posed(pose, betas, translation, flat_hand_mean=flat_hand_mean, tips=tips, pca=pca)[:2]

    def posed(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        translation: Tensor | None = None,
        *,
        flat_hand_mean: bool = True,
        tips: str = "handoccnet",
        pca: bool = False,
    ) -> PosedHand:
        """Return the mesh of each pose, its joints and their frames.

        Args:
            pose: Rotations of the wrist and 15 joints in MANO's order: axis-angles in radians (N, 48); six numbers each
                (N, 96); or, with `pca`, the wrist's axis-angle and up to 45 coefficients (N, 3 + K).
            betas: (N, 10) shape parameters; None for the mean hand.
            translation: (N, 3) metres, added to vertices and joints.
            flat_hand_mean: True if the zero pose is the flat hand. Otherwise the mean pose is added to the fingers'
                axis-angles, as numbers and not composed as rotations, because the published networks were trained so.
            tips: Layout of the tips: `handoccnet`, `deformer_ho3d` or `deformer_dexycb`, see `LAYOUTS`.
            pca: True if the fingers' numbers are coefficients of MANO's principal components.

        Raises:
            InputError: Shapes do not match, or the layout is unknown.
        """
        layout = LAYOUTS.get(tips)
        if layout is None:
            raise InputError(f"Unknown tips {tips!r}. Choose from {', '.join(LAYOUTS)}")
        rotations = self._rotations(pose, flat_hand_mean, pca)  # (N, 16, 3, 3)
        count = rotations.shape[0]
        if betas is None:
            betas = pose.new_zeros(count, self.joint_shapes.shape[0])
        _check("betas", betas, (count, self.joint_shapes.shape[0]))

        bent = rotations[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)
        coefficients = torch.cat([betas, bent.flatten(1)], 1)  # (N, 145)
        vertices = torch.addmm(self.template, coefficients, self.blend_shapes).unflatten(1, (3, VERTICES))
        joints = torch.addmm(self.joints_of_template.flatten(), betas, self.joint_shapes).unflatten(1, (JOINTS, 3))
        turned, positions = _chain(rotations, joints)  # (N, 16, 3, 3), (N, 16, 3)
        shifts = positions - (turned @ joints[..., None]).squeeze(-1)  # (N, 16, 3): position of each frame's origin
        vertices = self._skin_vertices(vertices, turned, shifts)

        keypoints = torch.cat([positions, vertices[:, getattr(layout, self.side)]], 1)[:, TO_MEDIAPIPE21]  # (N, 21, 3)
        offset = translation
        if offset is None and layout.centred:
            offset = -keypoints[:, 0]
        if offset is not None:
            _check("translation", offset, (count, 3))
            vertices, keypoints, positions = (points + offset[:, None] for points in (vertices, keypoints, positions))
        last = pose.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(count, JOINTS, 1, 4)
        transforms = torch.cat([torch.cat([turned, positions[..., None]], 3), last], 2)
        return PosedHand(vertices, keypoints, transforms)

    def axis_angles(self, coefficients: Tensor) -> Tensor:
        """Convert coefficients (N, K) of the first K principal components to the fingers' axis-angles (N, 45)."""
        return coefficients @ self.components[: coefficients.shape[1]]

    def _rotations(self, pose: Tensor, flat_hand_mean: bool, pca: bool) -> Tensor:
        """Return the rotation matrices (N, 16, 3, 3) of a pose in any form."""
        if pca and pose.ndim == 2 and 3 < pose.shape[1] <= _POSE:
            pose = torch.cat([pose[:, :3], self.axis_angles(pose[:, 3:])], 1)
        if pose.ndim == 2 and pose.shape[1] == 2 * _POSE and not pca:
            matrices = matrix_from_6d(pose.unflatten(1, (JOINTS, 6)))
            if flat_hand_mean:
                return matrices
            pose = axis_angle_from_matrix(matrices).flatten(1)
        if pose.ndim != 2 or pose.shape[1] != _POSE:
            expected = "(N, 4) to (N, 48) with pca" if pca else f"(N, {_POSE}) or (N, {2 * _POSE})"
            raise InputError(f"pose has shape {tuple(pose.shape)}; expected {expected}")
        if not flat_hand_mean:
            pose = torch.cat([pose[:, :3], pose[:, 3:] + self.mean_pose], 1)
        return matrix_from_axis_angle(pose.unflatten(1, (JOINTS, 3)))

    def _skin_vertices(self, vertices: Tensor, turned: Tensor, shifts: Tensor) -> Tensor:
        """Return the rest pose's vertices (N, 3, 778), moved by the joints' rotations and shifts, as (N, 778, 3)."""
        if torch.compiler.is_compiling() or vertices.shape[0] <= _CHUNK:
            return _skin(self.skinning, vertices, turned, shifts)
        parts = zip(*(values.split(_CHUNK) for values in (vertices, turned, shifts)), strict=True)
        return torch.cat([_skin(self.skinning, *part) for part in parts])


def load_mano(
    source: str | Path | Mapping[str, object], side: Side = "right", dtype: torch.dtype | None = None
) -> Mano:
    """Load a MANO model.

    Args:
        source: Path of the licensed `.pkl` or of an `.npz`, or a mapping with MANO's field names.
        side: `right` or `left`; the files do not define it.
        dtype: Floating point type. Default: torch's default type.

    Raises:
        InputError: The file is missing, damaged or not MANO.
    """
    if side not in SIDES:
        raise InputError(f"Unknown side {side!r}. Choose from right, left")
    return Mano(read_mano(source), side, dtype)


def _chain(rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Return each joint's rotation (N, 16, 3, 3) and position (N, 16, 3) from local rotations and the rest pose."""
    turned, positions = rotations[:, :1], joints[:, :1]
    all_turned, all_positions = [turned], [positions]
    for level in _LEVELS[1:]:
        parents = [PARENTS[joint] for joint in level]
        positions = positions + (turned @ (joints[:, level] - joints[:, parents])[..., None]).squeeze(-1)
        turned = turned @ rotations[:, level]
        all_turned.append(turned)
        all_positions.append(positions)
    return torch.cat(all_turned, 1)[:, _BY_ID], torch.cat(all_positions, 1)[:, _BY_ID]


def _skin(weights: Tensor, vertices: Tensor, turned: Tensor, shifts: Tensor) -> Tensor:
    """Apply linear blend skinning with weights (778, 16), coordinate by coordinate; see `Mano._skin_vertices`."""
    affine = torch.cat([turned.permute(0, 3, 2, 1).flatten(1, 2), shifts.transpose(1, 2)], 1)  # (N, 12, 16)
    along_x, along_y, along_z, shift = (affine @ weights.T).split(3, 1)  # (N, 3, 778) each
    x, y, z = vertices.split(1, 1)  # (N, 1, 778) each
    carried = torch.addcmul(torch.addcmul(torch.addcmul(shift, along_x, x), along_y, y), along_z, z)
    return carried.transpose(1, 2)


def _check(name: str, values: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != shape:
        raise InputError(f"{name} has shape {tuple(values.shape)} instead of {shape}")


def remove_mano(state_dict: Mapping[str, Tensor], prefix: str, mano: Mano | None) -> dict[str, Tensor]:
    """Return a checkpoint's weights without manopth's MANO model, which must be the given one.

    Args:
        state_dict: Weights by official names.
        prefix: Prefix of the MANO model's names, such as `regressor.mano_regHead.mano_layer.`.
        mano: Model that the network uses; None checks nothing.

    Raises:
        InputError: The checkpoint was trained with another model.
    """
    saved = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    if mano is not None:
        for field, own in _fields(mano).items():
            values = saved.get(f"th_{field}")
            if values is None:
                continue
            if values.numel() != own.numel():
                raise InputError(f"the MANO model of these weights has another {field}: shape {tuple(values.shape)}")
            difference = float((values.reshape(own.shape).to(own) - own).abs().max())
            if not difference <= _MAX_DIFFERENCE:
                raise InputError(
                    f"these weights were trained with another MANO model than the given {mano.side} one: its {field} "
                    f"differs by up to {difference:.2g}. Choose the file that they were trained with."
                )
    return {key: value for key, value in state_dict.items() if not key.startswith(prefix)}


def _fields(mano: Mano) -> dict[str, Tensor]:
    """Return the fields that determine a mesh by manopth's names."""
    blends = mano.blend_shapes.unflatten(1, (3, VERTICES)).permute(2, 1, 0)  # (778, 3, 145)
    shapes = mano.joint_shapes.shape[0]
    return {
        "v_template": mano.template.view(3, VERTICES).T,
        "shapedirs": blends[..., :shapes],
        "posedirs": blends[..., shapes:],
        "weights": mano.skinning,
        "J_regressor": mano.joint_regressor,
        "hands_mean": mano.mean_pose,
        "comps": mano.components,  # saved only if poses are their coefficients
        "faces": mano.faces,
    }
