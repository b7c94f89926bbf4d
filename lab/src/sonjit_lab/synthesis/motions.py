"""Poses of hands, and motions from named sequences or from the detected hands of a video.

A peak pose (PP) moves from the neutral pose to a named pose and back; a range of motion (ROM) has several poses. Names
are numbered as in InterHand2.6M: 00.. right hand, 01.. left hand, 02.. both. Joints and positions follow minimum-jerk
trajectories (Flash and Hogan 1985), with small time offsets of the fingers. To grasp, an object is placed in the palm
or between the tips, then each finger closes until it touches, in coarse steps that are refined at the first contact.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np

from sonjit._util import FloatArray, IndexArray, InputError, RealArray, unknown_name
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.media.tables import load_video_table
from sonjit.results import Hand
from sonjit_lab.hand_models.hand_mesh import weak_view
from sonjit_lab.hand_models.rig import FINGERS, Rig, RigPose, Side, fit_lengths, fit_pose
from sonjit_lab.synthesis import contacts, factors, gestures, look_up, objects
from sonjit_lab.synthesis.hand_meshes import HandFiles
from sonjit_lab.synthesis.hand_shapes import SHAPE_NAMES, rig_from_shape

TOUCH_M: Final = 0.0005  # maximum distance of closed fingers from an object
_STEP_M: Final = 0.001
_FARTHEST_M: Final = 0.1
_STEPS: Final = 24
_NEAR_M: Final = 0.005  # more than the motion of a finger in a step, so that it does not pass through thin objects
_FINE: Final = (8, 48)  # steps refined, and in how many
_LOOSE_GRIP: Final = 12
_CLOSING_GESTURES: Final = {"wrap": ("stretched", "hold", "wrap"), "pinch": ("stretched", "beak_open", "pinch")}
"""Gestures that a hand passes through while it closes."""
_THUMB_FIRST: Final = "hold"  # first pose of the thumb if the object leaves room

_PALM_TO_CAMERA: Final = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
"""Columns: directions of the wrist's axes (bend, out of the back, back along the hand) when the palm faces the camera
and the fingers point up.
"""
_ASYMMETRY_DEG: Final = 25.0  # deviation of the second hand's rotation from the first's mirror image
_PALM_DISTANCE_M: Final = (0.045, 0.1)  # distance between the middles of two palms before penetration is resolved
_MIDDLE_KNUCKLE: Final = 11
_REST_S: Final = (0.1, 0.3)  # at the neutral pose
_TRANSITION_S: Final = (0.45, 0.9)  # between two poses
_PAUSE_S: Final = (0.1, 0.5)  # at a pose
_LAG: Final = 0.12  # share of a transition by which a finger starts late or ends early
_DRIFT_M: Final = 0.002
_DRIFT_RAD: Final = 0.015
_BUSY_RAD: Final = 0.6
_OUT_OF_VIEW: Final = 0.9
_LENGTH_M: Final = 0.002  # standard deviation of the bone lengths of a measured hand
SEQUENCE_GROUPS: Final = ("any", "peak", "rom")
_SIDES: Final[tuple[Side, ...]] = ("Right", "Left")
_MIN_FRAMES: Final = 2  # minimum number of frames of a hand. Hands in fewer frames are ignored as false detections.


@dataclass(frozen=True, eq=False)
class Grasp:
    """Hand around an object."""

    angles: FloatArray  # Angles (5, 3, 3) in radians, see `RigPose.angles`
    rotation: FloatArray  # rotation (3, 3) of the object, in the rig's axes at rest
    place: FloatArray  # position (3,) of its middle relative to the wrist in metres, in those axes


def grasp(rig: Rig, item: objects.SceneObject, rng: np.random.Generator) -> Grasp:
    """Return the grasp of an object."""
    coarse = contacts.coarse_rig(rig)
    path = np.stack([gestures.angles_from_gesture(rig, name) for name in _CLOSING_GESTURES[item.grip]])
    rotation, place = (_place_in_palm if item.grip == "wrap" else _place_at_tips)(coarse, item, path, rng)
    owners = contacts.regions_of(coarse).owners
    is_finger = owners != contacts.PALM
    skin = {name: getattr(coarse, name)[is_finger] for name in ("vertices", "normals", "weights")}
    fingers = replace(coarse, **skin)
    owners = owners[is_finger]

    def distances(shares: FloatArray) -> FloatArray:
        """Return the minimum distances (N, 5) of the fingers from the object when they are closed by shares (N, 5)."""
        points = (_skins(fingers, _close_fingers(path, shares)) - place) @ rotation
        skin = item.solid.distances(points)
        return np.stack([skin[:, owners == finger].min(1) for finger in range(5)], 1)

    thumb = path[0, 0].copy()
    path[0, 0] = gestures.angles_from_gesture(rig, _THUMB_FIRST)[0]
    if distances(np.zeros((1, 5)))[0, 0] < _NEAR_M:
        path[0, 0] = thumb
    step = 1 / (_STEPS - 1)
    shares = np.tile(np.linspace(0, 1, _STEPS)[:, None], (1, 5))
    near = _last_free(distances(shares), _NEAR_M) * step
    fine_shares = np.minimum(near + np.linspace(0, _FINE[0] * step, _FINE[1])[:, None], 1)
    closed = fine_shares[_last_free(distances(fine_shares), TOUCH_M), range(5)]
    for _ in range(_LOOSE_GRIP):
        pose = RigPose(np.eye(3)[None], rig.joints[:1], _close_fingers(path, closed[None]))
        if contacts.penetration_depth([(rig, pose)]) <= contacts.DEPTH_M:
            break
        closed = closed * 0.9  # reopen fingers that penetrate each other
    return Grasp(_close_fingers(path, closed[None])[0], rotation, place)


def _close_fingers(path: FloatArray, shares: FloatArray) -> FloatArray:
    """Return angles (N, 5, 3, 3) in radians with each finger closed by a share (N, 5) of a path (K, 5, 3, 3)."""
    along = shares * (len(path) - 1)
    first = np.minimum(along.astype(int), len(path) - 2)
    fingers = np.arange(5)
    before, after = path[first, fingers], path[first + 1, fingers]
    return before + (along - first)[..., None, None] * (after - before)


def _last_free(distances: FloatArray, near_m: float) -> IndexArray:
    """Return the last step (5,) before the distance (N, 5) of each finger first falls below a limit."""
    touches = distances < near_m
    first = np.where(touches.any(0), touches.argmax(0), len(touches))
    return np.maximum(first - 1, 0)


def _skins(rig: Rig, angles: FloatArray) -> FloatArray:
    """Return skins (N, V, 3) in metres relative to the wrist, in the rig's axes at rest."""
    count = len(angles)
    return rig.points(RigPose(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)), angles))


