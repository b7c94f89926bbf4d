"""Define mesh models, place meshes in camera space, and pose the rigged hand to detected hands.

The rig is posed by inverse kinematics, with constant bone lengths over a video.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sonjit._util import FloatArray, Image, RealArray
from sonjit.geometry import cameras, rotations
from sonjit.results import Frame, Hand, Handedness
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.hand_models.rig import Rig, RigMotion, RigPose, fit_knuckles, fit_lengths, fit_pose, load_rig

_MIN_DEPTH_M = 0.01  # minimum depth of a projected vertex. Points behind the lens have no pixel.
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_TOWARDS = {
    "wrist": {"middle_finger_mcp": -0.10, "pinky_finger_mcp": -0.19},
    "mcp": {"pip": -0.44, "wrist": -0.09},
    "dip": {"tip": 0.25},
    "tip": {"dip": 0.19},
    "thumb_ip": {"thumb_tip": 0.28},
    "thumb_tip": {"thumb_ip": 0.06},
}
"""Offsets of the rig's joints from the published network's keypoints, as fractions of the vector to other keypoints.

Index, middle, ring and pinky share their offsets. They were fitted by least squares on the bundled clip, whose hands
are this rig in known poses. The last joints are placed so that the skin ends at the fingertips.
"""


class HandRecord(TypedDict):
    """Parameters of one hand in the JSON file, either of MANO or of the rig."""

    name: str
    id: int | None
    handedness: Handedness
    score: float
    mirrored: NotRequired[bool]
    mano_pose: NotRequired[list[float]]
    mano_shape: NotRequired[list[float]]
    frame_weights: NotRequired[list[float]]
    translation_m: NotRequired[list[float]]
    rotation_xyzw: NotRequired[list[float]]
    wrist_m: NotRequired[list[float]]
    angles_rad: NotRequired[dict[str, list[list[float]]]]
    keypoints3D: list[dict[str, float | str]]  # x, y, z in metres, and name as in the tables
    fit_error_mm: NotRequired[float]


class FittedHand(TypedDict):
    """A rigged hand over all images, with the lengths of its bones by keypoint."""

    name: str
    handedness: Handedness
    frames: int
    fit_error_mm: float
    bones_m: dict[str, float]


class MeshFacts(TypedDict, total=False):
    """Header of the JSON file, with the meaning of the parameters and the rigged hands."""

    parameters: str
    angles: str
    hands: list[FittedHand]


def named_points(joints: RealArray) -> list[dict[str, float | str]]:
    """Return joints (21, 3) in metres as records with x, y, z and name."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return [{"x": x, "y": y, "z": z, "name": name} for (x, y, z), name in zip(joints.tolist(), names, strict=True)]


@dataclass(frozen=True)
class HandMesh:
    """One hand's mesh in one image."""

    name: str  # name in files, such as "right-1"
    handedness: Handedness  # side of the person's hand
    vertices: RealArray  # (V, 3) metres in camera space: x right, y down, z forward
    faces: NDArray[np.integer]  # (F, 3) indices, counterclockwise from outside
    pixels: FloatArray  # (V, 3) pixels of the vertices, and their depth in pixels
    normals: FloatArray | None  # (V, 3) normals of the vertices, or None to compute them from the faces
    record: HandRecord  # parameters for the JSON file


