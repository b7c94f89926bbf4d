"""MANO as a differentiable layer: a hand's mesh and joints from pose and shape.

Source: Romero, Tzionas and Black 2017, Embodied Hands; linear blend skinning as in Loper et al. 2015, SMPL. Rotations
are axis-angles, matrices that act on columns, quaternions or six numbers. Their branches are those of the code that the
published networks were trained with, so that results agree.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name

from sonjit._util import InputError
from sonjit_lab.hand_models import mano_files
from sonjit_lab.hand_models.mano_files import left_shapes

Side = Literal["right", "left"]
SIDES: Final = ("right", "left")
_LEVELS: Final = ((0,), (1, 4, 7, 10, 13), (2, 5, 8, 11, 14), (3, 6, 9, 12, 15))
"""Joints by their depth in the tree: the parents of each level are in the level before."""
_BY_ID: Final = tuple(np.argsort([joint for level in _LEVELS for joint in level]).tolist())
_CHUNK: Final = 64  # number of hands whose mixed transforms fit a processor's cache
_POSE: Final = 3 * mano_files.JOINTS
_TINY = 1e-8  # added to each component, so that the axis of the zero rotation has a gradient
_MAX_DIFFERENCE: Final = 1e-5  # maximum difference of fields of the same model: metres, or blend weights


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
        left_shapes: Convention of a left hand's shape directions; None if it is unknown, or for a right hand.
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

    def __init__(
        self,
        fields: Mapping[str, np.ndarray],
        side: Side,
        dtype: torch.dtype | None = None,
        left_shapes: mano_files.LeftShapes | None = None,
    ) -> None:
        super().__init__()
        self.left_shapes: mano_files.LeftShapes | None = left_shapes
        dtype = dtype or torch.get_default_dtype()
        self.side: Side = side
        shapes, regressor = fields["shapedirs"], fields["J_regressor"]
        corrections = np.concatenate([shapes, fields["posedirs"]], 2)  # (778, 3, 145)
        buffers = {
            "template": fields["v_template"].T.reshape(-1),  # (3 * 778,): all x, all y, all z
            "joint_regressor": regressor,
            "joints_of_template": regressor @ fields["v_template"],  # (16, 3)
            "blend_shapes": corrections.transpose(2, 1, 0).reshape(-1, 3 * mano_files.VERTICES),  # (145, 3 * 778)
            "joint_shapes": np.einsum("jv,vkb->bjk", regressor, shapes).reshape(shapes.shape[2], -1),  # (10, 16 * 3)
            "skinning": fields["weights"],
            "components": fields["hands_components"],
            "mean_pose": fields["hands_mean"],
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.tensor(value, dtype=dtype), persistent=False)
        self.register_buffer("faces", torch.tensor(fields["f"]), persistent=False)

    def extra_repr(self) -> str:
        """Return the side, and the convention of a left hand's shapes."""
        return self.side if self.left_shapes is None else f"{self.side}, shapes {self.left_shapes}"

    def in_convention(self, shapes: mano_files.LeftShapes | None) -> "Mano":
        """Return the model with a left hand's shape directions in another convention, whose x is negated.

        A right hand, and a hand or a request of unknown convention, are returned as they are.
        """
        if None in (self.left_shapes, shapes) or self.left_shapes == shapes:
            return self
        other = copy.deepcopy(self)
        other.left_shapes = shapes
        other.blend_shapes[: self.joint_shapes.shape[0], : mano_files.VERTICES] *= -1
        other.joint_shapes[:, ::3] *= -1
        return other

    def nearest_shape(self, betas: Tensor) -> Tensor:
        """Convert shapes (N, 10) of a left hand to the other convention by least squares, for a network's labels.

        The conventions span different shapes, so the result is not exact. With a right hand, shapes of a `distributed`
        left hand become those of its mirror image.
        """
        offsets = self.blend_shapes[: betas.shape[1]]  # (10, 3 * 778)
        other = torch.cat([-offsets[:, : mano_files.VERTICES], offsets[:, mano_files.VERTICES :]], 1)
        return torch.linalg.lstsq(offsets.T, (betas @ other).T).solution.T

    def forward(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        translation: Tensor | None = None,
        **options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor]:
        """Return vertices (N, 778, 3) and joints (N, 21, 3) in MediaPipe-21 order, in metres; see `posed`."""
        return self.posed(pose, betas, translation, **options)[:2]

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
        layout = mano_files.LAYOUTS.get(tips)
        if layout is None:
            raise InputError(f"Unknown tips {tips!r}. Choose from {', '.join(mano_files.LAYOUTS)}")
        rotations = self._rotations(pose, flat_hand_mean=flat_hand_mean, pca=pca)  # (N, 16, 3, 3)
        count = rotations.shape[0]
        if betas is None:
            betas = pose.new_zeros(count, self.joint_shapes.shape[0])
        _check("betas", betas, (count, self.joint_shapes.shape[0]))

        bent = rotations[:, 1:] - pose.new_tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
        coefficients = torch.cat([betas, bent.flatten(1)], 1)  # (N, 145)
        vertices = torch.addmm(self.template, coefficients, self.blend_shapes).unflatten(1, (3, mano_files.VERTICES))
        joints = torch.addmm(self.joints_of_template.flatten(), betas, self.joint_shapes).unflatten(
            1, (mano_files.JOINTS, 3)
        )
        turned, positions = _chain(rotations, joints)  # (N, 16, 3, 3), (N, 16, 3)
        shifts = positions - (turned @ joints[..., None]).squeeze(-1)  # (N, 16, 3): position of each frame's origin
        vertices = self._skin_vertices(vertices, turned, shifts)

        keypoints = torch.cat([positions, vertices[:, getattr(layout, self.side)]], 1)[
            :, mano_files.TO_MEDIAPIPE21
        ]  # (N, 21, 3)
        offset = translation
        if offset is None and layout.centred:
            offset = -keypoints[:, 0]
        if offset is not None:
            _check("translation", offset, (count, 3))
            vertices, keypoints, positions = (points + offset[:, None] for points in (vertices, keypoints, positions))
        last = pose.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(count, mano_files.JOINTS, 1, 4)
        transforms = torch.cat([torch.cat([turned, positions[..., None]], 3), last], 2)
        return PosedHand(vertices, keypoints, transforms)

    def axis_angles(self, coefficients: Tensor) -> Tensor:
        """Convert coefficients (N, K) of the first K principal components to axis-angles (N, 45) in radians."""
        return coefficients @ self.components[: coefficients.shape[1]]

    def _rotations(self, pose: Tensor, *, flat_hand_mean: bool, pca: bool) -> Tensor:
        """Return the rotation matrices (N, 16, 3, 3) of a pose in any form."""
        if pca and pose.ndim == 2 and 3 < pose.shape[1] <= _POSE:
            pose = torch.cat([pose[:, :3], self.axis_angles(pose[:, 3:])], 1)
        if pose.ndim == 2 and pose.shape[1] == 2 * _POSE and not pca:
            matrices = matrix_from_6d(pose.unflatten(1, (mano_files.JOINTS, 6)))
            if flat_hand_mean:
                return matrices
            pose = axis_angle_from_matrix(matrices).flatten(1)
        if pose.ndim != 2 or pose.shape[1] != _POSE:
            expected = "(N, 4) to (N, 48) with pca" if pca else f"(N, {_POSE}) or (N, {2 * _POSE})"
            raise InputError(f"pose has shape {tuple(pose.shape)}; expected {expected}")
        if not flat_hand_mean:
            pose = torch.cat([pose[:, :3], pose[:, 3:] + self.mean_pose], 1)
        return matrix_from_axis_angle(pose.unflatten(1, (mano_files.JOINTS, 3)))

    def _skin_vertices(self, vertices: Tensor, turned: Tensor, shifts: Tensor) -> Tensor:
        """Return the rest pose's vertices (N, 3, 778), moved by the joints' rotations and shifts, as (N, 778, 3)."""
        if torch.compiler.is_compiling() or vertices.shape[0] <= _CHUNK:
            return _skin(self.skinning, vertices, turned, shifts)
        chunks = zip(*(values.split(_CHUNK) for values in (vertices, turned, shifts)), strict=True)
        return torch.cat([_skin(self.skinning, *part) for part in chunks])


