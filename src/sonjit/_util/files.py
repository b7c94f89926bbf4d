"""Write files that receive their final name only when they are complete, and compare files by their hashes.

A process locks its drafts and work folders. The operating system releases the locks when the process ends, even if it
is killed. The next process that writes into a folder removes all unlocked drafts, and gives the complete frames of
tables a visible name, `NAME.unfinished.csv`. Windows does not remove open files, which has the same effect. On disks
without locks nothing is removed.
"""

import codecs
import errno
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import unicodedata
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path, PurePath
from typing import Final, Self, TextIO

from sonjit._util.errors import InputError, JobError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


_LOG = logging.getLogger(__name__)

KEPT: Final = "finished results are kept"
_DRAFT: Final = re.compile(r"\.(.+)\.sonjit-[0-9a-f]{8}\.part(\.[^.]*)?", re.DOTALL)
_LINE_ENDINGS: Final = (".csv", ".jsonl", ".json")  # formats of tables with a frame or row a line
_MAX_LINE_BYTES: Final = 1 << 24  # maximum size of the last frame of a table
_WORK: Final = "sonjit-work-"
_WORK_FOLDER: Final = re.compile(_WORK + "[a-z0-9_]{8}")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LABEL_ENDINGS = {
    *(".json", ".jsonl", ".csv", ".txt", ".toml", ".yaml", ".yml", ".xml", ".parquet"),
    *(".mat", ".pkl", ".npz", ".npy", ".pts", ".xyz", ".safetensors"),
}


