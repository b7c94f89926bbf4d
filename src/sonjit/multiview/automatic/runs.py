"""What runs of the automatic annotator leave in a project: labels, offsets, and networks trained on people's marks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.automatic.detection import ChunkDetections, DetectionSettings, load_detections
from sonjit.multiview.automatic.labels import Labels, load_labels, triangulate_detections
from sonjit.multiview.automatic.learning import fit_offsets, human_frames, human_joints, write_training_set
from sonjit.multiview.automatic.second_pass import HAND_NETWORK
from sonjit.training.recipes import TrainingRequest, no_progress, run_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from sonjit.multiview.annotation.project import Project
    from sonjit.multiview.automatic.learning import Offsets
    from sonjit.training.recipes import Progress

FOLDER: Final = "auto"
OFFSETS: Final = "offsets.json"
CURRENT: Final = "current.json"

SETTINGS: Final = "settings.json"


def fit_project_offsets(project: Project) -> Offsets:
    """Fit the offsets from the machine's joints to people's, from frame sets that have both, and write them.

    Raises:
        InputError: the machine has not run, or people marked too little.
    """
    folder = current_run(project)
    human = human_frames(project)
    rows: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    detection = _read_settings(folder)
    rig = project.rig.subset(detection.views)
    for seen in _all_detections(folder):
        place = {int(frame): row for row, frame in enumerate(seen.frames)}
        own = [frame for frame in human if frame in place]
        if own:
            machine = triangulate_detections(rig, seen).points_m
            rows += [
                (machine[place[frame]], human_joints(project.rig, project.store.marks(frame)).points_m) for frame in own
            ]
    if not rows:
        raise InputError(
            f"{project.folder}: no frame set has joints by people; open the page and mark some in two views"
        )
    offsets = fit_offsets(np.stack([one for one, _ in rows]), np.stack([other for _, other in rows]))
    offsets.save(folder / OFFSETS)
    return offsets


def run_name(detection: DetectionSettings) -> str:
    """The folder's name for detection settings, wherever the project lies; a network counts by its bytes."""
    fields = asdict(replace(detection, project=""))
    if detection.network:
        path = Path(detection.network)
        path = path / "weights.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise InputError(
                f"--network {detection.network}: no weights there; sonjit annotate train --network writes them"
            )
        fields["network"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def current_run(project: Project) -> Path:
    """The folder of the newest run.

    Raises:
        InputError: there is none.
    """
    file = project.folder / FOLDER / CURRENT
    try:
        return project.folder / FOLDER / str(json.loads(file.read_text("utf-8"))["run"])
    except (OSError, ValueError, KeyError):
        raise InputError(
            f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}"
        ) from None


def read_labels(project: Project) -> Iterator[Labels]:
    """The newest labels, chunk by chunk.

    Raises:
        InputError: there are none, or a file is damaged.
    """
    files = sorted((current_run(project) / "labels").glob("*.npz"))
    if not files:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return (load_labels(file) for file in files)


def _all_detections(folder: Path) -> Iterator[ChunkDetections]:
    return (load_detections(file) for file in sorted((folder / "seen").glob("*.npz")))


def _read_settings(folder: Path) -> DetectionSettings:
    record = json.loads((folder / SETTINGS).read_text("utf-8"))
    return DetectionSettings(record["project"], tuple(record["views"]), record["model"], record["network"])


_USUAL: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "learning_rate": "1e-4", "held_out": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{place}" for place in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""Settings for some hundred hands of one person; the first layers stay frozen, which also halves the time."""


def train_network(
    project: Project,
    recipe: str,
    settings: Mapping[str, str],
    *,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the frame sets that people marked, or resume a run.

    Args:
        project: whose marks count.
        recipe: `hand-full` fine-tunes the published model, `keypoint-detector` is trained from scratch.
        settings: of the recipe, as typed.
        device: of torch.
        progress: called after each step.

    Returns:
        The run's folder, another one for other marks or settings; and the recipe's result.

    Raises:
        InputError: nobody marked a joint in two views, or a setting that the recipe does not have.
    """
    hands = recipe == HAND_NETWORK
    training_set = project.folder / FOLDER / f"training-set-{recipe}"
    data = write_training_set(project, human_frames(project), training_set, as_right=hands)
    chosen = {**_USUAL[recipe], **settings}
    options = json.dumps(chosen, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + options).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=training_set / "images", device=device, settings=chosen,
        progress=progress, export="openvino" if hands else None,
    )  # fmt: skip
    return folder, run_recipe(request)
