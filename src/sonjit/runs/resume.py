"""Which inputs were finished before with the same options: a log beside the outputs.

A line for each finished input holds a hash of what its results depend on (the processor's fields, the files that these
name, and path, size and time of the input), and size and time of each file that was written: an output that was made
otherwise, changed or lost is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.files import append_line, file_stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sonjit.media.sources.remote import File
    from sonjit.runs.processor import Outputs, Processor

LOG = ".sonjit-done.jsonl"
_WITHOUT_EFFECT = ("threads",)


class FinishedLog:
    """The log in the folder of an input's first output; each is read once."""

    def __init__(self) -> None:
        self._logs: dict[Path, dict[str, Mapping[str, object]]] = {}

    def holds(self, key: str, outputs: Outputs) -> bool:
        """Whether an input with this key was finished, and all that was written is still as it was."""
        folder = Path(outputs.paths[0]).parent
        if folder not in self._logs:
            self._logs[folder] = _read(folder / LOG)
        files = self._logs[folder].get(key)
        return files is not None and all(file_stamp(folder / name) == stamp for name, stamp in files.items())


def note_finished(key: str, outputs: Outputs, written: Iterable[str]) -> None:
    """Add an input to the log."""
    folder = Path(outputs.paths[0]).parent
    files = {os.path.relpath(path, folder): file_stamp(Path(path)) for path in written}
    append_line(folder / LOG, json.dumps({"key": key, "files": files}, ensure_ascii=False))


class Keys:
    """Of each input the hash of all that its results depend on.

    Args:
        processor: what is done; files that its fields name are looked at once for all inputs.
        limit: frames of each input, or None.
    """

    def __init__(self, processor: Processor, limit: int | None) -> None:
        self._common = [__version__, _plain(processor), limit]

    def of(self, file: File, outputs: Outputs) -> str:
        """Of one input and where its results go."""
        folder = Path(outputs.paths[0]).parent
        names = [os.path.relpath(path, folder) for path in outputs.paths]
        known = [*self._common, *_input(file), names]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _input(file: File) -> tuple[str, object]:
    """Where an input is, and what changes where it does."""
    return (str(file.resolve()), file_stamp(file)) if isinstance(file, Path) else (file.url, file.version)


def _plain(value: object) -> object:
    """A value as JSON; a text that names a file has size and time of that file with it."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, {item.name: _plain(getattr(value, item.name)) for item in fields(value)}]
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items() if name not in _WITHOUT_EFFECT}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, str | Path):
        return [str(value), file_stamp(Path(value)), [file_stamp(file) for file in _files_in(Path(value))]]
    return value if isinstance(value, int | float | None) else repr(value)


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


def _read(path: Path) -> dict[str, Mapping[str, object]]:
    """Written files by key; of a file that was written more than once the last key alone."""
    known: dict[str, Mapping[str, object]] = {}
    last: dict[str, str] = {}
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return known
    for line in lines:
        try:
            entry = json.loads(line)
            known[entry["key"]] = dict(entry["files"])
        except (ValueError, KeyError, TypeError):  # a line that a killed run left half
            continue
        last |= dict.fromkeys(entry["files"], entry["key"])
    return {key: files for key, files in known.items() if all(last[name] == key for name in files)}
