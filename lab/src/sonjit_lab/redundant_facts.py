"""Compare facts that an input states twice: times and numbers, units, sides, image sizes and intrinsics.

Each function returns one line for each contradiction, with the advice to correct it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sonjit._util import FloatArray, RealArray

_RATE_TOLERANCE = 0.02  # relative difference of frame rates that no rounding explains
_CENTRE_TOLERANCE = 0.25  # largest distance of a principal point from the centre, in widths and heights
_UNIT_RATIOS = {1000.0: "millimetres", 100.0: "centimetres", 0.001: "kilometres", 39.37: "inches"}
_SIZE_TOLERANCE = 0.2  # relative difference of a hand's size from that of another unit
_PLAUSIBLE_RATIO = 2.0  # ratio of the sizes of predicted and labelled hands that needs no explanation
_MIN_SHARE = 0.5  # least share of hands that contradict their labels


def clock_notes(names: Sequence[str], numbers: Sequence[int], times_s: RealArray) -> list[str]:
    """Compare the times (C, F) in seconds, NaN if unknown, of images of equal number (F,) of C views."""
    times, places = np.asarray(times_s, np.float64), np.asarray(numbers, np.float64)
    rates = np.array([_rate(view_times, places) for view_times in times])
    usual = float(np.nanmedian(rates)) if np.isfinite(rates).any() else np.nan
    advice = "match the images by time with sonjit annotate sync --out SETS and --frame-sets SETS"
    others = [row for row in range(len(names)) if abs(rates[row] / usual - 1) > _RATE_TOLERANCE]
    if others:
        rate = ", ".join(f"{names[row]} {rates[row]:.4g}" for row in others)
        return [f"frame rates differ: {rate} and the others {usual:.4g} images per second; {advice}"]
    gaps = np.abs(times[:, None] - times[None])  # (C, C, F)
    finite = np.isfinite(gaps)
    totals = np.where(finite, gaps, 0).sum((1, 2))
    first = int(np.argmin(np.where(np.isfinite(rates), totals, np.inf))) if len(names) else 0
    notes: list[str] = []
    for row, name in enumerate(names):
        apart = np.flatnonzero(finite[first, row] & (gaps[first, row] * usual > 0.5 + 1e-6))
        if len(apart):
            number, gap_ms = numbers[apart[0]], 1000 * gaps[first, row, apart[0]]
            notes.append(
                f"images {number} of {names[first]} and {name} are {gap_ms:.0f} ms apart by their times, and "
                f"{len(apart)} of {finite[first, row].sum()} images by more than half an image; {advice}"
            )
    return notes


def _rate(times_s: FloatArray, numbers: FloatArray) -> float:
    """Return the images per second of one view's times (F,), NaN for fewer than two."""
    finite = np.isfinite(times_s)
    if finite.sum() < 2:
        return float("nan")
    steps = np.diff(times_s[finite]) / np.diff(numbers[finite])
    usual = float(np.median(steps))
    if not usual > 0:
        return float("nan")
    return 1 / float(steps[np.abs(steps / usual - 1) < 0.5].mean())  # times are rounded; lost images make long steps


def image_size_notes(name: str, image_size: tuple[int | None, int | None], camera_size: tuple[int, int]) -> list[str]:
    """Compare width and height in pixels of a view's images with those of its camera's calibration."""
    width, height = image_size
    if not width or not height or (width, height) == camera_size:
        return []
    turned = ", turned by 90 degrees" if (height, width) == camera_size else ""
    sizes = f"{width} x {height} pixels and its calibration is for {camera_size[0]} x {camera_size[1]}"
    return [f"images of camera {name} have {sizes}{turned}; take images and calibration of one size"]


def intrinsics_notes(cameras: Iterable[tuple[str, RealArray, int, int]]) -> list[str]:
    """Compare the intrinsics (3, 3) in pixels of cameras with the width and height of their images, by name."""
    notes: list[str] = []
    for name, matrix, width, height in cameras:
        K = np.asarray(matrix, np.float64)
        off = np.abs(K[:2, 2] / (width, height) - 0.5)
        if (off > _CENTRE_TOLERANCE).any():
            fitting = f"{2 * K[0, 2]:.0f} x {2 * K[1, 2]:.0f}"
            notes.append(
                f"camera {name}: its principal point ({K[0, 2]:.0f}, {K[1, 2]:.0f}) is that of images of about "
                f"{fitting} pixels, not {width} x {height}; are the images resized or cropped?"
            )
    return notes


def hand_notes(pairs: Iterable[tuple[RealArray, RealArray]]) -> list[str]:
    """Compare predicted with labelled hands (K, 3) in metres, NaN where unknown: their unit and their side."""
    ratios: list[float] = []
    reflected: list[bool] = []
    for predicted, labelled in pairs:
        predicted_m, truth = np.asarray(predicted, np.float64), np.asarray(labelled, np.float64)
        finite = np.isfinite(predicted_m).all(1) & np.isfinite(truth).all(1)
        if finite.sum() < 4:
            continue
        predicted_m, truth = (points[finite] - points[finite].mean(0) for points in (predicted_m, truth))
        ratios.append(float(np.linalg.norm(predicted_m) / max(float(np.linalg.norm(truth)), 1e-12)))
        left, values, right = np.linalg.svd(predicted_m.T @ truth)
        flat = values[2] < 1e-6 * values[0]  # a flat hand is its own mirror image
        reflected.append(bool(np.linalg.det(left @ right) < 0 and not flat))
    if not ratios:
        return []
    return [*_unit_notes(float(np.median(ratios))), *_side_notes(sum(reflected), len(reflected))]


def _unit_notes(ratio: float) -> list[str]:
    if 1 / _PLAUSIBLE_RATIO < ratio < _PLAUSIBLE_RATIO:
        return []
    units = [unit for unit_ratio, unit in _UNIT_RATIOS.items() if abs(ratio / unit_ratio - 1) < _SIZE_TOLERANCE]
    guess = f": are they in {units[0]}? Metres are expected" if units else ": check their unit, which is metres"
    return [f"predicted hands are {ratio:.3g} times as large as labelled ones{guess}"]


def _side_notes(count: int, total: int) -> list[str]:
    if count <= _MIN_SHARE * total:
        return []
    return [f"{count} of {total} alignments are reflections: are the predictions mirrored, or of the other side?"]


def exchanged_sides(names: Mapping[int, str]) -> dict[int, int]:
    """Return the index of the keypoint of the other side for each name with `left` or `right` in it, else its own.

    >>> exchanged_sides({0: "nose", 1: "left_eye", 2: "right_eye"})
    {0: 0, 1: 2, 2: 1}
    """
    by_name = {name: index for index, name in names.items()}
    pairs = (("left", "right"), ("right", "left"))

    def other(name: str) -> str:
        return next((name.replace(side, far, 1) for side, far in pairs if side in name.split("_")), name)

    return {index: by_name.get(other(name), index) for index, name in names.items()}