def _place_in_palm(
    rig: Rig, item: objects.SceneObject, path: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Place the object across the palm, its axis along the knuckles, far enough out for the open hand."""
    knuckles = rig.joints[[chain[0] for chain in FINGERS[1:]]] - rig.joints[0]
    out = -rig.frames[10][:, 1]  # out of the palm
    axis = knuckles[0] - knuckles[3] + 0.12 * rng.normal() * knuckles[1]
    axis -= out * (axis @ out)
    axis /= np.linalg.norm(axis)
    rotation = np.stack([out, np.cross(axis, out), axis], 1)
    middle = rng.uniform(0.85, 0.98) * knuckles.mean(0) + rng.uniform(-0.012, 0.012) * axis
    return rotation, _move_out(rig, item, path, rotation=rotation, middle=middle, out=out)


def _place_at_tips(
    rig: Rig, item: objects.SceneObject, path: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Place the object between the pads of thumb and index where they meet when closed, pointing away from the palm."""
    pose = RigPose(np.eye(3)[None], np.zeros((1, 3)), path[-1:])
    tips = rig.joint_frames(pose)[1][0, [FINGERS[0][3], FINGERS[1][3]]]
    across = tips[1] - tips[0]
    across /= np.linalg.norm(across)
    knuckles = rig.joints[[chain[0] for chain in FINGERS[1:]]] - rig.joints[0]
    axis = 2 * (tips.mean(0) - knuckles.mean(0)) + rng.normal(0, 0.8) * (knuckles[0] - knuckles[3])
    axis -= across * (axis @ across)
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, across)
    rotation = np.stack([across, side, axis], 1)
    middle = tips.mean(0) + rng.uniform(0.1, 0.85) * item.solid.size[2] * axis
    outwards = side * np.sign(side @ (tips.mean(0) - 0.5 * knuckles.mean(0)))
    return rotation, _move_out(rig, item, path, rotation=rotation, middle=middle, out=outwards)


