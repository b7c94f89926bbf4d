"""Learn from what people marked: training sets and networks, and offsets from a detector's keypoints to people's.

A network was trained on other people's labels: its wrist may lie a centimetre from the project's, and its errors depend
on the hand's appearance, because it locates visible skin and guesses the rest. So an offset is a function of how a view
sees the hand and the finger, learned by a Gaussian process (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, chapter 2). The leave-one-out error of a marked hand (section 5.4.2) determines how far a view is
trusted for similar hands. Both hands share the process, mirrored.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import FloatArray, InputError, IntArray, RealArray, data_files, files
from sonjit.media.sources.images import encode_image
from sonjit.results.measures.joints import unit
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets.sample import CORNER_PIXEL
from sonjit_lab.training.recipes import Progress, TrainingRequest, no_progress, run_recipe
from sonjit_studio import run_folder, triangulation
from sonjit_studio.bones import JOINTS_PER_HAND
from sonjit_studio.marks import MACHINE, Mark, mark_table
from sonjit_studio.project import Project
from sonjit_studio.rig import CameraRig

HAND_NETWORK: Final = "hand-full"  # recipe of `sonjit train`, and stem of its exported file
_BOX_MARGIN: Final = 0.05  # margin of COCO's box around the keypoints, relative to the hand's size
_DEFAULT_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300",
        "batch": "16",
        "learning_rate": "1e-4",
        "held_out": "0",
        "augmentation.mirror": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{block}" for block in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}
"""Settings for some hundred hands of one person. The first layers stay frozen, which also halves the time. No crop is
mirrored in training: a network for right hands must not learn to find adjacent left ones."""
_FORMAT: Final = "sonjit-offsets-by-looks"
_ALL_JOINTS: Final = tuple(range(JOINTS_PER_HAND))
_JOINT_GROUPS: Final = (  # joints on which an offset depends besides the hand, and those that have it: wrist, fingers
    ((0, 5, 9, 13, 17), (0,)),
    *(((0, 5, 17, *own), own) for first in range(1, JOINTS_PER_HAND, 4) if (own := tuple(range(first, first + 4)))),
)
# Chosen on recording A of `python research/annotator.py`; research/annotator.md has the errors on B, C and D.
_SIMILARITY_M: Final = 0.016  # RMS distance of joints at which hands have a similarity of 0.6
_SIGNAL_VARIANCE: Final = 2.0  # variance of offsets by hand and by finger, relative to that of the detector's noise
_MIN_FRAMES: Final = 5  # frame sets with a joint by people that its offset requires
_MAX_HANDS: Final = 1500  # hands of a fit, whose time grows with their cube
_MAX_OFFSET_M: Final = 0.04  # larger offsets belong to another hand
_HALF_TRUST_M: Final = 0.006  # error at which a view has half its weight
_REWEIGHTING_ROUNDS: Final = 3  # rounds in which views with large errors lose weight
THRESHOLD_PX: Final = 11.0  # largest error of a view that agrees, with the detector's offsets


def human_frames(project: Project) -> tuple[int, ...]:
    """Return the frame sets in which people marked a joint in two or more views, ascending."""
    return tuple(sorted(frame for frame, joints in project.store.triangulable().items() if joints))


def human_joints(rig: CameraRig, marks: Sequence[Mark]) -> triangulation.Triangulation:
    """Triangulate the joints (2, 21) that people marked in one frame set, from the medians of their marks."""
    table = mark_table(rig, [mark for mark in marks if mark.annotator != MACHINE])
    pixels = table.points_px.reshape(len(rig), 2, 21, 2)
    return triangulation.triangulate(
        rig, pixels, table.valid.reshape(len(rig), 2, 21), table.weights.reshape(len(rig), 2, 21)
    )


def write_training_set(project: Project, frames: Sequence[int], out: Path, *, as_right: bool = False) -> Path:
    """Write every view of some frame sets with all joints known in space, as COCO in the folder `out`; return its file.

    Cameras that the newest run excluded have no images. `as_right`: each hand gets its own image, left ones mirrored,
    so that a network finds the right hand of two.
    """
    images: list[dict[str, int | str]] = []
    annotations: list[dict[str, object]] = []
    rig = run_folder.labelled_rig(project)
    for frame in frames:
        joints = human_joints(rig, project.store.marks(frame)).points_m
        for camera in rig:
            pixels = camera.project(joints)
            pixels[~camera.inside(np.nan_to_num(pixels, nan=-1))] = np.nan
            visible_sides = [side for side in range(2) if np.isfinite(pixels[side]).all(-1).sum() > 1]
            if not visible_sides or frame not in project.view(camera.name).numbers:
                continue
            rgb = project.view(camera.name).read(frame)
            for sides in [[side] for side in visible_sides] if as_right else [visible_sides]:
                mirrored = as_right and sides == [1]
                name = f"{camera.name}/{frame}{'-mirrored' if mirrored else ''}.jpg"
                files.write_bytes(out / "images" / name, encode_image(rgb[:, ::-1] if mirrored else rgb, ".jpg"))
                size = {"width": camera.width, "height": camera.height}
                images.append({"id": len(images) + 1, "file_name": name, **size})
                for side in sides:
                    hand = mirror_points(pixels[side], camera.width) if mirrored else pixels[side]
                    annotations.append(coco_annotation(len(annotations) + 1, len(images), hand))
    if not annotations:
        raise InputError(f"{project.folder}: no joint is marked in two views; open the page and mark some frames")
    record = {"info": {"pixel_centre": CORNER_PIXEL}, "images": images, "annotations": annotations}
    record |= {"categories": [coco_category(1, "hand")]}
    file = out / "coco.json"
    data_files.write_json(file, record)
    return file


def mirror_points(points_px: RealArray, width: int) -> RealArray:
    """Mirror points (..., 2) of an image that is `width` pixels wide."""
    return np.stack([width - points_px[..., 0], points_px[..., 1]], -1)


def coco_category(number: int, name: str) -> dict[str, object]:
    """Return COCO's record of a category of hands with MediaPipe's 21 keypoints."""
    skeleton = load_skeleton("hand_mediapipe21")
    bones = [[int(a) + 1, int(b) + 1] for a, b in skeleton.bones]
    return {"id": number, "name": name, "keypoints": list(skeleton.keypoints), "skeleton": bones}


def coco_annotation(
    number: int, image: int, points_px: RealArray, *, category: int = 1, flags: IntArray | None = None
) -> dict[str, object]:
    """Return COCO's record of keypoints (21, 2) in pixels, NaN where unknown, with flags (21,).

    Without flags, known keypoints have flag 2, which is visible.
    """
    finite = np.asarray(np.isfinite(points_px).all(1), np.bool_)
    low, high = points_px[finite].min(0), points_px[finite].max(0)
    margin = _BOX_MARGIN * float((high - low).max())
    width, height = (high - low + 2 * margin).tolist()
    visibility = np.where(finite, 2 if flags is None else flags, 0)
    rows = np.concatenate([np.where(finite[:, None], points_px, 0), visibility[:, None]], 1)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [round(value, 2) for value in (*(low - margin).tolist(), width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "num_keypoints": int(finite.sum()),
        "keypoints": rows.round(2).reshape(-1).tolist(),
    }


def train_network(
    project: Project, recipe: str, settings: Mapping[str, str], *, device: str = "cpu", progress: Progress = no_progress
) -> tuple[Path, Mapping[str, object]]:
    """Train, or resume, a network on all views of marked frame sets; return its folder, named by marks and settings.

    `recipe`: `hand-full` fine-tunes the published model, `keypoint-detector` trains from scratch.
    """
    is_hand_network = recipe == HAND_NETWORK
    training_set = project.folder / run_folder.FOLDER / f"training-set-{recipe}"
    data = write_training_set(project, human_frames(project), training_set, as_right=is_hand_network)
    all_settings = {**_DEFAULT_SETTINGS[recipe], **settings}
    options = json.dumps(all_settings, sort_keys=True).encode()
    folder = (
        project.folder / run_folder.FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + options).hexdigest()[:8]}"
    )
    request = TrainingRequest(
        recipe,
        folder,
        data=data,
        images=training_set / "images",
        device=device,
        settings=all_settings,
        progress=progress,
        export="openvino" if is_hand_network else None,
    )
    return folder, run_recipe(request)


@dataclass(frozen=True, eq=False)
class Offsets:
    """Learned offsets of M hands in views."""

    looks_m: FloatArray  # (M, 21, 3) joints in the camera's view, see `_hands_from_camera`
    median_m: FloatArray  # (21, 2) median offset across the direction of view
    pulls_m: FloatArray  # (M, 21, 2) weight of each hand in the offset of similar hands
    squares_m2: FloatArray  # (M, 21) squared leave-one-out error, NaN where unknown
    frames: IntArray  # (21,) number of frame sets by joint

    def correct(
        self, rig: CameraRig, detections: run_folder.ChunkDetections, points_m: FloatArray
    ) -> run_folder.ChunkDetections:
        """Move detections to where people would mark them, and weight them by the expected error.

        Joints (N, 2, 21, 3) in metres are triangulated from them. Those of unknown hands or offsets stay.
        """
        moved, confidence = detections.points_px.copy(), detections.confidence.copy()
        learned = self.frames >= _MIN_FRAMES
        for view, camera in enumerate(rig):
            axes, looks = _hands_from_camera(camera.centre_m, points_m)
            finite = np.asarray(np.isfinite(looks).all((-1, -2)), np.bool_)  # (n, 2)
            offset, trust = self._predict(looks[finite])
            hands = points_m[finite]
            shift = camera.project(hands + offset @ np.swapaxes(axes[finite], -1, -2)) - camera.project(hands)
            moved[:, view][finite] -= np.where(learned[:, None] & np.isfinite(shift), shift, 0)
            confidence[:, view][finite] *= np.where(learned, trust, 1)
        return replace(detections, points_px=moved, confidence=confidence)

    def _predict(self, looks_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return offsets (N, 21, 2) of hands (N, 21, 3), and the weights (N, 21) of their views."""
        offset = np.repeat(self.median_m[None], len(looks_m), 0)
        for joints, similarity in _covariances_by_group(looks_m, self.looks_m):
            offset[:, joints] += np.einsum("nm,mja->nja", similarity, self.pulls_m[:, joints])
        finite = np.isfinite(self.squares_m2)
        squares = np.where(finite, self.squares_m2, 0)
        mean_square = squares.sum(0) / np.maximum(finite.sum(0), 1)  # counts as one hand
        similarity = _similarity(looks_m, self.looks_m, _ALL_JOINTS)
        square = (similarity @ squares + mean_square) / (similarity @ finite + 1)
        return offset, _HALF_TRUST_M**2 / (_HALF_TRUST_M**2 + square)

    def save(self, path: Path) -> None:
        """Write the offsets as JSON."""
        arrays = {name: values.tolist() for name, values in self.__dict__.items()}
        data_files.write_json(path, {"format": _FORMAT, **arrays})


