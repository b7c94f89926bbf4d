"""Inputs of a run, found from paths, folders, globs and streams, and the output paths of each."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util.errors import InputError
from sonjit.media import (
    IMAGE_ENDINGS,
    VIDEO_ENDINGS,
    natural_key,
    open_source,
)
from sonjit.media.annotated.output import is_drawing_folder
from sonjit.media.sources.open import FolderSource, is_stream
from sonjit.media.sources.remote import File, RemoteFile, is_remote, remote_files
from sonjit.runs.task import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sonjit.media import Source
    from sonjit.runs.task import Task

_DRAWING_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".mp4", ".mov", ".mkv", ".webm")
"""Formats of inputs that annotated output keeps."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of a run.

    Attributes:
        named: Files, folders, globs, or one stream, as the user named them.
        files: Images and videos of several inputs in order; None for a single input.
        labels: Name of each file in tables over several inputs.
    """

    named: tuple[str, ...]
    files: tuple[File, ...] | None = None
    labels: tuple[str, ...] = ()

    @classmethod
    def find(cls, named: Iterable[str]) -> Inputs:
        """Find the inputs that a user names.

        Args:
            named: Paths, folders and globs, or one stream such as camera:0, rtsp://... or -.

        Raises:
            InputError: An input does not exist, or a stream is named in addition to other inputs.
        """
        named = tuple(named)
        if not named:
            raise InputError("name an INPUT: an image, a folder, a glob, a video, camera:0, rtsp://..., or -")
        if unknown := [name for name in named if name.startswith("--")]:
            raise InputError(f"unknown option {unknown[0]}. --help lists the options")
        if len(named) == 1:
            found = None if is_stream(named[0]) else _files_in(named[0])
            if found is None:
                return cls(named)
            in_folder = Path(named[0]).is_dir() or (is_remote(named[0]) and not any(mark in named[0] for mark in "*?["))
            return cls(named, tuple(found), tuple(file.name if in_folder else str(file) for file in found))
        files = _distinct_files(named)
        return cls(named, files, tuple(map(str, files)))

    @property
    def name(self) -> str:
        """Name of the source of a table over all inputs."""
        more = len(self.named) - 1
        return f"{self.named[0]} and {more} more" if more else self.named[0]

    @property
    def unit(self) -> str:
        """Noun of the steps of a run."""
        return "frames" if self.files is None else "files"

    def open_all(self, *, videos: bool) -> Source:
        """Open a source that describes all files: all still images, or the first readable file if there are videos.

        Args:
            videos: Accept videos.

        Raises:
            InputError: There are videos but they are not accepted, or no file can be read.
        """
        files = self.files or ()
        video = next((file for file in files if is_video(file)), None)
        if video is None:
            return FolderSource(self.name, files, self.labels)
        if not videos:
            raise InputError(f"{video} is a video and cannot share a table with other files. Use --save out/")
        source: Source | None = None
        for file in files:
            with suppress(InputError):  # the run reports it
                source = open_source(file)
                break
        if source is None:
            raise InputError(f"{self.name}: none of the {len(files)} files can be read")
        source.name = self.name
        return source

    def open_one(self) -> Source:
        """Open the single input."""
        return open_source(self.named[0])


def is_video(file: File) -> bool:
    """Check whether a file has the ending of a video."""
    return file.suffix.lower() in VIDEO_ENDINGS


def _files_in(named: str) -> Sequence[File] | None:
    """Return the images and videos of a folder or glob in natural order; None for anything else."""
    path, found = Path(named), list[File]()
    if is_remote(named):
        remote = remote_files(named)
        if remote is None:
            return None
        found = [*remote]
    elif path.is_dir():
        found = [file for file in path.iterdir() if file.is_file()]
    elif not path.exists() and any(mark in named for mark in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = [file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file()]
    else:
        return None
    endings = (*IMAGE_ENDINGS, *VIDEO_ENDINGS)
    files = [file for file in found if file.suffix.lower() in endings and file.name[0] != "."]
    if not files:
        raise InputError(f"{named} contains no images or videos. Known endings: {', '.join(endings)}")
    return sorted(files, key=lambda file: natural_key(str(file)))


def is_many(output: str) -> bool:
    """Check whether a path names one file per input: a folder, or a name with `{name}`."""
    return "{name}" in output or output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix


def output_paths(outputs: Outputs, files: Sequence[File], task: Task) -> list[Outputs]:
    """Return the output paths of each of many files, and make their folders.

    Args:
        outputs: Folders, or names with `{name}`.
        files: Images and videos.
        task: Task that determines the endings.

    Raises:
        InputError: A path of images is not a folder, or a folder cannot be made.
    """
    for option, path in (("--draw", outputs.draw), ("--mask", outputs.mask), ("--figure", outputs.figures)):
        if path is not None and "{name}" not in path and not is_drawing_folder(path):
            raise InputError(f"{option} {path}: several inputs require a folder. Give a name without an ending")
    return [
        Outputs(
            save=_output_path(outputs.save, name, task.save_ending),
            draw=_output_path(outputs.draw, name, _drawing_ending(file)),
            mask=_output_path(outputs.mask, name, ".webm" if is_video(file) else ".png"),
            figures=_output_path(outputs.figures, name, task.figures_ending),
            json=outputs.json,
        )
        for file, name in zip(files, _names(files), strict=True)
    ]


def shown_paths(outputs: Outputs, task: Task) -> list[str]:
    """Return the outputs of many files for the user, with the ending of the files in a folder of results.

    Args:
        outputs: Folders, or names with `{name}`.
        task: Task that determines the ending.
    """
    if outputs.save is None or "{name}" in outputs.save:
        return outputs.paths
    return replace(outputs, save=str(Path(outputs.save) / f"*{task.save_ending}")).paths


def _drawing_ending(file: File) -> str:
    if file.suffix.lower() in _DRAWING_ENDINGS:
        return file.suffix
    return ".mp4" if is_video(file) else ".png"


def _names(files: Sequence[File]) -> list[str]:
    """Return a name for the outputs of each file: the shortest of its names that distinguishes it from the others."""
    paths = ["_".join(_parts(file)) for file in files]
    forms = (
        [file.stem for file in files],
        [file.name for file in files],
        [path.removesuffix(file.suffix) for file, path in zip(files, paths, strict=True)],  # of several folders
        paths,
    )
    counts = [Counter(form) for form in forms]
    return [
        next((name for name, count in zip(names, counts, strict=True) if count[name] == 1), names[-1])
        for names in zip(*forms, strict=True)
    ]


def _parts(file: File) -> tuple[str, ...]:
    return file.relative_to(file.anchor).parts if isinstance(file, Path) else file.parts


def _output_path(output: str | None, name: str, ending: str) -> str | None:
    """Return the path of one file's output."""
    if output is None:
        return None
    return output.replace("{name}", name) if "{name}" in output else str(Path(output) / f"{name}{ending}")


def _distinct_files(named: Iterable[str]) -> tuple[File, ...]:
    """Return the files of several inputs, each once.

    Raises:
        InputError: An input does not exist, or is a stream.
    """
    files: dict[File, File] = {}
    for name in named:
        if is_stream(name):
            raise InputError(f"{name} is a stream: give it as the only INPUT")
        found = _files_in(name)
        if found is None and not is_remote(name) and not Path(name).exists():
            raise InputError(f"{name}: no such file or folder")
        for file in found or [RemoteFile(name) if is_remote(name) else Path(name)]:
            files.setdefault(file.resolve() if isinstance(file, Path) else file, file)
    return tuple(files.values())
