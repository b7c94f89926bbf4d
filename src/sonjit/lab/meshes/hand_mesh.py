"""Define mesh models, place meshes in camera space, and pose the rigged hand to detected hands.

The rig is posed by inverse kinematics, with constant bone lengths over a video.

Turn the hands of an input into meshes, drawn over it and saved as JSON, OBJ, GLB or BVH.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image, RealArray
from sonjit._util.errors import InputError, pluralize
from sonjit._util.extras import require
from sonjit._util.files import Output, atomic_file, write_bytes
from sonjit._util.json_text import json_from
from sonjit.detectors import create_detector
from sonjit.engines.devices import torch_device
from sonjit.geometry.cameras import Intrinsics, assumed_camera, camera_from_text, translation_to_view
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.lab.hand_models.mesh_files import Mesh, bvh_from_motion, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit.lab.hand_models.rig import Rig, RigMotion, RigPose, fit_knuckles, fit_lengths, fit_pose, load_rig
from sonjit.lab.lifting import create_lifter
from sonjit.media import DrawingWriter, Source, SourceFrame, TrackedFrame
from sonjit.media.drawing.instances import draw_mesh
from sonjit.media.drawing.strokes import LEFT, RIGHT, Colour
from sonjit.media.tables.characters import BoneNames
from sonjit.results import Frame, Hand, Handedness
from sonjit.results.skeletons import load_skeleton
from sonjit.runs.task import Lift, Outputs, Summary, Task, Worker

if TYPE_CHECKING:
    from sonjit.lab.networks import Network  # requires PyTorch, which rigged hands do not

_MIN_DEPTH_M = 0.01
"""Minimum depth of a projected vertex. Points behind the lens have no pixel."""


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


class MeshFacts(TypedDict, total=False):
    """Header of the JSON file, with the meaning of the parameters and the rigged hands."""

    parameters: str
    angles: str
    hands: list[dict[str, Any]]  # name, handedness, frames, fit_error_mm and bones_m over all images


def named_points(joints: RealArray) -> list[dict[str, float | str]]:
    """Return joints (21, 3) in metres as records with x, y, z and name."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return [{"x": x, "y": y, "z": z, "name": name} for (x, y, z), name in zip(joints.tolist(), names, strict=True)]


@dataclass(frozen=True)
class HandMesh:
    """One hand's mesh in one image.

    Attributes:
        name: Name in files, such as "right-1".
        handedness: Side of the person's hand.
        vertices: (V, 3) metres in camera space: x right, y down, z forward.
        faces: (F, 3) indices, counterclockwise from outside.
        pixels: (V, 3) pixels of the vertices, and their depth in pixels.
        normals: (V, 3) normals of the vertices, or None to compute them from the faces.
        record: Parameters for the JSON file.
    """

    name: str
    handedness: Handedness
    vertices: RealArray
    faces: NDArray[np.integer]
    pixels: FloatArray
    normals: FloatArray | None
    record: HandRecord


class MeshModel(ABC):
    """Computes the meshes of each image of a source.

    Call `add_frame` for each image, then `finish`, then `meshes`.

    Attributes:
        model: Model name in files.
    """

    model: str

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
    """Fit a weak-perspective camera to points (K, 3) in metres and their pixels (K, 2).

    The centre and the spread of the projected points equal those of the pixels.
    """
    flat, xy = np.asarray(points, np.float64)[:, :2], np.asarray(xy_px, np.float64)
    middle, xy_middle = flat.mean(0), xy.mean(0)
    spread = max(float(np.linalg.norm(flat - middle)), 1e-9)
    scale = max(float(np.linalg.norm(xy - xy_middle)) / spread, 1e-6)
    x, y = (xy_middle - scale * middle).tolist()
    return WeakView(scale, (x, y))


