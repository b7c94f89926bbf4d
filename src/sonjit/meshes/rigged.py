"""Detected hands as the rigged hand, posed by inverse kinematics, with one length for each bone over a whole video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sonjit.arrays import FloatArray, Image
from sonjit.geometry.cameras import Intrinsics
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.hand_models.rig import Rig, RigMotion, RigPose
from sonjit.hand_models.rig_files import load_rig
from sonjit.hand_models.rig_ik import fit_lengths, fit_pose
from sonjit.media import TrackedFrame
from sonjit.meshes.hand_mesh import HandMesh, HandRecord, MeshFacts, MeshModel, Sight, named_points, weak_view
from sonjit.results import Frame, Hand, Handedness
from sonjit.skeletons import load_skeleton

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_TOWARDS = {
    "wrist": {"middle_finger_mcp": -0.10, "pinky_finger_mcp": -0.19},
    "mcp": {"pip": -0.44, "wrist": -0.09},
    "dip": {"tip": 0.25},
    "tip": {"dip": 0.19},
    "thumb_ip": {"thumb_tip": 0.28},
    "thumb_tip": {"thumb_ip": 0.06},
}
"""Where the rig's joints lie among the published network's keypoints: how much further towards others, in parts of the
way; of index, middle, ring and pinky alike. By least squares on the bundled clip, whose hands are this rig in known
poses, but the last joints, which lie so that the skin ends where the fingers do."""


@dataclass
class _Track:
    """One hand through a source."""

    number: int
    indices: list[int] = field(default_factory=list[int])
    times: list[float | None] = field(default_factory=list["float | None"])
    hands: list[Hand] = field(default_factory=list["Hand"])
    sights: list[Sight] = field(default_factory=list[Sight])

    @property
    def side(self) -> Handedness:
        """That of most frames."""
        return "Right" if sum(hand.handedness == "Right" for hand in self.hands) * 2 >= len(self.hands) else "Left"


@dataclass
class _Fitted:
    track: _Track
    motion: RigMotion
    errors_mm: FloatArray  # (N,) mean over the keypoints


class RiggedHands(MeshModel):
    """The rigged hand in every image.

    It is fitted when all images were seen, for its bones' lengths are their medians over the video: 0.5 kB are kept
    for each hand and frame until then. x and y of the keypoints come from the image, where they are seen best, z from
    the metric keypoints; keypoints in camera space are taken as they are, with the hand in that place.

    Args:
        sight: the camera of an image of this width and height; that of the lifting, where hands were lifted.
        models_dir: folder with the rigs, where it is not the cache.
        mirrored: the images are selfie views, where a right hand looks like a left one.
        lifted_by: the network that put the hands' metric keypoints into camera space, or None.
    """

    def __init__(
        self,
        sight: Callable[[int, int], Sight],
        models_dir: str | Path | None = None,
        *,
        mirrored: bool = False,
        lifted_by: str | None = None,
    ) -> None:
        self.model = "rig" if lifted_by is None else f"rig+{lifted_by}"
        self._lifted = lifted_by is not None
        self._rigs: dict[Handedness, Rig] = {side: load_rig(side, models_dir) for side in ("Right", "Left")}
        self._sight = sight
        self._looks_like: dict[Handedness, Handedness] = (
            {"Right": "Left", "Left": "Right"} if mirrored else {"Right": "Right", "Left": "Left"}
        )
        self._tracks: dict[Hashable, _Track] = {}
        self._fitted: list[_Fitted] = []
        self._rows: defaultdict[int, list[tuple[_Fitted, int]]] = defaultdict(list)

    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Note the hands of an image."""
        for number, hand in enumerate(frame.hands):
            key = (frame.index, number) if hand.id is None else hand.id
            name = number + 1 if hand.id is None else hand.id
            track = self._tracks.setdefault(key, _Track(name))
            track.indices.append(frame.index)
            track.times.append(frame.time)
            track.hands.append(hand)
            sight = self._sight(rgb.shape[1], rgb.shape[0])
            track.sights.append(sight._replace(assumed=False) if self._lifted else sight)  # lifted through that camera

    def finish(self) -> None:
        """Fit every hand."""
        self._fitted = [self._fit(track) for track in self._tracks.values()]
        for fitted in self._fitted:
            for row, index in enumerate(fitted.track.indices):
                self._rows[index].append((fitted, row))

    @property
    def motions(self) -> list[RigMotion]:
        """One for each hand."""
        return [fitted.motion for fitted in self._fitted]

    def meshes(self, index: int) -> list[HandMesh]:
        """The hands of one image."""
        return [_mesh(fitted, row) for fitted, row in self._rows[index]]

    def about(self) -> MeshFacts:
        """Each hand's bones, and the error of the fit."""
        names = load_skeleton("hand_mediapipe21").keypoints[1:]
        return {
            "angles": "radians from the rig's rest: turn towards the thumb, bend towards the palm, twist; keypoints do "
            "not show a bone's twist: hinges have none, a finger's first joint what its hinges ask for",
            "hands": [
                {
                    "name": fitted.motion.name,
                    "handedness": fitted.track.side,
                    "frames": len(fitted.errors_mm),
                    "fit_error_mm": round(float(fitted.errors_mm.mean()), 3),
                    "bones_m": dict(zip(names, fitted.motion.rig.lengths.round(5).tolist(), strict=True)),
                }
                for fitted in self._fitted
            ],
        }

    def _joints(self, hand: Hand) -> FloatArray:
        """(21, 3) where the rig's joints are to be, metres; networks that lift give joints already."""
        return hand.keypoints_3d.astype(np.float64) if self._lifted else _JOINTS @ _metric_keypoints(hand)

    def _fit(self, track: _Track) -> _Fitted:
        """The pose of a hand in each of its frames, before the camera."""
        keypoints = np.stack([self._joints(hand) for hand in track.hands])
        rest = self._rigs[self._looks_like[track.side]]
        rig = rest.resized(fit_lengths(rest, keypoints))
        times = None if track.times[0] is None else np.array(track.times, np.float64)
        pose = fit_pose(rig, keypoints, times)
        joints = rig.keypoints(pose)
        errors = np.linalg.norm(joints - keypoints, axis=-1).mean(-1) * 1000
        if not self._lifted:
            shifts = [
                sight.translation(points, joints_px(hand))
                for sight, points, hand in zip(track.sights, joints, track.hands, strict=True)
            ]
            pose = pose.moved(np.stack(shifts))
        name = f"{track.side.lower()}-{track.number}"
        motion = RigMotion(name, rig, pose, np.array(track.indices), times)
        return _Fitted(track, motion, errors)


