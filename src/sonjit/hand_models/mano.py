"""MANO: a hand's mesh and joints from pose and shape, as a layer that passes gradients; and models in its form.

Source: Romero, Tzionas and Black 2017, Embodied Hands; linear blend skinning as in Loper et al. 2015, SMPL.

Those without a licence for MANO have a hand of plain tubes, for training and evaluation, and random numbers, to try
things out. The tubes have MANO's joints, their order and what hangs on what, lengths of an adult hand, and ten shapes:
scale, width, thickness, the fingers' lengths and the palm's. They are not a scan of anybody, and what is measured on
them is no evidence of MANO's accuracy.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, IntArray
from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.hand_models.mano_files import JOINTS, LAYOUTS, PARENTS, SHAPES, TO_MEDIAPIPE21, VERTICES, read_mano

with needed_for("MANO"):
    import torch
    from torch import Tensor, nn

    from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle

Side = Literal["right", "left"]
SIDES: Final = ("right", "left")
_LEVELS: Final = ((0,), (1, 4, 7, 10, 13), (2, 5, 8, 11, 14), (3, 6, 9, 12, 15))
"""Joints by their distance from the wrist: each level hangs on the one before."""
_BY_ID: Final = tuple(np.argsort([joint for level in _LEVELS for joint in level]).tolist())
_HANDS_AT_ONCE: Final = 64  # whose mixed transforms fit a processor's cache
_POSE: Final = 3 * JOINTS
_LARGEST_DIFFERENCE: Final = 1e-5
"""Of two models' fields that are the same: metres, or what blends and weighs them."""


class PosedHand(NamedTuple):
    """What MANO makes of a pose; metres."""

    vertices: Tensor  # (N, 778, 3)
    joints: Tensor  # (N, 21, 3) in MediaPipe-21 order
    transforms: Tensor  # (N, 16, 4, 4) from each joint's frame, in MANO's order


