"""2D errors in parts of something on the person: MediaPipe's model cards, and faces by the distance of the eyes.

A sample whose size is 0 or unknown cannot be evaluated: its errors are NaN, and `left_out` counts it.

Sources: the model cards of MediaPipe's hands (MNAE), BlazePose (PDJ) and face mesh (IOD MAE); 300W (NME).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError
from sonjit.metrics.keypoints import joint_errors, joint_means, mean_error
from sonjit.metrics.statistics import known_mean, numbers

_SHOULDERS: Final = (11, 12)  # BlazePose: left, right
_HIPS: Final = (23, 24)
_EYE_CORNERS: Final = {
    68: ((36, 39), (45, 42)),
    98: ((60, 64), (72, 68)),
    468: ((33, 133), (263, 362)),
    478: ((33, 133), (263, 362)),
}
"""By how many points a face has (300W, WFLW, MediaPipe): outer and inner corner of the right and left eye."""
_EYE_RIMS: Final = (tuple(range(36, 42)), tuple(range(42, 48)))  # among 300W's 68 points
PDJ_SHARE: Final = 0.2
"""Of the torso: how far off a landmark may be."""


class NormalisedError(NamedTuple):
    """Mean errors in parts of a size; times 100 for per cent.

    Attributes:
        mean: over all that is valid; NaN with a missing prediction.
        per_joint: (K,).
        per_sample: (N,).
        left_out: how many samples have no usable size.
    """

    mean: float
    per_joint: NDArray[np.float64]
    per_sample: NDArray[np.float64]
    left_out: int


def normalised_errors(
    predicted: ArrayLike, truth: ArrayLike, sizes: ArrayLike, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Distances (N, K) in x and y of points (N, K, 2 or more), in parts of each sample's size (N,).

    NaN where truth or size is unknown or the size is 0; inf where nothing was predicted.
    """
    prediction, true, lengths = numbers("predicted", predicted), numbers("truth", truth), numbers("sizes", sizes)
    if lengths.shape != true.shape[:1]:
        raise InputError(f"sizes {lengths.shape}: give one per sample, {true.shape[:1]}")
    usable = usable_sizes(lengths)
    return joint_errors(prediction[..., :2], true[..., :2], valid) / np.where(usable, lengths, np.nan)[:, None]


