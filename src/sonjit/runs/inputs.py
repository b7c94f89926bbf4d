"""Inputs of a run, the output paths of each, and a log of the files that earlier runs have finished.

Each line of the log contains a hash of everything on which the results of a file depend (the task, the files that it
names, and path, size and time of the input), and size and time of each written file. A file is processed again if the
options differ, or if an output has changed or is missing.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import chain
from itertools import count as count_from
from pathlib import Path

from sonjit._util import InputError, json_from, version
from sonjit._util.addresses import shown_name
from sonjit._util.files import append_line, file_stamp, folded_name, shortened
from sonjit.media import Source, annotated
from sonjit.media.sources import (
    FolderSource,
    Reading,
    distinct_files,
    file_kind,
    file_labels,
    find_files,
    is_stream,
    missing_input,
)
from sonjit.media.sources.remote import File, RemoteFile, is_remote
from sonjit.media.tables import find_format
from sonjit.runs.frame_tables import SIDE_TABLES
from sonjit.runs.task import Outputs, Task

_DRAWING_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".mp4", ".mov", ".mkv", ".webm")
"""Formats of inputs that annotated output keeps."""
LOG = ".sonjit-done.jsonl"
WITHOUT_EFFECT = ("threads",)  # options that change no result


@dataclass(frozen=True)
class Inputs:
    """Inputs of a run."""

    named: tuple[str, ...]  # files, folders, globs, or one stream, as the user named them
    files: tuple[File, ...] | None = None  # images and videos of several inputs in order; None for a single input
    labels: tuple[str, ...] = ()  # name of each file in tables over several inputs
    notes: tuple[str, ...] = ()  # on the inputs, such as files that were left out
    reading: Reading = Reading()  # which frames to read

    @classmethod
    def find(cls, named: Iterable[str], reading: Reading = Reading()) -> "Inputs":
        """Find the inputs that a user names: paths, folders and globs, or one stream such as camera:0 or -.

        If `reading` has a rate, a folder or pattern of images is one recording. Raise InputError if an input does not
        exist, or a stream is named in addition to other inputs.
        """
        reading.check()
        named = tuple(named)
        if not named:
            raise InputError("name an INPUT: an image, a folder, a glob, a video, camera:0, rtsp://..., or -")
        if unknown := [
            name for name in named if name.startswith("--") or (name[:1] == "-" != name and not Path(name).exists())
        ]:
            raise InputError(f"unknown option {unknown[0]}. --help lists the options")
        name, *others = named
        if others:
            files, notes = _distinct_files(named)
            return cls(named, files, tuple(map(str, files)), tuple(notes), reading)
        files_and_notes = None if is_stream(name) else find_files(name, videos=True)
        if files_and_notes is None:
            return cls(named, reading=reading)
        files, notes = files_and_notes
        if reading.fps is not None and not any(map(is_video, files)):
            return cls(named, reading=reading)
        return cls(named, tuple(files), tuple(file_labels(name, files)), tuple(notes), reading)

    @property
    def name(self) -> str:
        """Name of the source of a table over all inputs."""
        more = len(self.named) - 1
        first = shown_name(self.named[0])
        return f"{first} and {more} more" if more else first

    @property
    def unit(self) -> str:
        """Noun of the steps of a run."""
        return "frames" if self.files is None else "files"

    def open_all(self, *, videos: bool) -> Source:
        """Open a source that describes all files: all still images, or the first readable file if there are videos.

        Raise InputError if there are videos but they are not accepted, or no file can be read.
        """
        files = self.files or ()
        video = next((file for file in files if is_video(file)), None)
        if video is None:
            folder = FolderSource(self.name, files, self.labels, self.notes)
            self.reading.select(folder)
            return folder
        if not videos:
            raise InputError(f"{video} is a video and cannot share a table with other files. Use --save out/")
        source: Source | None = None
        for file in files:
            with suppress(InputError):  # the run reports it
                source = self.reading.open(file)
                break
        if source is None:
            raise InputError(f"{self.name}: none of the {len(files)} files can be read")
        source.name, source.notes = self.name, [*self.notes]
        source.geometry, source.offset_s = None, 0.0  # `sources` of the header has those of each file
        return source

    def open_one(self) -> Source:
        """Open the single input."""
        (name,) = self.named
        return self.reading.open(name)


def is_video(file: File) -> bool:
    """Check whether a file is a video by its ending; a file with an unknown ending by its content."""
    return file_kind(file) == "video"


def is_many(output: str) -> bool:
    """Check whether a path names one file per input: a folder, or a name with `{name}`."""
    return "{name}" in output or output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix


def output_paths(outputs: Outputs, files: Sequence[File], task: Task) -> list[Outputs]:
    """Return the output paths of each of many files, and make their folders."""
    for option, path in (("--draw", outputs.draw), ("--mask", outputs.mask), ("--figure", outputs.figures)):
        if path is not None and "{name}" not in path and not annotated.is_drawing_folder(path):
            raise InputError(f"{option} {path}: several inputs require a folder. Give a name without an ending")
    return [
        Outputs(
            save=_output_path(outputs.save, name, task.save_ending),
            draw=_output_path(outputs.draw, name, _drawing_ending(file)),
            mask=_output_path(outputs.mask, name, ".webm" if is_video(file) else ".png"),
            figures=_output_path(outputs.figures, name, task.figures_ending),
            json=outputs.json,
            also=tuple(str(_output_path(path, name, task.save_ending)) for path in outputs.also),
        )
        for file, name in zip(files, _names(files), strict=True)
    ]


def named_outputs(outputs: Outputs, source: str) -> Outputs:
    """Return the output paths of the only input, with its name in place of `{name}`."""
    name = re.sub(r"[^\w.-]+", "_", shown_name(source)) if is_stream(source) else Path(source).stem
    given = {"save": outputs.save, "draw": outputs.draw, "mask": outputs.mask, "figures": outputs.figures}
    also = tuple(_with_name(path, name) for path in outputs.also)
    return replace(outputs, also=also, **{field: path and _with_name(path, name) for field, path in given.items()})


def check_distinct(placed: Iterable[Outputs], task: Task) -> None:
    """Raise InputError if two outputs of a run are one file or folder, also on systems that ignore case.

    A description of a YOLO data set has its labels in a folder next to it. The second person of a character can be in
    another file, see `Task.person_endings`.
    """
    folders: dict[str, str] = {}
    used: dict[str, str] = {}
    for outputs in placed:
        for option, path in outputs.named_paths.items():
            place = os.path.realpath(path) if os.path.islink(path) else os.path.normpath(path)  # noqa: PTH114
            folder, name = os.path.split(place)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            key = folded_name(os.path.join(folders[folder], name))  # noqa: PTH118  # faster, for a million files
            if key in used:
                first, second = (given.split()[0] for given in (used[key], option))
                raise InputError(f"{first} and {second} write the same {path}. Choose another name or folder.")
            used[key] = option
            if name.lower().endswith(".yolo.yaml") and used.setdefault(f"{folders[folder]}/labels", path) != path:
                advice = "Use one .yolo.yaml file for all inputs, or {name} in the name of the folder."
                raise InputError(f"{path}: the labels of another input are in its folder. {advice}")
    endings = task.person_endings
    for key in used if endings else ():
        stem, ending = os.path.splitext(key)  # noqa: PTH122  # faster, for a million files
        if ending not in endings:
            continue
        first = re.sub(r"-[0-9]+$", "", stem) + ending
        if first != key and first in used:
            raise InputError(f"{key} is also the output of another person of {first}. Choose another name or folder.")


def shown_paths(outputs: Outputs, task: Task) -> list[str]:
    """Return the outputs of many files for the user, with the ending of the files in a folder of results."""
    if outputs.save is None or "{name}" in outputs.save:
        return outputs.paths
    return replace(outputs, save=str(Path(outputs.save) / f"*{task.save_ending}")).paths


def _drawing_ending(file: File) -> str:
    if file.suffix.lower() in _DRAWING_ENDINGS:
        return file.suffix
    return ".mp4" if is_video(file) else ".png"


def _names(files: Sequence[File]) -> list[str]:
    """Return a name for the outputs of each file: its shortest name that is unique, if needed with a number."""
    parts = [file.relative_to(file.anchor).parts if isinstance(file, Path) else file.parts for file in files]
    paths = ["_".join(names) for names in parts]
    forms = (
        [file.stem for file in files],
        [file.name for file in files],
        [path.removesuffix(file.suffix) for file, path in zip(files, paths, strict=True)],  # of several folders
        paths,
    )
    counts = [Counter(map(folded_name, form)) for form in forms]
    used: set[str] = set()
    chosen: list[str] = []
    for names in zip(*forms, strict=True):
        folded = map(folded_name, names)
        unique = [name for name, key, count in zip(names, folded, counts, strict=True) if count[key] == 1]
        numbered = (f"{names[0]}_{number}" for number in count_from(2))
        chosen.append(next(name for name in chain(unique, names[:1], numbered) if used.isdisjoint(_names_beside(name))))
        used |= _names_beside(chosen[-1])
    return chosen


def _names_beside(name: str) -> set[str]:
    """Return a name and those of the tables that a run may write next to its table, see `FrameTable`."""
    return {folded_name(f"{name}{ending}") for ending in ("", *SIDE_TABLES)}


def _output_path(output: str | None, name: str, ending: str) -> str | None:
    """Return the path of one file's output."""
    if output is None:
        return None
    return _with_name(output, name) if "{name}" in output else _fitting(str(Path(output) / f"{name}{ending}"))