def _move_out(
    rig: Rig, item: objects.SceneObject, path: FloatArray, *, rotation: FloatArray, middle: FloatArray, out: FloatArray
) -> FloatArray:
    """Return the nearest position (3,) on a line where the object does not touch the open hand."""
    skin = (_skins(rig, path[:1])[0] - middle) @ rotation
    moved, along = 0.0, out @ rotation
    while moved < _FARTHEST_M:
        near = float(item.solid.distances(skin - moved * along).min())
        if near > TOUCH_M:
            break
        moved += max(TOUCH_M - near, _STEP_M)  # less cannot free it
    return middle + moved * out


def pose_hands(
    rigs: Sequence[Rig], drawn: Mapping[str, factors.Value], rng: np.random.Generator
) -> tuple[list[RigPose], Grasp | None]:
    """Return poses of one or two hands around the world's origin, one frame each, and the grasp of the first hand."""
    interacts = drawn["hands"] == "interacting"
    if interacts and drawn["pair"] != "any":
        pair = pose_pair(str(drawn["pair"]), {rig.side: rig for rig in rigs}, rng)
        turn = rotation_from_angles(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
        return [
            replace(pose, rotation=turn @ pose.rotation, translation=pose.translation @ turn.T)
            for pose in (pair[rig.side] for rig in rigs)
        ], None
    poses: list[RigPose] = []
    grasped: Grasp | None = None
    for number, rig in enumerate(rigs):
        own_rng = np.random.default_rng(rng.integers(1 << 62))
        turn = turn_hand(rig, drawn, own_rng.normal(0, _ASYMMETRY_DEG, 3) * number)
        if number == 0 and drawn["held"] != "none" and not interacts:
            grasped = grasp(rig, look_up("object", objects.SCENE_OBJECTS, str(drawn["held"])), own_rng)
            angles = grasped.angles
        elif drawn["gesture"] == "any":
            angles = gestures.sample_angles(rig, own_rng)
        else:
            angles = gestures.angles_from_gesture(rig, str(drawn["gesture"]), own_rng, float(drawn["looseness"]))
        middle = turn @ (rig.joints[_MIDDLE_KNUCKLE] - rig.joints[0]) / 2
        poses.append(RigPose(turn[None], -middle[None], angles[None]))
    if interacts:
        direction = rng.normal(size=3)
        shift = direction / np.linalg.norm(direction) * rng.uniform(*_PALM_DISTANCE_M)
        poses = contacts.resolve_penetration(list(zip(rigs, [poses[0], poses[1].shifted(shift[None])], strict=True)))
    return poses, grasped


def turn_hand(rig: Rig, drawn: Mapping[str, factors.Value], more_deg: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) from the rig's rest by the factors and `more_deg` (3,): yaw, pitch, roll in degrees.

    The left hand is mirrored.
    """
    yaw, pitch, roll = np.array([float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")]) + more_deg
    mirror = 1 if rig.side == "Right" else -1
    return rotation_from_angles(mirror * yaw, pitch, mirror * roll) @ _PALM_TO_CAMERA @ rig.frames[0].T


def rotation_from_angles(yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """Return the rotation (3, 3): yaw around the world's y, then pitch around its x, then roll around its z."""
    angles = np.deg2rad(np.diag([pitch_deg, yaw_deg, roll_deg]))
    pitch, yaw, roll = matrix_from_rotation_vector(angles)
    return roll @ pitch @ yaw


def pose_pair(name: str, rigs: Mapping[Side, Rig], rng: np.random.Generator | None = None) -> Mapping[Side, RigPose]:
    """Return one-frame poses of both hands in a pose of `pair_names`, touching as it requires, before the chest."""
    scripts = {script.name: script for script in gestures.scripts()["both"]}
    script = look_up("pose of two hands", scripts, name)
    stations: dict[Side, gestures.Station] = {side: sequence[0] for side, sequence in script.stations.items()}
    return poses_from_stations(stations, rigs, script.touch, rng)


def poses_from_stations(
    stations: Mapping[Side, gestures.Station],
    rigs: Mapping[Side, Rig],
    touch: Sequence[tuple[int, int]] = (),
    rng: np.random.Generator | None = None,
) -> Mapping[Side, RigPose]:
    """Return the pose of each hand at its station. Two hands touch and do not penetrate each other."""
    poses: dict[Side, RigPose] = {
        side: gestures.pose_from_station(rigs[side], item, rng) for side, item in stations.items()
    }
    if len(poses) == 1:
        return poses
    sides: tuple[Side, Side] = ("Right", "Left")
    touches = [contacts.Touch((0, right), (1, left)) for right, left in touch]
    resolved = contacts.resolve_penetration([(rigs[side], poses[side]) for side in sides], touches)
    return dict(zip(sides, resolved, strict=True))


@dataclass(frozen=True, eq=False)
class HandSequence:
    """Hands over time."""

    name: str  # name with its number
    kind: Literal["PP", "ROM"]  # PP for a peak pose, ROM for a range of motion
    times: FloatArray  # times (N,) in seconds
    # poses of N frames of each hand in the sequence, relative to the point in front of the chest
    poses: Mapping[Side, RigPose]


@lru_cache(maxsize=1)
def sequence_names() -> tuple[str, ...]:
    """Return the names of all sequences: peak poses first, then ranges of motion."""
    return tuple(_scripts())


def perform_sequence(name: str, rigs: Mapping[Side, Rig], fps: float, rng: np.random.Generator) -> HandSequence:
    """Return one performance of a sequence."""
    kind, script = look_up("sequence", _scripts(), name)
    if not fps > 0:
        raise InputError(f"{fps} frames per second: must be above 0")
    keys = _key_poses(script, rigs, rng)
    starts, ends = _timing(len(keys), rng)
    times = np.arange(0, ends[-1], 1 / fps)
    poses: dict[Side, RigPose] = {
        side: _add_drift(_interpolate([key[side] for key in keys], starts, ends, times, rng), times, rng)
        for side in script.stations
    }
    return HandSequence(name, kind, times, contacts.separate_frames(poses, rigs, times))


def retarget(
    side: Side, keypoints: RealArray, times: RealArray | None = None, files: HandFiles | None = None
) -> tuple[FloatArray, RigPose]:
    """Return the shape (36,) and poses of a detected hand (N, 21, 3) in metres, at times (N,) in seconds.

    Without times, frames are separate.
    """
    shape = np.zeros(len(SHAPE_NAMES))
    plain = rig_from_shape(side, shape, files)
    measured = fit_lengths(plain, keypoints)
    length_changes = np.stack([rig_from_shape(side, item, files).lengths for item in np.eye(len(shape))], 1)
    length_changes = length_changes - plain.lengths[:, None]
    is_bone = np.arange(20) % 4 != 3  # the position of a tip is arbitrary
    slopes = length_changes[is_bone] / _LENGTH_M
    pull = slopes.T @ (measured - plain.lengths)[is_bone] / _LENGTH_M
    shape = np.asarray(np.linalg.solve(slopes.T @ slopes + np.eye(len(shape)), pull).clip(-4, 4), np.float64)
    return shape, fit_pose(rig_from_shape(side, shape, files), keypoints, times)


@lru_cache(maxsize=1)
def _scripts() -> Mapping[str, tuple[Literal["PP", "ROM"], gestures.Script]]:
    sequences: dict[str, tuple[Literal["PP", "ROM"], gestures.Script]] = {}
    sides: tuple[tuple[Side, int, str], ...] = (("Right", 0, "RT"), ("Left", 1, "LT"))
    for side, group, _ in sides:
        for number, script in enumerate(gestures.scripts()["peak"]):
            script_of_side = replace(script, stations={side: script.stations["Right"]})
            sequences[f"0{group}{number:02d}_{script.name}"] = "PP", script_of_side
    for number, script in enumerate(gestures.scripts()["both"]):
        sequences[f"02{number:02d}_dh_{script.name}"] = "PP", script
    for side, _, short in sides:
        for number, script in enumerate(gestures.scripts()["range"], 1):
            script_of_side = replace(script, stations={side: script.stations["Right"]})
            sequences[f"ROM{number:02d}_{short}_{script.name}"] = "ROM", script_of_side
    for number, script in enumerate(gestures.scripts()["range_both"], 1):
        sequences[f"ROM{number:02d}_2H_{script.name}"] = "ROM", script
    return sequences


def _key_poses(
    script: gestures.Script, rigs: Mapping[Side, Rig], rng: np.random.Generator
) -> list[Mapping[Side, RigPose]]:
    """Return the neutral pose, each station of the hands without penetration, and the neutral pose."""
    sides = list(script.stations)
    neutral: Mapping[Side, RigPose] = {
        side: gestures.pose_from_station(rigs[side], gestures.neutral_station(), rng) for side in sides
    }
    keys: list[Mapping[Side, RigPose]] = [neutral]
    for number in range(len(script.stations[sides[0]])):
        stations: Mapping[Side, gestures.Station] = {side: script.stations[side][number] for side in sides}
        keys.append(poses_from_stations(stations, rigs, script.touch, rng))
    return [*keys, neutral]


def _timing(count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return the times at which each pose starts and ends, in seconds."""
    pauses = rng.uniform(*_PAUSE_S, count)
    pauses[[0, -1]] = rng.uniform(*_REST_S, 2)
    durations = np.append(0, rng.uniform(*_TRANSITION_S, count - 1))
    starts = (durations + np.append(0, pauses[:-1])).cumsum()
    return starts, starts + pauses


def _interpolate(
    keys: list[RigPose], starts: FloatArray, ends: FloatArray, times: FloatArray, rng: np.random.Generator
) -> RigPose:
    """Interpolate key poses at some times."""
    key = np.clip(np.searchsorted(starts, times, "right") - 1, 0, len(keys) - 2)
    share = np.clip((times - ends[key]) / (starts[key + 1] - ends[key]), 0, 1)
    late = rng.uniform(0, _LAG, (len(keys), 5))[key]
    early = rng.uniform(0, _LAG, (len(keys), 5))[key]
    fingers = _minimum_jerk(np.clip((share[:, None] - late) / (1 - late - early), 0, 1))[..., None, None]
    hand = _minimum_jerk(share)[:, None]
    angles, places = (np.stack([getattr(pose, name)[0] for pose in keys]) for name in ("angles", "translation"))
    moved = angles[key] + fingers * (angles[key + 1] - angles[key])
    # the thumb avoids fingers that open or close below it
    busy = np.abs(angles[1:] - angles[:-1])[:, 1:, :, 1].max((1, 2)).clip(0, _BUSY_RAD)[key] / _BUSY_RAD
    aside = (_OUT_OF_VIEW * busy * 16 * (hand[:, 0] * (1 - hand[:, 0])) ** 2)[:, None, None]
    moved[:, 0] += aside * (gestures.gestures()["cup"].angles[0] - moved[:, 0])
    rotations = np.stack([pose.rotation[0] for pose in keys])
    turns = rotation_vector_from_matrix(np.swapaxes(rotations[:-1], 1, 2) @ rotations[1:])
    return RigPose(
        rotations[key] @ matrix_from_rotation_vector(hand * turns[key]),
        places[key] + hand * (places[key + 1] - places[key]),
        moved,
    )


def _minimum_jerk(share: FloatArray) -> FloatArray:
    return share**3 * (10 - 15 * share + 6 * share**2)


def _add_drift(pose: RigPose, times: FloatArray, rng: np.random.Generator) -> RigPose:
    """Add slow waves of some millimetres, since no hand is completely still."""
    waves = np.sin(times[:, None, None] * rng.uniform(1.5, 6, (2, 6)) + rng.uniform(0, 7, (2, 6))).mean(1)
    turn = matrix_from_rotation_vector(waves[:, :3] * _DRIFT_RAD)
    return replace(pose, rotation=turn @ pose.rotation, translation=pose.translation + waves[:, 3:] * _DRIFT_M)


@dataclass(frozen=True, eq=False)
class HandTrack:
    """One hand through a sequence."""

    rig: Rig  # rig of its person
    shape: FloatArray  # shape (36,) of the rig
    pose: RigPose  # pose of M frames
    rows: Mapping[int, int]  # index into the pose, by frame of the sequence


@dataclass(frozen=True, eq=False)
class HandMotion:
    """Hands over time."""

    name: str  # name of the sequence
    times: FloatArray  # times (N,) in seconds
    hands: tuple[HandTrack, ...]  # hands that take part
    # camera whose frame they are in; None if they are relative to the point in front of a person's chest
    camera: Intrinsics | None = None


@dataclass(frozen=True)
class NamedMotions:
    """Performances of named sequences."""

    names: tuple[str, ...]  # names to choose from
    fps: float  # frames per second
    files: HandFiles | None = None  # files of the user's own hands; None for the catalog's rig

    @classmethod
    def chosen(cls, text: str, fps: float, files: HandFiles | None = None) -> "NamedMotions":
        """Choose sequences by `peak`, `rom` or `any`, or by names separated by commas."""
        if not 0 < fps <= 240:
            raise InputError(f"--fps {fps:g}: must be above 0 and at most 240")
        all_names = sequence_names()
        if text in SEQUENCE_GROUPS:
            wanted = {"any": (True, False), "peak": (False,), "rom": (True,)}[text]
            return cls(tuple(name for name in all_names if name.startswith("ROM") in wanted), fps, files)
        names = tuple(text.split(","))
        if wrong := [name for name in names if name not in all_names]:
            raise InputError(unknown_name("--sequence", wrong[0], (*SEQUENCE_GROUPS, *all_names)))
        return cls(names, fps, files)

    def make(self, shape: FloatArray, rng: np.random.Generator) -> HandMotion:
        """Return a performance of one of the sequences by hands of a shape (36,), numbers of standard deviations."""
        rigs: dict[Side, Rig] = {side: rig_from_shape(side, shape, self.files) for side in _SIDES}
        sequence = perform_sequence(self.names[rng.integers(len(self.names))], rigs, self.fps, rng)
        rows = {frame: frame for frame in range(len(sequence.times))}
        hands = tuple(HandTrack(rigs[side], shape, pose, rows) for side, pose in sequence.poses.items())
        return HandMotion(sequence.name, sequence.times, hands)


@dataclass(frozen=True)
class VideoMotion:
    """Motion of detected hands in a video; shapes are fitted to the hands."""

    path: str  # table with hands that `sonjit hands VIDEO --save` wrote
    files: HandFiles | None = None  # files of the user's own hands; None for the catalog's rig

    def make(self, shape: FloatArray, rng: np.random.Generator) -> HandMotion:
        """Return the motion, always the same one, whatever the shape (36,) and random numbers are."""
        return load_motion(self.path, self.files)


@lru_cache(maxsize=2)
def load_motion(path: str, files: HandFiles | None = None) -> HandMotion:
    """Load the motion of the hands in a table, in front of the camera that is assumed for a video of its size."""
    header, frames = load_video_table(path)
    if not header.width or not header.height:
        raise InputError(f"{path} does not define the size of the images; save the hands as .json")
    camera = assumed_camera(header.width, header.height)
    tracks: defaultdict[int, list[tuple[int, Hand]]] = defaultdict(list)
    for number, frame in enumerate(frames):
        for index, hand in enumerate(frame.hands):
            tracks[index if hand.id is None else hand.id].append((number, hand))
    stamps = [frame.time for frame in frames if frame.time is not None]
    times = np.array(stamps) if len(stamps) == len(frames) else np.arange(len(frames)) / (header.fps or 30.0)
    hands = tuple(_hand_track(track, times, camera, files) for track in tracks.values() if len(track) >= _MIN_FRAMES)
    if not hands:
        raise InputError(f"{path} has no hand in {_MIN_FRAMES} or more frames; record it from a video")
    return HandMotion(Path(path).stem, times, hands, camera)


def _hand_track(
    track: list[tuple[int, Hand]], times: FloatArray, camera: Intrinsics, files: HandFiles | None
) -> HandTrack:
    """Return one hand with the side of most of its frames; x and y from the image, z from the metric keypoints."""
    numbers = [number for number, _ in track]
    sides = [hand.handedness for _, hand in track]
    side: Side = max(_SIDES, key=sides.count)
    points: list[FloatArray] = []
    for _, hand in track:
        metric, pixels = hand.keypoints_3d.astype(np.float64), hand.keypoints[:, :2]
        view = weak_view(metric, pixels)
        metric[:, :2] = (pixels - np.array(view.offset)) / view.scale
        shift = translation_to_view(metric, pixels, camera)
        if shift is None:
            raise InputError("the keypoints of a hand fit no camera; detect the hands again")
        points.append(metric + shift)
    shape, pose = retarget(side, np.stack(points), times[numbers], files)
    rows = {number: row for row, number in enumerate(numbers)}
    return HandTrack(rig_from_shape(side, shape, files), shape, pose, rows)
