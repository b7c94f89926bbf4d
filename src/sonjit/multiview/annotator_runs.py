"""What runs of the automatic annotator left in a project: labels, and what is learned from people beside them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.annotator_labels import human_frames, human_joints
from sonjit.multiview.annotator_offsets import learn_offsets
from sonjit.multiview.auto_labels import Labels, load_labels, triangulate_seen
from sonjit.multiview.views_run import LookSettings, SeenChunk, load_seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sonjit.multiview.annotator_offsets import Offsets
    from sonjit.multiview.project import Project

FOLDER: Final = "auto"
OFFSETS: Final = "offsets.json"
CURRENT: Final = "current.json"


def learn(project: Project) -> Offsets:
    """Learn what lies between the machine's joints and people's, from instants that have both; writes it.

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
        raise InputError(f"{project.folder}: no instant has joints by people; open the page and mark some in two views")
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
