"""Joint angles of one person over a recording: keypoints of the image with depth, stable sides, and one filter."""

import math
from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np

from sonjit._util import BoolArray, FloatArray, RealArray
from sonjit.results import Body, unmirrored
from sonjit.results.measures.bodies import (
    ANGLE_BONES,
    BODY_ANGLES,
    MIN_VISIBILITY,
    body_angles_rad,
    neck_flexion_rad,
    trunk_lean_rad,
)
from sonjit.results.skeletons import load_skeleton, mirrored_order

ANGLES: Final = (*BODY_ANGLES, "trunk_lean_rad", "neck_flexion_rad")
"""Names of the angles of `angles_deg`, in order."""
CUTOFF_HZ = 6.0  # cut-off frequency of the filter; movements of people contain little above it
MAX_GAP_S = 0.2  # maximum duration of a gap that is interpolated
_USUAL_RATE_HZ = 30.0  # of a recording of one frame
_RATE_STEPS = 5  # steps before and after a frame that give its rate
_RATE_TOLERANCE = 0.1  # largest change of a rate that counts as constant
_MEDIAN_S = 0.1  # duration of the median that removes outliers
_DEVIATION_S = math.sqrt(math.log(2)) / (2 * math.pi * CUTOFF_HZ)  # of the Gaussian that halves the power there
_SKELETON = load_skeleton("body_blazepose33")
_EXCHANGED = np.array(mirrored_order(_SKELETON.keypoints))
"""Index of the same keypoint on the other side."""
_LIMB_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_LIMBS = np.array([_SKELETON.index(f"{side}_{joint}") for joint in _LIMB_JOINTS for side in ("left", "right")])
_TRUNK = ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")
_CHAIN: Final = (("hip", "shoulder"), ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
_BOUNDED = [
    tuple((_SKELETON.index(f"{side}_{begin}"), _SKELETON.index(f"{side}_{end}")) for side in ("left", "right"))
    for begin, end in _CHAIN
]
"""Bones whose depth is bounded, as the indices of both ends, left and right."""
_FOLLOWERS = {
    _SKELETON.index(f"{side}_{joint}"): [_SKELETON.index(f"{side}_{name}") for name in names]
    for side in ("left", "right")
    for joint, names in {"wrist": ("pinky", "index", "thumb"), "ankle": ("heel", "foot_index")}.items()
}
_LIMB_CHAINS: Final = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle", "foot_index"))
"""Joints of a limb from the trunk outwards."""
_EDGE = 0.02  # distance from an edge of the image, relative to the size of the person, at which a joint is cut
_CUT_GAP_S = 0.5  # maximum time between two frames with a cut joint in which the network may see it elsewhere
_SHOULDERS = [_SKELETON.index(f"{side}_shoulder") for side in ("left", "right")]
_HEAD = slice(0, _SHOULDERS[0])
_LONGEST_PERCENTILE = 98  # of the lengths of a bone in the image
_MIN_LENGTH = 0.8  # minimum length of a bone, relative to the median of the network
_BOUNDED_SHARE = 0.5  # of the depth beyond the bound that is removed
_BOUND_STEPS = 10
_ANKLES = [ANGLES.index(f"{side}_ankle_angle_rad") for side in ("left", "right")]


def lifted_points(keypoints_px: RealArray, keypoints_m: RealArray) -> FloatArray:
    """Return points (N, 33, 3) in metres: x and y from the image, z from the world keypoints.

    Keypoints of the image are more accurate than the metres of the same network. The scale of each frame makes both
    equally large.

    Args:
        keypoints_px: Image keypoints (N, 33, 2 or more) in pixels.
        keypoints_m: World keypoints (N, 33, 3) in metres. NaN is unknown.
    """
    pixels, world = (np.asarray(points, np.float64) for points in (keypoints_px[..., :2], keypoints_m))
    finite = np.isfinite(world).all(-1) & np.isfinite(pixels).all(-1)
    chosen = finite & np.isin(np.arange(33), _LIMBS)
    spread_px, spread_m = (_spread(points, chosen) for points in (pixels, world[..., :2]))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(spread_px > 0, spread_m / spread_px, np.nan)
    return np.concatenate([pixels * scale[:, None, None], world[..., 2:]], axis=-1)


def _spread(points: FloatArray, chosen: BoolArray) -> FloatArray:
    """Return the root mean square distance (N,) of chosen points (N, K, 2) from their mean."""
    count = np.maximum(chosen.sum(-1), 1)[:, None]
    values = np.where(chosen[..., None], points, 0.0)
    mean = values.sum(1) / count
    squares = np.where(chosen[..., None], (points - mean[:, None]) ** 2, 0.0)
    return np.sqrt(squares.sum((-1, -2)) / count[:, 0])


def bounded_points(points: RealArray, keypoints_m: RealArray) -> FloatArray:
    """Return points (N, 33, 3) in metres with less depth where a bone is longer than it ever appears in the image.

    Networks add depth to bones that are parallel to the image. The length of a bone does not change in a recording, and
    is equal on both sides. The bound is the length that the image shows in the frames in which the bone appears
    longest, and at least 0.8 of the network's length, for bones that always point at the camera.

    Args:
        points: Points (N, 33, 3) in metres from `lifted_points`. NaN is unknown.
        keypoints_m: World keypoints (N, 33, 3) in metres.
    """
    result, world = np.asarray(points, np.float64).copy(), np.asarray(keypoints_m, np.float64)
    depth = result[..., 2].copy()
    bounds = [_depth_bounds(result, world, sides) for sides in _BOUNDED]
    for _ in range(_BOUND_STEPS):
        for sides, both in zip(_BOUNDED, bounds, strict=True):
            for (begin, end), bound in zip(sides, both, strict=True):
                along = depth[:, end] - depth[:, begin]
                excess = np.nan_to_num(along - np.clip(along, -bound, bound)) / 2
                depth[:, begin] += excess
                depth[:, end] -= excess
    moved = depth - result[..., 2]
    for joint, names in _FOLLOWERS.items():
        moved[:, names] = moved[:, joint, None]
    moved[:, _HEAD] = moved[:, _SHOULDERS].mean(1, keepdims=True)
    result[..., 2] += _BOUNDED_SHARE * np.nan_to_num(moved)
    return result


def _depth_bounds(points: FloatArray, world: FloatArray, sides: Sequence[tuple[int, int]]) -> list[FloatArray]:
    """Return the maximum depth (N,) in metres of a bone on each side, for points and world keypoints (N, 33, 3)."""
    bones = [points[:, end] - points[:, begin] for begin, end in sides]
    flat = [np.where(np.isfinite(bone[:, 2]), np.linalg.norm(bone[:, :2], axis=-1), np.nan) for bone in bones]
    full = np.concatenate([np.linalg.norm(world[:, end] - world[:, begin], axis=-1) for begin, end in sides])
    seen = np.concatenate(flat)
    if not np.isfinite(seen).any():
        return flat
    longest = max(float(np.nanpercentile(seen, _LONGEST_PERCENTILE)), _MIN_LENGTH * float(np.nanmedian(full)))
    return [np.sqrt(np.maximum(longest**2 - length**2, 0)) for length in flat]


def uncut_bodies(
    bodies: Sequence[Body | None], size: tuple[int, int], rate_hz: float | FloatArray
) -> list[Body | None]:
    """Return bodies whose keypoints that the image cuts are not visible.

    These are keypoints outside the image, and each joint at an edge with the rest of its limb. When a person leaves the
    image, the network moves a cut joint to the other limb after some frames. Between two frames with a cut joint, or
    between one and the person's first or last frame, neither side is visible.

    Args:
        bodies: The person in each frame, or None.
        size: Width and height of the image in pixels.
        rate_hz: Frames per second, of the recording or around each frame (N,).
    """
    present = np.array([body is not None for body in bodies], np.bool_)
    pixels = np.full((len(bodies), 33, 2), np.nan)
    for index, body in enumerate(bodies):
        if body is not None:
            pixels[index] = body.keypoints[:, :2]
    margin = np.zeros((len(bodies), 1, 1))
    margin[present, 0, 0] = _EDGE * np.ptp(pixels[present], axis=1).max(-1)
    hidden = ~_inside(pixels, np.zeros_like(margin), size)
    at_edge = ~_inside(pixels, margin, size)
    for chain in _LIMB_CHAINS:
        cut = np.zeros((len(bodies), 2), np.bool_)  # the left and the right limb
        unsure = np.zeros_like(cut)
        for joint in chain:
            columns = [_SKELETON.index(f"{side}_{joint}") for side in ("left", "right")]
            cut |= at_edge[:, columns]
            unsure |= _between(at_edge[:, columns] & present[:, None], present, rate_hz)
            lost = cut | unsure.any(1, keepdims=True)
            for column, values in zip(columns, lost.T, strict=True):
                hidden[:, [column, *_FOLLOWERS.get(column, ())]] |= values[:, None]
    result = [copy(body) for body in bodies]
    for index, body in enumerate(result):
        if body is not None:
            body.visibility = body.visibility * ~hidden[index]
    return result


def _inside(pixels: FloatArray, margin: FloatArray, size: tuple[int, int]) -> BoolArray:
    """Return which points (N, 33, 2) in pixels are in an image, without a margin (N, 1, 1) in pixels."""
    return np.all((pixels >= margin) & (pixels < np.array(size) - margin), axis=-1)


def _between(cut: BoolArray, present: BoolArray, rate_hz: float | FloatArray) -> BoolArray:
    """Return the frames (N, 2) of short gaps between frames with a cut joint, also before and after the person's."""
    result, steps_s = np.zeros_like(cut), 1 / np.broadcast_to(np.asarray(rate_hz, np.float64), len(cut))
    for side, column in enumerate((cut | ~present[:, None]).T):
        for begin, end in runs(~column):
            is_between = begin and end < len(cut) and cut[[begin - 1, end], side].any()
            if is_between and steps_s[begin:end].sum() <= _CUT_GAP_S + 1e-9:
                result[begin:end, side] = True
    return result


def exchanged_sides(points: RealArray) -> BoolArray:
    """Return the frames (N,) in which left and right are exchanged, compared with the first frame of a track.

    Sides are exchanged in a frame if its limbs are then nearer to those of the previous frame. A frame in which no
    joint is known on both sides has the sides of the previous frame.

    Args:
        points: Points (N, 33, 3) in metres. NaN is unknown.
    """
    exchanged = np.zeros(len(points), np.bool_)
    previous = np.full((len(_LIMBS), 3), np.nan)
    for index, frame in enumerate(np.asarray(points, np.float64)):
        exchanged[index] = index > 0 and exchanged[index - 1]
        seen = np.isfinite(frame).all(-1)
        centred = frame - frame[seen].mean(0) if seen.any() else frame
        here, there = centred[_LIMBS], centred[_EXCHANGED][_LIMBS]
        finite = np.isfinite(np.stack([previous, here, there])).all((0, -1))
        if finite.any():
            distances = [
                np.linalg.norm(candidate[finite] - previous[finite], axis=-1).sum() for candidate in (here, there)
            ]
            exchanged[index] = distances[1] < distances[0]
        chosen = there if exchanged[index] else here
        previous = np.where(np.isfinite(chosen), chosen, previous)
    return exchanged


def local_rates(times: Sequence[float]) -> FloatArray:
    """Return the frames per second (N,) around each frame at times in seconds; one rate where it hardly varies."""
    steps = np.diff(np.asarray(times, np.float64))
    if not len(steps) or not np.median(steps) > 0:
        return np.full(len(times), _USUAL_RATE_HZ)
    usual = float(np.median(steps))
    padded = np.pad(np.where(steps > 0, steps, usual), (_RATE_STEPS, _RATE_STEPS - 1), mode="edge")
    local = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _RATE_STEPS), axis=-1)
    local = np.append(local, local[-1])[: len(times)]
    is_constant = bool(np.all(np.abs(local / usual - 1) < _RATE_TOLERANCE))
    return 1 / (np.full(len(times), usual) if is_constant else local)