def load_offsets(path: Path) -> Offsets:
    """Load a file of `Offsets.save`."""
    try:
        record = data_files.read_json(path)
        if record.pop("format") != _FORMAT:
            raise ValueError("another format")
        frames = np.array(record.pop("frames"), np.int64)
        return Offsets(frames=frames, **{name: np.array(values, np.float64) for name, values in record.items()})
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path} contains no offsets that this version reads ({error}): run sonjit annotate train again"
        ) from None


def triangulate_detections(
    rig: CameraRig, detections: run_folder.ChunkDetections, offsets: Offsets | None = None
) -> triangulation.Triangulation:
    """Triangulate joints (N, 2, 21) on which the views agree, corrected by offsets if given."""
    pixels = np.moveaxis(detections.points_px, 1, 0).astype(np.float64)
    confidence = np.moveaxis(detections.confidence, 1, 0).astype(np.float64)
    triangulated = triangulation.triangulate(
        rig, pixels, confidence=confidence, method="ransac", threshold_px=THRESHOLD_PX
    )
    return (
        triangulated
        if offsets is None
        else triangulate_detections(rig, offsets.correct(rig, detections, triangulated.points_m))
    )


def fit_offsets(rig: CameraRig, detections: run_folder.ChunkDetections, human_m: FloatArray) -> Offsets:
    """Fit offsets from detected keypoints to people's joints (N, 2, 21, 3) in metres, NaN where unknown."""
    looks, offset = _observed_offsets(rig, detections, human_m)  # (C, n, 2, 21, 3 and 2)
    distance = np.linalg.norm(offset, axis=-1)
    complete = np.asarray(np.isfinite(looks).all((-1, -2)), np.bool_)
    finite = np.asarray(np.isfinite(distance) & complete[..., None], np.bool_)
    is_inlier = np.asarray(finite & (distance < _MAX_OFFSET_M), np.bool_)
    frames = np.asarray(is_inlier.any((0, 2)).sum(0), np.int64)
    if frames.max() < _MIN_FRAMES:
        raise InputError(
            f"{int(frames.max())} frames have joints both by people and by the machine: mark {_MIN_FRAMES} or more "
            "frames in two views each, spread over the recording"
        )
    hands = np.argwhere(finite.any(-1))
    sample = tuple(hands[np.linspace(0, len(hands) - 1, min(len(hands), _MAX_HANDS)).astype(int)].T)
    looks, offset, finite, is_inlier = looks[sample], offset[sample], finite[sample], is_inlier[sample]
    median, pulls = np.zeros((JOINTS_PER_HAND, 2)), np.zeros((len(looks), JOINTS_PER_HAND, 2))
    squares = np.where(finite, _MAX_OFFSET_M**2, np.nan)
    for joints, covariance in _covariances_by_group(looks, looks):
        for joint in joints:
            rows = np.flatnonzero(is_inlier[:, joint])
            if frames[joint] >= _MIN_FRAMES:
                joint_offsets = offset[rows, joint]
                median[joint] = np.median(joint_offsets, 0)
                pulls[rows, joint], residual = _regression(
                    covariance[np.ix_(rows, rows)], joint_offsets - median[joint]
                )
                squares[rows, joint] = np.minimum((residual**2).sum(1), _MAX_OFFSET_M**2)
    return Offsets(looks, median, pulls, squares, frames)


