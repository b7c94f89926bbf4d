"""Task bundles: MediaPipe's `.task` files, zips of networks and what belongs to them, read as they are.

A bundle may hold others (a gesture recognizer's holds the hand landmarker's); their members count as its own.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.files import write_bytes
from sonjit.weights.store import cache_folder, find_weight, models_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENDING = ".task"
_TASKS = {
    "holistic_landmarker": ("pose_landmarks_detector.tflite", "face_landmarks_detector.tflite"),
    "gesture_recognizer": ("gesture_embedder.tflite", "hand_landmarks_detector.tflite"),
    "hand_landmarker": ("hand_detector.tflite", "hand_landmarks_detector.tflite"),
    "face_landmarker": ("face_detector.tflite", "face_landmarks_detector.tflite"),
    "pose_landmarker": ("pose_detector.tflite", "pose_landmarks_detector.tflite"),
}
"""Members that a task's bundle must have; the first task whose members are all there is the bundle's."""
_HANDS = {"hand_detector.tflite": "palm-full", "hand_landmarks_detector.tflite": "hand-full"}


def _pose(size: str) -> dict[str, str]:
    return {"pose_detector.tflite": "pose-detector", "pose_landmarks_detector.tflite": f"body-{size}"}


_PUBLISHED = {
    "hand_landmarker.task": ("hand_landmarker", _HANDS),
    "gesture_recognizer.task": ("gesture_recognizer", _HANDS),
    "pose_landmarker.task": ("pose_landmarker", _pose("full")),
    **{f"pose_landmarker_{size}.task": ("pose_landmarker", _pose(size)) for size in ("lite", "full", "heavy")},
}
"""Bundles that the catalogue's networks stand for where there is no such file: task, and names in it by member."""
_MOST_BYTES = 2**30  # of one member: a damaged size must not take all memory
_MOST_DEPTH = 2
_TFLITE = b"TFL3"
"""In every TFLite file from its fifth byte."""


@dataclass(frozen=True)
class TaskBundle:
    """What is in one task bundle.

    Attributes:
        name: of the file, for messages.
        task: which task it is made for: `hand_landmarker`, `face_landmarker`, `pose_landmarker`,
            `gesture_recognizer` or `holistic_landmarker`.
        members: contents by name, without the bundles within; of published networks their files.
    """

    name: str
    task: str
    members: Mapping[str, bytes | Path]

    def read(self, member: str) -> bytes:
        """The bytes of one member.

        Raises:
            InputError: there is none of that name.
        """
        content = self._content(member)
        return content.read_bytes() if isinstance(content, Path) else content

    def check_networks(self) -> None:
        """Look at each network's first bytes.

        Raises:
            InputError: one is none.
        """
        for member, content in self.members.items():
            if member.endswith(".tflite") and not isinstance(content, Path) and content[4:8] != _TFLITE:
                raise InputError(f"{self.name}: its {member} is no TFLite network; get the bundle again")

    def _content(self, member: str) -> bytes | Path:
        try:
            return self.members[member]
        except KeyError:
            raise InputError(
                f"{self.name} holds no {member}; it is a {self.task} bundle with {', '.join(self.members)}"
            ) from None

    def file(self, member: str) -> Path:
        """One member as a file of its own in the cache, which the engines read; written where it is not there yet.

        Raises:
            InputError: there is none of that name, or the cache cannot be written.
        """
        content = self._content(member)
        return content if isinstance(content, Path) else kept_file(member, content)


def kept_file(name: str, data: bytes) -> Path:
    """A file of that content and name in the cache; written where it is not there yet."""
    path = cache_folder() / "bundles" / hashlib.sha256(data).hexdigest()[:20] / name
    if not path.is_file() or path.stat().st_size != len(data):
        write_bytes(path, data)
    return path


def load_bundle(path: str | Path, models_dir: Path | None = None) -> TaskBundle:
    """Read a task bundle.

    Args:
        path: of its file; or the bare name of one that was registered with `sonjit models add`; or one such as
            `hand_landmarker.task`, for which the published networks stand where there is no file.
        models_dir: folder with the registered ones and the published networks, instead of the cache.

    Raises:
        InputError: there is no such file, or it is damaged or no task bundle that is known here.
    """
    path = Path(path)
    registered = (models_dir or models_folder()) / path.name
    if not path.is_file() and path.parent == Path():
        if registered.is_file():
            path = registered
        elif path.name in _PUBLISHED:
            task, names = _PUBLISHED[path.name]
            return TaskBundle(
                path.name, task, {member: find_weight(name, models_dir) for member, name in names.items()}
            )
    if path.is_file():
        stat = path.stat()
        return _read_bundle(path, stat.st_size, stat.st_mtime_ns)
    raise InputError(f"{path}: no such task bundle; give its path, or register it: sonjit models add {path.name}")


def list_bundles() -> dict[Path, TaskBundle | InputError]:
    """The registered bundles by path; in place of one that cannot be read, the reason."""
    found: dict[Path, TaskBundle | InputError] = {}
    for path in sorted(models_folder().glob(f"*{ENDING}")):
        try:
            found[path] = load_bundle(path)
        except InputError as error:
            found[path] = error
    return found


def add_bundle(path: Path) -> tuple[Path, TaskBundle]:
    """Register a bundle: copy it into the cache's folder of models under its task's name.

    Returns:
        The path there, and the bundle.

    Raises:
        InputError: it is no task bundle that is known here, a network in it is none, or the folder cannot be written.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = path.read_bytes()
    bundle = _bundle_from(data, path.name)
    bundle.check_networks()
    there = models_folder() / f"{bundle.task}{ENDING}"
    write_bytes(there, data)
    return there, bundle


@lru_cache(maxsize=4)  # a detector asks for its detector, its network and more
def _read_bundle(path: Path, size: int, changed_ns: int) -> TaskBundle:
    del size, changed_ns  # they tell a changed file from the one that was read
    try:
        return _bundle_from(path, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _bundle_from(source: Path | bytes, name: str) -> TaskBundle:
    try:
        members = dict(_members(source, 0))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{name} is not a task bundle: {error}") from error
    for task, needed in _TASKS.items():
        if members.keys() >= set(needed):
            return TaskBundle(name, task, members)
    raise InputError(f"{name} is no bundle of a task known here ({', '.join(_TASKS)}); it holds {', '.join(members)}")


def _members(source: Path | bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        for entry in opened.infolist():
            if entry.is_dir():
                continue
            if entry.file_size > _MOST_BYTES:
                raise ValueError(f"{entry.filename} says that it has {entry.file_size} bytes")
            content = opened.read(entry)
            if entry.filename.endswith(ENDING) and depth < _MOST_DEPTH:
                yield from _members(content, depth + 1)
            else:
                yield entry.filename.rpartition("/")[2], content
