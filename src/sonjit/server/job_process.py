"""Processes that inspect uploads and run jobs.

The server starts this module as a program, so that a crash costs one job. Requests and answers are lines of JSON on the
pipes of the process.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

from sonjit._util.errors import InputError, JobError
from sonjit._util.extensions import LoadedExtensions
from sonjit._util.files import atomic_file
from sonjit._util.json_text import JsonObject, json_from
from sonjit._util.pools import Progress
from sonjit.media import natural_key, open_source
from sonjit.media.sources.video import open_container, video_stream
from sonjit.runs import Detect, Outputs, run_input
from sonjit.runs.task import is_still
from sonjit.server.errors import refusal_from
from sonjit.server.options import MEASURES, DetectorChoice, read_detector
from sonjit.server.processes import OTHER_BYTES, PIXEL_BYTES, end, limit_memory, pipe_of_answers, start

_NETWORK_BYTES = 4_000_000_000
"""Memory limit for networks and the frames of a video that are in flight."""
_INSPECTION_S = 30.0
"""Time limit of the inspection of an uploaded file."""
_MAX_LINE_BYTES = 100_000_000
"""Maximum size of an answer of the process."""

ReportProgress = Callable[[JsonObject], None]


class TooSlowError(JobError):
    """A request took longer than its time limit."""


@dataclass(frozen=True)
class JobInput:
    """Input of a job.

    Attributes:
        source: File or folder for `open_source`.
        name: Name of the input in tables, pages and downloads.
        drawing: File ending of the annotated copy: `.mp4` for a video, `.jpg` for an image, `.zip` for several images.
    """

    source: Path
    name: str
    drawing: str


class JobProcess:
    """A child process that inspects videos and runs jobs; a context manager that ends the process.

    The process starts with the first request, and again after a crash. It ends with the server.

    Args:
        max_pixels: Maximum number of pixels of a frame.
        folder: Folder for temporary files. Default: the system's folder.
    """

    def __init__(self, max_pixels: int, folder: Path | None = None) -> None:
        self._memory_bytes = PIXEL_BYTES * max_pixels + OTHER_BYTES + _NETWORK_BYTES
        self._environment = {} if folder is None else {"TMPDIR": str(folder)}
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self._lock = threading.Lock()

    def work(
        self, name: str, request: Mapping[str, object], seconds: float, report_progress: ReportProgress
    ) -> list[str]:
        """Run a job.

        Args:
            name: Name of the input, for error messages.
            request: Description of the job, as returned by `request_for`.
            seconds: Time limit.
            report_progress: Function that receives `of`, the expected number of images, and then `frames` and
                `instances`.

        Returns:
            One line for each image that cannot be read.

        Raises:
            TooSlowError: The job took longer than the time limit.
            JobError: The job failed, its process crashed, or `kill` was called.
        """
        problems = self._ask(name, {"work": request}, seconds, report_progress).get("problems")
        return [str(line) for line in problems] if isinstance(problems, list) else []

    def video_pixels(self, file: Path) -> int:
        """Return the number of pixels of a video frame.

        Raises:
            InputError: The file is not a video, or the process crashes or takes too long.
        """
        try:
            pixels = self._ask(file.name, {"open": str(file)}, _INSPECTION_S)["pixels"]
        except TooSlowError:
            raise InputError(f"{file.name} takes more than {_INSPECTION_S:g} s to open") from None
        except JobError as error:
            raise InputError(str(error)) from None
        return pixels if isinstance(pixels, int) else sys.maxsize

    def kill(self) -> None:
        """End the process at once and refuse further requests; any thread may call this."""
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process and wait for it; may be called twice."""
        if self._process is not None:
            end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running_process(self, name: str) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_killed:
                raise JobError(f"{name} was stopped")
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._process = start(__name__, str(self._memory_bytes), **self._environment)
            return self._process

    def _ask(
        self,
        name: str,
        request: Mapping[str, object],
        seconds: float,
        report_progress: ReportProgress = lambda _: None,
    ) -> JsonObject:
        process = self._running_process(name)
        assert process.stdin is not None
        assert process.stdout is not None
        is_too_slow = threading.Event()

        def stop() -> None:
            is_too_slow.set()
            process.kill()

        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
        timer.daemon = True
        timer.start()
        try:
            with suppress(OSError):  # the process has ended: there is no answer either
                process.stdin.write(json_from(request).encode() + b"\n")
                process.stdin.flush()
            while line := process.stdout.readline(_MAX_LINE_BYTES):
                answer = json.loads(line)
                if "error" in answer:
                    raise JobError(str(answer["error"]))
                if "end" in answer:
                    return answer["end"]
                report_progress(answer)
        finally:
            timer.cancel()
            timer.join()
        status = process.wait()
        if is_too_slow.is_set():
            raise TooSlowError(f"{name} takes more than {seconds:g} s")
        raise JobError(f"{name} cannot be read: it ended the process that read it (status {status}); export it again")