def filtered(values: RealArray, rate_hz: float | FloatArray) -> FloatArray:
    """Return values (N,) of a recording, in their unit, without outliers, short gaps and noise. NaN is unknown.

    `rate_hz` are the frames per second of the recording, or around each frame (N,).

    A median over 0.1 s removes outliers, gaps up to 0.2 s are interpolated, and a Gaussian filter of 6 Hz, which delays
    nothing, removes noise. Longer gaps stay. Values between two gaps that are shorter than half the median are unknown,
    as their median is one of themselves.
    """
    result = np.asarray(values, np.float64).copy()
    rates = np.broadcast_to(np.asarray(rate_hz, np.float64), result.shape)
    clock = np.cumsum(1 / rates) - 1 / rates[:1]
    finite = np.isfinite(result)
    for begin, end in runs(~finite):
        if begin and end < len(result) and (1 / rates[begin:end]).sum() <= MAX_GAP_S + 1e-9:
            result[begin:end] = np.interp(clock[begin:end], clock[[begin - 1, end]], result[[begin - 1, end]])
    halves = np.array([round(_MEDIAN_S * rate / 2) for rate in rates.tolist()], np.intp)  # as half a window
    for begin, end in runs(np.isfinite(result)):
        segment = slice(begin, end)
        medians = np.full(end - begin, np.nan)
        for half in np.unique(halves[segment]).tolist():
            padded = np.pad(result[segment], half, mode="edge")
            median = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)
            medians = np.where((halves[segment] == half) & (end - begin > half), median, medians)
        result[segment] = _smoothed(medians, clock[segment], rates[segment])
    return result


