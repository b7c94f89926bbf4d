"""Keep the skin of posed hands from passing through itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import BoolArray, Float32Array, FloatArray, IndexArray, RealArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit_lab.hand_models.rig import FINGERS, Rig, RigPose, Side, free_joints, joint_limits, turn_axes
from sonjit_lab.synthesis.hand_meshes import coarse_faces

PALM: Final = 5  # owner of skin that belongs to no finger; fingers are 0 (thumb) to 4
DEPTH_M: Final = 0.001  # maximum depth of a vertex inside another skin, which soft skin allows
FINGER_OF, STEP_OF = np.full((2, 25), -1)  # of each joint; a tip moves with the last joint that bends

_SEARCH_MARGIN_M: Final = 0.02  # nothing is deeper inside a finger or a palm
_FREE_SKIN_START: Final = 0.5  # of a finger's first bone: the skin before it belongs to the web between the fingers
_BLOCK: Final = 1 << 16  # distances at once, so that they stay near the processor
_ROUNDS: Final = 10
_LAST_ROUNDS: Final = 40
_CONTACT_M: Final = 0.001  # tolerance of contacts
_TOUCH_M: Final = 0.0005
_STEPS: Final = np.array([0.1] * 3 + [0.01] * 3)  # standard deviation of a hand's motion in a round, in rad and m
_STEP_RAD: Final = 0.2  # standard deviation of a joint's rotation in a round
_GAP_M: Final = 0.0003  # left between skins
_MIN_AGREEMENT: Final = 0.3  # minimum length of the mean direction, relative to the sum of depths
_TIPS_M: Final = 0.0145  # between the tips' joints where pads touch
_PAD_M: Final = 0.0075  # before the skin's end a pad begins; some rigs have their tips beyond
_SMOOTHING_PASSES: Final = 2
_SMOOTHING_S: Final = 0.07


@dataclass(frozen=True, eq=False)
class Skin:
    """Skin of a hand in one pose."""

    points: FloatArray  # vertices (V, 3) in metres
    normals: FloatArray  # unit normals (V, 3)

    @cached_property
    def axes(self) -> FloatArray:
        """Return the coordinates (3, V) of the vertices by axis."""
        return np.ascontiguousarray(self.points.T)


class Contacts(NamedTuple):
    """C vertices of one skin inside another."""

    inside: IndexArray  # indices (C,) of the vertices inside
    against: IndexArray  # indices (C,) of the nearest vertices of the other skin
    depths: FloatArray  # depths (C,) in metres along the normals of those


@dataclass(frozen=True, eq=False)
class Regions:
    """Owners of a hand's skin."""

    joints: IndexArray  # joint (V,) that moves each vertex most
    owners: IndexArray  # finger (V,) of each vertex, or `PALM`
    free: BoolArray  # mask (V,) of the skin of fingers beyond the web

    @cached_property
    def fingers(self) -> tuple[tuple[IndexArray, BoolArray], ...]:
        """Return the indices of the free skin and a mask (V,) of all skin, by finger."""
        masks = [self.owners == finger for finger in range(len(FINGERS))]
        return tuple((np.flatnonzero(self.free & mask), mask) for mask in masks)


@lru_cache(maxsize=8)
def coarse_rig(rig: Rig) -> Rig:
    """Return a subdivided rig with the vertices that it had before."""
    faces = coarse_faces(rig)
    count = int(faces.max()) + 1
    return replace(
        rig, vertices=rig.vertices[:count], normals=rig.normals[:count], faces=faces, weights=rig.weights[:count]
    )


def skin_around(rig: Rig, frames: FloatArray, joints: FloatArray) -> Skin:
    """Return the skin around joints (1, 25, 3) in metres from `Rig.place`, in one frame, with axes (1, 25, 3, 3)."""
    (points,), (normals,) = rig.skin_around(frames, joints)
    return Skin(points, normals)