def load_mano(
    source: str | Path | Mapping[str, object],
    side: Side = "right",
    dtype: torch.dtype | None = None,
    *,
    shapes: mano_files.LeftShapes | None = None,
) -> Mano:
    """Load a MANO model.

    Args:
        source: Path of the licensed `.pkl` or of an `.npz`, or a mapping with MANO's field names.
        side: `right` or `left`; the files do not define it.
        dtype: Floating point type. Default: torch's default type.
        shapes: Convention of a left hand's shape directions, `corrected` or `distributed`, see `left_shapes`. Default:
            that of the file, by the right hand in the same folder (`MANO_RIGHT` for `MANO_LEFT`) or by the directions
            themselves.

    Raises:
        InputError: The file is missing, damaged or not MANO.

    >>> hand = load_mano("MANO_LEFT.pkl", side="left")  # doctest: +SKIP
    >>> hand.left_shapes  # doctest: +SKIP
    'distributed'
    """
    if side not in SIDES:
        raise InputError(f"Unknown side {side!r}. Choose from right, left")
    fields = mano_files.read_mano(source)
    if side == "left" and shapes is None:
        shapes = left_shapes(fields, _other_hand(source))
    return Mano(fields, side, dtype, shapes if side == "left" else None)


def _other_hand(source: str | Path | Mapping[str, object]) -> Mapping[str, np.ndarray] | None:
    """Return the fields of the right hand next to a left hand's file, or None without such a file."""
    if isinstance(source, Mapping):
        return None
    path = Path(source)
    swapped = path.name.replace("LEFT", "RIGHT").replace("left", "right").replace("Left", "Right")
    try:
        return None if swapped == path.name else mano_files.read_mano(path.with_name(swapped))
    except InputError:
        return None


