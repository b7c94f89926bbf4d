"""Learning from what people marked: a training set of all views, and offsets from a detector's joints to people's.

A network was trained on other people's labels; its wrist may lie a centimetre from one's own. An offset is constant in
axes that move with the hand: those of the palm, and beyond the knuckles those of the bone that leads to the joint. With
more labelled frames, its change with the bend of the fingers is learned too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

import numpy as np

from sonjit.arrays import FloatArray, IntArray, RealArray
from sonjit.errors import InputError
from sonjit.files import write_bytes, write_text
from sonjit.media.annotated.writers import encode_image
from sonjit.multiview.annotation.marks import MACHINE, Mark, table_of_marks
from sonjit.multiview.annotation.project import Project
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.triangulation import Triangulation, triangulate
from sonjit.skeletons import load_skeleton

_ROOM: Final = 0.05  # of a hand beyond its keypoints, in COCO's box


class CocoCategory(TypedDict):
    """A category in COCO's JSON."""

    id: int
    name: str
    keypoints: list[str]
    skeleton: list[list[int]]


class CocoHand(TypedDict):
    """An annotation of a hand in COCO's JSON; `bbox` is x, y, width, height."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    num_keypoints: int
    keypoints: list[float]


def human_frames(project: Project) -> tuple[int, ...]:
    """Frame sets of which people marked a joint in two views or more, rising."""
    return tuple(sorted(frame for frame, joints in project.store.triangulable().items() if joints))


def human_joints(rig: CameraRig, marks: Sequence[Mark]) -> Triangulation:
    """Joints (2, 21) that people marked in one frame set: the medians of their marks, triangulated."""
    table = table_of_marks(rig, [mark for mark in marks if mark.annotator != MACHINE])
    pixels = table.points_px.reshape(len(rig), 2, 21, 2)
    return triangulate(rig, pixels, table.valid.reshape(len(rig), 2, 21), table.weights.reshape(len(rig), 2, 21))


def write_training_set(
    project: Project,
    frames: Sequence[int],
    out: Path,
    advance: Callable[[], None] = lambda: None,
    *,
    as_right: bool = False,
) -> Path:
    """Write every view of some frame sets with all joints known in space, as COCO for the recipes of `sonjit train`.

    Args:
        project: whose marks count.
        frames: frame sets that people marked.
        out: folder for `coco.json` and `images`.
        advance: called after each frame set.
        as_right: each hand in an image of its own, left ones mirrored, so that the network learns to find the right
            hand where two overlap.

    Returns:
        The file of annotations.

    Raises:
        InputError: no joint is known in any of the frame sets.
    """
    images: list[dict[str, int | str]] = []
    annotations: list[CocoHand] = []
    for frame in frames:
        joints = human_joints(project.rig, project.store.marks(frame)).points_m
        for camera in project.rig:
            seen = camera.project(joints)
            seen[~camera.inside(np.nan_to_num(seen, nan=-1))] = np.nan
            there = [side for side in range(2) if np.isfinite(seen[side]).all(-1).sum() > 1]
            if not there or frame not in project.view(camera.name).numbers:
                continue
            rgb = project.view(camera.name).read(frame)
            for sides in [[side] for side in there] if as_right else [there]:
                mirrored = as_right and sides == [1]
                name = f"{camera.name}/{frame}{'-mirrored' if mirrored else ''}.jpg"
                write_bytes(out / "images" / name, encode_image(rgb[:, ::-1] if mirrored else rgb, ".jpg"))
                size = {"width": camera.width, "height": camera.height}
                images.append({"id": len(images) + 1, "file_name": name, **size})
                for side in sides:
                    hand = mirrored_points(seen[side], camera.width) if mirrored else seen[side]
                    annotations.append(coco_annotation(len(annotations) + 1, len(images), hand))
        advance()
    if not annotations:
        raise InputError(
            f"{project.folder}: nobody marked a joint in two views yet; open the page and mark some frames"
        )
    record = {"images": images, "annotations": annotations, "categories": [coco_category(1, "hand")]}
    file = out / "coco.json"
    write_text(file, json.dumps(record) + "\n")
    return file


def mirrored_points(points_px: RealArray, width: int) -> RealArray:
    """Points (..., 2) of an image `width` pixels wide, in the mirrored image."""
    return np.stack([width - points_px[..., 0], points_px[..., 1]], -1)


def coco_category(number: int, name: str) -> CocoCategory:
    """A category of hands with MediaPipe's 21 keypoints."""
    skeleton = load_skeleton("hand_mediapipe21")
    bones = [[int(a) + 1, int(b) + 1] for a, b in skeleton.bones]
    return {"id": number, "name": name, "keypoints": list(skeleton.keypoints), "skeleton": bones}


