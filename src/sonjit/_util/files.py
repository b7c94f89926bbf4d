"""Write files that receive their final name only when they are complete, and compare files by their hashes.

A process locks its drafts and work folders. The operating system releases the locks when the process ends, even if it
is killed. The next process that writes into a folder removes all unlocked drafts, and gives the complete frames of
tables a visible name, `NAME.csv.unfinished`. Windows does not remove open files, which has the same effect. On disks
without locks nothing is removed. A disk that refuses a file, such as a full one, also leaves the complete frames, and
those of Parquet files and videos.
"""

import codecs
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import tempfile
import unicodedata
import weakref
from abc import ABC
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path, PurePath
from typing import BinaryIO, ClassVar, Final, Literal, Protocol, Self, TextIO, TypeAlias

from sonjit._util.addresses import is_address_path
from sonjit._util.errors import InputError, JobError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


_LOG = logging.getLogger(__name__)

KEPT: Final = "finished results are kept"
_DRAFT: Final = re.compile(r"\.(.+)\.sonjit-[0-9a-f]{8}\.(part|lines)(\.[^.]*)?", re.DOTALL)
Leaves: TypeAlias = Literal["nothing", "groups", "lines"]
"""What is readable of an output that was not finished: nothing; groups of rows or frames, of which a full disk keeps
those that were written; or lines with a frame or row each, which a killed process leaves too."""
UNFINISHED: Final = ".unfinished"
"""Ending of the complete frames of a table that was not finished. No pattern such as `*.csv` matches it."""
_PARQUET: Final = ".parquet"  # rows in groups, then their description, its length and four bytes
_MAX_LINE_BYTES: Final = 1 << 24  # maximum size of the last frame of a table
_END: Final = b"\n]}\n"  # end of a list of frames in JSON
_NAME_BYTES: Final = 255  # longest name of most file systems
_BLOCK_BYTES: Final = 1 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RESERVED_BYTES, _MAX_RESERVED_BYTES = 1 << 16, 1 << 24  # room for the end of a file, next to an eighth of its size
_WORK: Final = "sonjit-work-"
_WORK_FOLDER: Final = re.compile(_WORK + "[a-z0-9_]{8}")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_inputs: "weakref.WeakKeyDictionary[Reader, frozenset[tuple[int, int]] | None]" = weakref.WeakKeyDictionary()
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


