"""Files that take their final name only when they are finished."""

from __future__ import annotations

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from sonjit.errors import InputError, JobError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType


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
        path: the final path; a link is followed.
        folder: of files, not a file.
        of_run: see `atomic_file`.

    Attributes:
        final: the final path, without links.
        path: where to write.

    Raises:
        InputError: the folder cannot be made or written to, or the path is not a regular file.
    """

    def __init__(self, path: Path, *, folder: bool = False, of_run: bool = False) -> None:
        self.final = path.resolve()
        parent, token = self.final.parent, "" if of_run else f".{secrets.token_hex(4)}"
        self.path = self.final.with_name(f".{self.final.stem}{token}.part{self.final.suffix}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            if self.final.exists() and self.final.is_dir() != folder:
                raise InputError(f"{path} is {'a file' if folder else 'a folder'}: choose another name")
            if self.final.exists() and not folder and not self.final.is_file():
                raise InputError(f"{path} is not a regular file: choose another name")
            if folder:
                self.path.mkdir()
            else:
                self.path.open("wb" if of_run else "xb").close()
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}; choose another folder") from None

    def keep(self) -> None:
        """Give the draft its final name; files of a folder join those already there."""
        with failing_as_job(self.final):
            if self.path.is_dir() and self.final.is_dir():
                for file in self.path.iterdir():
                    file.replace(self.final / file.name)
                self.path.rmdir()
            else:
                os.replace(self.path, self.final)  # noqa: PTH105  # the step that must be atomic, by its own name

    def drop(self) -> None:
        """Remove the draft."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            with suppress(OSError):
                self.path.unlink()

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


@contextmanager
def atomic_file(path: Path, *, of_run: bool = False) -> Generator[Path]:
    """Where to write a file that takes its name at the end of the block, and leaves no trace where the block fails.

    Args:
        path: the final path.
        of_run: of a run that goes on after it was killed: its folder is made, and the draft has always the same name,
            so that the run which goes on leaves none behind.

    Raises:
        InputError: the folder cannot be made or written to, or the path is not a regular file.
        JobError: the disk refuses it.
    """
    with failing_as_job(path), Draft(path, of_run=of_run) as draft:
        yield draft.path


@contextmanager
def atomic_text(path: Path, *, of_run: bool = False) -> Generator[TextIO]:
    """A text file in UTF-8 to write to, see `atomic_file`."""
    with atomic_file(path, of_run=of_run) as draft, draft.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Where to write files that join a folder, there or not, at the end of the block; raises as `atomic_file`."""
    with failing_as_job(path), Draft(path, folder=True) as draft:
        yield draft.path


def write_bytes(path: Path, data: bytes, *, of_run: bool = False) -> None:
    """Write a whole file or none, see `atomic_file`."""
    with atomic_file(path, of_run=of_run) as draft:
        draft.write_bytes(data)


def write_text(path: Path, text: str, *, of_run: bool = False) -> None:
    """Write a whole text file in UTF-8 or none, see `atomic_file`."""
    write_bytes(path, text.encode(), of_run=of_run)


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
