"""What is sent to jobs is opened and worked on in a process of its own, so that a crash there costs one job.

The server starts this module as a program. Requests go in and answers come back as lines of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Self

from sonjit.detectors.options import OptionValue
from sonjit.errors import InputError, JobError
from sonjit.extensions import Known
from sonjit.files import atomic_file
from sonjit.json_text import JsonObject, json_from
from sonjit.media import natural_key, open_source
from sonjit.media.sources.video import open_container, video_stream
from sonjit.runs import Detect, Outputs, run_input
from sonjit.server.errors import refusal_from
from sonjit.server.options import MEASURES, DetectorChoice, read_detector
from sonjit.server.processes import OTHER_BYTES, PIXEL_BYTES, end, limit_memory, pipe_of_answers, start

_NETWORK_BYTES = 4_000_000_000
"""What networks and the frames of a video on its way through them may take."""

_LOOK_S = 30.0
_LONGEST_LINE = 100_000_000


SoFar = Callable[[JsonObject], None]
"""Takes what is known on the way."""


class TooSlowError(JobError):
    """What was asked took longer than it may."""


class JobProcess:
    """A process that opens files and works on jobs; a context manager that ends it. It ends with the server, too.

    Args:
        max_pixels: that a frame may have.
        folder: of its temporary files, if not the system's.
    """

    def __init__(self, max_pixels: int, folder: Path | None = None) -> None:
        more = PIXEL_BYTES * max_pixels + OTHER_BYTES + _NETWORK_BYTES
        self._process = start(__name__, str(more), **({} if folder is None else {"TMPDIR": str(folder)}))

    def work(self, name: str, request: Mapping[str, object], seconds: float, so_far: SoFar) -> list[str]:
        """Work on a job.

        Args:
            name: of what it was given.
            request: as `request_for` makes it.
            seconds: that it may take.
            so_far: called with `of`, the expected number of images, and with `frames` and `instances`.

        Returns:
            What could not be read, one line each.

        Raises:
            TooSlowError: it took longer, and was ended.
            JobError: it failed, or ended its process.
        """
        problems = self._ask(name, {"work": request}, seconds, so_far).get("problems")
        return [str(line) for line in problems] if isinstance(problems, list) else []

    def video_pixels(self, file: Path) -> int:
        """How many pixels a frame of a video has.

        Raises:
            InputError: no video, or opening it takes too long or ends the process.
        """
        try:
            pixels = self._ask(file.name, {"open": str(file)}, _LOOK_S)["pixels"]
        except TooSlowError:
            raise InputError(f"{file.name} takes more than {_LOOK_S:g} s to open") from None
        except JobError as error:
            raise InputError(str(error)) from None
        return pixels if isinstance(pixels, int) else sys.maxsize

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked once more."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End what it does, at once; from any thread."""
        self._process.kill()

    def close(self) -> None:
        """End the process and wait for it; may be called twice."""
        end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(
        self,
        name: str,
        request: Mapping[str, object],
        seconds: float,
        so_far: SoFar = lambda _: None,
    ) -> JsonObject:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        is_over = threading.Event()

        def stop() -> None:
            is_over.set()
            self.kill()

        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
        timer.daemon = True
        timer.start()
        try:
            with suppress(OSError):  # it has ended: there is no answer either
                self._process.stdin.write(json_from(request).encode() + b"\n")
                self._process.stdin.flush()
            while line := self._process.stdout.readline(_LONGEST_LINE):
                answer = json.loads(line)
                if "error" in answer:
                    raise JobError(str(answer["error"]))
                if "end" in answer:
                    return answer["end"]
                so_far(answer)
        finally:
            timer.cancel()
            timer.join()
        status = self._process.wait()
        if is_over.is_set():
            raise TooSlowError(f"{name} takes more than {seconds:g} s")
        raise JobError(f"{name} cannot be read: it ended the process that read it (status {status}); export it again")


def request_for(
    folder: Path, source: Path, name: str, detectors: Sequence[DetectorChoice], drawing: Path | None
) -> dict[str, object]:
    """What a process needs to know of a job, kinds that this one's program registered among it.

    Args:
        folder: that takes `result.jsonl`.
        source: file or folder to work on.
        name: that tables call it.
        detectors: kind and options of each.
        drawing: file to draw into, a zip for several images; None for none.

    Raises:
        InputError: the program itself registered a kind: its process knows only those of modules.
    """
    return {
        "known": asdict(Known.here(shares_main=False)),
        "save": str(folder / "result.jsonl"),
        "source": str(source),
        "name": name,
        "detectors": [{"kind": kind, **options} for kind, options in detectors],
        "drawing": None if drawing is None else str(drawing),
    }


def processor_of(detectors: Sequence[DetectorChoice]) -> Detect:
    """What a job does with each image."""
    first, *others = (
        # streams keep the other cores
        Detect(kind, _arguments(options) | {"threads": 1}, measures=bool(options.get(MEASURES.name)))
        for kind, options in detectors
    )
    return replace(first, beside=tuple(others))


def _arguments(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Options of a job as `create_detector` takes them."""
    return {name: value for name, value in options.items() if name != MEASURES.name}


def answer_requests(requests: Iterable[bytes], answers: IO[bytes]) -> None:
    """Do one thing after the other; what goes wrong is an answer."""

    def tell(answer: Mapping[str, object]) -> None:
        answers.write(json_from(answer).encode() + b"\n")
        answers.flush()

    for line in requests:
        request: dict[str, Any] = json.loads(line)
        try:
            done = _work(request["work"], tell) if "work" in request else _open(Path(request["open"]))
        except Exception as error:
            tell({"error": str(refusal_from(error))})
        else:
            tell({"end": done})


def _open(file: Path) -> dict[str, object]:
    with open_container(file, file.name) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{file.name} holds no video stream")
        return {"pixels": stream.width * stream.height}


def _work(request: Mapping[str, Any], tell: Callable[[Mapping[str, object]], None]) -> dict[str, object]:
    Known(**{name: tuple(named) for name, named in request["known"].items()}).load()
    drawing: str | None = request["drawing"]
    outputs = Outputs(request["save"], drawing and drawing.removesuffix(".zip"))  # several go into a folder first
    processor = processor_of([read_detector(one, job=True) for one in request["detectors"]])
    with processor.load() as session, open_source(Path(request["source"])) as source:
        source.name = request["name"]
        summary = run_input(
            session,
            source,
            outputs,
            opened=lambda count: tell({"of": count}),
            advance=lambda so_far: tell({"frames": so_far.frames, "instances": so_far.instances}),
        )
    if drawing is not None and drawing.endswith(".zip"):
        _zip(Path(drawing))
    return {"problems": summary.problems}


def _zip(path: Path) -> None:
    """Gather the annotated images, compressed as they are, in one file."""
    folder = path.with_suffix("")
    with atomic_file(path) as draft, zipfile.ZipFile(draft, "w") as archive:
        for file in sorted(folder.iterdir(), key=lambda file: natural_key(file.name)):
            archive.write(file, file.name)
    shutil.rmtree(folder, ignore_errors=True)


def _lines_while_the_server_lives(stream: IO[bytes]) -> Generator[bytes]:
    """What is asked; this process ends when the server does, whatever is under way."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Answer what comes on standard input."""
    answers = pipe_of_answers()
    limit_memory(int(sys.argv[1]))
    with suppress(BrokenPipeError):  # the server was killed
        answer_requests(_lines_while_the_server_lives(sys.stdin.buffer), answers)


if __name__ == "__main__":
    main()
