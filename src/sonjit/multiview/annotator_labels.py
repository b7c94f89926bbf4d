"""What people marked, as a detector learns from it: joints in space, and every view's picture with all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.marks import MACHINE, table_of_marks
from sonjit.multiview.triangulation import triangulate
from sonjit.skeletons import load_skeleton
from sonjit.synthesis.layouts import jpeg_bytes, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig
    from sonjit.multiview.marks import Mark
    from sonjit.multiview.project import Project
    from sonjit.multiview.triangulation import Triangulation

_ROOM: float = 0.05  # of a hand beyond its keypoints, in COCO's box


def human_frames(project: Project) -> tuple[int, ...]:
    """Instants of which people marked a joint in two views or more, rising."""
    return tuple(sorted(frame for frame, joints in project.store.triangulable().items() if joints))


def human_joints(rig: CameraRig, marks: Sequence[Mark]) -> Triangulation:
    """Joints (2, 21) that people marked at one instant: the medians of their marks, in space."""
    table = table_of_marks(rig, [mark for mark in marks if mark.annotator != MACHINE])
    pixels = table.points_px.reshape(len(rig), 2, 21, 2)
    return triangulate(rig, pixels, table.valid.reshape(len(rig), 2, 21), table.weights.reshape(len(rig), 2, 21))


def write_lessons(
    project: Project,
    frames: Sequence[int],
    out: Path,
    advance: Callable[[], None] = lambda: None,
    *,
    as_right: bool = False,
) -> Path:
    """Write each view of the instants given with all joints known in space, as recipes of `sonjit train` read COCO.

    Args:
        project: whose marks count.
        frames: instants that people marked.
        out: folder for `coco.json` and `images`.
        advance: called after each instant.
        as_right: left hands alone, in mirrored pictures, and right ones alone: what is learned is to find the right
            hand where two lie over each other.

    Returns:
        The file of annotations.

    Raises:
        InputError: no joint is known at any of the instants.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
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
                write_whole(out / "images" / name, jpeg_bytes(rgb[:, ::-1] if mirrored else rgb))
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
    write_whole(file, (json.dumps(record) + "\n").encode())
    return file


def mirrored_points(points_px: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Points (..., 2) of a picture so many pixels wide where they lie in the mirrored one."""
    return np.stack([width - points_px[..., 0], points_px[..., 1]], -1)


def coco_category(number: int, name: str) -> dict[str, Any]:
    """A category of hands with MediaPipe's 21 keypoints."""
    skeleton = load_skeleton("hand_mediapipe21")
    bones = [[int(a) + 1, int(b) + 1] for a, b in skeleton.bones]
    return {"id": number, "name": name, "keypoints": list(skeleton.keypoints), "skeleton": bones}


def coco_annotation(
    number: int,
    image: int,
    points_px: NDArray[np.float64],
    *,
    category: int = 1,
    flags: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """A hand of keypoints (21, 2), NaN where unknown; flags (21,) as COCO's, by default 2 for all that are known."""
    known = np.asarray(np.isfinite(points_px).all(1), np.bool_)
    low, high = points_px[known].min(0), points_px[known].max(0)
    room = _ROOM * float((high - low).max())
    width, height = (high - low + 2 * room).tolist()
    said = np.where(known, 2 if flags is None else flags, 0)
    rows = np.concatenate([np.where(known[:, None], points_px, 0), said[:, None]], 1)
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