class Sight(NamedTuple):
    """Camera of an image, either calibrated or assumed."""

    camera: Intrinsics
    assumed: bool

    @classmethod
    def of(cls, camera: Intrinsics | None) -> Callable[[int, int], Sight]:
        """Return a function from image width and height to a camera. Assume a camera for each size if it is None."""
        if camera is None:
            return lambda width, height: cls(assumed_camera(width, height), assumed=True)
        calibrated = cls(camera, assumed=False)
        return lambda width, height: calibrated

    def translation(self, points: RealArray, xy_px: RealArray) -> FloatArray:
        """Return the translation (3,) in metres that places points (K, 3) at their pixels (K, 2)."""
        found = translation_to_view(points, xy_px, self.camera)
        if found is not None:
            return found
        scale, offset = weak_view(points, xy_px)  # no perspective fits: place the shape at the distance of its size
        x, y = (np.array(offset) - self.camera[2:]) / scale
        return np.array([x, y, (self.camera.fx + self.camera.fy) / 2 / scale])

    def pixels(self, placed: RealArray, joints: RealArray, xy_px: RealArray) -> FloatArray:
        """Return pixels and depth (V, 3) of vertices (V, 3) in camera space.

        An assumed camera would shift them, so weak perspective aligns the joints (21, 3) with their pixels (21, 2)
        instead.
        """
        if self.assumed:
            return weak_view(joints, xy_px).pixels(placed)
        placed = np.concatenate([placed[:, :2], np.maximum(placed[:, 2:], _MIN_DEPTH_M)], 1)
        return np.concatenate([self.camera.project(placed), placed[:, 2:] * self.camera.fx / joints[:, 2].mean()], 1)


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
    keypoints. Lifted keypoints are used unchanged, in camera space.

    Args:
        sight: Function from image width and height to the camera. For lifted hands, the camera of the lifting.
        models_dir: Folder with the rigs. Default: the cache.
        mirrored: True if the images are selfie views, where a right hand looks like a left one.
        lifted_by: Name of the network that lifted the keypoints to camera space, or None.
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
        """Store the hands of an image."""
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
        """Return target positions (21, 3) of the rig's joints in metres. Lifted keypoints are joints already."""
        return hand.keypoints_3d.astype(np.float64) if self._lifted else _joint_shares() @ _metric_keypoints(hand)

    def _fit(self, track: _Track) -> _Fitted:
        """Fit the pose of a hand in each of its frames, in camera space."""
        keypoints = np.stack([self._joints(hand) for hand in track.hands])
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
    frames: Iterable[TrackedFrame], *, camera: Intrinsics | None = None, mirrored: bool = False
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
        "rotation_xyzw": np.roll(quaternion_wxyz_from_matrix(pose.rotation[0]), -1).round(6).tolist(),
        "wrist_m": pose.translation[0].round(6).tolist(),
        "angles_rad": dict(zip(_FINGERS, pose.angles[0].round(5).tolist(), strict=True)),
        "keypoints3D": named_points(joints.round(6)),
        "fit_error_mm": error_mm,
    }


MESH_ENDINGS: Final = (".json", ".obj", ".glb", ".bvh")
_INDEX: Final = "{index}"


def check_save(path: str, source: Source, *, rigged: bool) -> None:
    """Check before any work whether meshes of a source can be saved to a file.

    Raises:
        InputError: The ending is unknown, or the format cannot store the meshes of the source.
    """
    ending = Path(path).suffix.lower()
    if ending not in MESH_ENDINGS:
        raise InputError(f"{path}: Unknown file ending of a mesh. Choose from {', '.join(MESH_ENDINGS)}")
    moving = source.kind in ("video", "camera")
    if ending == ".bvh" and not (rigged and moving):
        raise InputError(f"{path}: BVH requires a video and the rigged hand. Save .glb or .obj")
    is_single = ending in (".json", ".bvh") or source.kind == "image" or (ending == ".glb" and rigged and moving)
    if _INDEX in path and ending in (".json", ".bvh"):
        raise InputError(f"{path}: {ending} stores all images in one file. Remove {_INDEX} from the name")
    if not is_single and _INDEX not in path:
        raise InputError(f"{path}: several images require {_INDEX} in the name, such as meshes/{_INDEX}{ending}")