def _observed_offsets(
    rig: CameraRig, detections: run_folder.ChunkDetections, human_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return hands (C, n, 2, 21, 3) in C views of n frame sets, and offsets (C, n, 2, 21, 2) of their joints."""
    machine_m = triangulate_detections(rig, detections).points_m
    looks = np.full((len(rig), *machine_m.shape), np.nan)
    offset = np.full((len(rig), *machine_m.shape[:-1], 2), np.nan)
    for view, camera in enumerate(rig):
        axes, looks[view] = _hands_from_camera(camera.centre_m, machine_m)
        normal = np.cross(axes[..., 0], axes[..., 1])[..., None, :]
        rays = camera.directions(detections.points_px[:, view].astype(np.float64))
        depth = ((human_m - camera.centre_m) * normal).sum(-1) / (rays * normal).sum(-1)
        offset[view] = (camera.centre_m + depth[..., None] * rays - human_m) @ axes
    return looks, offset


def _regression(covariance: FloatArray, offsets_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return weights (M, 2) of M offsets (M, 2), and their leave-one-out residuals, with outliers down-weighted."""
    noise = np.ones(len(offsets_m))
    weights = residuals = offsets_m
    for _ in range(_REWEIGHTING_ROUNDS):
        inverse = np.linalg.inv(covariance + np.diag(noise))
        weights = inverse @ offsets_m
        residuals = weights / np.diag(inverse)[:, None]
        distance = np.linalg.norm(residuals, axis=1)
        noise = 1 + (distance / (2 * max(float(np.median(distance)), 1e-4))) ** 2
    return weights, residuals


def _covariances_by_group(a_m: FloatArray, b_m: FloatArray) -> Iterator[tuple[list[int], FloatArray]]:
    """Iterate over joints and the covariance (A, B) of their offsets in hands (A, 21, 3) and (B, 21, 3)."""
    by_hand = _similarity(a_m, b_m, _ALL_JOINTS)
    for part, joints in _JOINT_GROUPS:
        yield list(joints), _SIGNAL_VARIANCE * (by_hand + _similarity(a_m, b_m, part))


def _similarity(a_m: FloatArray, b_m: FloatArray, joints: tuple[int, ...]) -> FloatArray:
    """Return the similarity (A, B) of hands (A, 21, 3) and (B, 21, 3), 0 to 1, by some of their joints."""
    a, b = (hands[:, list(joints)].reshape(len(hands), -1) / _SIMILARITY_M for hands in (a_m, b_m))
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-np.maximum(square, 0) / (2 * len(joints)))