class DiskError(JobError):
    """Report a disk that refuses a file: a full or removed one, a quota, or a network share that is gone."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.kept: list[Path] = []  # outputs of the frames that were written before
        self.lost: list[Path] = []  # outputs that have no readable part

    def __str__(self) -> str:
        kept, lost = (", ".join(map(str, paths)) for paths in (self.kept, self.lost))
        text = f"{super().__str__()}; the frames until then are in {kept}" if kept else super().__str__()
        return f"{text}; nothing is left of {lost}, which is readable only if it is complete" if lost else text


class Output(ABC):
    """Output that is being written: `close()` finishes and keeps it, `discard()` removes it; the first call decides.

    The context manager closes the output at a normal end and at Ctrl-C, and discards it after any other exception. If
    the disk refuses a file, outputs that are readable in part keep their frames under a name with `UNFINISHED`.
    """

    _draft: "Draft"
    leaves: ClassVar[Leaves] = "nothing"

    def __init__(self) -> None:
        self._is_open = True
        self._is_complete = False

    def complete(self) -> None:
        """Write the rest, so that `close()` only gives the output its final name.

        Outputs that belong together are completed before the first one is closed, so that all or none are kept.
        """
        if self._is_open and not self._is_complete:
            self._is_complete = True
            self._or_fail(self._complete)

    def close(self) -> None:
        """Finish the output and give it its final name."""
        self.complete()
        if self._is_open:
            self._or_fail(self._finish)
            self._is_open = False

    def discard(self) -> None:
        """Remove what was written; an older file of the same name is unchanged."""
        if self._is_open:
            self._is_open = False
            self._abort()

    def _or_fail(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException | None) -> None:
        """End the output after an error."""
        if not isinstance(error, DiskError):
            self.discard()
            return
        is_lost = self._is_open and self.leaves == "nothing" and hasattr(self, "_draft")  # others pass it on
        error.kept += self.leave()
        if is_lost:
            error.lost.append(self._draft.final)

    def leave(self) -> list[Path]:
        """Keep the complete frames of an unfinished output, and return the paths of the files that have them."""
        if not self._is_open:
            return []
        self._is_open = False
        return self._leave()

    def _complete(self) -> None:  # noqa: B027  # few formats have a rest
        """Write the rest and close the file of the draft."""

    def _finish(self) -> None:
        """Give the completed draft its final name."""
        self._draft.keep()

    def _abort(self) -> None:
        """Close the file and remove the draft."""
        self._draft.drop()

    def _leave(self) -> list[Path]:
        """Close the file. Keep its complete frames, if they are readable without an end, and return their paths."""
        self._abort()
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
            note_kept(error)
        else:
            self._fail(error)


class Draft:
    """Hidden file or folder next to the final path, with links followed, that replaces it in one step.

    The context manager keeps the draft at a normal end and drops it after any exception. Missing parent folders are
    created.
    """

    def __init__(self, path: Path, *, folder: bool = False, leaves: Leaves = "nothing") -> None:
        check_local(path)
        self.final, self._leaves = path.resolve(), leaves
        parent = self.final.parent
        kind = "lines" if leaves == "lines" else "part"
        ending = f".sonjit-{os.urandom(4).hex()}.{kind}{self.final.suffix}"
        self.path = self.final.with_name(f".{shortened(self.final.stem, len(os.fsencode(ending)) + 1)}{ending}")
        try:
            if not parent.is_dir():  # faster than a call that fails, for many small files
                parent.mkdir(parents=True, exist_ok=True)
            elif self.final.exists():
                check_no_input(path)
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
                for file in self.path.rglob("*") if _inputs else ():
                    check_no_input(self.final / file.relative_to(self.path))
                _move_into(self.path, self.final)
            else:
                os.replace(self.path, self.final)  # noqa: PTH105  # the step that must be atomic, by its own name
        self._lock.release()
        if self._leaves != "nothing":
            _remove_unfinished(self.final)

    def leave(self) -> list[Path]:
        """Keep the complete frames of a table, as those of a killed process, and remove any other draft.

        Return the path of the table, or nothing. A disk that refuses even this keeps the draft for the next process.
        """
        self._before_moved()
        kept: Path | None = None
        with suppress(OSError):
            kept = _remove(self.path)
        self._lock.release()
        return [] if kept is None else [kept]

    def leave_finished(self) -> list[Path]:
        """Keep a file that was finished after a part of its frames, and return its path."""
        self._before_moved()
        kept = self.path.rename(_free_path(self.final.with_name(f"{self.final.name}{UNFINISHED}")))
        self._lock.release()
        return [kept]

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


class Reader(Protocol):
    """What reads files until it is closed, such as a source of images."""

    @property
    def files(self) -> Sequence[object]:
        """Paths that are read. Others than `Path` are files of other machines."""
        ...


def protect(reader: Reader) -> None:
    """Let no output replace the files of a reader until it is released or no longer exists.

    Every output passes through `Draft`, which asks `is_input`. No writer and no command needs a check of its own.
    """
    _inputs[reader] = None


def release(reader: Reader) -> None:
    """End the protection of the files of a reader."""
    _inputs.pop(reader, None)


class _Files:
    """Files that are read inside a block."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files


@contextmanager
def reading(*paths: Path) -> Generator[None]:
    """Let no output replace files inside the block, see `protect`."""
    reader = _Files(paths)
    protect(reader)
    try:
        yield
    finally:
        release(reader)