def fit_hands(
    frames: Iterable[TrackedFrame], *, camera: Intrinsics | None = None, mirrored: bool = False
) -> list[RigMotion]:
    """The rigged hand posed to every hand of a video, with one length for each bone throughout.

    Args:
        frames: of `sonjit.track(clip, "hands")`.
        camera: of the images; by default one of 60 degrees across the longer side is assumed.
        mirrored: the images are selfie views, as was said to `track`.

    Returns:
        One motion for each hand id, in camera space, metres; what `bvh_from_motion` and `glb_from_motions` write.

    Raises:
        InputError: the rigs are not here; `sonjit models pull rigs` fetches them.
    """
    model = RiggedHands(Sight.of(camera), mirrored=mirrored)
    for frame in frames:
        model.add_frame(frame, frame.image)
    model.finish()
    return model.motions


def _joint_shares() -> FloatArray:
    """(21, 21): each joint of the rig as a mean of keypoints."""
    skeleton = load_skeleton("hand_mediapipe21")
    shares = np.eye(len(skeleton.keypoints))
    for k, name in enumerate(skeleton.keypoints):
        finger, _, joint = name.rpartition("_")
        towards = _TOWARDS.get(name) or ({} if finger in ("", "thumb") else _TOWARDS.get(joint, {}))
        for other, share in towards.items():
            full = other if "_" in other or other == "wrist" else f"{finger}_{other}"
            shares[k, skeleton.index(full)] += share
            shares[k, k] -= share
    return shares


_JOINTS = _joint_shares()


def joints_px(hand: Hand) -> FloatArray:
    """(21, 2) where the rig's joints are in the image, by the published network's keypoints."""
    return _JOINTS @ hand.keypoints[:, :2].astype(np.float64)


def _metric_keypoints(hand: Hand) -> FloatArray:
    """(21, 3) metres: x and y as the image shows them, in the scale of the metric keypoints; z theirs."""
    metric = hand.keypoints_3d.astype(np.float64)
    view = weak_view(metric, hand.keypoints[:, :2])
    seen = (hand.keypoints[:, :2] - np.array(view.offset)) / view.scale
    metric[:, :2] = seen
    return metric


def _mesh(fitted: _Fitted, row: int) -> HandMesh:
    track, motion = fitted.track, fitted.motion
    hand, sight, pose = track.hands[row], track.sights[row], motion.pose[row]
    (vertices,), (normals,) = motion.rig.skin(pose)
    (joints,) = motion.rig.keypoints(pose)
    pixels = sight.pixels(vertices, joints, joints_px(hand))
    record = _record(motion.name, hand, pose, joints, round(float(fitted.errors_mm[row]), 3))
    return HandMesh(motion.name, track.side, vertices, motion.rig.faces, pixels, normals, record)


def _record(name: str, hand: Hand, pose: RigPose, joints: FloatArray, error_mm: float) -> HandRecord:
    return {
        "name": name,
        "id": hand.id,
        "handedness": hand.handedness,
        "score": round(float(hand.score), 4),
        "rotation_xyzw": np.roll(quaternion_wxyz_from_matrix(pose.rotation[0]), -1).round(6).tolist(),
        "wrist_m": pose.translation[0].round(6).tolist(),
        "angles_rad": dict(zip(_FINGERS, pose.angles[0].round(5).tolist(), strict=True)),
        "keypoints3D": named_points(joints.round(6)),
        "fit_error_mm": error_mm,
    }
