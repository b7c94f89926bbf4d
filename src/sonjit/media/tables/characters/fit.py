"""Fit a skeleton with constant bone lengths to the keypoints of a tracked person.

Directions and positions are rows (M, 3), one for each frame. Rotations are matrices (M, 3, 3) that act on columns.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.geometry.rotations import align_rigidly, matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.media.tables.characters import BONES, FINGER_LIMITS, FINGER_PARTS, FINGERS, PARENTS, SIDES, Motion

_MIN_BEND_M: Final = 0.02
"""Distance of an elbow or knee from the line between its neighbours, below which its direction is unreliable."""
_TWISTS_RAD: Final = np.deg2rad([-170, 95])
"""Turns of a hand about x that it reaches against the rest pose, whose palms point down."""
FROM_CAMERA: Final = np.array([1.0, -1.0, -1.0])  # factors from the camera's axes to those of characters
_X, _Y, _Z = np.eye(3)
_NOSE, _EARS, _HIPS, _SHOULDERS = 0, (7, 8), (23, 24), (11, 12)
_ARMS, _LEGS = ((11, 13, 15), (12, 14, 16)), ((23, 25, 27), (24, 26, 28))
_PALMS = ((15, 17, 19), (16, 18, 20))  # wrist, little and index finger of a body
_FEET = ((27, 29, 31), (28, 30, 32))  # ankle, heel, toes
_PALM: Final = [0, 1, 5, 9, 13, 17]
_LEFT_PALM_M: Final = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.025, -0.015, 0.022],
        [0.088, 0.0, 0.028],
        [0.09, 0.003, 0.005],
        [0.083, 0.0, -0.015],
        [0.073, -0.006, -0.033],
    ]
)
"""Wrist and bases of the fingers of a left hand in the rest pose. They apply where no hand is detected."""
_FINGER_LENGTHS_M: Final = np.array(
    [[0.043, 0.032, 0.028], [0.044, 0.026, 0.022], [0.049, 0.03, 0.024], [0.045, 0.028, 0.023], [0.035, 0.021, 0.02]]
)
_THUMB: Final = np.array([0.75, 0.0, 0.66])
_NECK: Final = np.array([0.0, 0.95, 0.31])  # the ears are in front of the shoulders
_FACE: Final = np.array([0.0, -0.2, 0.98])  # from the ears to the nose
_MIRROR: Final = np.array([-1.0, 1.0, 1.0])
_MIN_PRESENCE = 0.5
_MIN_KEYPOINTS = 6  # minimum presence of a keypoint that is used. If fewer keypoints have it, all are used.
_FIRST_PLACE_M: Final = np.array([0.0, 0.0, 2.0])
_NEAREST_M = 0.1  # minimum depth of a keypoint in front of the camera
_SMOOTHING_S, _ROOT_SMOOTHING_S, _HINGE_SMOOTHING_S, _HAND_SMOOTHING_S, _FINGER_SMOOTHING_S = 0.03, 0.1, 0.1, 0.05, 0.02
"""Time constants of keypoints, the person's position, axes of elbows and knees, rotations of hands, and fingers."""
_MAX_SIDEWAYS: Final = 60
"""Maximum angle of a finger joint to the side in degrees. Keypoints of fists are noisy, so hinges have it too."""
_MAX_BEND_RAD: Final = np.deg2rad(110)  # maximum angle of a finger joint in all directions together
_EASE_S: Final = 0.3  # time in which fingers ease to the rest pose in gaps of more than twice this time
_STRAIGHT, _BENT = 0.1, 0.5  # sines of the angle of an elbow or knee between which its plane becomes certain
_CONTACT_SPEED, _CONTACT_HEIGHT_M, _CONTACT_S = 0.25, 0.06, 0.2
"""Maximum speed in metres per second and maximum height of a foot on the ground, and minimum time of a contact."""
_GROUND_PERCENTILE = 5  # percentile of the heights of the feet that is the ground
_STILL_SPEED, _STILL_SMOOTHING_S = 0.2, 0.05
"""Speed of a foot across the image in metres per second below which it does not move, and smoothing of that speed."""