def _smoothed(values: FloatArray, clock: FloatArray, rates: FloatArray) -> FloatArray:
    """Return the Gaussian mean of each value (N,) at times (N,) and its neighbours, each weighed by its duration."""
    result = np.full(len(values), np.nan)
    reach = np.ceil(3 * _DEVIATION_S * rates).astype(np.intp)
    total, weights = np.zeros(len(values)), np.zeros(len(values))
    for shift in range(-int(reach.max(initial=0)), int(reach.max(initial=0)) + 1):
        here = np.arange(max(0, -shift), min(len(values), len(values) - shift))
        here = here[(np.abs(shift) <= reach[here]) & np.isfinite(values[here + shift])]
        distance = (clock[here + shift] - clock[here]) / _DEVIATION_S
        weight = np.exp(-0.5 * distance**2) / rates[here + shift]
        total[here] += weight * values[here + shift]
        weights[here] += weight
    np.divide(total, weights, out=result, where=(weights > 0) & np.isfinite(values))
    return result


def runs(mask: BoolArray) -> list[tuple[int, int]]:
    """Return begin and end of each row of true values of a mask (N,).

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def angles_deg(points: RealArray) -> FloatArray:
    """Return the angles (N, 12) of `ANGLES` in degrees, of points (N, 33, 3) in metres."""
    values = np.asarray(points, np.float64)
    single = np.stack([trunk_lean_rad(values), neck_flexion_rad(values)], axis=-1)
    return np.degrees(np.concatenate([body_angles_rad(values), single], axis=-1))


def tilts_deg(points: RealArray) -> FloatArray:
    """Return the larger angle (N, 12) of the two bones of each angle of `ANGLES` to the image plane, in degrees.

    Args:
        points: Points (N, 33, 3) in metres in the axes of the camera.
    """
    columns = [
        [(f"{side}_{begin}", f"{side}_{end}") for begin, end in bones]
        for bones in ANGLE_BONES.values()
        for side in ("left", "right")
    ]
    tilts: list[FloatArray] = []
    for pairs in [*columns, [*_TRUNK], [*_TRUNK]]:
        bones = [points[:, _SKELETON.index(end)] - points[:, _SKELETON.index(begin)] for begin, end in pairs]
        bone_tilts = [np.degrees(np.arctan2(abs(bone[:, 2]), np.linalg.norm(bone[:, :2], axis=-1))) for bone in bones]
        tilts.append(np.maximum(*bone_tilts))
    return np.stack(tilts, axis=-1)


def track_points(bodies: Sequence[Body | None]) -> FloatArray:
    """Return the points (N, 33, 3) in metres of one person, with stable sides; NaN where not visible or missing."""
    points = _lifted(bodies)
    return bounded_points(same_sides(points, points), _world(bodies))


def track_pixels(bodies: Sequence[Body | None]) -> FloatArray:
    """Return the keypoints (N, 33, 2) in pixels of one person, with stable sides; NaN where not visible or missing."""
    pixels = np.full((len(bodies), 33, 2), np.nan)
    for index, body in enumerate(bodies):
        if body is not None:
            pixels[index] = np.where(body.visibility[:, None] >= MIN_VISIBILITY, body.keypoints[:, :2], np.nan)
    return same_sides(pixels, _lifted(bodies))


def same_sides(values: FloatArray, points: FloatArray) -> FloatArray:
    """Return values (N, 33, ...) of keypoints, with the sides exchanged that points (N, 33, 3) exchange."""
    exchanged = exchanged_sides(points)
    result = values.copy()
    result[exchanged] = values[exchanged][:, _EXCHANGED]
    return result


def _lifted(bodies: Sequence[Body | None]) -> FloatArray:
    points, world = np.full((len(bodies), 33, 3), np.nan), _world(bodies)
    for index, body in enumerate(bodies):
        if body is not None:
            points[index] = lifted_points(body.keypoints[None], world[index : index + 1])[0]
    return points


def _world(bodies: Sequence[Body | None]) -> FloatArray:
    """Return world keypoints (N, 33, 3) in metres, NaN where not visible or missing."""
    world = np.full((len(bodies), 33, 3), np.nan)
    for index, body in enumerate(bodies):
        if body is not None:
            world[index] = np.where(body.visibility[:, None] >= MIN_VISIBILITY, body.keypoints_3d, np.nan)
    return world


def track_angles(bodies: Sequence[Body | None], rate_hz: float | FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return filtered angles (N, 12) of `ANGLES` and the tilts (N, 12) of their bones, in degrees.

    Ankles are measured without bounds of depth: the network's shin and foot have the same error of depth.

    Args:
        bodies: The person in each frame, or None.
        rate_hz: Frames per second, of the recording or around each frame (N,).
    """
    bodies = [body and unmirrored(body) for body in bodies]
    points, lifted = track_points(bodies), _lifted(bodies)
    values = angles_deg(points)
    values[:, _ANKLES] = angles_deg(same_sides(lifted, lifted))[:, _ANKLES]
    angles = np.stack([filtered(column, rate_hz) for column in values.T], axis=-1)
    return angles, tilts_deg(points)
