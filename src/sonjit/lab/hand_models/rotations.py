"""Convert rotations as PyTorch tensors.

Rotations are axis-angles, matrices that act on columns, quaternions or six numbers. The branches are those of the code
that the published networks were trained with, so that results agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_TINY = 1e-8  # added to each component, so that the axis of the zero rotation has a gradient


def matrix_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Convert axis times angle in radians (..., 3) to matrices (..., 3, 3) through quaternions.

    The axis of the zero rotation is zero: the quaternion is normalised, not the axis. Source: manopth, rodrigues_layer.
    """
    angle = (axis_angle + _TINY).norm(dim=-1, keepdim=True)
    half = angle / 2
    quaternion = F.normalize(torch.cat([half.cos(), half.sin() * (axis_angle / angle)], -1), dim=-1)  # w, x, y, z
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (w * y + x * z),
        2 * (w * z + x * y), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (w * x + y * z), w * w - x * x - y * y + z * z,
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_from_6d(six: Tensor) -> Tensor:
    """Convert two vectors (..., 6), made orthonormal, to the first two columns of matrices (..., 3, 3).

    Source: Zhou et al. 2019, On the Continuity of Rotation Representations, section B.
    """
    first, second = six.unflatten(-1, (2, 3)).unbind(-2)
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def quaternion_wxyz_from_matrix(matrix: Tensor) -> Tensor:
    """Convert rotation matrices (..., 3, 3) to unit quaternions (..., 4) as w, x, y, z.

    Of four formulas, the one that does not divide by a small number is used.
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
    parts = ((a, b, c, t3), (t0, d, e, a), (d, t1, f, b), (e, f, t2, c))  # w, x, y, z by branch
    return torch.stack([choose(part) for part in parts], -1) * (0.5 / largest.sqrt()).unsqueeze(-1)


def axis_angle_from_matrix(matrix: Tensor) -> Tensor:
    """Convert rotation matrices (..., 3, 3) to axis times angle (..., 3), with an angle of at most pi."""
    w, vector = quaternion_wxyz_from_matrix(matrix).split((1, 3), -1)
    squared = (vector * vector).sum(-1, keepdim=True)
    still = squared == 0
    sine = torch.where(still, 1.0, squared).sqrt()  # the root has no gradient at zero
    angle = 2 * torch.where(w < 0, torch.atan2(-sine, -w), torch.atan2(sine, w))
    return vector * torch.where(still, 2.0, angle / sine)