class Mano(nn.Module):
    """MANO as a layer.

    Its numbers are not part of a state_dict: the licence forbids to pass them on with trained weights.

    Args:
        fields: MANO's fields, checked by `read_mano`.
        side: of the hand; the files do not hold it.
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
        kept = {
            "template": fields["v_template"].T.reshape(-1),  # (3 * 778,): all x, all y, all z
            "joint_regressor": regressor,
            "joints_of_template": regressor @ fields["v_template"],  # (16, 3)
            "blend_shapes": corrections.transpose(2, 1, 0).reshape(-1, 3 * VERTICES),  # (145, 3 * 778)
            "joint_shapes": np.einsum("jv,vkb->bjk", regressor, shapes).reshape(shapes.shape[2], -1),  # (10, 16 * 3)
            "skinning": fields["weights"],
            "components": fields["hands_components"],
            "mean_pose": fields["hands_mean"],
        }
        for name, value in kept.items():
            self.register_buffer(name, torch.tensor(value, dtype=dtype), persistent=False)
        self.register_buffer("faces", torch.tensor(fields["f"]), persistent=False)

    def forward(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        translation: Tensor | None = None,
        flat_hand_mean: bool = True,
        tips: str = "handoccnet",
        pca: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Vertices (N, 778, 3) and joints (N, 21, 3) in MediaPipe-21 order, metres; the arguments are `posed`'s."""
        return self.posed(pose, betas, translation, flat_hand_mean, tips, pca)[:2]

    def posed(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        translation: Tensor | None = None,
        flat_hand_mean: bool = True,
        tips: str = "handoccnet",
        pca: bool = False,
    ) -> PosedHand:
        """The mesh of each pose, its joints and their frames.

        Args:
            pose: of the wrist and 15 joints in MANO's order: axis-angles in radians (N, 48); six numbers each (N, 96);
                or, with `pca`, the wrist's axis-angle and up to 45 coefficients (N, 3 + K).
            betas: shape (N, 10); None for the mean hand.
            translation: (N, 3) metres, added to everything.
            flat_hand_mean: the zero pose is the flat hand. Otherwise the mean pose is added to the fingers'
                axis-angles: as numbers, not composed as rotations, for so the published networks were trained.
            tips: `handoccnet`, `deformer_ho3d` or `deformer_dexycb`: see `LAYOUTS`.
            pca: the fingers' numbers are coefficients of MANO's principal components.

        Raises:
            InputError: shapes that do not fit, or an unknown layout.
        """
        layout = LAYOUTS.get(tips)
        if layout is None:
            raise InputError(f"tips={tips!r}: unknown layout; known: {', '.join(LAYOUTS)}")
        rotations = self._rotations(pose, flat_hand_mean, pca)  # (N, 16, 3, 3)
        count = rotations.shape[0]
        if betas is None:
            betas = pose.new_zeros(count, self.joint_shapes.shape[0])
        _check("betas", betas, (count, self.joint_shapes.shape[0]))

        bent = rotations[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)
        coefficients = torch.cat([betas, bent.flatten(1)], 1)  # (N, 145)
        vertices = torch.addmm(self.template, coefficients, self.blend_shapes).unflatten(1, (3, VERTICES))
        joints = torch.addmm(self.joints_of_template.flatten(), betas, self.joint_shapes).unflatten(1, (JOINTS, 3))
        turned, placed = _chain(rotations, joints)  # (N, 16, 3, 3), (N, 16, 3)
        moved = placed - (turned @ joints[..., None]).squeeze(-1)  # (N, 16, 3): where the origin goes
        vertices = self._skinned(vertices, turned, moved)

        every = torch.cat([placed, vertices[:, getattr(layout, self.side)]], 1)[:, TO_MEDIAPIPE21]  # (N, 21, 3)
        offset = translation
        if offset is None and layout.centred:
            offset = -every[:, 0]
        if offset is not None:
            _check("translation", offset, (count, 3))
            vertices, every, placed = (points + offset[:, None] for points in (vertices, every, placed))
        last = pose.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(count, JOINTS, 1, 4)
        transforms = torch.cat([torch.cat([turned, placed[..., None]], 3), last], 2)
        return PosedHand(vertices, every, transforms)

    def axis_angles(self, coefficients: Tensor) -> Tensor:
        """Coefficients (N, K) of the first K principal components -> the fingers' axis-angles (N, 45)."""
        return coefficients @ self.components[: coefficients.shape[1]]

    def _rotations(self, pose: Tensor, flat_hand_mean: bool, pca: bool) -> Tensor:
        """Rotation matrices (N, 16, 3, 3) of a pose in any of its forms."""
        if pca and pose.ndim == 2 and 3 < pose.shape[1] <= _POSE:
            pose = torch.cat([pose[:, :3], self.axis_angles(pose[:, 3:])], 1)
        if pose.ndim == 2 and pose.shape[1] == 2 * _POSE and not pca:
            matrices = matrix_from_6d(pose.unflatten(1, (JOINTS, 6)))
            if flat_hand_mean:
                return matrices
            pose = axis_angle_from_matrix(matrices).flatten(1)
        if pose.ndim != 2 or pose.shape[1] != _POSE:
            wanted = "(N, 4) to (N, 48) with pca" if pca else f"(N, {_POSE}) or (N, {2 * _POSE})"
            raise InputError(f"pose has shape {tuple(pose.shape)}; give {wanted}")
        if not flat_hand_mean:
            pose = torch.cat([pose[:, :3], pose[:, 3:] + self.mean_pose], 1)
        return matrix_from_axis_angle(pose.unflatten(1, (JOINTS, 3)))

    def _skinned(self, vertices: Tensor, turned: Tensor, moved: Tensor) -> Tensor:
        """Vertices (N, 3, 778) of the rest pose as (N, 778, 3), where the joints' rotations and shifts carry them."""
        if torch.compiler.is_compiling() or vertices.shape[0] <= _HANDS_AT_ONCE:
            return _skin(self.skinning, vertices, turned, moved)
        parts = zip(*(values.split(_HANDS_AT_ONCE) for values in (vertices, turned, moved)), strict=True)
        return torch.cat([_skin(self.skinning, *part) for part in parts])


def load_mano(
    source: str | Path | Mapping[str, object], side: Side = "right", dtype: torch.dtype | None = None
) -> Mano:
    """MANO from a file of your own.

    Args:
        source: the licensed `.pkl`, read without running anything in it; an `.npz` or a mapping with its field names.
        side: `right` or `left`: the files do not hold it.
        dtype: of its numbers; torch's default without.

    Raises:
        InputError: the file is missing, damaged, of another kind or not MANO.
    """
    if side not in SIDES:
        raise InputError(f"side={side!r}: give right or left")
    return Mano(read_mano(source), side, dtype)