class MeshModel(ABC):
    """Computes the meshes of each image of a source: `add_frame` for each image, then `finish`, then `meshes`."""

    model: str  # model name in files

    @abstractmethod
    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Add an image (H, W, 3) and its detected hands. Indices must increase."""

    @abstractmethod
    def finish(self) -> None:
        """Compute the results that need all images."""

    @abstractmethod
    def meshes(self, index: int) -> list[HandMesh]:
        """Return the meshes of the image of an index. Call `finish` first."""

    @property
    def motions(self) -> Sequence[RigMotion] | None:
        """Motions of the rigged hands, or None if the model has no rig. Call `finish` first."""
        return None

    @abstractmethod
    def about(self) -> MeshFacts:
        """Return the header of the JSON file. Call `finish` first."""


class WeakView(NamedTuple):
    """Weak-perspective camera. Pixels are metres times `scale`, plus `offset`."""

    scale: float
    offset: tuple[float, float]

    def pixels(self, points: RealArray) -> FloatArray:
        """Project points (..., 3) in metres to pixels (..., 3), with depth in the same scale."""
        return np.asarray(points, np.float64) * self.scale + (*self.offset, 0.0)


def weak_view(points: RealArray, xy_px: RealArray) -> WeakView:
    """Fit a weak-perspective camera to points (K, 3) in metres, with the centre and spread of their pixels (K, 2)."""
    flat, xy = np.asarray(points, np.float64)[:, :2], np.asarray(xy_px, np.float64)
    middle, xy_middle = flat.mean(0), xy.mean(0)
    spread = max(float(np.linalg.norm(flat - middle)), 1e-9)
    scale = max(float(np.linalg.norm(xy - xy_middle)) / spread, 1e-6)
    x, y = (xy_middle - scale * middle).tolist()
    return WeakView(scale, (x, y))


class Sight(NamedTuple):
    """Camera of an image, either calibrated or assumed."""

    camera: cameras.Intrinsics
    assumed: bool

    @classmethod
    def of(cls, camera: cameras.Intrinsics | None) -> "Callable[[int, int], Sight]":
        """Return a function from image width and height to a camera. Assume a camera for each size if it is None."""
        if camera is None:
            return lambda width, height: cls(cameras.assumed_camera(width, height), assumed=True)
        calibrated = cls(camera, assumed=False)
        return lambda width, height: calibrated

    def translation(self, points: RealArray, xy_px: RealArray) -> FloatArray:
        """Return the translation (3,) in metres that places points (K, 3) at their pixels (K, 2)."""
        translation = cameras.translation_to_view(points, xy_px, self.camera)
        if translation is not None:
            return translation
        scale, offset = weak_view(points, xy_px)  # no perspective fits: place the shape at the distance of its size
        x, y = (np.array(offset) - self.camera[2:]) / scale
        return np.array([x, y, (self.camera.fx + self.camera.fy) / 2 / scale])

    def pixels(self, placed: RealArray, joints: RealArray, xy_px: RealArray) -> FloatArray:
        """Return pixels and depth (V, 3) of vertices (V, 3) in camera space.

        For an assumed camera, weak perspective aligns the joints (21, 3) with their pixels (21, 2).
        """
        if self.assumed:
            return weak_view(joints, xy_px).pixels(placed)
        placed = np.concatenate([placed[:, :2], np.maximum(placed[:, 2:], _MIN_DEPTH_M)], 1)
        return np.concatenate([self.camera.project(placed), placed[:, 2:] * self.camera.fx / joints[:, 2].mean()], 1)


@dataclass
class _Track:
    """Frames of one hand in a source."""

    number: int
    indices: list[int] = field(default_factory=list[int])
    times: list[float | None] = field(default_factory=list["float | None"])
    hands: list[Hand] = field(default_factory=list["Hand"])
    sights: list[Sight] = field(default_factory=list[Sight])

    @property
    def side(self) -> Handedness:
        """Side in the majority of the frames."""
        return "Right" if sum(hand.handedness == "Right" for hand in self.hands) * 2 >= len(self.hands) else "Left"


@dataclass
class _Fitted:
    track: _Track
    motion: RigMotion
    errors_mm: FloatArray  # (N,) mean over the keypoints


class RiggedHands(MeshModel):
    """Fits the rigged hand in every image.

    The fit starts after the last image, because the bone lengths are medians over the video. Until then each hand needs
    0.5 kB per frame. x and y of the keypoints come from the image, where they are most accurate, and z from the metric
    keypoints. Keypoints of the network `lifted_by` are used unchanged, in camera space.

    `sight`: function from image width and height to the camera, for lifted hands that of the lifting.
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
        """Store the hands of an image (H, W, 3)."""
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
        """Motion of each hand."""
        return [fitted.motion for fitted in self._fitted]

    def meshes(self, index: int) -> list[HandMesh]:
        """Return the meshes of one image."""
        return [_mesh(fitted, row) for fitted, row in self._rows[index]]

    def about(self) -> MeshFacts:
        """Return the bones of each hand and the error of the fit."""
        names = load_skeleton("hand_mediapipe21").keypoints[1:]
        return {
            "angles": "radians from the rig's rest: turn towards the thumb, bend towards the palm, twist; keypoints do "
            "not show a bone's twist: hinges have none, a finger's first joint what its hinges ask for",
            "hands": [
                FittedHand(
                    name=fitted.motion.name,
                    handedness=fitted.track.side,
                    frames=len(fitted.errors_mm),
                    fit_error_mm=round(float(fitted.errors_mm.mean()), 3),
                    bones_m=dict(zip(names, fitted.motion.rig.lengths.round(5).tolist(), strict=True)),
                )
                for fitted in self._fitted
            ],
        }

    def _fit(self, track: _Track) -> _Fitted:
        """Fit the pose of a hand in each of its frames, in camera space."""
        if self._lifted:  # lifted keypoints are joints already
            keypoints = np.stack([hand.keypoints_3d.astype(np.float64) for hand in track.hands])
        else:
            keypoints = np.stack([_joint_shares() @ _metric_keypoints(hand) for hand in track.hands])
        rest = self._rigs[self._looks_like[track.side]]
        rig = fit_knuckles(rest.resized(fit_lengths(rest, keypoints)), keypoints)
        times = None if track.times[0] is None else np.array(track.times, np.float64)
        pose = fit_pose(rig, keypoints, times)
        joints = rig.keypoints(pose)
        errors = np.linalg.norm(joints - keypoints, axis=-1).mean(-1) * 1000
        if not self._lifted:
            shifts = [
                sight.translation(points, joints_px(hand))
                for sight, points, hand in zip(track.sights, joints, track.hands, strict=True)
            ]
            pose = pose.shifted(np.stack(shifts))
        name = f"{track.side.lower()}-{track.number}"
        motion = RigMotion(name, rig, pose, np.array(track.indices), times)
        return _Fitted(track, motion, errors)


