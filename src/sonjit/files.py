"""Files that take their final name only when they are finished."""

from __future__ import annotations

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

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

    Args:
        path: the final path; a link is followed.

    Raises:
        InputError: the folder is missing or cannot be written to, or the path is no regular file.
    """

    def __init__(self, path: Path, *, folder: bool = False) -> None:
        self.final = path.resolve()
        self.draft = self.final.with_name(f".{self.final.stem}.{secrets.token_hex(4)}.part{self.final.suffix}")
        parent = self.final.parent
        try:
            if not parent.is_dir():
                raise InputError(f"{path}: the folder {parent} does not exist; make it first")
            if self.final.exists() and self.final.is_dir() != folder:
                raise InputError(f"{path} is {'a file' if folder else 'a folder'}: choose another name")
            if self.final.exists() and not folder and not self.final.is_file():
                raise InputError(f"{path} is no regular file: choose another name, or - for standard output")
            if folder:
                self.draft.mkdir()
            else:
                self.draft.open("xb").close()
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}; choose another folder") from None

    def keep(self) -> None:
        """Give the draft its final name; images of a folder join those already there."""
        with failing_as_job(self.final):
            if self.draft.is_dir() and self.final.is_dir():
                for file in self.draft.iterdir():
                    file.replace(self.final / file.name)
                self.draft.rmdir()
            else:
                os.replace(self.draft, self.final)  # noqa: PTH105  # the step that must be atomic, by its own name

    def drop(self) -> None:
        """Remove the draft."""
        if self.draft.is_dir():
            shutil.rmtree(self.draft, ignore_errors=True)
        else:
            with suppress(OSError):
                self.draft.unlink()


@contextmanager
def failing_as_job(path: Path) -> Generator[None]:
    """Turn what the disk refuses (full, gone) inside the block into one JobError that names the file."""
    try:
        yield
    except OSError as error:
        raise JobError(f"writing {path} failed: {error.strerror or error}") from error
