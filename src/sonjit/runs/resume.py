"""A log of the files that earlier runs have finished, next to their outputs.

Each line contains a hash of everything on which the results of a file depend (the task, the files that it names, and
path, size and time of the input), and size and time of each written file. A file is processed again if the options
differ, or if an output has changed or is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util.files import append_line, file_stamp
from sonjit._util.json_text import json_from
from sonjit._util.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sonjit.media.sources.remote import File
    from sonjit.runs.task import Outputs, Task

LOG = ".sonjit-done.jsonl"
WITHOUT_EFFECT = ("threads",)
"""Options that change no result."""


class FinishedFiles:
    """Log of finished files in the folder of their first output. The log of each folder is read once.

    Args:
        task: Work on each image. Size and time of the files that it names are read once.
        limit: Maximum number of frames of each file, or None.
    """

    def __init__(self, task: Task, limit: int | None) -> None:
        self._common = [__version__, _to_json(task), [_stamps(Path(path)) for path in task.files], limit]
        self._logs: dict[Path, dict[str, Mapping[str, object]]] = {}

    def key(self, file: File, outputs: Outputs) -> str:
        """Return the hash of everything on which the results of a file depend."""
        folder = Path(outputs.paths[0]).parent
        names = [os.path.relpath(path, folder) for path in outputs.paths]
        parts = [*self._common, *_identity(file), names]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def is_finished(self, key: str, outputs: Outputs) -> bool:
        """Check whether a file is in the log and its outputs have not changed."""
        folder = Path(outputs.paths[0]).parent
        if folder not in self._logs:
            self._logs[folder] = _read(folder / LOG)
        written = self._logs[folder].get(key)
        return written is not None and all(file_stamp(folder / name) == stamp for name, stamp in written.items())

    def add(self, key: str, outputs: Outputs, written: Iterable[str]) -> None:
        """Add a finished file to the log.

        Args:
            key: Key of the file.
            outputs: Outputs of the file.
            written: Paths of the written files.
        """
        folder = Path(outputs.paths[0]).parent
        stamps = {os.path.relpath(path, folder): file_stamp(Path(path)) for path in written}
        append_line(folder / LOG, json_from({"key": key, "files": stamps}, spaced=True))


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


def _identity(file: File) -> tuple[str, object]:
    """Return the address of an input, and a value that changes when its content does."""
    return (str(file.resolve()), file_stamp(file)) if isinstance(file, Path) else (file.url, file.version)


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
