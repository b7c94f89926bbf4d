"""What runs of the automatic annotator left in a project: labels, and what is learned from people beside them.

Networks that a project's people teach, in folders that `sonjit annotate auto --network` takes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.automatic.labels import Labels, load_labels, triangulate_seen
from sonjit.multiview.automatic.learning import human_frames, human_joints, learn_offsets, write_lessons
from sonjit.multiview.automatic.second_look import HAND_NETWORK
from sonjit.multiview.automatic.views_run import LookSettings, SeenChunk, load_seen
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


def learn(project: Project) -> Offsets:
    """Learn what lies between the machine's joints and people's, from frame sets that have both; writes it.

    Raises:
        InputError: the machine has not run, or people marked too little.
    """
    folder = current_run(project)
    human = human_frames(project)
    rows: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    look_as = _read_look(folder)
    rig = project.rig.subset(look_as.views)
    for seen in _all_seen(folder):
        place = {int(frame): row for row, frame in enumerate(seen.frames)}
        own = [frame for frame in human if frame in place]
        if own:
            machine = triangulate_seen(rig, seen).points_m
            rows += [
                (machine[place[frame]], human_joints(project.rig, project.store.marks(frame)).points_m) for frame in own
            ]
    if not rows:
        raise InputError(
            f"{project.folder}: no frame set has joints by people; open the page and mark some in two views"
        )
    offsets = learn_offsets(np.stack([one for one, _ in rows]), np.stack([other for _, other in rows]))
    offsets.save(folder / OFFSETS)
    return offsets


def run_name(look_as: LookSettings) -> str:
    """Names a way of looking, wherever the project lies; a network by its own bytes."""
    said = asdict(replace(look_as, project=""))
    if look_as.network:
        path = Path(look_as.network)
        path = path / "weights.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise InputError(
                f"--network {look_as.network}: no weights there; sonjit annotate train --network makes them"
            )
        said["network"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


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
            f"{project.folder} has no labels by machine: type sonjit annotate auto {project.folder}"
        ) from None


def read_labels(project: Project) -> Iterator[Labels]:
    """The newest labels, chunk by chunk.

    Raises:
        InputError: there are none, or a file is damaged.
    """
    files = sorted((current_run(project) / "labels").glob("*.npz"))
    if not files:
        raise InputError(f"{project.folder} has no labels by machine: type sonjit annotate auto {project.folder}")
    return (load_labels(file) for file in files)


def _all_seen(folder: Path) -> Iterator[SeenChunk]:
    return (load_seen(file) for file in sorted((folder / "seen").glob("*.npz")))


def _read_look(folder: Path) -> LookSettings:
    record: dict[str, Any] = json.loads((folder / "look.json").read_text("utf-8"))
    return LookSettings(record["project"], tuple(record["views"]), record["model"], record["network"])


_USUAL: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "rate": "1e-4", "held_out": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{place}" for place in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""What some hundred hands of one person need; what sees edges stays, which also halves the time."""


def train_network(
    project: Project,
    recipe: str,
    settings: Mapping[str, str],
    *,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the frame sets that people marked; goes on with a run that was stopped.

    Args:
        project: whose marks count.
        recipe: `hand-full` goes on from the published hands, `keypoint-detector` begins anew.
        settings: of the recipe, as typed.
        device: of torch.
        progress: told after each step.

    Returns:
        The run's folder, another one for other marks or settings; and what the recipe tells.

    Raises:
        InputError: nobody marked a joint in two views, or a setting that the recipe does not have.
    """
    hands = recipe == HAND_NETWORK
    lessons = project.folder / FOLDER / f"lessons-{recipe}"
    data = write_lessons(project, human_frames(project), lessons, as_right=hands)
    chosen = {**_USUAL[recipe], **settings}
    said = json.dumps(chosen, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + said).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=lessons / "images", device=device, settings=chosen,
        progress=progress, export="openvino" if hands else None,
    )  # fmt: skip
    return folder, run_recipe(request)
