"""Models in the form of MANO that need no licence: a hand of plain tubes and random numbers.

The tubes have the joints of MANO, their order and parents, lengths of an adult hand, and ten shapes: scale, width,
thickness, the lengths of the fingers and of the palm. They are not a scan of a person, and measurements on them are no
evidence of the accuracy of MANO.
"""

import zlib
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import FloatArray, IntArray
from sonjit_lab.hand_models.mano import Mano, Side
from sonjit_lab.hand_models.mano_files import JOINTS, LAYOUTS, PARENTS, SHAPES, VERTICES, read_mano

PLACEHOLDER: Final = "stand-in"  # value of a setting that selects the placeholder hand
_SHAPE_STEP: Final = 0.05  # relative change of a length for one unit of a shape


class _Finger(NamedTuple):
    """A finger of a right hand whose palm faces the camera, fingers up; metres and radians from straight up."""

    joint: int  # index of its first MANO joint
    base: tuple[float, float]
    lean: float
    lengths: tuple[float, float, float]
    radius: float


def _fingers() -> tuple[_Finger, ...]:
    """Return the fingers in the order of MediaPipe."""
    return (
        _Finger(13, (-0.030, -0.022), -0.75, (0.042, 0.031, 0.026), 0.0095),
        _Finger(1, (-0.026, -0.088), -0.10, (0.041, 0.024, 0.022), 0.0080),
        _Finger(4, (-0.003, -0.090), 0.00, (0.045, 0.028, 0.023), 0.0082),
        _Finger(10, (0.017, -0.084), 0.08, (0.041, 0.026, 0.023), 0.0077),
        _Finger(7, (0.035, -0.073), 0.18, (0.033, 0.019, 0.021), 0.0068),
    )


def placeholder_mano(side: Side = "right") -> Mano:
    """Return a hand of tubes; a left one is the mirror image of the right one."""
    mirror = np.array([-1.0 if side == "left" else 1.0, 1, 1])
    joints, tips = _skeleton()
    ends = _ends(joints, tips)
    template, owners = _tube_points(joints, ends)
    for finger, tip, *vertices in zip(
        _fingers(), tips, *(getattr(layout, side) for layout in LAYOUTS.values()), strict=True
    ):
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
    return Mano(read_mano(fields), side)


def _skeleton() -> tuple[FloatArray, FloatArray]:
    """Return joints (16, 3) and tips (5, 3) of the flat hand, with the wrist at the origin."""
    joints, tips = np.zeros((JOINTS, 3)), np.zeros((5, 3))
    for number, finger in enumerate(_fingers()):
        along = np.array([np.sin(finger.lean), -np.cos(finger.lean), 0.0])
        position = np.array([*finger.base, 0.0])
        for joint, length in enumerate(finger.lengths):
            joints[finger.joint + joint] = position
            position = position + along * length
        tips[number] = position
    return joints, tips


def _ends(joints: FloatArray, tips: FloatArray) -> list[tuple[int, FloatArray, float]]:
    """Return the joint, the end and the radius of each of the 20 tubes."""
    tubes: list[tuple[int, FloatArray, float]] = []
    for finger, tip in zip(_fingers(), tips, strict=True):
        first = finger.joint
        tubes.append((0, joints[first], 1.4 * finger.radius))
        ends = (joints[first + 1], joints[first + 2], tip)
        tubes += [(first + number, end, finger.radius) for number, end in enumerate(ends)]
    return tubes


def _tube_points(joints: FloatArray, tubes: list[tuple[int, FloatArray, float]]) -> tuple[FloatArray, IntArray]:
    """Return points (778, 3) around the tubes, and the joint that moves each (778,)."""
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


def _regressor(template: FloatArray, joints: FloatArray) -> FloatArray:
    """Return (16, 778) rows of sum 1 that compute each joint as a weighted mean of the points around it."""
    rows = np.zeros(SHAPES["J_regressor"])
    for joint, position in enumerate(joints):
        near = np.argsort(np.linalg.norm(template - position, axis=1))[:24]
        system = np.vstack([template[near].T, np.ones(len(near))])  # (4, 24)
        rows[joint, near] = np.linalg.lstsq(system, np.array([*position, 1.0]), rcond=None)[0]
    return rows


def _shapes(template: FloatArray, joints: FloatArray, owners: IntArray) -> FloatArray:
    """Return the offsets (778, 3, 10) of one unit of scale, width, thickness, five fingers, palm, thumb position."""
    shapes = np.zeros(SHAPES["shapedirs"])
    shapes[..., 0] = template
    shapes[:, 0, 1] = template[:, 0]
    shapes[:, 2, 2] = template[:, 2] * 4
    for number, finger in enumerate(_fingers()):
        mine = (owners >= finger.joint) & (owners < finger.joint + 3)
        shapes[mine, :, 3 + number] = (template[mine] - joints[finger.joint]) * 2
    shapes[:, 1, 8] = np.maximum(template[:, 1], -0.08)
    thumb = (owners >= 13) & (owners < 16)
    shapes[thumb, 0, 9] = -0.05
    return shapes * _SHAPE_STEP


def demo_mano(side: Side = "right") -> Mano:
    """Return a model with MANO's shapes and random numbers, which are always the same, for tests without a licence.

    It is a placeholder and does not look like a hand.
    """
    prefix = "mano" if side == "right" else "mano_left"

    def draw(field: str, spread: float | None = None) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(f"{prefix}.{field}".encode()))
        if spread is not None:
            return rng.normal(0, spread, SHAPES[field]).astype(np.float32)
        shares = rng.uniform(0, 1, SHAPES[field]) ** 8
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)

    faces = np.random.default_rng(zlib.crc32(f"{prefix}.f".encode())).integers(0, VERTICES, SHAPES["f"])
    fields = {
        "v_template": draw("v_template", 0.05),
        "shapedirs": draw("shapedirs", 0.005),
        "posedirs": draw("posedirs", 0.0005),
        "J_regressor": draw("J_regressor"),
        "weights": draw("weights"),
        "hands_components": draw("hands_components", 0.15),
        "hands_mean": draw("hands_mean", 0.2),
        "f": faces,
        "kintree_table": np.array([PARENTS, range(JOINTS)]),
    }
    return Mano(read_mano(fields), side)


def mano_by_name(name: str, side: Side = "right") -> Mano | None:
    """Return the placeholder of a name, `demo` or `stand-in`; None for other names."""
    placeholders = {"demo": demo_mano, PLACEHOLDER: placeholder_mano}
    return placeholders[name](side) if name in placeholders else None