def is_input(path: Path) -> bool:
    """Check whether a path is a file that is being read, by any spelling, a symbolic or a hard link."""
    identity = _identity_of(path)
    if identity is None:
        return False
    for reader, known in list(_inputs.items()):
        if known is None:  # most outputs are new, so that the files are not looked up before
            found = (_identity_of(file) for file in reader.files if isinstance(file, Path))
            known = _inputs[reader] = frozenset(one for one in found if one is not None)
        if identity in known:
            return True
    return False


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Return the device and the number of a regular file, which all of its names share."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # missing, or no name of a file
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def check_no_input(path: Path) -> None:
    """Raise InputError for an output that is a file being read."""
    if is_input(path.resolve()):
        raise InputError(f"{path} is the input itself: choose another name")


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Raise InputError if a file or folder cannot be written, before a long work. Nothing is left."""
    check_local(path)
    place = path.resolve()
    new = [parent for parent in place.parents if not os.path.exists(parent)]  # noqa: PTH110  # also of any length
    try:
        if folder and os.path.isdir(place):  # noqa: PTH112
            Draft(place / "sonjit").drop()  # files join those already there
        else:
            Draft(path, folder=folder).drop()
    finally:
        for parent in new:
            with suppress(OSError):  # another process writes into it
                parent.rmdir()


def check_local(path: Path) -> None:
    """Raise InputError for an address: a path of that name would create folders."""
    if is_address_path(path) and not path.exists():
        raise InputError(f"{path} is an address: give a file or folder of this machine")


class ReservedFile:
    """File being written for which the disk reserves room ahead, so that it can be finished when the disk is full.

    `reserve` raises the error of a disk that has no further room. What is written until then, and the end of the file,
    have their place. Systems without such reservations raise the error of the first write that fails.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file = path.open("r+b", buffering=0)
        self._size = self._reserved = self._size_before = self._largest = 0  # bytes
        self.is_complete = True  # False if a write failed

    def write(self, data: bytes | memoryview) -> int:
        """Write all of the data at the position."""
        left = memoryview(data).cast("B")
        size, is_complete, self.is_complete = len(left), self.is_complete, False
        while len(left):
            left = left[self._file.write(left) or 0 :]
        self.is_complete = is_complete
        self._size = max(self._size, self._file.tell())
        return size

    def reserve(self, expected: int = 0) -> None:
        """Reserve room for a file of an expected size, for its end, and for the most that one step wrote."""
        size = max(self._size, expected)
        self._largest = max(self._largest, self._size - self._size_before)
        self._size_before = self._size
        ahead = max(_RESERVED_BYTES + min(self._size // 8, _MAX_RESERVED_BYTES), 2 * self._largest)
        if self._reserved < size + ahead and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._file.fileno(), 0, size + 2 * ahead)
            except OSError as error:
                if error.errno in _FULL:
                    raise
            self._reserved = size + 2 * ahead  # also on a disk without reservations, which is not asked each time

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position. The end is that of what was written."""
        return self._file.seek(self._size + offset) if whence == os.SEEK_END else self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def close(self) -> None:
        """Return the room that is left to the disk, and close the file."""
        try:
            if not self._file.closed:
                self._file.truncate(self._size)
        finally:
            self._file.close()


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
    check_local(folder)
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


def _move_into(draft: Path, folder: Path) -> None:
    """Move the files of a draft folder, also those of its subfolders, into a folder that exists."""
    for path in draft.iterdir():
        target = folder / path.name
        if path.is_dir() and target.is_dir():
            _move_into(path, target)
        else:
            path.replace(target)
    draft.rmdir()


@cache
def _remove_abandoned(folder: Path, pattern: re.Pattern[str]) -> None:
    """Remove unlocked files and folders with matching names, once per folder and process."""
    names: list[str] = []
    with suppress(OSError):  # a folder may be writable but not readable
        names = os.listdir(folder)  # noqa: PTH208  # only names: a folder may contain a million files
    for name in filter(pattern.fullmatch, names):
        with suppress(OSError):
            kept, match = _remove_unless_locked(folder / name), pattern.fullmatch(name)
            if kept is not None and match is not None:
                table = f"{match[1]}{match[3] or ''}"
                text = "%s was not finished by an earlier run. Its frames until then are in %s until %s is complete"
                _LOG.warning(text, table, kept, table)


def _remove_unless_locked(path: Path) -> Path | None:
    if fcntl is None:
        return _remove(path)  # Windows refuses this for open files
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> Path | None:
    """Remove a draft or work folder, but keep the complete frames of a table. Return the path of that table."""
    if path.is_dir():
        if fcntl is not None:  # Windows has no lock that protects a folder in use
            shutil.rmtree(path)
        return None
    match = _DRAFT.fullmatch(path.name)
    is_table = match is not None and match[2] == "lines" and not path.parent.name.startswith(".")
    if match is None or not is_table or not _has_rows(path):
        path.unlink()
        return None
    _end_at_complete_frame(path)
    return path.rename(_free_path(path.with_name(f"{match[1]}{match[3] or ''}{UNFINISHED}")))


def _free_path(path: Path) -> Path:
    """Return a path that is not in use, if needed with a number."""
    used = {folded_name(name) for name in os.listdir(path.parent)}  # noqa: PTH208  # only names
    return path.with_name(free_name(path.name, used))


def _remove_unfinished(table: Path) -> None:
    """Remove the unfinished tables of a finished one, if it contains all of their frames; report the others."""
    names = (f"{table.name}{UNFINISHED}", f"{table.stem}{UNFINISHED}{table.suffix}")  # the latter by 1.0.0rc1
    for name in map(PurePath, names):
        path, number = table.with_name(name.name), 2
        while os.path.exists(path):  # noqa: PTH110  # false also for a name that is too long
            with suppress(OSError):
                if _contains(table, path):
                    path.unlink()
                else:
                    _LOG.warning("%s has frames that %s does not contain. It is kept.", path, table)
            path, number = table.with_name(f"{name.stem}_{number}{name.suffix}"), number + 1


def _contains(table: Path, part: Path) -> bool:
    """Check whether a table begins with all frames of an unfinished one, and has the same source and options."""
    with table.open("rb") as whole, part.open("rb") as cut:
        if table.suffix == _PARQUET:
            left = _size_of_rows(cut)
        elif _identity(whole.readline()) != _identity(cut.readline()):
            return False
        else:
            left = part.stat().st_size - cut.tell() - len(_END if table.suffix == ".json" else b"")
        while left > 0:
            block = cut.read(min(left, _BLOCK_BYTES))
            if not block or whole.read(len(block)) != block:
                return False
            left -= len(block)
    return True


def _size_of_rows(parquet: BinaryIO) -> int:
    """Return the number of bytes before the description of a Parquet file."""
    size = parquet.seek(-8, os.SEEK_END) - int.from_bytes(parquet.read(4), "little")
    parquet.seek(0)
    return size


def _identity(line: bytes) -> object:
    """Return the header of a table without what is known only at its end; the first line of a table without one."""
    try:
        start, list_of_frames, _ = line.partition(b',"frames":[\n')
        header: dict[str, object] = json.loads(start + b"}" if list_of_frames else line)
        return {name: value for name, value in header.items() if name not in ("sources", "notes")}
    except (ValueError, AttributeError):
        return line


def _has_rows(path: Path) -> bool:
    """Check whether a draft has at least one complete line after the first, in JSON as a list of frames."""
    with path.open("rb") as file:
        first, second = file.readline(), file.readline()
    return second.endswith(b"\n") and (path.suffix != ".json" or first.endswith(b"[\n"))


def _end_at_complete_frame(path: Path) -> None:
    """Remove what a table has after its last complete frame, which a killed process may have cut, and end its JSON."""
    with path.open("rb") as lines:
        first = lines.readline()
    with path.open("r+b", buffering=0) as file:  # a buffer would keep what a full disk refuses
        start = max(len(first), path.stat().st_size - _MAX_LINE_BYTES)
        file.seek(start)
        data = file.read()
        end = data.rfind(b"\n") + 1
        if first.removeprefix(codecs.BOM_UTF8).startswith(b"frame,"):  # several rows a frame
            last = data[data.rfind(b"\n", 0, end - 1) + 1 : end].partition(b",")[0]
            while end and data[data.rfind(b"\n", 0, end - 1) + 1 : end].partition(b",")[0] == last:
                end = data.rfind(b"\n", 0, end - 1) + 1
        if path.suffix == ".json" and data.endswith(_END):
            return
        if path.suffix == ".json":
            end = len(data[:end].rstrip(b",\n"))
            if not _is_ended(file, start + end):  # a full disk has room in the place of the last frame
                end = len(data[: data.rfind(b"\n", 0, end)].rstrip(b",\n"))
                _is_ended(file, start + end)
            end += len(_END)
        file.truncate(start + end)


def _is_ended(file: FileIO, position: int) -> bool:
    """Write the end of a JSON table, and check whether the disk has room for it."""
    file.seek(position)
    try:
        return file.write(_END) == len(_END)
    except OSError:
        return False


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


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, see `atomic_file`."""
    with atomic_file(path) as draft:
        draft.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all, see `atomic_file`."""
    write_bytes(path, text.encode())


def sync(path: Path) -> None:
    """Wait until the disk contains a file, so that a power cut leaves it complete."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def xml_text(text: str) -> str:
    r"""Return text in which each character that XML forbids is an escape.

    >>> xml_text("a\x01.jpg"), xml_text("b\udcff.jpg")
    ('a\\x01.jpg', 'b\\xff.jpg')
    """
    return _NOT_IN_XML.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)


