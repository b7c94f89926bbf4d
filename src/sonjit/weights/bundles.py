"""Read task bundles, which are MediaPipe's `.task` files: zip files of networks and their data.

A bundle may contain others: a gesture recognizer's bundle contains that of the hand landmarker. Their members count as
members of the outer bundle.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from sonjit._util import InputError, files
from sonjit.weights.catalog import cache_folder, find_weight, models_folder

ENDING = ".task"
_TASKS = {
    "holistic_landmarker": ("pose_landmarks_detector.tflite", "face_landmarks_detector.tflite"),
    "gesture_recognizer": ("gesture_embedder.tflite", "hand_landmarks_detector.tflite"),
    "hand_landmarker": ("hand_detector.tflite", "hand_landmarks_detector.tflite"),
    "face_landmarker": ("face_detector.tflite", "face_landmarks_detector.tflite"),
    "pose_landmarker": ("pose_detector.tflite", "pose_landmarks_detector.tflite"),
}
"""Required members of each task's bundle. The first task with all members is the bundle's task."""
_HANDS = {"hand_detector.tflite": "palm-full", "hand_landmarks_detector.tflite": "hand-full"}

_MAX_BYTES = 2**30  # maximum size of a member, and of all members together
_MAX_DEPTH = 2  # maximum nesting of bundles
_TFLITE = b"TFL3"  # identifier of TFLite files, from the fifth byte
_OTHER_NETWORKS = (".onnx", ".xml")
_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision"  # web page of each task with its bundles
_PUBLISHED = {
    "hand_landmarker.task": ("hand_landmarker", _HANDS),
    "gesture_recognizer.task": ("gesture_recognizer", _HANDS),
    **{
        f"pose_landmarker{ending}.task": (
            "pose_landmarker",
            {"pose_detector.tflite": "pose-detector", "pose_landmarks_detector.tflite": f"body-{size}"},
        )
        for ending, size in {"": "full", "_lite": "lite", "_full": "full", "_heavy": "heavy"}.items()
    },
}
"""Bundles that published networks replace if there is no such file: task, and catalogue names by member."""


@dataclass(frozen=True)
class TaskBundle:
    """Contents of one task bundle."""

    name: str
    # task of the bundle: `hand_landmarker`, `face_landmarker`, `pose_landmarker`, `gesture_recognizer` or
    # `holistic_landmarker`
    task: str
    members: Mapping[str, bytes | Path]  # contents by name, without nested bundles; for published networks their files

    def read(self, member: str) -> bytes:
        """Return the bytes of one member."""
        content = self._content(member)
        return content.read_bytes() if isinstance(content, Path) else content

    def check_networks(self) -> None:
        """Check the first bytes of each network."""
        for member, content in self.members.items():
            if member.endswith(".tflite") and not isinstance(content, Path) and content[4:8] != _TFLITE:
                raise InputError(f"{self.name}: its {member} is no TFLite network; get the bundle again")

    def _content(self, member: str) -> bytes | Path:
        try:
            return self.members[member]
        except KeyError:
            raise InputError(
                f"{self.name} contains no {member}; it is a {self.task} bundle with {', '.join(self.members)}"
            ) from None

    def file(self, member: str) -> Path:
        """Write one member to the cache for the engines, if it is missing, and return its path."""
        content = self._content(member)
        return content if isinstance(content, Path) else kept_file(member, content)


def kept_file(name: str, data: bytes) -> Path:
    """Write content to the cache under a name, if it is missing, and return the path."""
    path = cache_folder() / "bundles" / hashlib.sha256(data).hexdigest()[:20] / name
    if not path.is_file() or path.stat().st_size != len(data):
        files.write_bytes(path, data)
    return path


def checked_model(source: Path | bytes, name: str, published: str) -> Path:
    """Return the path of a model of a task, like its published file. Other content is refused, not written."""
    if isinstance(source, Path) and source.suffix in _OTHER_NETWORKS:
        return source
    content = source.read_bytes() if isinstance(source, Path) else source
    is_network = content[4:8] == _TFLITE
    takes_bundles = published.endswith(ENDING)
    is_bundle = not is_network and zipfile.is_zipfile(io.BytesIO(content))
    if (is_bundle and not takes_bundles) or not (is_bundle or is_network):
        wanted = f"a {ENDING} bundle" if takes_bundles else "a TFLite network"
        raise InputError(f"{name} is not a model of this task, which requires {wanted} such as {published}")
    if isinstance(source, Path) and source.suffix == (ENDING if is_bundle else ".tflite"):
        return source
    if is_bundle:
        _bundle_from(content, name).check_networks()
    return kept_file(published if is_bundle else f"{Path(published).stem}.tflite", content)


def has_bundle(name: str, models_dir: Path | None) -> bool:
    """Check whether the working folder or the model folder contains a bundle with that file name."""
    return Path(name).is_file() or ((models_dir or models_folder()) / name).is_file()


def load_bundle(path: str | Path, models_dir: Path | None = None) -> TaskBundle:
    """Read a task bundle by its path or registered name. Published networks replace known ones that are missing."""
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
    raise InputError(
        f"{path}: no such task bundle; get it from {_PAGE}/{path.stem} and register it: sonjit models add {path.name}"
    )


def list_bundles() -> dict[Path, TaskBundle | InputError]:
    """Return the registered bundles by path, or the reason why a bundle cannot be read."""
    bundles: dict[Path, TaskBundle | InputError] = {}
    for path in sorted(models_folder().glob(f"*{ENDING}")):
        try:
            bundles[path] = load_bundle(path)
        except InputError as error:
            bundles[path] = error
    return bundles


def add_bundle(path: Path) -> tuple[Path, TaskBundle]:
    """Register a bundle: copy it into the model folder under the name of its task. Return its path and the bundle."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = path.read_bytes()
    bundle = _bundle_from(data, path.name)
    bundle.check_networks()
    target = models_folder() / f"{bundle.task}{ENDING}"
    files.write_bytes(target, data)
    return target, bundle


@lru_cache(maxsize=4)  # a detector asks for its detector, its network and more
def _read_bundle(path: Path, size: int, changed_ns: int) -> TaskBundle:
    del size, changed_ns  # they identify a changed file
    try:
        return _bundle_from(path, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _bundle_from(source: Path | bytes, name: str) -> TaskBundle:
    members: dict[str, bytes] = {}
    left = _MAX_BYTES
    try:
        for member, content in _members(source, 0):
            left -= len(content)
            if left < 0:
                raise ValueError(f"its members have more than {_MAX_BYTES} bytes together")
            members[member] = content
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{name} is not a task bundle: {error}") from error
    for task, needed in _TASKS.items():
        if members.keys() >= set(needed):
            return TaskBundle(name, task, members)
    raise InputError(f"{name} is not a bundle of a known task ({', '.join(_TASKS)}). It contains {', '.join(members)}")


def _members(source: Path | bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        for entry in opened.infolist():
            if entry.is_dir():
                continue
            if entry.file_size > _MAX_BYTES:
                raise ValueError(f"{entry.filename} declares {entry.file_size} bytes")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{entry.filename} has a compression that task bundles do not use")
            content = opened.read(entry)
            if entry.filename.endswith(ENDING) and depth < _MAX_DEPTH:
                yield from _members(content, depth + 1)
            else:
                yield PureWindowsPath(entry.filename).name, content  # which splits at both slashes
