"""Triangulate what people marked, write it as a training set of all views, and train networks on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.arrays import IntArray, RealArray
from sonjit._util.data_files import write_json
from sonjit._util.errors import InputError
from sonjit._util.files import write_bytes
from sonjit._util.pools import Progress
from sonjit.lab.training.recipes import Progress as TrainingProgress
from sonjit.lab.training.recipes import TrainingRequest, no_progress, run_recipe
from sonjit.media.sources.images import encode_image
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.annotation.marks import MACHINE, Mark, mark_table
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.run_folder import FOLDER
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.triangulation import Triangulation, triangulate

HAND_NETWORK: Final = "hand-full"
"""Recipe of `sonjit train`, and stem of its exported file."""
_BOX_MARGIN: Final = 0.05  # margin of COCO's box around the keypoints, relative to the hand's size


def human_frames(project: Project) -> tuple[int, ...]:
    """Return the frame sets of which people marked a joint in two or more views, ascending."""
    return tuple(sorted(frame for frame, joints in project.store.triangulable().items() if joints))


def human_joints(rig: CameraRig, marks: Sequence[Mark]) -> Triangulation:
    """Triangulate the joints (2, 21) that people marked in one frame set, from the medians of their marks."""
    table = mark_table(rig, [mark for mark in marks if mark.annotator != MACHINE])
    pixels = table.points_px.reshape(len(rig), 2, 21, 2)
    return triangulate(rig, pixels, table.valid.reshape(len(rig), 2, 21), table.weights.reshape(len(rig), 2, 21))


def write_training_set(
    project: Project, frames: Sequence[int], out: Path, progress: Progress = Progress(), *, as_right: bool = False
) -> Path:
    """Write every view of some frame sets with all joints known in space, as COCO for `sonjit train`.

    Args:
        project: Project with the marks.
        frames: Frame sets that people marked.
        out: Folder for `coco.json` and `images`.
        progress: Receiver of the progress in frame sets.
        as_right: True if each hand gets its own image, left ones mirrored, so that a network learns to find the right
            hand where two overlap.

    Returns:
        The file of annotations.
    """
    images: list[dict[str, int | str]] = []
    annotations: list[dict[str, object]] = []
    for frame in frames:
        joints = human_joints(project.rig, project.store.marks(frame)).points_m
        for camera in project.rig:
            pixels = camera.project(joints)
            pixels[~camera.inside(np.nan_to_num(pixels, nan=-1))] = np.nan
            visible_sides = [side for side in range(2) if np.isfinite(pixels[side]).all(-1).sum() > 1]
            if not visible_sides or frame not in project.view(camera.name).numbers:
                continue
            rgb = project.view(camera.name).read(frame)
            for sides in [[side] for side in visible_sides] if as_right else [visible_sides]:
                mirrored = as_right and sides == [1]
                name = f"{camera.name}/{frame}{'-mirrored' if mirrored else ''}.jpg"
                write_bytes(out / "images" / name, encode_image(rgb[:, ::-1] if mirrored else rgb, ".jpg"))
                size = {"width": camera.width, "height": camera.height}
                images.append({"id": len(images) + 1, "file_name": name, **size})
                for side in sides:
                    hand = mirror_points(pixels[side], camera.width) if mirrored else pixels[side]
                    annotations.append(coco_annotation(len(annotations) + 1, len(images), hand))
        progress.advance()
    if not annotations:
        raise InputError(f"{project.folder}: no joint is marked in two views; open the page and mark some frames")
    record = {"images": images, "annotations": annotations, "categories": [coco_category(1, "hand")]}
    file = out / "coco.json"
    write_json(file, record)
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
    """Return COCO's record of a hand; `bbox` is x, y, width, height.

    Args:
        number: Id of the annotation.
        image: Id of the image.
        points_px: (21, 2) keypoints, NaN where unknown.
        category: Id of the category.
        flags: (21,) COCO's visibility flags. By default 2 for all known keypoints.
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


_DEFAULT_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "learning_rate": "1e-4", "held_out": "0", "augmentation.mirror": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{block}" for block in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""Settings for some hundred hands of one person. The first layers stay frozen, which also halves the time. No crop is
mirrored in training: a network for right hands must not learn to find adjacent left ones."""


def train_network(
    project: Project,
    recipe: str,
    settings: Mapping[str, str],
    *,
    device: str = "cpu",
    progress: TrainingProgress = no_progress,
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the frame sets that people marked, or resume a run.

    Args:
        project: Project with the marks.
        recipe: `hand-full` fine-tunes the published model, `keypoint-detector` is trained from scratch.
        settings: Settings of the recipe, as typed.
        device: Device of PyTorch, see `torch_device`.
        progress: Callback after each step.

    Returns:
        Folder of the run, which depends on marks and settings, and the recipe's result.
    """
    is_hand_network = recipe == HAND_NETWORK
    training_set = project.folder / FOLDER / f"training-set-{recipe}"
    data = write_training_set(project, human_frames(project), training_set, as_right=is_hand_network)
    all_settings = {**_DEFAULT_SETTINGS[recipe], **settings}
    options = json.dumps(all_settings, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + options).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=training_set / "images", device=device, settings=all_settings,
        progress=progress, export="openvino" if is_hand_network else None,
    )  # fmt: skip
    return folder, run_recipe(request)