def _chain(rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Each joint's rotation (N, 16, 3, 3) and place (N, 16, 3) from those relative to its parent and the rest pose."""
    turned, placed = rotations[:, :1], joints[:, :1]
    all_turned, all_placed = [turned], [placed]
    for level in _LEVELS[1:]:
        parents = [PARENTS[joint] for joint in level]
        placed = placed + (turned @ (joints[:, level] - joints[:, parents])[..., None]).squeeze(-1)
        turned = turned @ rotations[:, level]
        all_turned.append(turned)
        all_placed.append(placed)
    return torch.cat(all_turned, 1)[:, _BY_ID], torch.cat(all_placed, 1)[:, _BY_ID]


def _skin(weights: Tensor, vertices: Tensor, turned: Tensor, moved: Tensor) -> Tensor:
    """Linear blend skinning by weights (778, 16), coordinate by coordinate: see `Mano._skinned`."""
    affine = torch.cat([turned.permute(0, 3, 2, 1).flatten(1, 2), moved.transpose(1, 2)], 1)  # (N, 12, 16)
    along_x, along_y, along_z, shift = (affine @ weights.T).split(3, 1)  # (N, 3, 778) each
    x, y, z = vertices.split(1, 1)  # (N, 1, 778) each
    carried = torch.addcmul(torch.addcmul(torch.addcmul(shift, along_x, x), along_y, y), along_z, z)
    return carried.transpose(1, 2)


def _check(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(given.shape) != shape:
        raise InputError(f"{name} has shape {tuple(given.shape)} instead of {shape}")


def without_mano(state_dict: Mapping[str, Tensor], prefix: str, mano: Mano | None) -> dict[str, Tensor]:
    """A checkpoint's weights without the MANO model that manopth keeps among them, which must be the one given.

    Args:
        state_dict: by the official names.
        prefix: of the MANO model's names in it, e.g. `regressor.mano_regHead.mano_layer.`.
        mano: the model that the network uses; None checks nothing.

    Raises:
        InputError: the checkpoint was trained with another model.
    """
    held = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    if mano is not None:
        for field, own in _fields(mano).items():
            given = held.get(f"th_{field}")
            if given is None:
                continue
            if given.numel() != own.numel():
                raise InputError(f"the MANO model of these weights has another {field}: shape {tuple(given.shape)}")
            difference = float((given.reshape(own.shape).to(own) - own).abs().max())
            if not difference <= _LARGEST_DIFFERENCE:
                raise InputError(
                    f"these weights were trained with another MANO model than the {mano.side} one given: its {field} "
                    f"differs by up to {difference:.2g}; give the file that they were trained with"
                )
    return {key: value for key, value in state_dict.items() if not key.startswith(prefix)}


def _fields(mano: Mano) -> dict[str, Tensor]:
    """What decides a mesh, by manopth's names."""
    blends = mano.blend_shapes.unflatten(1, (3, VERTICES)).permute(2, 1, 0)  # (778, 3, 145)
    shapes = mano.joint_shapes.shape[0]
    return {
        "v_template": mano.template.view(3, VERTICES).T,
        "shapedirs": blends[..., :shapes],
        "posedirs": blends[..., shapes:],
        "weights": mano.skinning,
        "J_regressor": mano.joint_regressor,
        "hands_mean": mano.mean_pose,
        "comps": mano.components,  # kept only where poses are their coefficients
        "faces": mano.faces,
    }


STAND_IN: Final = "stand-in"
"""By which settings ask for it."""


class _Finger(NamedTuple):
    """A finger of a right hand whose palm faces the camera, fingers up; metres and radians from straight up."""

    joint: int  # the first of its three among MANO's
    base: tuple[float, float]
    lean: float
    lengths: tuple[float, float, float]
    radius: float


_FINGERS: Final = (  # in MediaPipe's order
    _Finger(13, (-0.030, -0.022), -0.75, (0.042, 0.031, 0.026), 0.0095),
    _Finger(1, (-0.026, -0.088), -0.10, (0.041, 0.024, 0.022), 0.0080),
    _Finger(4, (-0.003, -0.090), 0.00, (0.045, 0.028, 0.023), 0.0082),
    _Finger(10, (0.017, -0.084), 0.08, (0.041, 0.026, 0.023), 0.0077),
    _Finger(7, (0.035, -0.073), 0.18, (0.033, 0.019, 0.021), 0.0068),
)

_SHAPE_STEP: Final = 0.05  # of a length, for one unit of a shape


def stand_in_mano(side: Side = "right") -> Mano:
    """The tubes' hand; a left one is the mirror image."""
    mirror = np.array([-1.0 if side == "left" else 1.0, 1, 1])
    joints, tips = _skeleton()
    ends = _ends(joints, tips)
    template, owners = _tube_points(joints, ends)
    for finger, tip, *vertices in zip(_FINGERS, tips, *_tip_vertices(side), strict=True):
        template[vertices], owners[vertices] = tip, finger.joint + 2
    weights = np.zeros(SHAPES["weights"])
    weights[np.arange(VERTICES), owners] = 1
    fields = {
        "v_template": template * mirror,
        "shapedirs": _shapes(template, joints, owners) * mirror[:, None],
        "posedirs": np.zeros(SHAPES["posedirs"]),
        "J_regressor": _regressor(template, joints),
        "weights": weights,
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
        "f": np.zeros(SHAPES["f"], np.int64),
        "kintree_table": np.array([PARENTS, range(JOINTS)]),
    }
    return load_mano(fields, side)


def _skeleton() -> tuple[FloatArray, FloatArray]:
    """Joints (16, 3) and tips (5, 3) of the flat hand, the wrist at the origin."""
    joints, tips = np.zeros((JOINTS, 3)), np.zeros((5, 3))
    for number, finger in enumerate(_FINGERS):
        along = np.array([np.sin(finger.lean), -np.cos(finger.lean), 0.0])
        place = np.array([*finger.base, 0.0])
        for joint, length in enumerate(finger.lengths):
            joints[finger.joint + joint] = place
            place = place + along * length
        tips[number] = place
    return joints, tips


def _ends(joints: FloatArray, tips: FloatArray) -> list[tuple[int, FloatArray, float]]:
    """The 20 tubes: whose joint carries each, where it ends, its radius."""
    tubes: list[tuple[int, FloatArray, float]] = []
    for finger, tip in zip(_FINGERS, tips, strict=True):
        first = finger.joint
        tubes.append((0, joints[first], 1.4 * finger.radius))
        ends = (joints[first + 1], joints[first + 2], tip)
        tubes += [(first + number, end, finger.radius) for number, end in enumerate(ends)]
    return tubes


def _tube_points(joints: FloatArray, tubes: list[tuple[int, FloatArray, float]]) -> tuple[FloatArray, IntArray]:
    """Points (778, 3) around the tubes, and the joint that carries each (778,)."""
    points, owners = np.zeros((VERTICES, 3)), np.zeros(VERTICES, np.int64)
    bones = np.arange(VERTICES) % len(tubes)
    for number, (joint, end, radius) in enumerate(tubes):
        mine = np.flatnonzero(bones == number)
        along = end - joints[joint]
        across = np.cross(along, [0.0, 0.0, 1.0])
        across /= np.linalg.norm(across)
        part = np.linspace(0, 1, len(mine))[:, None]
        angle = (np.arange(len(mine)) * 2.4)[:, None]  # the golden angle spreads them evenly
        ring = np.cos(angle) * across + np.sin(angle) * np.array([0.0, 0.0, 1.0])
        points[mine], owners[mine] = joints[joint] + part * along + radius * ring, joint
    return points, owners


def _tip_vertices(side: Side) -> tuple[tuple[int, ...], ...]:
    """The vertices that stand for the tips in the networks' layouts."""
    return tuple(getattr(layout, side) for layout in LAYOUTS.values())


def _regressor(template: FloatArray, joints: FloatArray) -> FloatArray:
    """(16, 778) rows of sum 1 by which each joint is a mean of the points around it."""
    rows = np.zeros(SHAPES["J_regressor"])
    for joint, place in enumerate(joints):
        near = np.argsort(np.linalg.norm(template - place, axis=1))[:24]
        system = np.vstack([template[near].T, np.ones(len(near))])  # (4, 24)
        rows[joint, near] = np.linalg.lstsq(system, np.array([*place, 1.0]), rcond=None)[0]
    return rows


def _shapes(template: FloatArray, joints: FloatArray, owners: IntArray) -> FloatArray:
    """(778, 3, 10) what one unit of each shape moves: scale, width, thickness, five fingers, palm, thumb's place."""
    shapes = np.zeros(SHAPES["shapedirs"])
    shapes[..., 0] = template
    shapes[:, 0, 1] = template[:, 0]
    shapes[:, 2, 2] = template[:, 2] * 4
    for number, finger in enumerate(_FINGERS):
        mine = (owners >= finger.joint) & (owners < finger.joint + 3)
        shapes[mine, :, 3 + number] = (template[mine] - joints[finger.joint]) * 2
    shapes[:, 1, 8] = np.maximum(template[:, 1], -0.08)
    thumb = (owners >= 13) & (owners < 16)
    shapes[thumb, 0, 9] = -0.05
    return shapes * _SHAPE_STEP


def demo_mano(side: Side = "right") -> Mano:
    """A model with MANO's shapes and random numbers, the same everywhere: to try things out without a licence.

    It is a placeholder and does not look like a hand.
    """
    prefix = "mano" if side == "right" else "mano_left"

    def drawn(field: str, spread: float | None = None) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(f"{prefix}.{field}".encode()))
        if spread is not None:
            return rng.normal(0, spread, SHAPES[field]).astype(np.float32)
        shares = rng.uniform(0, 1, SHAPES[field]) ** 8
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)

    faces = np.random.default_rng(zlib.crc32(f"{prefix}.f".encode())).integers(0, VERTICES, SHAPES["f"])
    fields = {
        "v_template": drawn("v_template", 0.05),
        "shapedirs": drawn("shapedirs", 0.005),
        "posedirs": drawn("posedirs", 0.0005),
        "J_regressor": drawn("J_regressor"),
        "weights": drawn("weights"),
        "hands_components": drawn("hands_components", 0.15),
        "hands_mean": drawn("hands_mean", 0.2),
        "f": faces,
        "kintree_table": np.array([PARENTS, range(JOINTS)]),
    }
    return load_mano(fields, side)
