"""An annotation project: a folder with the cameras, the places of their images, and the marks.

`cameras.json` is the rig, `project.json` names the videos and folders of images (they are never copied),
`annotations.sqlite` is the store; `frame_sets.json` is there where images were matched by `sonjit annotate sync`. One
project holds the recordings of one person.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from sonjit.errors import InputError
from sonjit.files import file_stamp, write_text
from sonjit.multiview.annotation.marks import AnnotationStore, check_name
from sonjit.multiview.cameras.files import load_cameras, save_cameras
from sonjit.multiview.cameras.frame_sets import CameraFrames, load_frame_sets, save_frame_sets
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.cameras.views import MatchedView, View, check_view, open_view
from sonjit.runs.processor import counted

VERSION: Final = 1
_CAMERAS, _PROJECT, _STORE, _FRAME_SETS = "cameras.json", "project.json", "annotations.sqlite", "frame_sets.json"


@dataclass(frozen=True, eq=False)
class Project:
    """An open project.

    Attributes:
        folder: of the project.
        name: for people.
        rig: the cameras that have images, in the rig's order.
        views: their images by name.
        store: the marks.
    """

    folder: Path
    name: str
    rig: CameraRig
    views: Mapping[str, View]
    store: AnnotationStore

    @cached_property
    def frames(self) -> tuple[int, ...]:
        """Numbers of all frame sets that any view has, rising."""
        return tuple(sorted(set().union(*(view.numbers for view in self.views.values()))))

    def missing(self) -> dict[str, tuple[int, ...]]:
        """Frame sets that a view has no image of, for views that lack any."""
        everything = set(self.frames)
        lacking = {name: tuple(sorted(everything.difference(view.numbers))) for name, view in self.views.items()}
        return {name: numbers for name, numbers in lacking.items() if numbers}

    def recordings(self) -> str:
        """A hash of what changes where a camera or an image does: cameras, and name, size and time of each file."""
        views = {name: [[file.name, file_stamp(file)] for file in view.files()] for name, view in self.views.items()}
        known = [file_stamp(self.folder / name) for name in (_CAMERAS, _FRAME_SETS) if (self.folder / name).exists()]
        return hashlib.sha256(json.dumps([*known, views]).encode()).hexdigest()

    def view(self, name: str) -> View:
        """A camera's images.

        Raises:
            InputError: the project has no such view.
        """
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
    frame_sets: Mapping[str, CameraFrames] | None = None,
) -> Project:
    """Create a project in a folder that holds none yet.

    Args:
        folder: created where it is missing.
        rig: the cameras.
        views: by camera, its video, or its folder or pattern of images.
        name: for people; by default the folder's.
        frame_sets: by camera, which frame set each image is of; by default all have one number in a frame set.

    Raises:
        InputError: a project is there already, a camera is unknown, images are missing, damaged or of another size
            than the camera's, two views share no frame set, or the folder cannot be written.
    """
    if (folder / _PROJECT).exists():
        raise InputError(f"{folder} holds a project already: open it, or choose another folder")
    if len(views) < 2:
        raise InputError(f"{counted(len(views), 'view', 'views')}: triangulation needs at least two")
    ordered = {name: views[name] for name in rig.names if name in views}
    for unknown in views.keys() - ordered.keys():
        rig.index(unknown)
    title = check_name("project name (--name)", name or folder.resolve().name)
    numbers = {one: _checked(rig, one, path) for one, path in ordered.items()}
    if frame_sets is not None:
        numbers = {one: {frame_sets[one].frame_sets.get(image, -1) for image in numbers[one]} - {-1} for one in numbers}
    first, *others = numbers
    for other in others:
        if not numbers[first] & numbers[other]:
            raise InputError(f"views {first} and {other} share no frame set: images of one need one number in both")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be created: {error.strerror}; choose another folder") from None
    AnnotationStore(folder / _STORE).close()
    save_cameras(rig, folder / _CAMERAS)
    if frame_sets is not None:
        save_frame_sets(folder / _FRAME_SETS, {one: frame_sets[one] for one in ordered})
    record = {
        "format": "sonjit-annotation",
        "version": VERSION,
        "name": title,
        "views": {one: _written(path, folder) for one, path in ordered.items()},
    }
    # the last one: it makes the folder a project
    write_text(folder / _PROJECT, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return open_project(folder)


def open_project(folder: Path) -> Project:
    """Open a project.

    Raises:
        InputError: there is none, it comes from a newer Sonjit, a file is damaged, or a view's images are gone.
    """
    title, paths = _record(folder / _PROJECT)
    rig = load_cameras(folder / _CAMERAS)
    views = {name: open_view(folder / path) for name, path in paths.items()}
    if (folder / _FRAME_SETS).exists():
        matched = load_frame_sets(folder / _FRAME_SETS, tuple(views))
        views = {name: MatchedView(view, matched[name].frame_sets) for name, view in views.items()}
    return Project(folder, title, rig.subset(views), views, AnnotationStore(folder / _STORE))


def _checked(rig: CameraRig, name: str, path: Path) -> set[int]:
    """Numbers of a view's frames, after its first image was checked."""
    try:
        view, size = check_view(path)
    except InputError as error:
        raise InputError(f"view {name}: {error}") from None
    camera = rig[name]
    if size != (camera.width, camera.height):
        raise InputError(
            f"view {name}: images of {size[0]} x {size[1]} pixels in {path}, and the camera has "
            f"{camera.width} x {camera.height} (width, height): were cameras or views exchanged?"
        )
    return set(view.numbers)


def _written(path: Path, folder: Path) -> str:
    """A path as the project stores it: relative where it lies inside the folder or beside it, so that both can move."""
    beside = folder.resolve().parent
    full = path.resolve()
    return os.path.relpath(full, folder.resolve()) if full.is_relative_to(beside) else str(full)


def _record(path: Path) -> tuple[str, dict[str, str]]:
    """What `open_project` needs of project.json: the name, and where the views lie."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path.parent} is not an annotation project ({error.strerror}): see sonjit annotate new"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if not isinstance(record, dict) or record.get("format") != "sonjit-annotation":
        raise InputError(f"{path} is not an annotation project: see sonjit annotate new --help")
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise InputError(f"{path} was written by a newer Sonjit (version {version}, known {VERSION}): update Sonjit")
    views, name = record.get("views"), record.get("name")
    if not isinstance(views, dict) or not all(isinstance(text, str) for text in (name, *views.values())):
        raise InputError(f"{path} is damaged: it has no views or no name")
    return record["name"], record["views"]
