"""Read the results of the automatic annotation.

All results are in the folder `auto` of the project: a folder for each detector, its settings and the recordings, with a
file for each chunk of frame sets, its labels and offsets.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.studio.annotation.marks import Mark
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.detection import DetectionSettings
from sonjit.studio.automatic.labelling import marks_of_labels
from sonjit.studio.automatic.labels import Labels, label_file, load_labels

FOLDER: Final = "auto"
OFFSETS: Final = "offsets.json"
CURRENT: Final = "current.json"
SETTINGS: Final = "settings.json"
LABELS: Final = "labels"
CHUNK_FRAME_SETS: Final = 20


def run_name(detection: DetectionSettings) -> str:
    """Return the folder name of detection settings, by the bytes of a network and independent of the project's path."""
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
    """Return the folder of the newest run.

    Raises:
        InputError: There is none.
    """
    folder = _newest_run(project)
    if folder is None:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return folder


def _newest_run(project: Project) -> Path | None:
    """Return the folder of the newest run, or None."""
    try:
        record = read_json(project.folder / FOLDER / CURRENT)
        return project.folder / FOLDER / str(record["run"])
    except (InputError, KeyError):
        return None


def label_files(folder: Path) -> list[Path]:
    """Return the files of labels in order."""
    return sorted((folder / LABELS).glob("[0-9]*.parquet"))


def read_labels(project: Project) -> Iterator[Labels]:
    """Iterate over the newest labels, chunk by chunk.

    Raises:
        InputError: There are none, or a file is damaged.
    """
    files = label_files(current_run(project))
    if not files:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return (load_labels(file) for file in files)


def machine_marks(project: Project, frame: int) -> list[Mark]:
    """Return the newest run's labels of one frame set, projected into the views.

    Raises:
        InputError: A file is damaged.
    """
    folder = _newest_run(project)
    if folder is None:
        return []
    end = bisect_right(project.frames, frame)  # a chunk is named by its first frame set
    candidates = (
        label_file(folder / LABELS, first) for first in reversed(project.frames[max(end - CHUNK_FRAME_SETS, 0) : end])
    )
    chunk = next((file for file in candidates if file.is_file()), None)
    if chunk is None:
        return []
    labels = load_labels(chunk)
    rig = project.rig.subset(read_json(folder / SETTINGS)["views"])
    row = int(np.searchsorted(labels.frames, frame))
    return marks_of_labels(rig, labels.part(slice(row, row + 1)), folder.name) if frame in labels.frames else []
