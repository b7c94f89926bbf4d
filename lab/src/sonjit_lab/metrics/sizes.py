"""Compute 2D errors as shares of the size of a hand, a face or a torso.

A sample whose size is 0 or unknown cannot be evaluated: its errors are NaN, and `left_out` counts it. Sources: the
model cards of MediaPipe's hands (MNAE), BlazePose (PDJ) and face mesh (IOD MAE); 300W (NME).
"""

from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError, unknown_name
from sonjit_lab.metrics.keypoints import joint_errors, joint_means, mean_error
from sonjit_lab.metrics.statistics import check_joint, flags, mean_without_nan, numbers

__all__ = [
    "eye_distances",
    "iod_mae",
    "mnae",
    "nme_300w",
    "normalised_error",
    "normalised_errors",
    "outer_corner_distances",
    "palm_sizes",
    "pdj",
    "pdj_hits",
    "pupil_distances",
    "torso_sizes",
]

_SHOULDERS: Final = (11, 12)  # BlazePose: left, right
_HIPS: Final = (23, 24)
_EYE_CORNERS: Final = {
    68: ((36, 39), (45, 42)),
    98: ((60, 64), (72, 68)),
    468: ((33, 133), (263, 362)),
    478: ((33, 133), (263, 362)),
}
"""Outer and inner corner of the right and the left eye, by number of face points (300W, WFLW, MediaPipe)."""
_EYE_RIMS: Final = (tuple(range(36, 42)), tuple(range(42, 48)))  # among 300W's 68 points
Torso = Literal["diagonal", "middle"]  # definition of a torso's size, see `torso_sizes`
PDJ_SHARE: Final = 0.2  # maximum error of a detected landmark, as a share of the torso


class NormalisedError(NamedTuple):
    """Mean errors as shares of a size; multiply by 100 for per cent.

    Attributes:
        mean: Mean over all valid values; NaN with a missing prediction.
        per_joint: Mean of each joint (K,).
        per_sample: Mean of each sample (N,).
        left_out: Number of samples without a usable size.
    """

    mean: float
    per_joint: NDArray[np.float64]
    per_sample: NDArray[np.float64]
    left_out: int