def save_meshes(
    path: str,
    source: Source,
    model: MeshModel,
    indices: Iterable[tuple[int, float | None]],
    bones: BoneNames | None = None,
) -> list[str]:
    """Write the meshes of a finished model for the index and time of each image, and return the paths."""
    ending, frames = Path(path).suffix.lower(), list(indices)
    if ending == ".json":
        _write(path, _json_lines(source, model, frames))
        return [path]
    if ending == ".bvh":
        return _save_bvh(path, source, model, frames, bones)
    if _INDEX in path:
        written: list[str] = []
        for index, _ in frames:
            if meshes := model.meshes(index):
                written.append(path.replace(_INDEX, f"{index:06d}"))
                _write(written[-1], [_encode_meshes(ending, meshes)])
        return written
    if ending == ".glb" and model.motions is not None:
        _write(path, [glb_from_motions(model.motions, bones)])
    else:
        _write(path, [_encode_meshes(ending, [mesh for index, _ in frames for mesh in model.meshes(index)])])
    return [path]


def _encode_meshes(ending: str, meshes: list[HandMesh]) -> str | bytes:
    """Encode meshes as OBJ or GLB."""
    plain = [Mesh(mesh.name, mesh.vertices, mesh.faces) for mesh in meshes]
    return obj_from_meshes(plain) if ending == ".obj" else glb_from_meshes(plain)


def _save_bvh(
    path: str, source: Source, model: MeshModel, frames: list[tuple[int, float | None]], bones: BoneNames | None
) -> list[str]:
    """Write one BVH file per hand, since a BVH file contains one skeleton."""
    motions = model.motions or []
    count = frames[-1][0] + 1 if frames else 0
    times = np.array([time for _, time in frames if time is not None])
    measured = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    base, written = Path(path), list[str]()
    for motion in motions:
        name = base if len(motions) == 1 else base.with_stem(f"{base.stem}-{motion.name}")
        frame_time = 1 / source.fps if source.fps else measured
        _write(str(name), [bvh_from_motion(motion, frames=count, frame_time=frame_time, bones=bones)])
        written.append(str(name))
    return written


def _json_lines(source: Source, model: MeshModel, frames: list[tuple[int, float | None]]) -> Iterator[str]:
    header: dict[str, object] = {
        "source": source.name, "width": source.width, "height": source.height, "fps": source.fps, "model": model.model,
    }  # fmt: skip
    yield json_from(header | model.about())[:-1] + ',"frames":[\n'
    for number, (index, time) in enumerate(frames):
        name = source.frame_source(index)
        frame = {"index": index, "time": time} | ({"source": name} if name else {})
        record = json_from(frame | {"hands": [mesh.record for mesh in model.meshes(index)]})
        yield (",\n" if number else "") + record
    yield "\n]}\n"


def _write(path: str, parts: Iterable[str | bytes]) -> None:
    with atomic_file(Path(path)) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape"))


_BAR_SHARE = 0.02
"""Width of a bar in shares of the image's longer side."""