def coco_annotation(
    number: int, image: int, points_px: RealArray, *, category: int = 1, flags: IntArray | None = None
) -> CocoHand:
    """A hand of keypoints (21, 2), NaN where unknown; flags (21,) as COCO's, by default 2 for all that are known."""
    known = np.asarray(np.isfinite(points_px).all(1), np.bool_)
    low, high = points_px[known].min(0), points_px[known].max(0)
    room = _ROOM * float((high - low).max())
    width, height = (high - low + 2 * room).tolist()
    visibility = np.where(known, 2 if flags is None else flags, 0)
    rows = np.concatenate([np.where(known[:, None], points_px, 0), visibility[:, None]], 1)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [round(value, 2) for value in (*(low - room).tolist(), width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "num_keypoints": int(known.sum()),
        "keypoints": rows.round(2).reshape(-1).tolist(),
    }


_BENT: Final = tuple(k for k in range(1, 21) if k % 4 in (1, 2, 3) and k != 1)  # joints that bend and have one beyond
_FEWEST: Final = 5
_STIFF: Final = 4.0  # regularisation of an offset's change with the bends, in frames
_OFF_M: Final = 0.04  # beyond which it is not an offset but another hand


@dataclass(frozen=True, eq=False)
class Offsets:
    """Learned offsets.

    Attributes:
        values_m: (2, 21, 1 + B, 3) for the right and the left hand: constant, then along each of B bends.
        frames: (2, 21) how many each was fitted to.
    """

    values_m: FloatArray
    frames: IntArray

    def correct(self, points_m: FloatArray, side: int) -> FloatArray:
        """Joints (N, 21, 3) of one side as people would mark them; NaN where a joint or its axes are unknown."""
        axes, bends = joint_axes(points_m), _features(points_m)
        moved = np.einsum("nb,kbi->nki", bends, self.values_m[side])
        return points_m + (axes @ moved[..., None])[..., 0]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        record = {"format": "sonjit-offsets", "values_m": self.values_m.tolist(), "frames": self.frames.tolist()}
        write_text(path, json.dumps(record) + "\n")


def load_offsets(path: Path) -> Offsets:
    """Read what `Offsets.save` wrote.

    Raises:
        InputError: it is missing, damaged or not such a file.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        values = np.array(record["values_m"], np.float64).reshape(2, 21, 1 + len(_BENT), 3)
        return Offsets(values, np.array(record["frames"], np.int64).reshape(2, 21))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no offsets ({error}): sonjit annotate train writes it") from None


def fit_offsets(machine_m: FloatArray, human_m: FloatArray) -> Offsets:
    """Fit offsets from the machine's joints to people's.

    Args:
        machine_m: (N, 2, 21, 3) triangulated from a detector; NaN where unknown.
        human_m: (N, 2, 21, 3) of the same frame sets, likewise.

    Raises:
        InputError: fewer than five frames have both.
    """
    values = np.zeros((2, 21, 1 + len(_BENT), 3))
    counts = np.zeros((2, 21), np.int64)
    for side in range(2):
        axes, bends = joint_axes(machine_m[:, side]), _features(machine_m[:, side])
        off = human_m[:, side] - machine_m[:, side]
        local = (np.swapaxes(axes, -1, -2) @ off[..., None])[..., 0]  # (N, 21, 3)
        near = np.linalg.norm(off, axis=-1) < _OFF_M
        for joint in range(21):
            both = near[:, joint] & np.isfinite(local[:, joint]).all(-1) & np.isfinite(bends).all(-1)
            counts[side, joint] = both.sum()
            if both.sum() >= _FEWEST:
                values[side, joint] = _robust(bends[both], local[both, joint])
    if not (counts >= _FEWEST).any():
        raise InputError(
            f"{int(counts.max())} frames have joints both by people and by the machine: mark {_FEWEST} or more frames "
            "in two views each, spread over the recording"
        )
    return Offsets(values, counts)


def _robust(bends: FloatArray, local: FloatArray) -> FloatArray:
    """(1 + B, 3) regularised least squares; frames that lie far off count less."""
    ridge = np.diag([1e-6, *[_STIFF] * (bends.shape[1] - 1)])
    weights, solved = np.ones(len(bends)), np.zeros((bends.shape[1], 3))
    for _ in range(8):
        weighted = bends * weights[:, None]
        solved = np.linalg.solve(weighted.T @ bends + ridge, weighted.T @ local)
        far = np.linalg.norm(local - bends @ solved, axis=1)
        usual = max(float(np.median(far)), 1e-4)
        weights = 1 / (1 + (far / (2 * usual)) ** 2)
    return np.asarray(solved, np.float64)


def joint_axes(points_m: FloatArray) -> FloatArray:
    """(N, 21, 3, 3) columns that move with each joint of hands (N, 21, 3)."""
    wrist, index, middle, little = (points_m[:, k] for k in (0, 5, 9, 17))
    across, along = _unit(little - index), middle - wrist
    out = _unit(np.cross(across, along))
    palm = np.stack([across, np.cross(out, across), out], -1)
    axes = np.repeat(palm[:, None], 21, 1)
    for joint in range(2, 21):
        if joint % 4 == 1:
            continue  # the first joint of each finger goes with the palm
        bone = _unit(points_m[:, joint] - points_m[:, joint - 1])
        beside = out if joint < 5 else across
        side = _unit(beside - (beside * bone).sum(-1, keepdims=True) * bone)
        axes[:, joint] = np.stack([side, bone, np.cross(side, bone)], -1)
    return axes


def _features(points_m: FloatArray) -> FloatArray:
    """(N, 1 + B) one, and how far each joint bends: 1 less the cosine between its bones."""
    chains = [(0 if k % 4 == 1 else k - 1, k, k + 1) for k in _BENT]
    before, at, after = (points_m[:, list(places)] for places in zip(*chains, strict=True))
    cosine = (_unit(at - before) * _unit(after - at)).sum(-1)
    bends: FloatArray = np.concatenate([np.ones((len(points_m), 1)), 1 - cosine], 1)
    return bends


def _unit(vectors: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float64)