def _with_name(output: str, name: str) -> str:
    """Return a path with the name of an input in place of `{name}`."""
    return _fitting(output.replace("{name}", name)) if "{name}" in output else output


def _fitting(path: str) -> str:
    """Return a path whose name ends in a hash if it is too long for a file, or for that of a table next to it."""
    folder, file_name = os.path.split(path)
    table_format = find_format(file_name)
    more = max(map(len, SIDE_TABLES)) if table_format is not None and table_format.separates_events else 0
    if shortened(file_name, more) == file_name:
        return path
    stem, suffix = os.path.splitext(file_name)  # noqa: PTH122
    mark = "_" + hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]
    return os.path.join(folder, shortened(stem, len(mark) + len(os.fsencode(suffix)) + more) + mark + suffix)  # noqa: PTH118


def _distinct_files(named: Iterable[str]) -> tuple[tuple[File, ...], list[str]]:
    """Return the files of several inputs, each once, and notes."""
    files: list[File] = []
    notes: list[str] = []
    for name in named:
        if is_stream(name):
            raise InputError(f"{shown_name(name)} is a stream: give it as the only INPUT")
        files_and_notes = find_files(name, videos=True)
        if files_and_notes is None and not is_remote(name) and not Path(name).exists():
            raise InputError(missing_input(name))
        inner, more = files_and_notes or ([RemoteFile(name) if is_remote(name) else Path(name)], [])
        notes += more
        files += inner
    return tuple(distinct_files(files)), notes