def usable_sizes(sizes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which sizes (N,) something can be divided by."""
    return np.isfinite(sizes) & (sizes > 0)


def palm_sizes(truth: ArrayLike, *, wrist: int = 0, knuckle: int = 9) -> NDArray[np.float64]:
    """Distance (N,) in x and y from the wrist to the middle finger's knuckle of true hands (N, K, 2 or more)."""
    points = _samples(truth, max(wrist, knuckle))[..., :2]
    return np.linalg.norm(points[:, knuckle] - points[:, wrist], axis=-1)


def eye_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Distance (N,) of the eyes' centres, which lie between their corners.

    Args:
        truth: (N, K, 2 or 3) true faces: K is 68 (300W), 98 (WFLW), 468 or 478 (MediaPipe); the distance is in
            3D where they are.
    """
    points, (right, left) = _faces(truth)
    return np.linalg.norm(points[:, left].mean(1) - points[:, right].mean(1), axis=-1)


def outer_corner_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Distance (N,) of the eyes' outer corners of true faces as `eye_distances` takes them, in x and y."""
    points, (right, left) = _faces(truth)
    return np.linalg.norm(points[:, left[0], :2] - points[:, right[0], :2], axis=-1)


def pupil_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Distance (N,) of the means of each eye's six points of true faces (N, 68, 2) in 300W's order."""
    points = _samples(truth, 67)
    right, left = (points[:, rim, :2].mean(1) for rim in _EYE_RIMS)
    return np.linalg.norm(left - right, axis=-1)


def torso_sizes(truth: ArrayLike, kind: Literal["diagonal", "middle"] = "diagonal") -> NDArray[np.float64]:
    """Torso's size (N,) in x and y of true bodies (N, 33, 2 or more); the card leaves open which.

    `diagonal`: left shoulder to right hip; `middle`: from between the shoulders to between the hips.
    """
    points = _samples(truth, max(_HIPS))[..., :2]
    if kind == "diagonal":
        return np.linalg.norm(points[:, _HIPS[1]] - points[:, _SHOULDERS[0]], axis=-1)
    return np.linalg.norm(points[:, _HIPS].mean(1) - points[:, _SHOULDERS].mean(1), axis=-1)


def normalised_error(
    predicted: ArrayLike, truth: ArrayLike, sizes: ArrayLike, valid: ArrayLike | None = None
) -> NormalisedError:
    """Means of `normalised_errors`."""
    errors = normalised_errors(predicted, truth, sizes, valid)
    left_out = int((~usable_sizes(numbers("sizes", sizes))).sum())
    return NormalisedError(mean_error(errors, "all"), joint_means(errors), joint_means(errors.T), left_out)


def mnae(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, wrist: int = 0, knuckle: int = 9
) -> NormalisedError:
    """Mean 2D error of hands (N, 21, 2) in palm sizes: the card's mean normalised absolute error."""
    return normalised_error(predicted, truth, palm_sizes(truth, wrist=wrist, knuckle=knuckle), valid)


def iod_mae(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NormalisedError:
    """Mean 2D error of face meshes in interocular distances, which are 3D: truth (N, 468, 3), predicted alike or 2D."""
    return normalised_error(predicted, numbers("truth", truth), eye_distances(truth), valid)


def nme_300w(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NormalisedError:
    """Mean error of faces (N, 68, 2), or WFLW's (N, 98, 2), in distances of the eyes' outer corners."""
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
    """1 where a landmark's visibility is right and it is nearer to its truth than a share of the torso, else 0.

    Args:
        predicted: (N, K, 2 or more).
        truth: (N, K, 2 or more).
        predicted_visible: (N, K).
        true_visible: (N, K).
        sizes: (N,) as of `torso_sizes`.
        share: of the size; strict.

    Returns:
        (N, K); NaN where truth or size is unknown.
    """
    errors = normalised_errors(predicted, truth, sizes)
    predicted, true = (np.asarray(one).astype(np.bool_) for one in (predicted_visible, true_visible))
    if predicted.shape != errors.shape or true.shape != errors.shape:
        raise InputError(f"visibility {predicted.shape} and {true.shape}: give {errors.shape}, one per landmark")
    return np.where(np.isnan(errors), np.nan, (predicted == true) & (errors < share))


def pdj(
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    predicted_visible: ArrayLike,
    true_visible: ArrayLike,
    torso: Literal["diagonal", "middle"] = "diagonal",
) -> float:
    """Percentage of detected joints as a share, 0..1, of bodies (N, 33, 2) in BlazePose's order."""
    sizes = torso_sizes(truth, torso)
    hits = pdj_hits(predicted, truth, predicted_visible=predicted_visible, true_visible=true_visible, sizes=sizes)
    return known_mean(hits)


def _faces(truth: ArrayLike) -> tuple[NDArray[np.float64], tuple[tuple[int, int], tuple[int, int]]]:
    """True faces, and the corners of their eyes."""
    points = numbers("truth", truth)
    if points.ndim != 3 or points.shape[1] not in _EYE_CORNERS:
        raise InputError(f"truth {points.shape}: give faces (N, K, D) of {', '.join(map(str, _EYE_CORNERS))} points")
    return points, _EYE_CORNERS[points.shape[1]]


def _samples(truth: ArrayLike, last: int) -> NDArray[np.float64]:
    """True points (N, K, D) that have a point of the number `last`."""
    points = numbers("truth", truth)
    if points.ndim != 3 or points.shape[1] <= last:
        raise InputError(f"truth {points.shape}: give (N, K, D) with more than {last} points")
    return points