@lru_cache(maxsize=8)
def regions_of(rig: Rig) -> Regions:
    """Return the regions of any rig, from its weights."""
    joints = rig.weights.argmax(1)
    owners, free = np.full(len(joints), PALM), np.zeros(len(joints), np.bool_)
    for finger, chain in enumerate(FINGERS):
        first = chain[1] if finger == 0 else chain[0]  # the thumb's metacarpal is in the palm
        on_finger = np.isin(joints, chain)
        owners[on_finger] = finger
        bone = rig.joints[first + 1] - rig.joints[first]
        ahead = (rig.vertices - rig.joints[first]) @ bone / (bone @ bone)
        free |= on_finger & (joints >= first) & ((joints > first) | (ahead > _FREE_SKIN_START))
    return Regions(joints, owners, free)


def contacts_between(skin: Skin, other: Skin) -> Contacts:
    """Return the vertices of one skin inside the other."""
    which = np.flatnonzero(_near_box(skin.axes, other.axes, 0))
    if not len(which):
        return Contacts(which, which, np.zeros(0))
    points = skin.axes[:, which]
    against = np.flatnonzero(_near_box(other.axes, points, _SEARCH_MARGIN_M))
    if not len(against):
        return Contacts(which[:0], which[:0], np.zeros(0))
    others = other.axes[:, against]
    centre = others.mean(1, keepdims=True)
    others = (others - centre).astype(np.float32)
    nearest = _nearest((points - centre).astype(np.float32), others, _squares(others))
    return _inside(skin, other, which, against[nearest])


def contacts_within(skin: Skin, regions: Regions) -> Contacts:
    """Return the free skin of each finger inside the other fingers or the palm."""
    points = (skin.axes - skin.axes.mean(1, keepdims=True)).astype(np.float32)
    squares = _squares(points)
    free_skin: list[IndexArray] = []
    near_skin: list[IndexArray] = []
    for free, on_finger in regions.fingers:
        finger = points[:, free]
        others = np.flatnonzero(_near_box(points, finger, _SEARCH_MARGIN_M) & ~on_finger)
        if len(others):
            free_skin.append(free)
            near_skin.append(others[_nearest(finger, points[:, others], squares[others])])
    if not free_skin:
        return Contacts(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))
    which, nearest = np.concatenate(free_skin), np.concatenate(near_skin)
    facing = (skin.normals[which] * skin.normals[nearest]).sum(1) < 0
    return _inside(skin, skin, which[facing], nearest[facing])


def _inside(skin: Skin, other: Skin, which: IndexArray, nearest: IndexArray) -> Contacts:
    """Return those of the given vertices that lie inside the surface at their nearest vertices."""
    offset = other.points[nearest] - skin.points[which]
    depths = (offset * other.normals[nearest]).sum(1)
    keep = (depths > 0) & ((offset**2).sum(1) < _SEARCH_MARGIN_M**2)
    return Contacts(which[keep], nearest[keep], depths[keep])


def _squares(points: Float32Array) -> Float32Array:
    return (points[0] * points[0] + points[1] * points[1]) + points[2] * points[2]