def request_for(
    folder: Path, given: JobInput, detectors: Sequence[DetectorChoice], drawing: Path | None
) -> dict[str, object]:
    """Return the description of a job for `JobProcess.work`, with the registered kinds.

    Args:
        folder: Folder for `result.jsonl`.
        given: Input of the job.
        detectors: Kind and options of each detector.
        drawing: Path of the annotated copy; None for none.

    Raises:
        InputError: The main program registered a kind. Job processes know only kinds of modules.
    """
    return {
        "extensions": asdict(LoadedExtensions.snapshot()),
        "save": str(folder / "result.jsonl"),
        "source": str(given.source),
        "name": given.name,
        "detectors": [{"kind": kind, **options} for kind, options in detectors],
        "drawing": None if drawing is None else str(drawing),
    }


def task_of(detectors: Sequence[DetectorChoice]) -> Detect:
    """Return what a job does with each image."""
    first, *others = (
        # one thread: streams use the other cores
        Detect(
            kind,
            {name: value for name, value in options.items() if name != MEASURES.name} | {"threads": 1},
            measures=bool(options.get(MEASURES.name)),
        )
        for kind, options in detectors
    )
    return replace(first, also=tuple(others))


def answer_requests(requests: Iterable[bytes], answers: IO[bytes]) -> None:
    """Answer requests in order. Errors become answers."""

    def send(answer: Mapping[str, object]) -> None:
        answers.write(json_from(answer).encode() + b"\n")
        answers.flush()

    for line in requests:
        request: dict[str, Any] = json.loads(line)
        try:
            result = _work(request["work"], send) if "work" in request else _inspect(Path(request["open"]))
        except Exception as error:
            send({"error": str(refusal_from(error))})
        else:
            send({"end": result})


def _inspect(file: Path) -> dict[str, object]:
    with open_container(file, file.name) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{file.name} contains no video stream")
        return {"pixels": stream.width * stream.height}


def _work(request: Mapping[str, Any], send: Callable[[Mapping[str, object]], None]) -> dict[str, object]:
    LoadedExtensions(**{name: tuple(modules) for name, modules in request["extensions"].items()}).load()
    drawing: str | None = request["drawing"]
    outputs = Outputs(request["save"], drawing and drawing.removesuffix(".zip"))  # images are drawn into a folder
    task = task_of([read_detector(detector, job=True) for detector in request["detectors"]])
    with open_source(Path(request["source"])) as source, task.open(is_stream=not is_still(source)) as worker:
        source.name = request["name"]
        summary = run_input(
            worker,
            source,
            outputs,
            progress=_SentProgress(send),
        )
    if drawing is not None and drawing.endswith(".zip"):
        _zip_folder(Path(drawing))
    return {"problems": summary.problems}


class _SentProgress(Progress):
    """Progress that is sent to the server.

    Args:
        send: Function that sends an answer.
    """

    def __init__(self, send: Callable[[Mapping[str, object]], None]) -> None:
        self._send, self._frames, self._instances = send, 0, 0

    def start(self, total: int | None) -> None:
        """Send the expected number of frames."""
        self._send({"of": total})

    def advance(self, count: int = 1, *, instances: int = 0) -> None:
        """Send the number of finished frames and of their instances."""
        self._frames, self._instances = self._frames + count, self._instances + instances
        self._send({"frames": self._frames, "instances": self._instances})


def _zip_folder(path: Path) -> None:
    """Replace the folder of annotated images by a zip file. The images are stored without further compression."""
    folder = path.with_suffix("")
    with atomic_file(path) as draft, zipfile.ZipFile(draft, "w") as archive:
        for file in sorted(folder.iterdir(), key=lambda file: natural_key(file.name)):
            archive.write(file, file.name)
    shutil.rmtree(folder, ignore_errors=True)


def _lines_until_server_ends(stream: IO[bytes]) -> Generator[bytes]:
    """Yield requests. End this process when the server ends, even during a request."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Answer the requests on standard input."""
    answers = pipe_of_answers()
    limit_memory(int(sys.argv[1]))
    with suppress(BrokenPipeError):  # the server was killed
        answer_requests(_lines_until_server_ends(sys.stdin.buffer), answers)


if __name__ == "__main__":
    main()