def normalised_errors(
    predicted: ArrayLike, truth: ArrayLike, sizes: ArrayLike, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the distances (N, K) in x and y of points (N, K, 2 or more), as shares of each sample's size (N,).

    The result is NaN where truth or size is unknown or the size is 0, and inf where nothing was predicted.
    """
    prediction, true, lengths = numbers("predicted", predicted), numbers("truth", truth), numbers("sizes", sizes)
    if prediction.ndim != 3 or true.ndim != 3 or min(prediction.shape[2], true.shape[2]) < 2:
        raise InputError(f"predicted {prediction.shape} and truth {true.shape}: give points (N, K, 2 or more)")
    if lengths.shape != true.shape[:1]:
        raise InputError(f"sizes {lengths.shape}: give one per sample, {true.shape[:1]}")
    usable = usable_sizes(lengths)
    return joint_errors(prediction[..., :2], true[..., :2], valid) / np.where(usable, lengths, np.nan)[:, None]


def usable_sizes(sizes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return a mask of the sizes (N,) that can be divided by."""
    return np.isfinite(sizes) & (sizes > 0)


def palm_sizes(truth: ArrayLike, *, wrist: int = 0, knuckle: int = 9) -> NDArray[np.float64]:
    """Return the distance (N,) in x and y from wrist to middle knuckle of hands (N, K, 2 or more), in their unit."""
    points = _samples(truth, max(wrist, knuckle))[..., :2]
    for joint in (wrist, knuckle):
        check_joint(joint, points.shape[1])
    return np.linalg.norm(points[:, knuckle] - points[:, wrist], axis=-1)


def eye_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance (N,) between the eyes' centres, which lie between their corners.

    Args:
        truth: True faces (N, K, 2 or 3): K is 68 (300W), 98 (WFLW), 468 or 478 (MediaPipe). Distances are in 3D if the
            faces are.
    """
    points, (right, left) = _faces(truth)
    return np.linalg.norm(points[:, left].mean(1) - points[:, right].mean(1), axis=-1)


def outer_corner_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance (N,) in x and y between the outer eye corners of true faces, in their unit.

    See `eye_distances` for the faces.
    """
    points, (right, left) = _faces(truth)
    return np.linalg.norm(points[:, left[0], :2] - points[:, right[0], :2], axis=-1)


def pupil_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance (N,) between the pupils of true faces (N, 68, 2) in 300W's order, in their unit.

    A pupil is the mean of the six points of an eye.
    """
    points = _samples(truth, 67)
    right, left = (points[:, rim, :2].mean(1) for rim in _EYE_RIMS)
    return np.linalg.norm(left - right, axis=-1)


def torso_sizes(truth: ArrayLike, kind: Torso = "diagonal") -> NDArray[np.float64]:
    """Return the torso's size (N,) in x and y of true bodies (N, 33, 2 or more), in their unit.

    `diagonal`: Left shoulder to right hip. `middle`: Centre of the shoulders to centre of the hips. The model card does
    not define it.
    """
    if kind not in get_args(Torso):
        raise InputError(unknown_name("torso", kind, get_args(Torso)))
    points = _samples(truth, max(_HIPS))[..., :2]
    if kind == "diagonal":
        return np.linalg.norm(points[:, _HIPS[1]] - points[:, _SHOULDERS[0]], axis=-1)
    return np.linalg.norm(points[:, _HIPS].mean(1) - points[:, _SHOULDERS].mean(1), axis=-1)


def normalised_error(
    predicted: ArrayLike, truth: ArrayLike, sizes: ArrayLike, valid: ArrayLike | None = None
) -> NormalisedError:
    """Return the means of `normalised_errors` of points (N, K, 2 or more), as shares of the sizes (N,)."""
    errors = normalised_errors(predicted, truth, sizes, valid)
    left_out = int((~usable_sizes(numbers("sizes", sizes))).sum())
    return NormalisedError(mean_error(errors, "all"), joint_means(errors), joint_means(errors.T), left_out)


def mnae(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, wrist: int = 0, knuckle: int = 9
) -> NormalisedError:
    """Return the mean 2D error of hands (N, 21, 2) in palm sizes: the card's mean normalised absolute error."""
    return normalised_error(predicted, truth, palm_sizes(truth, wrist=wrist, knuckle=knuckle), valid)


def iod_mae(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NormalisedError:
    """Return the mean 2D error of face meshes (N, 468, 2 or 3), as a share of the truth's 3D interocular distance.

    The truth is (N, 468, 3) in the same unit.
    """
    return normalised_error(predicted, numbers("truth", truth), eye_distances(truth), valid)


def nme_300w(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NormalisedError:
    """Return the mean error of faces (N, 68, 2), or WFLW's (N, 98, 2), as a share of the outer eye distance."""
    return normalised_error(predicted, truth, outer_corner_distances(truth), valid)


def pdj_hits(
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    predicted_visible: ArrayLike,
    true_visible: ArrayLike,
    sizes: ArrayLike,
    share: float = PDJ_SHARE,
) -> NDArray[np.float64]:
    """Return 1 for landmarks with the right visibility and an error below a share of the torso, otherwise 0.

    Args:
        predicted: Landmarks (N, K, 2 or more).
        truth: Landmarks (N, K, 2 or more).
        predicted_visible: Mask (N, K).
        true_visible: Mask (N, K).
        sizes: Torso sizes (N,), see `torso_sizes`.
        share: Maximum error as a share of the size. Equal errors do not count.

    Returns:
        Hits (N, K); NaN where truth or size is unknown.
    """
    if not 0 < share < np.inf:
        raise InputError(f"share={share}: give a number above 0")
    errors = normalised_errors(predicted, truth, sizes)
    predicted = flags("predicted_visible", predicted_visible, errors.shape, "landmark")
    true = flags("true_visible", true_visible, errors.shape, "landmark")
    return np.where(np.isnan(errors), np.nan, (predicted == true) & (errors < share))


def pdj(
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    predicted_visible: ArrayLike,
    true_visible: ArrayLike,
    torso: Torso = "diagonal",
) -> float:
    """Return the percentage of detected joints as a share, 0 to 1, of bodies (N, 33, 2) in BlazePose's order."""
    sizes = torso_sizes(truth, torso)
    hits = pdj_hits(predicted, truth, predicted_visible=predicted_visible, true_visible=true_visible, sizes=sizes)
    return mean_without_nan(hits)


def _faces(truth: ArrayLike) -> tuple[NDArray[np.float64], tuple[tuple[int, int], tuple[int, int]]]:
    """Return true faces and the corners of their eyes."""
    points = numbers("truth", truth)
    if points.ndim != 3 or points.shape[1] not in _EYE_CORNERS:
        raise InputError(f"truth {points.shape}: give faces (N, K, D) of {', '.join(map(str, _EYE_CORNERS))} points")
    return points, _EYE_CORNERS[points.shape[1]]


def _samples(truth: ArrayLike, last: int) -> NDArray[np.float64]:
    """Return true points (N, K, D) that include a point of index `last`."""
    points = numbers("truth", truth)
    if points.ndim != 3 or points.shape[1] <= last or points.shape[2] < 2:
        raise InputError(f"truth {points.shape}: give (N, K, 2 or more) with more than {last} points")
    return points