def _nearest(points: Float32Array, others: Float32Array, squares: Float32Array) -> IndexArray:
    """Return indices (N,) of the points of `others` (3, M), with squares (M,), nearest to points (3, N), all near 0."""
    rows = max(_BLOCK // len(squares), 1)
    nearest: list[IndexArray] = []
    for first in range(0, points.shape[1], rows):
        apart = (2 * points[:, first : first + rows]).T @ others
        nearest.append(np.subtract(squares, apart, out=apart).argmin(1))
    return np.concatenate(nearest)


def _near_box(points: RealArray, others: RealArray, room: float) -> BoolArray:
    """Return a mask (N,) of points (3, N) in the box around others (3, M) or within `room` of it."""
    low, high = others.min(1, keepdims=True) - room, others.max(1, keepdims=True) + room
    return np.asarray(((points > low) & (points < high)).all(0), np.bool_)


class MovingHand:
    """Hand that contacts move: its skin in the current pose, and the derivatives of the skin by the joints."""

    def __init__(self, rig: Rig, pose: RigPose) -> None:
        self.fine = rig
        self.rig = coarse_rig(rig)
        self.regions: Regions = regions_of(self.rig)
        self.free = free_joints(self.rig)
        self.limits = joint_limits(self.free)
        self.set(replace(pose, angles=np.clip(pose.angles, *self.limits)))

    def set(self, pose: RigPose) -> None:
        self.pose = pose
        self.frames, self.joints_m = self.rig.joint_frames(pose)
        self.skin = skin_around(self.rig, self.frames, self.joints_m)
        self._fine: Skin | None = None
        self._within: Contacts | None = None
        self._turning: tuple[FloatArray, FloatArray] | None = None

    def fine_skin(self) -> Skin:
        """Return the skin of the subdivided mesh."""
        if self._fine is None:
            self._fine = skin_around(self.fine, self.frames, self.joints_m)
        return self._fine

    def contacts(self) -> Contacts:
        """Return the contacts between its fingers."""
        if self._within is None:
            self._within = contacts_within(self.skin, self.regions)
        return self._within

    def move(self, step: FloatArray) -> None:
        """Rotate, translate and bend the hand by a step (6 + P,): radians, metres, and P angles in radians."""
        angles = self.pose.angles.copy()
        angles[:, *self.free.which] = np.clip(angles[:, *self.free.which] + step[6:], self.free.low, self.free.high)
        rotation = matrix_from_rotation_vector(step[:3]) @ self.pose.rotation
        self.set(RigPose(rotation, self.pose.translation + step[3:6], angles))

    def pad(self, finger: int) -> FloatArray:
        """Return the pad (3,) inside a fingertip: its joint, or a point on the bone if the skin ends too near."""
        tip = FINGERS[finger][3]
        back = _pads(self.rig)[finger] * self.frames[0, tip][:, 2]
        return np.asarray(self.joints_m[0, tip] + back, np.float64)

    def slopes(self, points: FloatArray, joints: IndexArray) -> FloatArray:
        """Return the derivatives (C, 3, 6 + P) of points (C, 3) in metres of joints (C,) by the hand's parameters."""
        if self._turning is None:
            finger, joint, angle = self.free.which
            axes = turn_axes(self.rig, self.frames[:, FINGERS][:, :, :3], self.pose.angles)[0]
            self._turning = axes[finger, joint, angle], self.joints_m[0][np.array(FINGERS)[finger, joint]]
        axes, centres = self._turning  # (P, 3) each
        slopes = np.zeros((len(points), 3, 6 + len(self.free.low)))
        x, y, z = (points - self.pose.translation[0]).T
        slopes[:, 2, 0], slopes[:, 0, 1], slopes[:, 1, 2] = y, z, x  # each axis of the world times the arm
        slopes[:, 1, 0], slopes[:, 2, 1], slopes[:, 0, 2] = -z, -x, -y
        slopes[:, :, 3:6] = np.eye(3)
        finger, joint, _ = self.free.which
        moved = (FINGER_OF[joints][:, None] == finger) & (STEP_OF[joints][:, None] >= joint)
        (a, b, c), (x, y, z) = axes.T, points.T[..., None] - centres.T[:, None]  # (P,) and (C, P) each
        slopes[:, 0, 6:] = (b * z - c * y) * moved
        slopes[:, 1, 6:] = (c * x - a * z) * moved
        slopes[:, 2, 6:] = (a * y - b * x) * moved
        return slopes


@lru_cache(maxsize=8)
def _pads(rig: Rig) -> tuple[float, ...]:
    """Return the distance in metres from each fingertip's joint back to the pad."""
    joints, pads = regions_of(rig).joints, list[float]()
    for chain in FINGERS:
        on_tip, tip = np.isin(joints, chain[2:]), chain[3]
        beyond = -((rig.vertices[on_tip] - rig.joints[tip]) @ rig.frames[tip][:, 2])
        pads.append(max(_PAD_M - float(beyond.max(initial=0)), 0))
    return tuple(pads)


@dataclass(frozen=True, eq=False)
class Touch:
    """Two fingertips that should touch: (hand, finger) each, fingers from 0 (thumb) to 4 (little)."""

    first: tuple[int, int]
    second: tuple[int, int]


def resolve_penetration(hands: Sequence[tuple[Rig, RigPose]], touches: Sequence[Touch] = ()) -> list[RigPose]:
    """Return the nearest poses in which no skin is more than `DEPTH_M` inside another."""
    moving = [MovingHand(rig, pose) for rig, pose in hands]
    for _ in range(_ROUNDS):
        equations = [*_pushes(moving), *_pulls(moving, touches)]
        if all(abs(equation.displacements).max() < DEPTH_M for equation in equations):
            break
        _improve(moving, equations)
    for turn in range(2 * _LAST_ROUNDS):
        if not _pull_apart(moving, straight=turn >= _LAST_ROUNDS):
            break
    return [hand.pose for hand in moving]


def penetration_depth(hands: Sequence[tuple[Rig, RigPose]]) -> float:
    """Return the depth in metres of the deepest vertex inside another part or hand; 0 for none."""
    equations = _pushes([MovingHand(rig, pose) for rig, pose in hands])
    return max((float(equation.displacements.max()) - _GAP_M for equation in equations), default=0.0)


class _Equations(NamedTuple):
    """Displacements that C points of one hand require."""

    hand: int  # index of the hand
    slopes: FloatArray  # derivatives (C, 6 + P) of its points along the displacements
    other: int  # index of the hand that they move against
    other_slopes: FloatArray  # derivatives (C, 6 + P) of that hand's points
    displacements: FloatArray  # displacements (C,) in metres
    tolerance: float  # tolerance in metres


def _pushes(hands: list[MovingHand]) -> list[_Equations]:
    equations: list[_Equations] = []
    for index, hand in enumerate(hands):
        others = [(number, other.skin) for number, other in enumerate(hands) if number != index]
        contacts_of_others = [(number, skin, contacts_between(hand.skin, skin)) for number, skin in others]
        for number, skin, contacts in (*contacts_of_others, (index, hand.skin, hand.contacts())):
            if not len(contacts.inside):
                continue
            normals = skin.normals[contacts.against]
            hand_slopes = hand.slopes(hand.skin.points[contacts.inside], hand.regions.joints[contacts.inside])
            other = hands[number]
            slopes = other.slopes(skin.points[contacts.against], other.regions.joints[contacts.against])
            other_slopes = np.einsum("cap,ca->cp", slopes, normals)
            hand_slopes = np.einsum("cap,ca->cp", hand_slopes, normals)
            equations.append(_Equations(index, hand_slopes, number, other_slopes, contacts.depths + _GAP_M, _CONTACT_M))
    return equations


def _pulls(hands: list[MovingHand], touches: Sequence[Touch]) -> list[_Equations]:
    equations: list[_Equations] = []
    for touch in touches:
        joints = [np.array([FINGERS[finger][3]]) for _, finger in (touch.first, touch.second)]
        item, other = hands[touch.first[0]], hands[touch.second[0]]
        pad_own, pad_other = item.pad(touch.first[1])[None], other.pad(touch.second[1])[None]
        direction = pad_other - pad_own
        length = float(np.linalg.norm(direction))
        direction = direction / max(length, 1e-6)
        hand_slopes = np.einsum("cap,ca->cp", item.slopes(pad_own, joints[0]), direction)
        other_slopes = np.einsum("cap,ca->cp", other.slopes(pad_other, joints[1]), direction)
        displacement = np.array([length - _TIPS_M])
        equations.append(_Equations(touch.first[0], hand_slopes, touch.second[0], other_slopes, displacement, _TOUCH_M))
    return equations


def _improve(hands: list[MovingHand], equations: list[_Equations]) -> None:
    """Apply one damped Gauss-Newton step to all hands."""
    sizes = [6 + len(hand.free.low) for hand in hands]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    damping = [np.concatenate([_STEPS, np.full(size - 6, _STEP_RAD)]) ** -2 for size in sizes]
    normal, right = np.diag(np.concatenate(damping)), np.zeros(starts[-1])
    for index, hand_slopes, number, other_slopes, distances, tolerance in equations:
        slopes = np.zeros((len(distances), starts[-1]))
        slopes[:, starts[index] : starts[index + 1]] += hand_slopes
        slopes[:, starts[number] : starts[number + 1]] -= other_slopes
        normal += slopes.T @ slopes / tolerance**2
        right += slopes.T @ distances / tolerance**2
    step = np.asarray(np.linalg.solve(normal, right), np.float64)
    for hand, start, size in zip(hands, starts, sizes, strict=False):
        hand.move(step[start : start + size])


def _pull_apart(hands: list[MovingHand], *, straight: bool) -> bool:
    """Open hands that penetrate themselves and pull apart those that penetrate each other. Return whether any did.

    The direction of the contacts is shorter, but a finger may enter its neighbour; the straight one always converges.
    """
    moved = False
    for index, hand in enumerate(hands):
        contacts = hand.contacts()
        if len(contacts.inside) and contacts.depths.max() > DEPTH_M:
            angles = hand.pose.angles.copy()
            angles[:, np.unique(hand.regions.owners[contacts.inside])] *= 0.93
            hand.set(replace(hand.pose, angles=angles))
            moved = True
        for skin in [other.fine_skin() for other in hands[index + 1 :]]:
            fine_skin = hand.fine_skin()
            own_contacts, other_contacts = contacts_between(fine_skin, skin), contacts_between(skin, fine_skin)
            depths = [contacts.depths for contacts in (own_contacts, other_contacts)]
            depth = max(contact_depths.max(initial=0) for contact_depths in depths)
            if depth <= DEPTH_M:
                continue
            direction = (
                depths[0] @ skin.normals[own_contacts.against] - depths[1] @ fine_skin.normals[other_contacts.against]
            )
            length = float(np.linalg.norm(direction))
            if straight or length <= _MIN_AGREEMENT * (depths[0].sum() + depths[1].sum()):
                direction = fine_skin.points.mean(0) - skin.points.mean(0)
                length = float(np.linalg.norm(direction))
            hand.set(hand.pose.shifted((depth + _GAP_M) * (direction / length)))
            moved = True
    return moved


def separate_frames(
    poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig], times: FloatArray
) -> Mapping[Side, RigPose]:
    """Return every frame, at times (N,) in seconds, without penetration.

    Corrections are spread over the frames before and after.
    """
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    resolved = _resolve_frames(poses, rigs)
    for _ in range(_SMOOTHING_PASSES):
        smoothed: Mapping[Side, RigPose] = {
            side: _smooth_correction(poses[side], resolved[side], _SMOOTHING_S * fps) for side in poses
        }
        resolved = _resolve_frames(smoothed, rigs)
        poses = smoothed
    return resolved