def folded_name(name: str) -> str:
    """Return a text that is equal for two names that are one file on some systems.

    Names may differ in case and Unicode form, and on Windows by dots and spaces at the end.

    >>> folded_name("A.") == folded_name("a")
    True
    """
    name = name.rstrip(". ") or name
    return name if name.isascii() and name.islower() else unicodedata.normalize("NFC", name).casefold()


def shortened(text: str, more: int = 0) -> str:
    """Return the start of a text that fits into a file name with a number of further bytes.

    >>> shortened("a" * 300, 5) == "a" * 250, shortened("\u00e9" * 200) == "\u00e9" * 127
    (True, True)
    """
    data = os.fsencode(text)
    size = max(0, _NAME_BYTES - more)
    while size < len(data) and size and data[size] & 0xC0 == 0x80:  # within a character of UTF-8
        size -= 1
    return os.fsdecode(data[:size])


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
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else []


def append_line(path: Path, line: str) -> None:
    """Append a line to a file. Lines of several processes do not mix."""
    data = f"{line}\n".encode("utf-8", "surrogateescape")
    with failing_as_job(path), path.open("ab", buffering=len(data) + 1) as file:
        file.write(data)  # it fits the buffer, so that it is one write


@contextmanager
def failing_as_job(path: Path) -> Generator[None]:
    """Convert disk errors (full, removed) inside the block to one DiskError with the file's name."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"writing {path} failed: {error.strerror or error}") from error


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