class Closing:
    """Base of classes that are context managers and are closed at the end of the block."""

    def close(self) -> None:
        """Release all resources."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Output(ABC):
    """Output that is being written: `close()` finishes and keeps it, `discard()` removes it; the first call decides.

    The context manager closes the output at a normal end and at Ctrl-C, and discards it after any other exception.
    """

    _draft: "Draft"

    def __init__(self) -> None:
        self._is_open = True

    def close(self) -> None:
        """Finish the output and give it its final name."""
        if self._is_open:
            self._is_open = False
            try:
                self._finish()
            except BaseException:
                self._abort()
                raise

    def discard(self) -> None:
        """Remove what was written; an older file of the same name is unchanged."""
        if self._is_open:
            self._is_open = False
            self._abort()

    @abstractmethod
    def _finish(self) -> None: ...

    def _abort(self) -> None:
        self._draft.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
            note_kept(error)
        else:
            self.discard()


class Draft:
    """Hidden file or folder next to the final path, with links followed, that replaces it in one step.

    The context manager keeps the draft at a normal end and drops it after any exception. Missing parent folders are
    created.
    """

    def __init__(self, path: Path, *, folder: bool = False) -> None:
        self.final = path.resolve()
        parent = self.final.parent
        self.path = self.final.with_name(f".{self.final.stem}.sonjit-{os.urandom(4).hex()}.part{self.final.suffix}")
        try:
            if not parent.is_dir():  # faster than a call that fails, for many small files
                parent.mkdir(parents=True, exist_ok=True)
            elif self.final.exists():
                if self.final.is_dir() != folder:
                    raise InputError(f"{path} is {'a file' if folder else 'a folder'}: choose another name")
                if not folder and not self.final.is_file():
                    raise InputError(f"{path} is not a regular file: choose another name")
            _remove_abandoned(parent, _DRAFT)
            self._make(folder=folder)
        except OSError as error:
            choice = "a shorter name" if error.errno == errno.ENAMETOOLONG else "another folder"
            raise InputError(f"{path} cannot be written: {error.strerror}; choose {choice}") from None

    def _make(self, *, folder: bool) -> None:
        while True:
            self.path.mkdir() if folder else self.path.open("xb").close()
            self._lock = _Lock(self.path)
            if self.path.exists():
                return
            self._lock.release()  # another process removed the draft before it was locked

    def keep(self) -> None:
        """Give the draft its final name; files of a folder join those already there."""
        self._before_moved()
        with failing_as_job(self.final):
            if self.path.is_dir() and self.final.is_dir():
                for file in self.path.iterdir():
                    file.replace(self.final / file.name)
                self.path.rmdir()
            else:
                os.replace(self.path, self.final)  # noqa: PTH105  # the step that must be atomic, by its own name
        self._lock.release()

    def drop(self) -> None:
        """Remove the draft."""
        self._before_moved()
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            with suppress(OSError):
                self.path.unlink()
        self._lock.release()

    def _before_moved(self) -> None:
        if fcntl is None:  # Windows moves nothing that is open
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if kind is None:
                self.keep()
        finally:
            self.drop()


class WorkFolder(tempfile.TemporaryDirectory[str]):
    """Temporary folder, by default in that of the system; creating one removes those of killed processes."""

    def __init__(self, parent: Path | None = None) -> None:
        _remove_abandoned(parent or Path(tempfile.gettempdir()), _WORK_FOLDER)
        while True:
            super().__init__(prefix=_WORK, dir=parent, ignore_cleanup_errors=True)
            self._release = weakref.finalize(self, _Lock(Path(self.name)).release)
            if Path(self.name).exists():
                return
            self.cleanup()  # another process removed the folder before it was locked

    def cleanup(self) -> None:
        """Remove the folder."""
        self._release()
        super().cleanup()


@contextmanager
def sole_writer(*folders: Path, wait: bool = True) -> Generator[None]:
    """Create folders and lock them for this process. Wait, with a warning, for other processes or refuse."""
    new = [folder for folder in folders if not folder.exists()]
    with ExitStack() as stack:
        for folder in sorted({folder.resolve() for folder in folders}):  # a fixed order prevents deadlocks
            stack.callback(_lock_folder(folder, wait=wait).release)
        try:
            yield
        except KeyboardInterrupt as stop:
            if any(any(folder.iterdir()) for folder in folders):
                note_kept(stop)
            raise
        finally:
            for folder in new:
                with suppress(OSError):  # the folder is not empty
                    folder.rmdir()


def _lock_folder(folder: Path, *, wait: bool) -> "_Lock":
    """Create a folder if it is missing, and lock it."""
    waiting = f"{folder}: in use by another run; waiting"
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}; choose another folder") from None
        lock = _Lock(folder, waiting, wait=wait)
        if folder.exists():
            return lock
        lock.release()  # the other run wrote nothing and removed the folder


def note_kept(error: BaseException | None) -> None:
    """Add to a KeyboardInterrupt that the output is kept, which the command line prints."""
    if isinstance(error, KeyboardInterrupt) and KEPT not in getattr(error, "__notes__", ()):
        error.add_note(KEPT)


class _Lock:
    """Lock of this process on a file or folder, until `release` or the end of the process."""

    def __init__(self, path: Path, waiting: str = "", *, wait: bool = True) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):  # a folder on Windows; a disk without locks
            self._descriptor = os.open(path, os.O_RDONLY)
            if fcntl is not None and waiting:
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if not wait:
                        self.release()
                        raise InputError(f"{path} is in use by another process. Choose another folder.") from None
                    _LOG.warning("%s", waiting)
            if fcntl is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@cache
def _remove_abandoned(folder: Path, pattern: re.Pattern[str]) -> None:
    """Remove unlocked files and folders with matching names, once per folder and process."""
    names: list[str] = []
    with suppress(OSError):  # a folder may be writable but not readable
        names = os.listdir(folder)  # noqa: PTH208  # only names: a folder may contain a million files
    for name in filter(pattern.fullmatch, names):
        with suppress(OSError):
            _remove_unless_locked(folder / name)


def _remove_unless_locked(path: Path) -> None:
    if fcntl is None:
        _remove(path)  # Windows refuses this for open files
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a draft or work folder of a killed process, but keep the rows of a table."""
    if path.is_dir():
        if fcntl is not None:  # Windows has no lock that protects a folder in use
            shutil.rmtree(path)
        return
    found = _DRAFT.fullmatch(path.name)
    is_table = found is not None and found[2] in _LINE_ENDINGS and not path.parent.name.startswith(".")
    if found is None or not is_table or not _has_rows(path):
        path.unlink()
        return
    used = {folded_name(name) for name in os.listdir(path.parent)}  # noqa: PTH208  # only names
    kept = path.rename(path.with_name(free_name(f"{found[1]}.unfinished{found[2]}", used)))
    _end_at_complete_frame(kept)
    _LOG.warning("%s%s was not finished by an earlier run. Its frames until then are in %s", found[1], found[2], kept)


def _has_rows(path: Path) -> bool:
    """Check whether a draft has at least one complete line after the first, in JSON as a list of frames."""
    with path.open("rb") as file:
        first, second = file.readline(), file.readline()
    return second.endswith(b"\n") and (path.suffix != ".json" or first.endswith(b"[\n"))


