"""Files that take their final name only when they are finished; nothing of a process that was killed stays for ever.

A process holds a lock on each draft and work folder of its own, which the system lifts when the process ends, however
it ends. Whoever writes into a folder next removes the drafts there that nobody holds. Windows removes no file that is
open, which does the same for drafts of files; on disks without locks nothing is removed.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self, TextIO

from sonjit.errors import InputError, JobError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)

_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{8}\.part(\.[^.]*)?", re.DOTALL)
_PLAIN_ZIP: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WORK: Final = "sonjit-work-"
_WORK_FOLDER: Final = re.compile(_WORK + "[a-z0-9_]{8}")


class Output(ABC):
    """Something being written: `close()` finishes and keeps it, `discard()` leaves no trace.

    As a context manager it is closed at a normal end and at Ctrl-C (what was finished is kept), and discarded when
    any other exception passes. Both methods may be called twice; the first call decides.
    """

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
        """Throw away what was written; an older file of the final name stays as it was."""
        if self._is_open:
            self._is_open = False
            self._abort()

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _abort(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.discard()


class Draft:
    """A hidden neighbour of the final path, on the same disk, that takes its place in one step.

    As a context manager it is kept at a normal end and dropped when any exception passes.

    Args:
        path: the final path; a link is followed, and its folder is made.
        folder: of files, not a file.

    Attributes:
        final: the final path, without links.
        path: where to write.

    Raises:
        InputError: the folder cannot be made or written to, or the path is not a regular file.
    """

    def __init__(self, path: Path, *, folder: bool = False) -> None:
        self.final = path.resolve()
        parent = self.final.parent
        self.path = self.final.with_name(f".{self.final.stem}.{secrets.token_hex(4)}.part{self.final.suffix}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            if self.final.exists() and self.final.is_dir() != folder:
                raise InputError(f"{path} is {'a file' if folder else 'a folder'}: choose another name")
            if self.final.exists() and not folder and not self.final.is_file():
                raise InputError(f"{path} is not a regular file: choose another name")
            _remove_abandoned(parent, _DRAFT)
            self._make(folder)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}; choose another folder") from None

    def _make(self, folder: bool) -> None:
        while True:
            self.path.mkdir() if folder else self.path.open("xb").close()
            self._hold = _Hold(self.path)
            if self.path.exists():
                return
            self._hold.release()  # before the lock was there, another process took the draft for abandoned

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
        self._hold.release()

    def drop(self) -> None:
        """Remove the draft."""
        self._before_moved()
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            with suppress(OSError):
                self.path.unlink()
        self._hold.release()

    def _before_moved(self) -> None:
        if fcntl is None:  # Windows moves nothing that is open
            self._hold.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.keep()
        finally:
            self.drop()


class WorkFolder(tempfile.TemporaryDirectory[str]):
    """A temporary folder; those of processes that were killed are removed when the next is made.

    Args:
        parent: where; None for the system's folder of temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        _remove_abandoned(parent or Path(tempfile.gettempdir()), _WORK_FOLDER)
        super().__init__(prefix=_WORK, dir=parent, ignore_cleanup_errors=True)
        self._release = weakref.finalize(self, _Hold(Path(self.name)).release)

    def cleanup(self) -> None:
        """Remove it."""
        self._release()
        super().cleanup()


@contextmanager
def sole_writer(*folders: Path) -> Generator[None]:
    """Write into folders that this makes; while another run is at work in one of them, wait for its end and say so.

    Raises:
        InputError: a folder cannot be made.
    """
    new = [folder for folder in folders if not folder.exists()]
    with ExitStack() as stack:
        for folder in sorted({folder.resolve() for folder in folders}):  # in one order: no two wait for each other
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{folder} cannot be written: {error.strerror}; choose another folder") from None
            stack.callback(_Hold(folder, f"{folder}: another run writes there; waiting until it has ended").release)
        try:
            yield
        finally:
            for folder in new:
                with suppress(OSError):  # it holds something
                    folder.rmdir()