def _chain(rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Return each joint's rotation (N, 16, 3, 3) and position (N, 16, 3) from local rotations and the rest pose."""
    turned, positions = rotations[:, :1], joints[:, :1]
    all_turned, all_positions = [turned], [positions]
    for level in _LEVELS[1:]:
        parents = [mano_files.PARENTS[joint] for joint in level]
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
    """Return a checkpoint's weights without manopth's MANO model below `prefix`, which must be the given one if any."""
    saved = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    if mano is not None:
        for field, model_values in _fields(mano).items():
            values = saved.get(f"th_{field}")
            if values is None:
                continue
            if values.numel() != model_values.numel():
                raise InputError(f"the MANO model of these weights has another {field}: shape {tuple(values.shape)}")
            difference = float((values.reshape(model_values.shape).to(model_values) - model_values).abs().max())
            if not difference <= _MAX_DIFFERENCE:
                raise InputError(
                    f"these weights were trained with another MANO model than the given {mano.side} one: its {field} "
                    f"differs by up to {difference:.2g}. Choose the file that they were trained with."
                )
    return {key: value for key, value in state_dict.items() if not key.startswith(prefix)}


def _fields(mano: Mano) -> dict[str, Tensor]:
    """Return the fields that determine a mesh by manopth's names."""
    blends = mano.blend_shapes.unflatten(1, (3, mano_files.VERTICES)).permute(2, 1, 0)  # (778, 3, 145)
    shapes = mano.joint_shapes.shape[0]
    return {
        "v_template": mano.template.view(3, mano_files.VERTICES).T,
        "shapedirs": blends[..., :shapes],
        "posedirs": blends[..., shapes:],
        "weights": mano.skinning,
        "J_regressor": mano.joint_regressor,
        "hands_mean": mano.mean_pose,
        "comps": mano.components,  # saved only if poses are their coefficients
        "faces": mano.faces,
    }


def matrix_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Convert axis times angle in radians (..., 3) to matrices (..., 3, 3) through quaternions.

    The axis of the zero rotation is zero: the quaternion is normalised, not the axis. Source: manopth, rodrigues_layer.
    """
    angle = (axis_angle + _TINY).norm(dim=-1, keepdim=True)
    half = angle / 2
    quaternion = F.normalize(torch.cat([half.cos(), half.sin() * (axis_angle / angle)], -1), dim=-1)  # w, x, y, z
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        w * w + x * x - y * y - z * z,
        2 * (x * y - w * z),
        2 * (w * y + x * z),
        2 * (w * z + x * y),
        w * w - x * x + y * y - z * z,
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (w * x + y * z),
        w * w - x * x - y * y + z * z,
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_from_6d(six: Tensor) -> Tensor:
    """Make columns (..., 6) of rotation matrices (..., 3, 3) orthonormal, of unit length.

    Source: Zhou et al. 2019, On the Continuity of Rotation Representations, section B.
    """
    first, second = (six * 2.0**20).unflatten(-1, (2, 3)).unbind(-2)  # TFLite divides by at least 1e-6
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def quaternion_wxyz_from_matrix(matrix: Tensor) -> Tensor:
    """Convert matrices (..., 3, 3) to unit quaternions (..., 4) by that of four formulas that divides by no small
    number.
    """
    (m00, m10, m20), (m01, m11, m21), (m02, m12, m22) = (column.unbind(-1) for column in matrix.unbind(-1))
    a, b, c = m21 - m12, m02 - m20, m10 - m01  # antisymmetric part
    d, e, f = m10 + m01, m02 + m20, m21 + m12
    t0, t1 = 1 + m00 - m11 - m22, 1 - m00 + m11 - m22
    t2, t3 = 1 - m00 - m11 + m22, 1 + m00 + m11 + m22
    flat, wide, upright = m22 < 1e-6, m00 > m11, m00 < -m11

    def choose(values: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        return torch.where(flat, torch.where(wide, values[0], values[1]), torch.where(upright, values[2], values[3]))

    largest = choose((t0, t1, t2, t3))
    branches = ((a, b, c, t3), (t0, d, e, a), (d, t1, f, b), (e, f, t2, c))  # w, x, y, z by branch
    return torch.stack([choose(part) for part in branches], -1) * (0.5 / largest.sqrt()).unsqueeze(-1)


def turned_pose(pose: Tensor, turn: Tensor) -> Tensor:
    """Rotate hands with poses (B, 3 or more), axis-angles in radians with the root first, by a matrix (3, 3)."""
    root = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, :3]))
    return torch.cat([root, pose[:, 3:]], 1)


def axis_angle_from_matrix(matrix: Tensor) -> Tensor:
    """Convert rotation matrices (..., 3, 3) to axis times angle (..., 3), with an angle of at most pi radians."""
    w, vector = quaternion_wxyz_from_matrix(matrix).split((1, 3), -1)
    squared = (vector * vector).sum(-1, keepdim=True)
    still = squared == 0
    sine = torch.where(still, 1.0, squared).sqrt()  # the root has no gradient at zero
    atan2 = _atan2_by_series if torch.compiler.is_exporting() else torch.atan2
    angle = 2 * torch.where(w < 0, atan2(-sine, -w), atan2(sine, w))
    return vector * torch.where(still, 2.0, angle / sine)


def _atan2_by_series(y: Tensor, x: Tensor) -> Tensor:
    """Return the angle of unit vectors with x >= 0, by operators that TFLite files have everywhere."""
    tangent = y / (x + (x * x + y * y).sqrt())
    for _ in range(2):  # halve the angle, to at most pi / 16
        tangent = tangent / (1 + (1 + tangent * tangent).sqrt())
    square = tangent * tangent
    return 8 * tangent * (1 - square * (1 / 3 - square * (1 / 5 - square * (1 / 7 - square / 9))))
