"""Read MANO's fields from the licensed `.pkl`, from `.npz` or from a mapping, and check them.

MANO must not be redistributed: users download MANO_RIGHT.pkl and MANO_LEFT.pkl from https://mano.is.tue.mpg.de. Pickles
are read without running anything in them, see `sonjit_lab.hand_models.pickles`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, data_files
from sonjit_lab.hand_models.pickles import plain_array, read_pickled_mapping

LeftShapes = Literal["corrected", "distributed"]  # convention of a left hand's shape directions, see `left_shapes`
VERTICES: Final = 778
JOINTS: Final = 16
SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "v_template": (VERTICES, 3),
    "shapedirs": (VERTICES, 3, 10),
    "posedirs": (VERTICES, 3, 9 * (JOINTS - 1)),
    "J_regressor": (JOINTS, VERTICES),
    "weights": (VERTICES, JOINTS),
    "hands_components": (45, 45),
    "hands_mean": (45,),
    "f": (1538, 3),
    "kintree_table": (2, JOINTS),
}
"""Names of MANO's fields in its files, and their shapes; lengths in metres."""
PARENTS: Final = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""Parents of the 16 joints: wrist, then three joints each of index, middle, little and ring finger and thumb."""
TO_MEDIAPIPE21: Final = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""Index of each of MediaPipe's 21 keypoints among MANO's 16 joints, followed by the tips from thumb to little
finger."""
_SOURCE = "MANO_RIGHT.pkl and MANO_LEFT.pkl are available, after registration, from https://mano.is.tue.mpg.de"
_MAX_FILE_BYTES = 64 << 20  # the licensed files have less than 4 million
_MIN_LIKENESS = 0.5  # cosine of a shape direction and of growth, from which it determines a convention
_INTEGERS = ("f", "kintree_table")
_HO3D = (728, 353, 442, 576, 694)


@dataclass(frozen=True)
class JointLayout:
    """Vertices at the tips of a right and a left hand, thumb first; `centred` if the wrist is the origin by default."""

    right: tuple[int, int, int, int, int]
    left: tuple[int, int, int, int, int]
    centred: bool = False


_MANOPTH = JointLayout(right=(745, 317, 444, 556, 673), left=(745, 317, 445, 556, 673))
LAYOUTS: Final[dict[str, JointLayout]] = {
    "handoccnet": _MANOPTH,
    "deformer_ho3d": JointLayout(_HO3D, _HO3D, centred=True),
    "deformer_dexycb": _MANOPTH,
}
"""Layouts of the networks that use MANO, by the value of `tips`."""


def read_mano(source: str | Path | Mapping[str, object]) -> dict[str, NDArray[Any]]:
    """Read MANO's fields of a `.pkl`, `.npz` or mapping as arrays of `SHAPES`, float64 or int64 (faces, parents)."""
    if isinstance(source, Mapping):
        return _check_fields(source, "this mapping")
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_SOURCE}")
    if path.suffix not in (".pkl", ".npz"):
        raise InputError(f"{path}: Unknown file ending {path.suffix!r} of a MANO file. Choose from .pkl, .npz")
    try:
        with path.open("rb") as file:
            if path.stat().st_size > _MAX_FILE_BYTES:
                raise InputError(f"{path}: too large for a MANO file")
            if path.suffix == ".pkl":
                fields = read_pickled_mapping(file.read(), str(path))
            else:
                fields = data_files.npz_arrays(file, str(path), _MAX_FILE_BYTES, accepts=SHAPES.__contains__)
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    return _check_fields(fields, str(path))


def _check_fields(fields: Mapping[str, object], name: str) -> dict[str, NDArray[Any]]:
    if missing := [field for field in SHAPES if field not in fields]:
        raise InputError(f"{name}: not a MANO model: {', '.join(missing)} missing; {_SOURCE}")
    checked: dict[str, NDArray[Any]] = {}
    for field, shape in SHAPES.items():
        try:
            array = plain_array(fields[field])
            wide = array.astype(np.int64 if field in _INTEGERS else np.float64)
        except Exception as error:  # a forged field raises arbitrary errors in numpy
            reason = (str(error) or type(error).__name__).splitlines()[0][:120]
            raise InputError(f"{name}: {field} is not an array of numbers ({reason})") from None
        if wide.shape != shape:
            raise InputError(f"{name}: {field} has shape {wide.shape} instead of {shape}: not a MANO model")
        if not np.isfinite(wide).all():
            raise InputError(f"{name}: {field} contains NaN or infinity")
        checked[field] = wide
    if checked["f"].min() < 0 or checked["f"].max() >= VERTICES:
        raise InputError(f"{name}: faces refer to vertices that do not exist")
    if tuple(checked["kintree_table"][0, 1:]) != PARENTS[1:]:
        raise InputError(f"{name}: the joints have other parents than MANO's")
    for field in ("weights", "J_regressor"):
        if np.abs(checked[field].sum(1) - 1).max() > 1e-3:
            raise InputError(f"{name}: rows of {field} do not sum to 1")
    return checked


def left_shapes(left: Mapping[str, NDArray[Any]], right: Mapping[str, NDArray[Any]] | None = None) -> LeftShapes | None:
    """Return the convention of the shape directions (778, 3, 10), metres, of a left hand, or None if it is unclear.

    Hands are fields of `read_mano`. MANO_LEFT.pkl is "distributed" with a mirrored template, but with the shape
    directions of the right hand. With those of "corrected" files, whose x is negated, a shape is the mirror image of
    the right hand with the same numbers. Without the right hand of the release, the direction most like growth decides:
    growth moves points outwards.
    """
    shapes, flip = left["shapedirs"], np.array([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    if right is not None:
        apart = [np.abs(shapes - sign[:, None] * right["shapedirs"]).mean() for sign in flip]
        if min(apart) < 0.1 * np.abs(shapes).mean():
            return "distributed" if apart[0] < apart[1] else "corrected"
    points, moves = (values - values.mean(0) for values in (left["v_template"], shapes))
    sizes = np.linalg.norm(points) * np.linalg.norm(moves, axis=(0, 1)).clip(1e-12)
    likeness = np.abs(flip @ np.einsum("vc,vck->ck", points, moves)) / sizes  # (2, 10): as they are, and x negated
    best = likeness[:, likeness.max(0).argmax()]
    if best.max() < _MIN_LIKENESS or np.ptp(best) < _MIN_LIKENESS / 10:
        return None
    return "corrected" if best[0] > best[1] else "distributed"