def unit(vectors: FloatArray) -> FloatArray:
    """Return vectors (..., 3) with length 1, without a unit. Zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def aligned(first: FloatArray, second: FloatArray, rest_first: FloatArray, rest_second: FloatArray) -> FloatArray:
    """Return rotations (M, 3, 3) that turn a rest direction (3,) to `first`, and another one close to `second`."""
    return _axes(first, second) @ _axes(rest_first, rest_second).T


def swung(rotations: FloatArray, rest: FloatArray, direction: FloatArray) -> FloatArray:
    """Turn rotations by the shortest way so that a rest direction (3,) points to a direction (M, 3) of any unit."""
    return matrix_from_rotation_vector(_swing(rotations @ rest, direction)) @ rotations


def _swing(start: FloatArray, stop: FloatArray) -> FloatArray:
    """Return the shortest rotation vectors (..., 3) between directions."""
    start, stop = unit(start), unit(stop)
    axis = np.cross(start, stop)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), (start * stop).sum(-1))
    return unit(axis) * angle[..., None]


def half_twisted(lower: FloatArray, hand: FloatArray) -> FloatArray:
    """Turn the rotations (M, 3, 3) of a forearm, on the x axis at rest, by half of the twist in radians to its hand."""
    x = np.array([1.0, 0.0, 0.0])
    local = np.swapaxes(lower, 1, 2) @ hand
    twist = rotation_vector_from_matrix(swung(local, x, np.broadcast_to(x, (len(local), 3))))[:, 0]
    half = np.interp(twist, _TWISTS_RAD, _TWISTS_RAD / 2, period=2 * np.pi) * np.clip(2 + 2 * local[:, 0, 0], 0, 1)
    return lower @ matrix_from_rotation_vector(half[:, None] * x)


def mean_rotations(sums: FloatArray) -> FloatArray:
    """Return the rotations (without a unit) closest to sums (M, 3, 3) of rotations."""
    u, _, vt = np.linalg.svd(sums)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt


def bent_limb(
    start: FloatArray, middle: FloatArray, end: FloatArray, lengths: tuple[float, float], bend: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the directions of two bones with `lengths` in metres that lead from a start to an end.

    `start`, `middle` and `end` are positions (M, 3) of the shoulder or hip, near the elbow or knee, and of the wrist or
    ankle. The middle gives the plane of the limb. A straight limb bends to `bend` (M, 3), and one that is too short
    points to the end.
    """
    first, second = lengths
    way = end - start
    along = unit(way)
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    distance = np.clip(distance, abs(first - second) + 1e-4, (first + second) * 0.99999)
    out = _across(middle - start, along)
    size = np.linalg.norm(out, axis=-1, keepdims=True)
    out += np.maximum(_MIN_BEND_M - size, 0) * unit(_across(bend, along))
    forward = (first**2 - second**2 + distance**2) / (2 * distance)
    side = np.sqrt(np.maximum(first**2 - forward**2, 0))
    upper = forward * along + side * unit(out)
    return unit(upper), unit(distance * along - upper)


def _across(vectors: FloatArray, along: FloatArray) -> FloatArray:
    """Return the part of vectors that is perpendicular to unit vectors."""
    return vectors - (vectors * along).sum(-1, keepdims=True) * along