def _resolve_frames(poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig]) -> Mapping[Side, RigPose]:
    """Resolve the penetration of each frame separately."""
    frames = [
        resolve_penetration([(rigs[side], pose[frame]) for side, pose in poses.items()])
        for frame in range(len(next(iter(poses.values()))))
    ]
    fields = ("rotation", "translation", "angles")
    return {
        side: RigPose(*(np.concatenate([getattr(frame[index], name) for frame in frames]) for name in fields))
        for index, side in enumerate(poses)
    }


def _smooth_correction(pose: RigPose, resolved: RigPose, frames: float) -> RigPose:
    """Return a motion plus the difference of another, smoothed over some frames."""
    steps = np.arange(-int(3 * frames) - 1, int(3 * frames) + 2)
    bell = np.exp(-((steps / max(frames, 1e-3)) ** 2) / 2)
    bell /= bell.sum()

    def smooth(added: FloatArray) -> FloatArray:
        flat = np.pad(added.reshape(len(added), -1), ((len(bell) // 2, len(bell) // 2), (0, 0)), "edge")
        return np.stack([np.convolve(column, bell, "valid") for column in flat.T], 1).reshape(added.shape)

    turns = rotation_vector_from_matrix(resolved.rotation @ np.swapaxes(pose.rotation, 1, 2))
    return RigPose(
        matrix_from_rotation_vector(smooth(turns)) @ pose.rotation,
        pose.translation + smooth(resolved.translation - pose.translation),
        pose.angles + smooth(resolved.angles - pose.angles),
    )
