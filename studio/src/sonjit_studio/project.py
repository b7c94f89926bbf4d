"""Create and open annotation projects: folders with the cameras, the paths of their images, and the marks.

`cameras.json` is the rig. `project.json` names the videos and folders of images, which are never copied.
`annotations.sqlite` is the store. `frame_sets.json` exists if images were matched by `sonjit annotate sync`. A project
contains the recordings of one person.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import InputError, data_files, pluralize
from sonjit._util.files import file_stamp
from sonjit_lab import redundant_facts
from sonjit_studio import camera_files, marks
from sonjit_studio import views as view_files
from sonjit_studio.rig import CameraRig

VERSION: Final = 1
_CAMERAS_FILE, _FRAME_SETS_FILE = "cameras.json", "frame_sets.json"
_PROJECT_FILE, _STORE_FILE = "project.json", "annotations.sqlite"


@dataclass(frozen=True, eq=False)
class Project:
    """An open project."""

    folder: Path
    name: str
    rig: CameraRig
    views: Mapping[str, view_files.View]
    store: marks.AnnotationStore

    @cached_property
    def frames(self) -> tuple[int, ...]:
        """Numbers of all frame sets of any view, ascending."""
        return tuple(sorted(set().union(*(view.numbers for view in self.views.values()))))

    def missing(self) -> dict[str, tuple[int, ...]]:
        """Return the frame sets without an image, by view. Complete views are absent."""
        all_frames = set(self.frames)
        missing = {name: sorted(all_frames.difference(view.numbers)) for name, view in self.views.items()}
        return {name: tuple(numbers) for name, numbers in missing.items() if numbers}

    def notes(self) -> list[str]:
        """Return the contradictions of the cameras and the times of the views, one line each."""
        intrinsics = self.rig.subset(self.views).intrinsics()
        times = [view.times_s() for view in self.views.values()]
        times_s = np.array([[view_times.get(number, np.nan) for number in self.frames] for view_times in times])
        clocks = redundant_facts.clock_notes(tuple(self.views), self.frames, times_s)
        return [*clocks, *redundant_facts.intrinsics_notes(intrinsics)]

    def recordings(self) -> str:
        """Return a hash of the cameras and of each image file's name, size and time."""
        views = {name: [[file.name, file_stamp(file)] for file in view.files()] for name, view in self.views.items()}
        files = self.folder / _CAMERAS_FILE, self.folder / _FRAME_SETS_FILE
        stamps = [file_stamp(file) for file in files if file.exists()]
        return hashlib.sha256(json.dumps([*stamps, views]).encode()).hexdigest()

    def view(self, name: str) -> view_files.View:
        """Return a camera's images."""
        if name not in self.views:
            raise InputError(f"view {name!r:.60} is not in this project: it has {', '.join(self.views)}")
        return self.views[name]

    def close(self) -> None:
        """Close files and store."""
        for view in self.views.values():
            view.close()
        self.store.close()


def create_project(
    folder: Path,
    rig: CameraRig,
    views: Mapping[str, Path],
    *,
    name: str | None = None,
    frame_sets: Mapping[str, view_files.CameraFrames] | None = None,
) -> Project:
    """Create a project, titled as the folder by default, of videos, folders or patterns of images by camera.

    Images of equal number form a frame set unless `frame_sets` gives them.
    """
    if (folder / _PROJECT_FILE).exists():
        raise InputError(f"{folder} already contains a project: open it, or choose another folder")
    for file in (folder / _CAMERAS_FILE, folder / _FRAME_SETS_FILE):
        if file.exists():
            raise InputError(f"{file} exists, and a project writes its own: choose another folder")
    if len(views) < 2:
        raise InputError(f"{pluralize(len(views), 'view')}: triangulation requires at least two")
    ordered = {name: views[name] for name in rig.names if name in views}
    for unknown in views.keys() - ordered.keys():
        rig.index(unknown)
    title = marks.check_name("project name (--name)", name or folder.resolve().name)
    numbers = {camera_name: _view_numbers(rig, camera_name, path) for camera_name, path in ordered.items()}
    if frame_sets is not None:
        numbers = {
            view: {frame_sets[view].frame_sets.get(image, -1) for image in images} - {-1}
            for view, images in numbers.items()
        }
    first, *others = numbers
    for other in others:
        if not numbers[first] & numbers[other]:
            raise InputError(
                f"views {first} and {other} share no frame set: images of a frame set require the same number"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be created: {error.strerror}; choose another folder") from None
    marks.AnnotationStore(folder / _STORE_FILE).close()
    camera_files.save_cameras(rig, folder / _CAMERAS_FILE)
    if frame_sets is not None:
        view_files.save_frame_sets(folder / _FRAME_SETS_FILE, {name: frame_sets[name] for name in ordered})
    record = {
        "format": "sonjit-annotation",
        "version": VERSION,
        "name": title,
        "views": {camera_name: _stored_path(path, folder) for camera_name, path in ordered.items()},
    }
    # written last, because this file makes the folder a project
    data_files.write_json(folder / _PROJECT_FILE, record, indent=1)
    return open_project(folder)


def open_project(folder: Path) -> Project:
    """Open a project."""
    title, paths = _read_project(folder / _PROJECT_FILE)
    rig = camera_files.load_cameras(folder / _CAMERAS_FILE)
    views = {name: view_files.open_view(folder / path) for name, path in paths.items()}
    if (folder / _FRAME_SETS_FILE).exists():
        matched = view_files.load_frame_sets(folder / _FRAME_SETS_FILE, tuple(views))
        views = {name: view_files.SynchronizedView(view, matched[name].frame_sets) for name, view in views.items()}
    return Project(folder, title, rig.subset(views), views, marks.AnnotationStore(folder / _STORE_FILE))


def _view_numbers(rig: CameraRig, name: str, path: Path) -> set[int]:
    try:
        view, size = view_files.open_checked_view(path)
    except InputError as error:
        raise InputError(f"view {name}: {error}") from None
    camera = rig[name]
    if size != (camera.width, camera.height):
        raise InputError(
            f"view {name}: images of {size[0]} x {size[1]} pixels in {path}, and the camera has "
            f"{camera.width} x {camera.height} (width, height): were cameras or views exchanged?"
        )
    return set(view.numbers)


def _stored_path(path: Path, folder: Path) -> str:
    """Return a path as stored: relative inside the folder or its parent, so that both can move together."""
    parent = folder.resolve().parent
    full = path.resolve()
    return os.path.relpath(full, folder.resolve()) if full.is_relative_to(parent) else str(full)


def _read_project(path: Path) -> tuple[str, dict[str, str]]:
    record = data_files.read_json(path) if path.is_file() else None
    if not isinstance(record, dict) or record.get("format") != "sonjit-annotation":
        raise InputError(f"{path.parent} is not an annotation project: see sonjit annotate new --help")
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise InputError(f"{path} was written by a newer Sonjit (version {version}, known {VERSION}): update Sonjit")
    views, name = record.get("views"), record.get("name")
    if not isinstance(views, dict) or not all(isinstance(text, str) for text in (name, *views.values())):
        raise InputError(f"{path} is damaged: it has no views or no name")
    return record["name"], record["views"]
