"""Child processes that read the files of clients, so that a crash or an endless loop costs one image or one job.

A process runs one function at a time. Its answers are JSON and plain pixels, which the server checks. It trusts nothing
else that a process sends.
"""

import atexit
import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import ProcessError, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util import Image, InputError, JobError, JsonObject, files, json_from, signals
from sonjit.media.sources.images import decode_image
from sonjit.server.errors import RefusedError, refusal_from

_PIXEL_BYTES, _OTHER_BYTES = 48, 256_000_000
"""Memory limits for decoding an image, per pixel and fixed. JPEG 2000 needs most, 17 bytes per pixel."""
DECODE_S = 30.0  # time limit of decoding an image, and of opening a video
START_S = 300.0  # time limit of starting a process on a busy machine
_MAX_ANSWER_BYTES = 100_000_000  # maximum size of an answer that is not an image
_SPAWN = get_context("spawn")

ReportProgress = Callable[[JsonObject], None]
Decode = Callable[[bytes, str], Image]
"""Function of encoded bytes and a name for messages. Returns (H, W, 3) uint8 RGB or raises SonjitError."""


class TooSlowError(JobError):
    """A call took longer than its time limit."""


class CrashError(JobError):
    """A process ended during a call."""


class Worker(files.Closing):
    """A child process that runs one function at a time; a context manager that ends the process.

    The process starts with the first call, and again after a crash. It ends with the server, however the server ends.
    Its memory limit on Linux is that of decoding an image and `more_bytes`. `folder` is for its temporary files.
    `start_s` is the time limit of its start in seconds.
    """

    def __init__(
        self, max_pixels: int, more_bytes: int = 0, folder: Path | None = None, *, start_s: float = START_S
    ) -> None:
        self._max_pixels = max_pixels
        self._start_s = start_s
        self._setup = _PIXEL_BYTES * max_pixels + _OTHER_BYTES + more_bytes, folder
        self.process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._is_killed = False
        self._lock = threading.Lock()

    def call(
        self,
        function: Callable[..., object],
        *arguments: object,
        seconds: float = math.inf,
        report_progress: ReportProgress | None = None,
    ) -> Any:  # noqa: ANN401  # JSON or an image
        """Run a function of a module with arguments and a time limit, and return its result: JSON or an image.

        If progress is reported, the function gets a function that reports it as another argument. Raise InputError if
        the function raised an error, TooSlowError if the call took longer than the time limit, CrashError if the
        process ended, or `kill` was called, and RefusedError `busy` if the process did not start in time.
        """
        process, pipe = self._running()
        end_s, has_begun = time.monotonic() + self._start_s, False
        try:
            pipe.send((function, arguments, report_progress is not None))
            while pipe.poll(min(end_s - time.monotonic(), 1e6)):
                answer = self._receive(pipe)
                if "begins" in answer:
                    end_s, has_begun = time.monotonic() + seconds, True
                elif "progress" not in answer:
                    break
                elif report_progress is not None:
                    report_progress(answer["progress"])
            else:
                if has_begun:
                    raise TooSlowError(f"takes more than {seconds:g} s")
                raise RefusedError(
                    "busy",
                    f"a process of the server did not start within {self._start_s:g} s: "
                    "the machine is overloaded; try again later",
                )
        except (EOFError, OSError, ValueError, KeyError, TypeError):
            process.join(1)  # a process that crashed ends with its own status
            self.close()
            raise CrashError(f"ended its process (status {process.exitcode})") from None
        except BaseException:
            self.close()
            raise
        if "error" in answer:
            raise InputError(str(answer["error"]))
        return answer["result"]

    def kill(self) -> None:
        """End the process at once and refuse further calls; any thread may call this."""
        with self._lock:
            self._is_killed = True
            if self.process is not None:
                self.process.kill()

    def close(self) -> None:
        """End the process and wait for it; may be called twice."""
        if self.process is not None and self._pipe is not None:
            self.process.kill()
            self.process.join()
            self._pipe.close()
            atexit.unregister(self.process.kill)

    def _running(self) -> tuple[BaseProcess, Connection]:
        with self._lock:
            if self._is_killed:
                raise CrashError("was stopped")
            if self.process is None or self._pipe is None or not self.process.is_alive():
                self.close()
                pipe, theirs = _SPAWN.Pipe()
                process = _SPAWN.Process(target=_answer_calls, args=(theirs, *self._setup), daemon=True)
                with signals.hold(signals.STOPS):
                    process.start()  # which the system may refuse
                atexit.register(process.kill)  # it ignores the SIGTERM that `multiprocessing` sends at the exit
                self.process, self._pipe = process, pipe
                theirs.close()
            return self.process, self._pipe

    def _receive(self, pipe: Connection) -> dict[str, Any]:
        """Receive an answer, with an image as its result. Raise ValueError for what is not an answer."""
        answer: Any = json.loads(pipe.recv_bytes(_MAX_ANSWER_BYTES))
        match answer:
            case {"shape": [int(height), int(width)]} if 0 < height * width <= self._max_pixels:
                rgb = np.empty((height, width, 3), np.uint8)
                try:
                    received = pipe.recv_bytes_into(rgb.data.cast("B"))
                except ProcessError:
                    raise ValueError("more pixels than announced") from None
                if received != rgb.nbytes:
                    raise ValueError("fewer pixels than announced")
                return {"result": rgb}
            case {"begins": _} | {"progress": _} | {"error": _} | {"result": _}:
                return answer
            case _:
                raise ValueError("not an answer")