class FinishedFiles:
    """Log of finished files in the folder of their first output. Logs, and the files of a task, are read once.

    `limit` has the settings of reading, such as the maximum number of frames of each file.
    """

    def __init__(self, task: Task, limit: object) -> None:
        self._common = [version.__version__, _to_json(task), [_stamps(Path(path)) for path in task.files], limit]
        self._logs: dict[Path, dict[str, Mapping[str, object]]] = {}

    def key(self, file: File, outputs: Outputs) -> str:
        """Return the hash of everything on which the results of a file depend."""
        folder = Path(outputs.paths[0]).parent
        names = [_relative(path, folder) for path in outputs.paths]
        place = (str(file.resolve()), file_stamp(file)) if isinstance(file, Path) else (file.url, file.version)
        dependencies = [*self._common, *place, names]
        return hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[
            :32
        ]

    def is_finished(self, key: str, outputs: Outputs) -> bool:
        """Check whether a file is in the log and its outputs have not changed."""
        folder = Path(outputs.paths[0]).parent
        if folder not in self._logs:
            self._logs[folder] = _read(folder / LOG)
        written = self._logs[folder].get(key)
        return written is not None and all(file_stamp(folder / name) == stamp for name, stamp in written.items())

    def add(self, key: str, outputs: Outputs, written: Iterable[str]) -> None:
        """Add a finished file to the log."""
        folder = Path(outputs.paths[0]).parent
        stamps = {_relative(path, folder): file_stamp(Path(path)) for path in written}
        append_line(folder / LOG, json_from({"key": key, "files": stamps}))


def _relative(path: str, folder: Path) -> str:
    """Return a path relative to a folder."""
    parent, name = os.path.split(path)
    return name if parent == str(folder) else os.path.relpath(path, folder)


def remove_finished(folder: Path) -> None:
    """Remove the files that a folder's log lists, if they have not changed, then the log and the empty folder.

    Other files stay, and with them the folder.
    """
    for written in _read(folder / LOG).values():
        for name, stamp in written.items():
            if name == os.path.basename(name) and file_stamp(folder / name) == stamp:  # noqa: PTH119
                (folder / name).unlink()
    (folder / LOG).unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        folder.rmdir()


def _stamps(path: Path) -> list[object]:
    """Return the stamp of a file, and those of the files in a folder."""
    inner = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else []
    return [str(path), file_stamp(path), [file_stamp(file) for file in inner]]


def _to_json(value: object) -> object:
    """Return the fields of a task as JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, _to_json({item.name: getattr(value, item.name) for item in fields(value)})]
    if isinstance(value, Mapping):
        return {str(name): _to_json(item) for name, item in value.items() if name not in WITHOUT_EFFECT}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return value if isinstance(value, str | int | float | None) else repr(value)


def _read(path: Path) -> dict[str, Mapping[str, object]]:
    """Return the written files by key. For a file that was written repeatedly only the last key counts."""
    files: dict[str, Mapping[str, object]] = {}
    last: dict[str, str] = {}
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return files
    for line in lines:
        try:
            entry = json.loads(line)
            files[entry["key"]] = dict(entry["files"])
        except (ValueError, KeyError, TypeError):  # a killed run may leave half a line
            continue
        last |= dict.fromkeys(entry["files"], entry["key"])
    return {key: written for key, written in files.items() if all(last[name] == key for name in written)}