class _Hold:
    """This process's lock on a file or folder, until it is released or the process ends.

    Args:
        path: of what.
        waiting: said when another process holds it.
    """

    def __init__(self, path: Path, waiting: str = "") -> None:
        self._descriptor: int | None = None
        with suppress(OSError):  # a folder on Windows; a disk without locks
            self._descriptor = os.open(path, os.O_RDONLY)
            if fcntl is not None and waiting:
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    _LOG.warning("%s", waiting)
            if fcntl is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock back; may be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@cache
def _remove_abandoned(folder: Path, pattern: re.Pattern[str]) -> None:
    """Remove files and folders of such names that no process holds; once in a folder."""
    names: list[str] = []
    with suppress(OSError):  # who may write into a folder may not always list it
        names = os.listdir(folder)  # noqa: PTH208  # names alone: a folder may hold a million files
    for name in filter(pattern.fullmatch, names):
        with suppress(OSError):
            _remove_unless_held(folder / name)


def _remove_unless_held(path: Path) -> None:
    if fcntl is None:
        path.unlink()  # Windows refuses where it is open, and of folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Where to write a file that takes its name at the end of the block, and leaves no trace where the block fails.

    Raises:
        InputError: the folder cannot be made or written to, or the path is not a regular file.
        JobError: the disk refuses it.
    """
    with failing_as_job(path), Draft(path) as draft:
        yield draft.path


@contextmanager
def atomic_text(path: Path) -> Generator[TextIO]:
    """A text file in UTF-8 to write to, see `atomic_file`."""
    with atomic_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Where to write files that join a folder, there or not, at the end of the block; raises as `atomic_file`."""
    with failing_as_job(path), Draft(path, folder=True) as draft:
        yield draft.path


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or none, see `atomic_file`."""
    with atomic_file(path) as draft:
        draft.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file in UTF-8 or none, see `atomic_file`."""
    write_bytes(path, text.encode())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file by name; pickles in it are not read.

    Raises:
        InputError: it is missing, damaged or another file.
    """
    try:
        with path.open("rb") as file:
            return arrays_of(file, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def arrays_of(file: IO[bytes], name: str, most_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """All arrays of an open `.npz` file by name; pickles in it are not read.

    Args:
        file: at its beginning.
        name: of it, for a message.
        most_bytes: that all arrays together may take, as the file says before it is unpacked; None for any number.

    Raises:
        InputError: it is damaged, another file, or larger.
    """
    import numpy as np

    try:
        if most_bytes is not None:
            with zipfile.ZipFile(file) as archive:
                size = sum(one.file_size for one in archive.infolist())
                if any(one.compress_type not in _PLAIN_ZIP for one in archive.infolist()):
                    raise ValueError("packed otherwise than NumPy does")
            if size > most_bytes:
                raise InputError(f"{name} holds {size} bytes, more than {most_bytes}")
            file.seek(0)
        with np.load(file, allow_pickle=False) as opened:
            return {key: opened[key] for key in opened.files}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        TypeError,
        RuntimeError,
        MemoryError,
        OverflowError,
    ) as error:
        first = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{name} is damaged or no .npz file of plain arrays ({first})") from None


def file_stamp(path: Path) -> list[int] | None:
    """What changes where a file does: its size and time in nanoseconds; [] of a folder, None where nothing is."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns] if stat.S_ISREG(found.st_mode) else []


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that several processes may add to: each line stays whole."""
    data = f"{line}\n".encode("utf-8", "surrogateescape")
    with failing_as_job(path), path.open("ab", buffering=len(data) + 1) as file:
        file.write(data)  # it fits the buffer, so that it is one write


@contextmanager
def failing_as_job(path: Path) -> Generator[None]:
    """Turn what the disk refuses (full, gone) inside the block into one JobError that names the file."""
    try:
        yield
    except OSError as error:
        raise JobError(f"writing {path} failed: {error.strerror or error}") from error