def fit_hands(
    frames: Iterable[Frame], *, camera: cameras.Intrinsics | None = None, mirrored: bool = False
) -> list[RigMotion]:
    """Fit the rigged hand to every hand of a video, with constant bone lengths.

    Args:
        frames: Frames of `sonjit.track(clip, "hands")`.
        camera: Camera of the images. Default: 60 degrees across the longer side.
        mirrored: True if the images are selfie views, as in `track`.

    Returns:
        One motion for each hand id, in camera space and metres, for `bvh_from_motion` and `glb_from_motions`.

    Raises:
        InputError: The rigs are missing. `sonjit models pull rigs` downloads them.
    """
    model = RiggedHands(Sight.of(camera), mirrored=mirrored)
    for frame in frames:
        model.add_frame(frame, frame.image)
    model.finish()
    return model.motions


@cache
def _joint_shares() -> FloatArray:
    """Return the weights (21, 21) of the keypoints for each joint of the rig."""
    skeleton = load_skeleton("hand_mediapipe21")
    shares = np.eye(len(skeleton.keypoints))
    for k, name in enumerate(skeleton.keypoints):
        finger, _, joint = name.rpartition("_")
        towards = _TOWARDS.get(name) or ({} if finger in ("", "thumb") else _TOWARDS.get(joint, {}))
        for target, share in towards.items():
            full = target if "_" in target or target == "wrist" else f"{finger}_{target}"
            shares[k, skeleton.index(full)] += share
            shares[k, k] -= share
    return shares


def joints_px(hand: Hand) -> FloatArray:
    """Return the rig's joints (21, 2) in pixels, estimated from the published network's keypoints."""
    return _joint_shares() @ hand.keypoints[:, :2].astype(np.float64)


def _metric_keypoints(hand: Hand) -> FloatArray:
    """Return keypoints (21, 3) in metres, with x and y from the image and z from the metric keypoints."""
    metric = hand.keypoints_3d.astype(np.float64)
    view = weak_view(metric, hand.keypoints[:, :2])
    metric[:, :2] = (hand.keypoints[:, :2] - np.array(view.offset)) / view.scale
    return metric


def _mesh(fitted: _Fitted, row: int) -> HandMesh:
    track, motion = fitted.track, fitted.motion
    hand, sight, pose = track.hands[row], track.sights[row], motion.pose[row]
    (vertices,), (normals,) = motion.rig.skin(pose)
    (joints,) = motion.rig.keypoints(pose)
    pixels = sight.pixels(vertices, joints, joints_px(hand))
    record = _record(motion.name, hand, pose, joints, round(float(fitted.errors_mm[row]), 3))
    return HandMesh(
        name=motion.name,
        handedness=track.side,
        vertices=vertices,
        faces=motion.rig.faces,
        pixels=pixels,
        normals=normals,
        record=record,
    )


def _record(name: str, hand: Hand, pose: RigPose, joints: FloatArray, error_mm: float) -> HandRecord:
    return {
        "name": name,
        "id": hand.id,
        "handedness": hand.handedness,
        "score": round(float(hand.score), 4),
        "rotation_xyzw": np.roll(rotations.quaternion_wxyz_from_matrix(pose.rotation[0]), -1).round(6).tolist(),
        "wrist_m": pose.translation[0].round(6).tolist(),
        "angles_rad": dict(zip(_FINGERS, pose.angles[0].round(5).tolist(), strict=True)),
        "keypoints3D": named_points(joints.round(6)),
        "fit_error_mm": error_mm,
    }