def _axes(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return right-handed columns (..., 3, 3): a direction, a second one made perpendicular, and their product."""
    first = unit(first)
    second = unit(_across(second, first))
    return np.stack([first, second, np.cross(first, second)], -1)


@dataclass(frozen=True)
class Track:
    """Keypoints of a person in M frames, with NaN where a hand is unknown."""

    frames: IndexArray  # positions (M,) in the list of all frames
    times: FloatArray  # seconds (M,)
    body: FloatArray  # keypoints (M, 33, 3) in metres, in the camera's axes
    pixels: FloatArray  # keypoints (M, 33, 2) in pixels
    presence: FloatArray  # probabilities (M, 33) that keypoints are in the image
    # Keypoints (M, 21, 3) of the left and the right hand in metres, in the camera's axes
    hands: tuple[FloatArray, FloatArray]


def fit_motion(name: str, track: Track, count: int, size: tuple[int, int]) -> Motion:
    """Fit a character to a person. The camera of the motion is at the origin."""
    camera, times = assumed_camera(*size), track.times
    root = smooth(_places(track, camera), times, _ROOT_SMOOTHING_S)
    body = smooth(_onto_rays(track, root, camera), times, _SMOOTHING_S) * FROM_CAMERA
    hands = [hand * FROM_CAMERA for hand in track.hands]
    figure = _Figure(times, body, root * FROM_CAMERA, track.presence)
    figure.add_trunk()
    figure.add_arms(hands, _limb_lengths(track.body, _ARMS))
    figure.add_legs(_limb_lengths(track.body, _LEGS))
    return figure.motion(name, track.frames, count, _still_feet(track, root[:, 2] / camera.fx))


def _still_feet(track: Track, metres_per_pixel: FloatArray) -> dict[str, BoolArray]:
    """Return the frames (M,) in which a foot is visible and does not move in the image, by side.

    The image shows this better than the position in space, whose depth is noisy.
    """
    if len(track.times) < 2:
        return {}
    result: dict[str, BoolArray] = {}
    for side, points in zip(SIDES, _FEET, strict=True):
        place = smooth(track.pixels[:, points[1:]].mean(1), track.times, _SMOOTHING_S)
        speed = np.linalg.norm(np.gradient(place, track.times, axis=0), axis=1) * metres_per_pixel
        is_visible = (track.presence[:, points] >= _MIN_PRESENCE).all(1)
        result[side] = (smooth(speed, track.times, _STILL_SMOOTHING_S) < _STILL_SPEED) & is_visible
    return result


def _places(track: Track, camera: Intrinsics) -> FloatArray:
    """Return the position (M, 3) of the keypoints' origin in front of a camera."""
    places: list[FloatArray] = []
    for body, pixels, presence in zip(track.body, track.pixels, track.presence, strict=True):
        used = presence >= _MIN_PRESENCE
        used |= used.sum() < _MIN_KEYPOINTS
        place = translation_to_view(body[used], pixels[used], camera)
        if place is None:
            place = places[-1] if places else _FIRST_PLACE_M
        places.append(place)
    return np.array(places)


def _onto_rays(track: Track, root: FloatArray, camera: Intrinsics) -> FloatArray:
    """Move the keypoints (M, 33, 3) in the image onto the rays of their pixels. Depths stay."""
    depth = track.body[..., 2] + root[:, None, 2]
    moved = camera.back_project(track.pixels, depth) - root[:, None]
    is_in_image = (track.presence >= _MIN_PRESENCE) & (depth > _NEAREST_M)
    return np.where(is_in_image[..., None], moved, track.body)


def _limb_lengths(body: FloatArray, limbs: tuple[tuple[int, int, int], ...]) -> tuple[float, float]:
    """Return the lengths of both bones of arms or legs: the longer side's, as networks shorten bent limbs."""
    first, second = (max(_length(body[:, limb[part + 1]] - body[:, limb[part]]) for limb in limbs) for part in (0, 1))
    return first, second


def smooth(values: FloatArray, times: FloatArray, width_s: float) -> FloatArray:
    """Average values (M, ...) of any unit with Gaussian weights in time, in seconds. NaN has no weight and stays."""
    is_known = np.isfinite(values)
    filled = np.where(is_known, values, 0.0).reshape(len(values), -1)
    counts = is_known.reshape(filled.shape).astype(np.float64)
    result = np.empty_like(filled)
    lows, highs = np.searchsorted(times, times - 3 * width_s), np.searchsorted(times, times + 3 * width_s + 1e-9)
    for row, (low, high) in enumerate(zip(lows, highs, strict=True)):
        weights = np.exp(-0.5 * ((times[low:high] - times[row]) / width_s) ** 2)
        result[row] = (weights @ filled[low:high]) / np.maximum(weights @ counts[low:high], 1e-12)
    return np.where(is_known, result.reshape(values.shape), np.nan)


def _within(bends: FloatArray) -> FloatArray:
    """Return rotation vectors (M, 5, 3, 3) about y and z with the nearest angles that finger joints reach."""
    low, high = np.moveaxis(np.deg2rad(FINGER_LIMITS)[:, :, 1, :2], -1, 0)
    side = np.full_like(high, np.deg2rad(_MAX_SIDEWAYS))
    low[0], side[0] = -high[0], high[0]  # the axes of the thumb are not those of the character
    middle = (low + high) / 2
    bends[..., 2] = (bends[..., 2] - middle + np.pi) % (2 * np.pi) - np.pi + middle
    bends = np.clip(bends, np.stack([-side, -side, low], -1), np.stack([side, side, high], -1))
    angles = np.maximum(np.linalg.norm(bends, axis=-1, keepdims=True), 1e-9)
    return bends * np.minimum(1, _MAX_BEND_RAD / angles)


def through_gaps(values: FloatArray, times: FloatArray) -> FloatArray:
    """Replace NaN in values (M, ...) of any unit: short gaps are interpolated, long ones ease to zero and back."""
    flat = values.reshape(len(values), -1)
    finite_rows = np.flatnonzero(np.isfinite(flat[:, 0]))
    if not len(finite_rows):
        return np.zeros_like(values)
    clock = np.cumsum(np.minimum(np.diff(times, prepend=times[0]), _EASE_S))  # a person who is away does not move
    edges = np.concatenate([[-np.inf], clock[finite_rows], [np.inf]])
    since = clock - edges[np.searchsorted(edges, clock, side="right") - 1]
    until = edges[np.searchsorted(edges, clock)] - clock
    share = np.clip(1 - np.minimum(since, until) / _EASE_S, 0, 1)
    weights = np.where(since + until <= 2 * _EASE_S, 1.0, share**2 * (3 - 2 * share))
    filled = np.stack([np.interp(clock, clock[finite_rows], column) for column in flat[finite_rows].T], 1)
    return (weights[:, None] * filled).reshape(values.shape)


class _Figure:
    """Bones of a person in M frames, added from the hips outwards.

    `body` (M, 33, 3) has the hips near the origin, whose positions are `root` (M, 3), in metres.
    """

    def __init__(self, times: FloatArray, body: FloatArray, root: FloatArray, presence: FloatArray) -> None:
        self._times = times
        self._body = body
        self._root = root
        self._presence = presence
        self._rotations: dict[str, FloatArray] = {}
        self._places: dict[str, FloatArray] = {}
        self._offsets: dict[str, FloatArray] = {}
        self._ends: dict[str, FloatArray] = {}
        self._is_known: dict[str, BoolArray] = {}
        self._is_seen: dict[str, BoolArray] = {}
        self._always = np.ones(len(body), np.bool_)

    def add_trunk(self) -> None:
        """Add the bones from the hips to the head."""
        body = self._body
        hips, shoulders, ears = (body[:, list(pair)].mean(1) for pair in (_HIPS, _SHOULDERS, _EARS))
        across_hips, across_shoulders = (body[:, left] - body[:, right] for left, right in (_HIPS, _SHOULDERS))
        self._rotations["hips"] = aligned(across_hips, shoulders - hips, _X, _Y)
        self._places["hips"], self._is_known["hips"] = hips, self._always
        offset = 0.1 * _length(shoulders - hips) * _Y
        spine = shoulders - hips - self._rotations["hips"] @ offset
        length = _length(spine)
        for number, bone in enumerate(("spine", "chest", "upperChest"), 1):
            across = unit(across_hips) * (3 - number) + unit(across_shoulders) * number
            self._add(bone, offset, aligned(spine, across, _Y, _X))
            offset = length / 3 * _Y
        chest = self._rotations["upperChest"]
        neck = ears - self._places["upperChest"] - chest @ offset
        self._add("neck", offset, swung(chest, _NECK, neck))
        size = _length(neck)
        head = aligned(body[:, _EARS[0]] - body[:, _EARS[1]], body[:, _NOSE] - ears, _X, _FACE)
        self._add("head", 0.55 * size * unit(_NECK), head)
        self._ends["head"] = size * _Y

    def add_arms(self, hands: list[FloatArray], lengths: tuple[float, float]) -> None:
        """Add shoulders, arms and hands, whose keypoints (M, 21, 3) in metres are NaN where a hand is unknown."""
        body, chest = self._body, self._rotations["upperChest"]
        width = _length(body[:, _SHOULDERS[0]] - body[:, _SHOULDERS[1]])
        offsets = [0.08 * width * sign * _X + 0.95 * self._offsets["neck"] for sign in (1, -1)]
        collars = [
            body[:, shoulder] - self._places["upperChest"] - chest @ offset
            for shoulder, offset in zip(_SHOULDERS, offsets, strict=True)
        ]
        collar = float(np.mean([_length(way) for way in collars]))
        finger_lengths = _finger_lengths(hands)
        for side, name in enumerate(SIDES):
            outward = (1 - 2 * side) * _X
            _, elbow, wrist = _ARMS[side]
            is_known = self._is_visible(wrist) | _is_found(hands[side])
            self._add(f"{name}Shoulder", offsets[side], swung(chest, outward, collars[side]))
            self._add_limb(
                (f"{name}UpperArm", f"{name}LowerArm"),
                outward,
                collar * outward,
                lengths,
                hinge=(2 * side - 1) * _Y,
                middle=body[:, elbow],
                end=body[:, wrist],
                bend=-chest[..., 2],
                is_known=(is_known | self._is_visible(elbow), is_known),
            )
            self._add_hand(side, lengths[1] * outward, hands[side], _palm(hands, side), finger_lengths)

    def add_legs(self, lengths: tuple[float, float]) -> None:
        """Add legs with `lengths`, and feet, which stay in place while they touch the ground."""
        body, hips = self._body, self._rotations["hips"]
        half = _length(body[:, _HIPS[0]] - body[:, _HIPS[1]]) / 2
        feet = [
            aligned(body[:, toes] - body[:, heel], body[:, ankle] - body[:, heel], _Z, _Y)
            for ankle, heel, toes in _FEET
        ]
        soles = [
            (body[:, [heel, toes]] - body[:, [ankle]]) @ foot
            for (ankle, heel, toes), foot in zip(_FEET, feet, strict=True)
        ]
        heel, toes = np.median(np.concatenate(soles), 0)  # relative to the ankle, in the rest pose
        height = (heel[1] + toes[1]) / 2
        ball = np.array([0, height, 0.35 * heel[2] + 0.65 * toes[2]])
        self._offsets["hips"] = (sum(lengths) - height) * _Y
        ankles = body[:, [ankle for *_, ankle in _LEGS]] + self._root[:, None]
        ground = float(np.percentile(ankles[..., 1].min(1), _GROUND_PERCENTILE))
        for side, name in enumerate(SIDES):
            _, knee, ankle = _LEGS[side]
            offset, is_known = (1 - 2 * side) * half * _X, self._is_visible(ankle)
            target = self._planted(ankles[:, side], ground, is_known) - self._root
            start = self._places["hips"] + hips @ offset
            forward = unit(np.cross(target - start, hips[..., 0]))
            behind = np.minimum(((body[:, knee] - start) * forward).sum(-1, keepdims=True), 0)
            self._add_limb(
                (f"{name}UpperLeg", f"{name}LowerLeg"),
                -_Y,
                offset,
                lengths,
                hinge=_X,
                middle=body[:, knee] - behind * forward,  # knees do not bend backwards
                end=target,
                bend=forward,
                is_known=(is_known | self._is_visible(knee), is_known),
            )
            self._add(f"{name}Foot", -lengths[1] * _Y, feet[side], is_known)
            self._add(f"{name}Toes", ball, feet[side], is_known)
            self._ends[f"{name}Toes"] = np.array([0, 0, toes[2] - ball[2]])

    def motion(self, name: str, frames: IndexArray, count: int, still: dict[str, BoolArray]) -> Motion:
        """Return the motion in `count` frames, of which those of the indices (M,) are known."""
        local = np.tile(np.eye(3), (len(self._body), len(BONES), 1, 1))
        for number, bone in enumerate(BONES):
            parent, rotations = PARENTS[bone], self._rotations[bone]
            if parent:
                rotations = np.swapaxes(self._rotations[parent], 1, 2) @ rotations
            detected_rows = np.flatnonzero(self._is_known[bone])
            if len(detected_rows):
                local[:, number] = rotations[detected_rows[latest_of(detected_rows, np.arange(len(rotations)))]]
        source = latest_of(frames, np.arange(count))
        return Motion(
            name,
            np.stack([self._offsets[bone] for bone in BONES]),
            self._ends,
            local[source],
            (self._root + self._places["hips"])[source],
            ~np.isin(np.arange(count), frames),
            {side: ~np.isin(np.arange(count), frames[seen]) for side, seen in self._is_seen.items()},
            {side: np.isin(np.arange(count), frames[is_still]) for side, is_still in still.items()},
        )

    def _add(self, bone: str, offset: FloatArray, rotations: FloatArray, is_known: BoolArray | None = None) -> None:
        """Add a bone with its rest offset (3,) and rotations (M, 3, 3) in space, which are known in some frames."""
        parent = PARENTS[bone]
        self._offsets[bone], self._rotations[bone] = offset, rotations
        self._places[bone] = self._places[parent] + self._rotations[parent] @ offset
        self._is_known[bone] = self._always if is_known is None else is_known

    def _add_limb(
        self,
        bones: tuple[str, str],
        rest: FloatArray,
        offset: FloatArray,
        lengths: tuple[float, float],
        *,
        hinge: FloatArray,
        middle: FloatArray,
        end: FloatArray,
        bend: FloatArray,
        is_known: tuple[BoolArray, BoolArray],
    ) -> None:
        """Add the two bones of an arm or a leg, so that the limb ends at a target.

        `rest` and `hinge` (3,) are the direction of both bones and the axis of the elbow or knee in the rest pose.
        `is_known` has the frames in which the ends of the bones are in the image. For `middle`, `end` and `bend` see
        `bent_limb`.
        """
        parent = self._rotations[PARENTS[bones[0]]]
        start = self._places[PARENTS[bones[0]]] + parent @ offset
        first, second = bent_limb(start, middle, end, lengths, bend)
        axis = np.cross(first, second)
        sine = np.linalg.norm(axis, axis=-1, keepdims=True)
        share = np.clip((sine - _STRAIGHT) / (_BENT - _STRAIGHT), 0, 1)
        axis = share * unit(axis) + (1 - share) * (swung(parent, rest, first) @ hinge)
        axis = smooth(axis, self._times, _HINGE_SMOOTHING_S)  # the plane of a nearly straight limb is noisy
        self._add(bones[0], offset, aligned(first, axis, rest, hinge), is_known[0])
        self._add(bones[1], lengths[0] * rest, aligned(second, axis, rest, hinge), is_known[1])

    def _add_hand(
        self, side: int, offset: FloatArray, hand: FloatArray, palm: FloatArray, finger_lengths: FloatArray
    ) -> None:
        """Add a hand of keypoints (M, 21, 3), which are NaN where it is unknown, and its fingers.

        In the rest pose, `offset` (3,) is the wrist relative to the elbow, and `palm` (6, 3) the wrist and the bases of
        the fingers relative to the wrist. `side` is 0 for the left hand.
        """
        name, outward = SIDES[side], (1 - 2 * side) * _X
        wrist, little, index = (self._body[:, joint] for joint in _PALMS[side])
        rotations = aligned((little + index) / 2 - wrist, index - little, outward, _Z)
        is_found = _is_found(hand)
        if is_found.any():
            rotations[is_found] = align_rigidly(palm, hand[is_found][:, _PALM])[0]
        points = (hand - hand[:, :1]) @ rotations  # in the hand's axes; transposed, as points are rows
        rotations = mean_rotations(smooth(rotations, self._times, _HAND_SMOOTHING_S))
        lower = f"{name}LowerArm"
        self._add(f"{name}Hand", offset, rotations, self._is_known[lower] | is_found)
        self._rotations[lower] = half_twisted(self._rotations[lower], rotations)
        self._is_seen[name] = is_found
        fold = np.array([1, 1, -outward[0]])  # z becomes positive where a finger bends to the palm
        rests = np.array([unit(_THUMB * (outward[0], 1, 1)), *[outward] * 4])
        chains = points[:, 1:].reshape(-1, 5, 4, 3)
        to_base = matrix_from_rotation_vector(_swing(chains[:, :, 0], palm[1:]))
        directions, turned = np.diff(chains, axis=2) @ np.swapaxes(to_base, -1, -2), np.eye(3)
        bends = np.zeros(directions.shape)
        for number in range(3) if is_found.any() else ():
            bends[:, :, number] = _swing(rests, (directions[:, :, [number]] @ turned)[:, :, 0])
            turned = turned @ matrix_from_rotation_vector(bends[:, :, number])
        bends = smooth(_within(bends * fold) * fold, self._times, _FINGER_SMOOTHING_S)
        local = matrix_from_rotation_vector(through_gaps(bends, self._times))
        for finger, (rest, lengths, at) in enumerate(zip(rests, finger_lengths, palm[1:], strict=True)):
            for number, part in enumerate(FINGER_PARTS[FINGERS[finger]]):
                bone = f"{name}{FINGERS[finger]}{part}"
                self._add(bone, at, self._rotations[PARENTS[bone]] @ local[:, finger, number])
                at = lengths[number] * rest
            self._ends[f"{name}{FINGERS[finger]}Distal"] = at

    def _planted(self, ankle: FloatArray, ground: float, is_known: BoolArray) -> FloatArray:
        """Return positions of an ankle (M, 3) that stay in place while it is slow and close to the ground."""
        times = self._times
        if len(times) < 2:
            return ankle
        speed = np.linalg.norm(np.gradient(ankle, times, axis=0), axis=1)
        is_low = ankle[:, 1] < ground + _CONTACT_HEIGHT_M
        fixed = ankle.copy()
        for start, stop in runs((speed < _CONTACT_SPEED) & is_low & is_known):
            if times[stop - 1] - times[start] >= _CONTACT_S:
                fixed[start:stop] = np.median(ankle[start:stop], 0)
        return ankle + smooth(fixed - ankle, times, _SMOOTHING_S)  # no jump where a contact begins or ends

    def _is_visible(self, keypoint: int) -> BoolArray:
        """Check in which frames (M,) a keypoint is in the image."""
        return np.asarray(self._presence[:, keypoint] >= _MIN_PRESENCE, np.bool_)


def _palm(hands: list[FloatArray], side: int) -> FloatArray:
    """Return wrist and bases of the fingers (6, 3) in the rest pose. An unknown hand mirrors the other one."""
    for which, mirror in ((side, 1), (1 - side, _MIRROR)):
        hand = hands[which][_is_found(hands[which])]
        if len(hand):
            outward = (1 - 2 * which) * _X
            rotations = aligned(hand[:, 9] - hand[:, 0], hand[:, 5] - hand[:, 17], outward, _Z)
            return np.median((hand[:, _PALM] - hand[:, :1]) @ rotations, 0) * mirror  # transposed, as points are rows
    return _LEFT_PALM_M * (_MIRROR if side else 1)


def _finger_lengths(hands: list[FloatArray]) -> FloatArray:
    """Return the lengths (5, 3) of the bones of the fingers in metres."""
    hand = np.concatenate([hand[_is_found(hand)] for hand in hands])
    if not len(hand):
        return _FINGER_LENGTHS_M
    steps = np.diff(hand[:, 1:].reshape(-1, 5, 4, 3), axis=2)
    return np.median(np.linalg.norm(steps, axis=-1), 0)


def _is_found(hand: FloatArray) -> BoolArray:
    """Check in which frames (M,) all keypoints (M, 21, 3) of a hand are known."""
    return np.asarray(np.isfinite(hand).all((1, 2)), np.bool_)


def _length(vectors: FloatArray) -> float:
    """Return the median length of vectors (M, 3)."""
    return float(np.median(np.linalg.norm(vectors, axis=-1)))


def latest_of(detected: IndexArray, indices: IndexArray) -> IndexArray:
    """Return for each index (M,) the position of the latest known one (L,), or of the first one before that."""
    return np.maximum(np.searchsorted(detected, indices, side="right") - 1, 0)


def runs(flags: BoolArray) -> list[tuple[int, int]]:
    """Return the start and stop index of each run of true values in (M,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