def _end_at_complete_frame(path: Path) -> None:
    """Remove what a table has after its last complete frame, which a killed process may have cut, and end its JSON."""
    with path.open("r+b") as file:
        first = file.readline().removeprefix(codecs.BOM_UTF8)
        start = max(file.tell(), path.stat().st_size - _MAX_LINE_BYTES)
        file.seek(start)
        data = file.read()
        end = data.rfind(b"\n") + 1
        if first.startswith(b"frame,"):  # several rows a frame
            last = data[data.rfind(b"\n", 0, end - 1) + 1 : end].partition(b",")[0]
            while end and data[data.rfind(b"\n", 0, end - 1) + 1 : end].partition(b",")[0] == last:
                end = data.rfind(b"\n", 0, end - 1) + 1
        if path.suffix == ".json":
            end = len(data[:end].rstrip(b",\n"))
        file.seek(start + end)
        file.truncate()
        file.write(b"\n]}\n" if path.suffix == ".json" else b"")


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Yield the path of a draft that gets its final name at the end of the block, and is removed if the block fails.

    Raise InputError for a folder that cannot be written, and JobError for a disk that refuses the file.
    """
    with failing_as_job(path), Draft(path) as draft:
        yield draft.path


@contextmanager
def atomic_text(path: Path) -> Generator[TextIO]:
    """Yield an open UTF-8 text file, see `atomic_file`."""
    with atomic_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Yield a draft folder whose files move into the final folder at the end of the block, see `atomic_file`."""
    with failing_as_job(path), Draft(path, folder=True) as draft:
        yield draft.path


def write_bytes(path: Path, data: bytes, *, synced: bool = False) -> None:
    """Write a file completely or not at all, see `atomic_file`. A `synced` one is complete also after a power cut."""
    with atomic_file(path) as draft:
        draft.write_bytes(data)
        if synced:
            sync(draft)


def write_text(path: Path, text: str, *, synced: bool = False) -> None:
    """Write a UTF-8 text file completely or not at all, see `write_bytes`."""
    write_bytes(path, text.encode(), synced=synced)


def sync(path: Path) -> None:
    """Wait until the disk contains a file, so that a power cut leaves it complete."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def xml_text(text: str) -> str:
    r"""Return text in which each character that XML forbids is an escape.

    >>> xml_text("a\x01.jpg"), xml_text("b\udcff.jpg")
    ('a\\x01.jpg', 'b\\xff.jpg')
    """
    return _NOT_IN_XML.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def folded_name(name: str) -> str:
    """Return a text that is equal for two names that are one file on some systems.

    Names may differ in case and Unicode form, and on Windows by dots and spaces at the end.

    >>> folded_name("A.") == folded_name("a")
    True
    """
    name = name.rstrip(". ") or name
    return name if name.isascii() and name.islower() else unicodedata.normalize("NFC", name).casefold()


def free_name(name: str, used: set[str]) -> str:
    """Return a file name that is not in use, and add its `folded_name` to the names in use.

    A number is appended if needed, so that the file sorts after the other one.

    >>> used = set()
    >>> free_name("a.png", used), free_name("A.png", used)
    ('a.png', 'A_2.png')
    """
    path = PurePath(name)
    free, number = name, 2
    while folded_name(free) in used:
        free, number = f"{path.stem}_{number}{path.suffix}", number + 1
    used.add(folded_name(free))
    return free


def file_stamp(path: Path) -> list[int] | None:
    """Return size and modification time in nanoseconds of a file, [] for a folder, and None if there is nothing."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns] if stat.S_ISREG(found.st_mode) else []


def append_line(path: Path, line: str) -> None:
    """Append a line to a file. Lines of several processes do not mix."""
    data = f"{line}\n".encode("utf-8", "surrogateescape")
    with failing_as_job(path), path.open("ab", buffering=len(data) + 1) as file:
        file.write(data)  # it fits the buffer, so that it is one write


@contextmanager
def failing_as_job(path: Path) -> Generator[None]:
    """Convert disk errors (full, removed) inside the block to one JobError with the file's name."""
    try:
        yield
    except OSError as error:
        raise JobError(f"writing {path} failed: {error.strerror or error}") from error


def has_settings(folder: Path, name: str, settings: str) -> bool:
    """Check whether a folder contains a run, which must have the same settings."""
    file = folder / name
    if not file.is_file():
        return False
    if file.read_text("utf-8") != settings:
        raise InputError(f"{folder}: contains a run with other settings ({name}). Choose another folder or delete it.")
    return True


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_folder(folder: Path, *, without: Path | None = None) -> str:
    """Return a SHA-256 of the relative paths and sizes of all files, and of the content of label files.

    Images and videos are not read, because there may be millions. A subfolder, such as that of a run, can be left out.
    """
    digest = hashlib.sha256()
    excluded = None if without is None else without.resolve()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(parent, name).resolve() != excluded)
        for name in sorted(files):
            file = Path(parent, name)
            with suppress(OSError):  # a link without its file
                digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
                if file.suffix.lower() in _LABEL_ENDINGS:
                    digest.update(sha256_of_file(file).encode())
    return digest.hexdigest()