class Decoders:
    """Processes that decode images; any thread may decode. A process starts if all others are busy."""

    def __init__(
        self, max_pixels: int, *, seconds: float = DECODE_S, start_s: float = START_S, decode: Decode = decode_image
    ) -> None:
        self._max_pixels = max_pixels
        self._start_s = start_s
        self._seconds = seconds
        self._decode = decode
        self.idle: list[Worker] = []

    def decode(self, data: bytes) -> Image:
        """Return encoded bytes as (H, W, 3) uint8 RGB, upright."""
        name = f"the image of {len(data)} bytes"
        try:
            worker = self.idle.pop()  # the one used last, which is warm
        except IndexError:
            worker = Worker(self._max_pixels, start_s=self._start_s)
        try:
            return worker.call(self._decode, data, name, seconds=self._seconds)
        except TooSlowError as error:
            raise InputError(f"{name} {error} to decode; export it again") from None
        except CrashError as error:
            raise InputError(f"{name} cannot be decoded: it {error}; export it again") from None
        finally:
            self.idle.append(worker)

    def close(self) -> None:
        """End all processes, none of which decodes any more; may be called twice."""
        for worker in self.idle:
            worker.close()


def _answer_calls(pipe: Connection, more_bytes: int, folder: Path | None) -> None:
    """Run the functions that the server sends, until it ends."""
    signals.ignore(signals.STOPS)  # the server decides how each call ends
    import cv2

    threading.Thread(target=_end_with_server, daemon=True).start()
    cv2.setNumThreads(1)
    if folder is not None:
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    _limit_memory(more_bytes)
    with suppress(EOFError, OSError):  # the server closed the pipe
        while True:
            _answer(pipe, *pipe.recv())


def _answer(pipe: Connection, function: Callable[..., object], arguments: tuple[object, ...], reports: bool) -> None:
    def send(answer: object) -> None:
        pipe.send_bytes(json_from(answer).encode())

    def report_progress(progress: object) -> None:
        send({"progress": progress})

    send({"begins": True})
    try:
        result = function(*arguments, *([report_progress] if reports else []))
    except MemoryError:
        send({"error": "the file needs too much memory; make it smaller"})
    except Exception as error:
        send({"error": str(refusal_from(error))})
    else:
        if isinstance(result, np.ndarray):
            send({"shape": result.shape[:2]})
            pipe.send_bytes(np.ascontiguousarray(result).data.cast("B"))
        else:
            send({"result": result})


def _end_with_server() -> None:
    """End this process when the server ends, even during a call."""
    server = parent_process()
    if server is not None:
        server.join()
        os._exit(1)


def _limit_memory(more_bytes: int) -> None:
    """Limit the additional memory of this process (on Linux), and disable core dumps."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    limit = pages * resource.getpagesize() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