@dataclass(frozen=True)
class MeshHands(Task):
    """Turn hands into meshes.

    Attributes:
        model: Model: `rig`, `handoccnet` or `deformer`.
        weights: Checkpoint of the network.
        mano, mano_left: Files of MANO's hands.
        variant: Data set of Deformer's checkpoint, if the checkpoint does not contain it.
        max_instances: Maximum number of hands.
        mirrored: Treat the images as selfie views.
        models_dir: Folder with the published weight files.
        camera: fx,fy,cx,cy in pixels; None assumes a camera for each image size.
        lift: Settings for lifting hands into the camera's space before the rig is posed, or None. Hands of unknown
            position are dropped.
        device: Device of the rig's hand detector, see `create_detector`, or of the other networks, see
            `torch_device`. Their hands are detected on the CPU.
        bones: Bone names of the rig in .bvh and .glb files; None for those of WebXR Hand Input.
    """

    model: str = "rig"
    weights: str | None = None
    mano: str | None = None
    mano_left: str | None = None
    variant: str | None = None
    max_instances: int = 2
    mirrored: bool = False
    models_dir: str | None = None
    camera: str | None = None
    lift: Lift | None = None
    device: str = "cpu"
    bones: BoneNames | None = None

    save_ending = ".glb"
    figures_ending = ".png"

    def count_text(self, count: int) -> str:
        """Return a number of hands with their noun."""
        return pluralize(count, "hand")

    @property
    def files(self) -> tuple[str, ...]:
        """Networks, MANO's files and folders of networks."""
        paths = [self.weights, self.mano, self.mano_left, self.models_dir]
        paths += [] if self.lift is None else [self.lift.weights, self.lift.root_weights]
        return tuple(path for path in paths if path)

    def open(self, *, is_stream: bool) -> MeshWorker:
        """Load the networks."""
        return MeshWorker(self, is_stream=is_stream)

    def network(self) -> Network | None:
        """Load the network that predicts meshes; None for the rig."""
        if self.model == "rig":
            return None
        require("torch", f"--model {self.model}")
        from sonjit.lab.meshes import mano_networks

        if self.model == "deformer":
            network = mano_networks.load_deformer(self.weights, self.mano, self.mano_left, self.variant)
        else:
            network = mano_networks.load_handoccnet(self.weights, self.mano)
        return network.to(torch_device(self.device))

    def mesh_model(self, network: Network | None, *, features: bool = False) -> MeshModel:
        """Create the model that turns the hands of one input into meshes; with `features`, keep HandOccNet's maps."""
        sight = Sight.of(None if self.camera is None else camera_from_text(self.camera))
        if network is None:
            lifted_by = None if self.lift is None else self.lift.network
            return RiggedHands(sight, self.models_dir, mirrored=self.mirrored, lifted_by=lifted_by)
        from sonjit.lab.meshes import mano_networks

        if isinstance(network, mano_networks.deformer.DeformerNetwork):
            return mano_networks.DeformerHands(network, sight, mirrored=self.mirrored)
        assert isinstance(network, mano_networks.HandOccNetwork)
        return mano_networks.HandOccHands(network, sight, mirrored=self.mirrored, features=features)