def _hands_from_camera(centre_m: FloatArray, points_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the axes (n, 2, 3, 2) of hands in a camera's view, left ones mirrored, along the hand and perpendicular.

    The second result is the joints (n, 2, 21, 3) along these axes and away from the camera, from the middle knuckle.
    """
    wrist, knuckle = points_m[..., 0, :], points_m[..., 9, :]
    away = unit(knuckle - centre_m)
    along = knuckle - wrist
    along = unit(along - (along * away).sum(-1, keepdims=True) * away)
    across = np.cross(along, away)
    across[:, 1] *= -1
    axes = np.stack([along, across, away], -1)
    return axes[..., :2], (points_m - knuckle[..., None, :]) @ axes


def fit_project_offsets(project: Project) -> None:
    """Fit the offsets from the machine's keypoints to people's where both exist, and write them."""
    fit_offsets(*_load_marked(project)).save(run_folder.current_run(project) / run_folder.OFFSETS)


class HeldOutError(NamedTuple):
    """Distances of the machine's joints from people's, for each joint of a frame set that both know."""

    before_m: FloatArray  # (M,) distances of the detector's joints
    after_m: FloatArray  # (M,) distances with offsets that were fitted to other frame sets
    frame_set: IntArray  # (M,) index of the marked frame set. Errors within one are correlated.
    not_found: int


def held_out_error(project: Project, folds: int = 5) -> HeldOutError:
    """Measure the machine's error by cross-validation over marked frame sets, with similar neighbours in one fold."""
    if data_files.read_json(run_folder.current_run(project) / run_folder.SETTINGS)["network"]:
        raise InputError(
            f"{project.folder}: the network of the last run was trained on these marks, so none is held out; "
            f"run sonjit annotate auto {project.folder} without --network before"
        )
    rig, detections, human = _load_marked(project)
    count = len(human)
    if count < 2 * folds:
        raise InputError(f"{project.folder}: people marked {count} frame sets; {2 * folds} are required")
    machine = triangulate_detections(rig, detections).points_m
    after = np.full(machine.shape, np.nan)
    for part in np.array_split(np.arange(count), folds):
        held_out = np.isin(np.arange(count), part)
        offsets = fit_offsets(rig, detections.part(~held_out), human[~held_out])
        after[part] = triangulate_detections(rig, detections.part(held_out), offsets).points_m
    marked = np.isfinite(human).all(-1)
    both = marked & np.isfinite(after).all(-1)
    before_m, after_m = (np.linalg.norm(points - human, axis=-1)[both] for points in (machine, after))
    return HeldOutError(before_m, after_m, np.nonzero(both)[0], int((marked & ~both).sum()))


def _load_marked(project: Project) -> tuple[CameraRig, run_folder.ChunkDetections, FloatArray]:
    """Load the cameras and detections of the n frame sets that people marked, and people's joints (n, 2, 21, 3)."""
    folder, human = run_folder.current_run(project), human_frames(project)
    rig = run_folder.labelled_rig(project)
    chunks = map(run_folder.load_detections, sorted((folder / "seen").glob("*.npz")))
    seen = [part for chunk in chunks if len((part := chunk.part(np.isin(chunk.frames, human))).frames)]
    if not seen:
        raise InputError(
            f"{project.folder}: no frame set has joints by people; open the page and mark some in two views"
        )
    detections = run_folder.concatenate_detections(seen)
    marks = [project.store.marks(int(frame)) for frame in detections.frames]
    return rig, detections, np.stack([human_joints(rig, part).points_m for part in marks])
