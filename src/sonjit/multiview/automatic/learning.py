"""What people marked: their joints in space, and a training set of all views for networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypedDict

import numpy as np

from sonjit.arrays import IntArray, RealArray
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