class MeshWorker(Worker[Frame]):
    """Loaded networks that find the hands of every image of an input and make meshes of them.

    All images are processed before meshes are written, because the size of a hand comes from the full video. Drawing
    reads the input a second time. Ctrl-C ends the first reading, and the meshes up to there are written.
    """

    def __init__(self, task: MeshHands, *, is_stream: bool) -> None:
        super().__init__()
        self._task = task
        self._lifter = None if task.lift is None else create_lifter(task.lift)
        self._network = task.network()
        self._model = task.mesh_model(self._network)  # a missing file of the rig ends the run before any work
        self._detector = create_detector(
            "hands", max_instances=task.max_instances, static_image=not is_stream, models_dir=task.models_dir,
            mirrored=task.mirrored,
            device=task.device if task.model == "rig" else "cpu",
        )  # fmt: skip

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open drawing and files of meshes."""
        self._detector.reset()
        self._source, self._without_position = source, 0
        self._model = self._task.mesh_model(self._network, features=outputs.figures is not None)
        if outputs.save is not None:
            check_save(outputs.save, source, rigged=isinstance(self._model, RiggedHands))
        drawing = None
        if outputs.draw is not None:
            if source.kind in ("video", "camera") and not source.files:
                name = source.name
                raise InputError(f"{name}: drawing reads a source twice. First record it: sonjit hands {name} --draw F")
            drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))
        self._files = files.enter_context(_MeshFiles(source, self._model, outputs, drawing, self._task.bones))

    def process(self, frame: SourceFrame) -> Frame:
        """Find the hands in an image and give them to the model."""
        found = self._detector.detect(frame.rgb, time=frame.time)
        result = Frame.from_results(frame.index, frame.time, found, self._source.frame_source(frame.index))
        if self._lifter is not None:
            lifted = self._lifter.lift(frame.rgb, result.hands)
            result.hands = [hand for hand in lifted if (hand.keypoints_3d[:, 2] > 0).all()]  # false for NaN
            self._without_position += len(lifted) - len(result.hands)
        self._model.add_frame(result, frame.rgb)
        self._files.frames.append((frame.index, frame.time))
        return result

    def count(self, item: Frame) -> int:
        """Return the number of hands."""
        return len(item.hands)

    def report(self, summary: Summary) -> None:
        """Add how well each hand fits."""
        for hand in self._model.about().get("hands", []):
            frames = pluralize(hand["frames"], "frame")
            error = f"{hand['fit_error_mm']:.1f} mm from its keypoints on average"
            summary.lines.append(f"{hand['name']}: {frames}, {error}")
        if self._without_position:
            hands = pluralize(self._without_position, "hand")
            summary.notes.append(f"{hands} left out: lifting could not determine where they are")
        summary.written = self._files.written

    def close(self) -> None:
        """Free the detector."""
        self._detector.close()


class _MeshFiles(Output):
    """Files that are written after the last image; `written` are their paths."""

    def __init__(
        self, source: Source, model: MeshModel, outputs: Outputs, drawing: DrawingWriter | None, bones: BoneNames | None
    ) -> None:
        super().__init__()
        self._bones: BoneNames | None = bones
        self._source, self._model, self._outputs, self._drawing = source, model, outputs, drawing
        self.frames: list[tuple[int, float | None]] = []
        self.written: list[str] = []

    def _finish(self) -> None:
        self._model.finish()
        if self._outputs.save is not None:
            self.written += save_meshes(self._outputs.save, self._source, self._model, self.frames, self._bones)
        if self._drawing is not None and self._outputs.draw is not None and self.frames:
            problems, last = list(self._source.problems), self.frames[-1][0]
            for frame in self._source:
                if frame.index > last:
                    break
                drawn = draw_meshes(frame.rgb, self._model.meshes(frame.index))
                self._drawing.write(drawn, frame.time, index=frame.index, under=frame)
            self._source.problems[:] = problems  # the second reading reports them again
            self.written.append(self._outputs.draw)
        if self._outputs.figures is not None and _draw_maps(Path(self._outputs.figures), self._model):
            self.written.append(self._outputs.figures)

    def _abort(self) -> None: ...


def _draw_maps(path: Path, model: MeshModel) -> bool:
    """Draw the maps of the first hand. Returns false if there is no hand."""
    from sonjit.lab.explain.overlay import draw_feature_maps, occlusion_maps
    from sonjit.lab.meshes.mano_networks import HandOccHands
    from sonjit.media.sources.images import encode_image

    assert isinstance(model, HandOccHands)
    if model.first_hand is None:
        return False
    crop, outputs = model.first_hand
    data = encode_image(draw_feature_maps(occlusion_maps(outputs), crop), path.suffix.lower())
    write_bytes(path, data)
    return True


def draw_meshes(rgb: Image, meshes: list[HandMesh]) -> Image:
    """Return a new image (H, W, 3) with shaded hands, far ones first. Left hands are warm, right hands blue."""
    canvas = rgb.copy()
    for mesh in sorted(meshes, key=lambda mesh: -float(mesh.vertices[:, 2].mean())):
        colour = RIGHT if mesh.handedness == "Right" else LEFT
        draw_mesh(canvas, mesh.pixels, mesh.faces, colour, normals=mesh.normals)
    for mesh in meshes:
        if weights := mesh.record.get("frame_weights"):
            _draw_weights(canvas, mesh.pixels, weights, RIGHT if mesh.handedness == "Right" else LEFT)
    return canvas


def _draw_weights(canvas: Image, pixels: NDArray[np.floating], weights: list[float], colour: Colour) -> None:
    """Draw a bar below a hand for the weight of each fused frame, with the frame of the hand outlined."""
    import cv2

    height, width = canvas.shape[:2]
    step = max(4, round(_BAR_SHARE * max(height, width)))
    low, high = pixels[:, :2].min(0), pixels[:, :2].max(0)
    left = round(min(max((low[0] + high[0] - step * len(weights)) / 2, 0), max(width - step * len(weights), 0)))
    bottom = round(min(high[1] + 4 * step, height - 1))
    for index, weight in enumerate(weights):
        x = left + index * step
        top = bottom - max(1, round(3 * step * weight))
        cv2.rectangle(canvas, (x, bottom - 3 * step), (x + step - 2, bottom), (32, 32, 32), -1)
        cv2.rectangle(canvas, (x, top), (x + step - 2, bottom), colour, -1)
        if index == len(weights) // 2:
            cv2.rectangle(canvas, (x, bottom - 3 * step), (x + step - 2, bottom), (255, 255, 255), 1)
