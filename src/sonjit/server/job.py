"""One job: what it is asked, how far it is, and its files."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from sonjit.detectors.options import OptionValue
from sonjit.errors import JobError
from sonjit.files import atomic_file
from sonjit.json_text import JsonObject
from sonjit.media import TABLE_ENDINGS, convert_table, natural_key, open_source
from sonjit.runs import Detect, Outputs, Summary, run_input
from sonjit.server.errors import refusal_from
from sonjit.server.options import MEASURES, DetectorChoice
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
        """Stop it, now or at its next image; nothing happens where it has ended."""
        with self.lock:
            was = self.state
            if was in ENDED:
                return
            self.state = "cancelled"
        if was == "waiting":  # otherwise the thread that runs it is still writing there
            self.clear()

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
        lines, path = self.folder / "result.jsonl", self.folder / f"result{ending}"
        with self._converting:
            if not path.exists():
                convert_table(lines, path, self._processor.columns)
                self.measure()
        return path

    @property
    def _processor(self) -> Detect:
        first, *others = (
            # streams keep the other cores
            Detect(kind, _arguments(options) | {"threads": 1}, measures=bool(options.get(MEASURES.name)))
            for kind, options in self.detectors
        )
        return replace(first, beside=tuple(others))

    def _work(self) -> None:
        drawing = self.drawing
        outputs = Outputs(
            str(self.folder / "result.jsonl"),
            None if drawing is None else str(drawing).removesuffix(".zip"),  # several drawings go into a folder first
        )
        with self._processor.load() as session, open_source(self.given.source) as source:
            source.name = self.given.name
            summary = run_input(session, source, outputs, opened=self._opened, advance=self._advance)
        self.problems = [self._told(line) for line in summary.problems]
        if drawing is not None and drawing.suffix == ".zip":
            self._zip(drawing)

    def _opened(self, count: int | None) -> None:
        self.of = count
        self._go_on()

    def _advance(self, so_far: Summary) -> None:
        self.frames, self.instances = so_far.frames, so_far.instances
        self._go_on()

    def _go_on(self) -> None:
        """Raise where the job must stop."""
        if self.state != "running" or self.is_suspended:
            raise _Cancelled
        if self.seconds > 60 * self.max_minutes:
            raise JobError(
                f"{self.given.name} ran for {self.max_minutes:g} minutes and was stopped after {self.frames} images: "
                "send less, or raise --max-job-minutes"
            )

    def _zip(self, path: Path) -> None:
        """Gather the annotated images, compressed as they are, in one file."""
        folder = path.with_suffix("")
        with atomic_file(path) as draft, zipfile.ZipFile(draft, "w") as archive:
            for file in sorted(folder.iterdir(), key=lambda file: natural_key(file.name)):
                self._go_on()
                archive.write(file, file.name)
        shutil.rmtree(folder, ignore_errors=True)

    def _told(self, line: str) -> str:
        """A message without the places where files lie on the server."""
        given = str(self.folder / INPUT)
        for place, shown in ((given + os.sep, ""), (given, self.given.name), (str(self.folder) + os.sep, "")):
            line = line.replace(place, shown)
        return line


def _arguments(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Options of a job as `create_detector` takes them."""
    return {name: value for name, value in options.items() if name != MEASURES.name}
