"""One job: what it is asked, how far it is, and its files."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sonjit.errors import JobError
from sonjit.json_text import JsonObject
from sonjit.media import TABLE_ENDINGS, convert_table
from sonjit.runs import ROW_ENDINGS, convert_motions
from sonjit.server.errors import refusal_from
from sonjit.server.job_process import JobProcess, TooSlowError, processor_of, request_for
from sonjit.server.options import DetectorChoice
from sonjit.server.uploads import JobInput

State = Literal["waiting", "running", "done", "failed", "cancelled"]

INPUT = "input"
"""The folder within a job's own that holds what was uploaded."""

ENDED = ("done", "failed", "cancelled")


class _Cancelled(Exception):  # noqa: N818  # not an error: the way out of the loop
    """The job was cancelled while it ran."""


@dataclass(eq=False)
class UploadJob:
    """A run of detectors over one upload. One thread runs it; any may read its state and cancel it.

    Attributes:
        folder: its own, with its input and what it makes; removed with it.
        given: what it runs on.
        detectors: kind and options of each, as `read_options` gives them; at least one.
        draw: whether to make a drawing.
        max_minutes: that it may run.
        max_pixels: of an image or a frame.
        owner: the secret of the client that it belongs to.
        is_private: nobody else may ask for it, not even by its id.
        address: that it was sent from.
        id: that nobody can guess.
        number: later jobs have higher ones.
        state: how far it is; changes under `lock` alone.
        frames, of: images processed, and expected (None where it is not known).
        instances: found so far.
        message: why it failed.
        problems: what could not be read, one line each.
        ran_s: how long it ran, before the server was started.
        disk_bytes: that its files take, as last measured.
        is_suspended: the server stops; the next one begins the job anew.
    """

    folder: Path
    given: JobInput
    detectors: tuple[DetectorChoice, ...]
    draw: bool
    max_minutes: float
    max_pixels: int
    owner: str = ""
    is_private: bool = False
    address: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(16), init=False)
    number: int = field(default_factory=time.time_ns, init=False)
    state: State = field(default="waiting", init=False)
    frames: int = field(default=0, init=False)
    of: int | None = field(default=None, init=False)
    instances: int = field(default=0, init=False)
    message: str | None = field(default=None, init=False)
    problems: list[str] = field(default_factory=list[str], init=False)
    ran_s: float = field(default=0.0, init=False)
    disk_bytes: int = field(default=0, init=False)
    is_suspended: bool = field(default=False, init=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _converting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _process: JobProcess | None = field(default=None, init=False)
    _begun_s: float | None = field(default=None, init=False)
    _ended_s: float | None = field(default=None, init=False)

    @property
    def model(self) -> str:
        """Of the detectors, e.g. `hands-full` or `hands-full+face-attention`."""
        return "+".join(f"{kind}-{options['model']}" for kind, options in self.detectors)

    @property
    def drawing(self) -> Path | None:
        """Where its drawing lies when it is done; None where none was asked for."""
        return self.folder / f"drawn{self.given.drawing}" if self.draw else None

    @property
    def has_motions(self) -> bool:
        """Whether it has tables of the motions of hands: it is of a video, and hands have gestures."""
        return self.given.drawing == ".mp4" and processor_of(self.detectors).has_gestures

    @property
    def seconds(self) -> float:
        """That it has run."""
        if self._begun_s is None:
            return self.ran_s
        return (self._ended_s or time.monotonic()) - self._begun_s

    def to_dict(self) -> JsonObject:
        """The job as clients see it."""
        state = self.state  # read first: what it promises is there already
        endpoint, drawing = f"/v1/jobs/{self.id}", self.drawing
        downloads: JsonObject = {ending[1:]: f"{endpoint}/result{ending}" for ending in TABLE_ENDINGS}
        if state == "done" and self.has_motions:
            downloads |= {f"motions{ending}": f"{endpoint}/motions{ending}" for ending in ROW_ENDINGS}
        if drawing is not None and drawing.exists():  # else its encoder refused it, as `problems` says
            downloads["drawn"] = f"{endpoint}/{drawing.name}"
        return {
            "id": self.id,
            "kind": "+".join(kind for kind, _ in self.detectors),
            "model": self.model,
            "name": self.given.name,
            "state": state,
            "frames": self.frames,
            "of": self.of,
            "instances": self.instances,
            "seconds": round(self.seconds, 2),
            "message": self.message,
            "problems": list(self.problems),
            "downloads": downloads if state == "done" else {},
        }

    def run(self) -> None:
        """Do the work, in the thread of the caller; what goes wrong becomes its state."""
        with self.lock:
            if self.state != "waiting" or self.is_suspended:
                return
            self.state = "running"
            self._begun_s = time.monotonic()
        end: State = "done"
        try:
            self._work()
        except _Cancelled:
            end = "cancelled"
        except Exception as error:
            if self.state == "running":  # else it lost its files on the way
                end, self.message = "failed", self._told(str(refusal_from(error)))
        with self.lock:
            if self.is_suspended and end == "cancelled" and self.state == "running":
                self.state = "waiting"
                return
            self._ended_s = time.monotonic()
            self.state = end if self.state == "running" else self.state
        shutil.rmtree(self.folder if self.state != "done" else self.folder / INPUT, ignore_errors=True)

    def cancel(self) -> None:
        """Stop it; nothing happens where it has ended."""
        with self.lock:
            was = self.state
            if was in ENDED:
                return
            self.state = "cancelled"
            self._stop()
        if was == "waiting":  # otherwise the thread that runs it clears up
            self.clear()

    def suspend(self) -> None:
        """Stop it because the server stops; the next one begins it anew."""
        with self.lock:
            self.is_suspended = True
            self._stop()

    def measure(self) -> None:
        """Look how much its files take."""
        sizes: list[int] = []
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # removed meanwhile
                sizes.append(path.lstat().st_size if path.is_file() else 0)
        self.disk_bytes = sum(sizes)

    def clear(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def table(self, ending: str) -> Path:
        """Its table in one of the formats, made when it is first asked for.

        Raises:
            JobError: the disk refuses it.
            MissingExtraError: Parquet without pyarrow.
        """
        columns = processor_of(self.detectors).columns
        return self._made(f"result{ending}", lambda lines, path: convert_table(lines, path, columns))

    def motions(self, ending: str) -> Path:
        """The table of its motions, see `has_motions`; as `table` gives that of its frames."""
        return self._made(f"motions{ending}", convert_motions)

    def _made(self, name: str, convert: Callable[[Path, Path], None]) -> Path:
        path = self.folder / name
        with self._converting:
            if not path.exists():
                convert(self.folder / "result.jsonl", path)
                self.measure()
        return path

    def _work(self) -> None:
        request = request_for(self.folder, self.given.source, self.given.name, self.detectors, self.drawing)
        with JobProcess(self.max_pixels, self.folder) as process:
            with self.lock:
                self._process = process
            try:
                self._go_on()
                problems = process.work(self.given.name, request, 60 * self.max_minutes, self._advance)
            except TooSlowError:
                raise JobError(
                    f"{self.given.name} ran for {self.max_minutes:g} minutes and was stopped after {self.frames} "
                    "images: send less, or raise --max-job-minutes"
                ) from None
            except JobError:
                self._go_on()  # else it was stopped, and did not fail
                raise
            finally:
                with self.lock:
                    self._process = None
            self._go_on()
        self.problems = [self._told(line) for line in problems]

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _advance(self, so_far: Mapping[str, object]) -> None:
        self._go_on()  # what its process wrote before it was stopped is no news
        for name in ("of", "frames", "instances"):
            if isinstance(count := so_far.get(name), int):
                setattr(self, name, count)

    def _go_on(self) -> None:
        """Raise where the job was stopped."""
        if self.state != "running" or self.is_suspended:
            raise _Cancelled

    def _told(self, line: str) -> str:
        """A message without the places where files lie on the server."""
        given = str(self.folder / INPUT)
        for place, shown in ((given + os.sep, ""), (given, self.given.name), (str(self.folder) + os.sep, "")):
            line = line.replace(place, shown)
        return line
