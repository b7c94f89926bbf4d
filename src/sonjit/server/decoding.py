"""Decode clients' images in separate processes, so that a crash of a decoder costs one image.

The server starts this module as a program. A process reads encoded images and writes plain pixels. The server checks
the number of pixels and trusts nothing else that a process writes.
"""

from __future__ import annotations

import faulthandler
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO

import numpy as np

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError, SonjitError
from sonjit.media.sources.images import decode_image
from sonjit.server.processes import OTHER_BYTES, PIXEL_BYTES, end, limit_memory, pipe_of_answers, start

_REQUEST = struct.Struct("<Q")
"""Number of bytes of the image that follows."""
_ANSWER = struct.Struct("<II")
"""Height and width of the pixels that follow; or 0 and the number of bytes of a message."""
_MAX_MESSAGE_BYTES = 10_000
"""Maximum size of an error message of a decoder."""
_TIMEOUT_STATUS = 1
"""Exit status of faulthandler's timer."""
_SECONDS = 30.0
"""Time limit of decoding an image."""

Decode = Callable[[bytes, str], Image]
"""Function of encoded bytes and a name for messages. Returns (H, W, 3) uint8 RGB or raises SonjitError."""


class Decoders:
    """Processes that decode images; any thread may decode. A process starts if all others are busy.

    A process ends with the server, however the server ends, and with an image that takes too much time or memory.

    Args:
        max_pixels: Maximum number of pixels of an image.
        seconds: Time limit for an image.
        memory_bytes: Memory limit for an image (on Linux). Default: enough for `max_pixels` in every format.
        decode: Function that decodes an image, at the top level of a module.

    Attributes:
        idle: Processes that wait for images.
    """

    def __init__(
        self,
        max_pixels: int,
        *,
        seconds: float = _SECONDS,
        memory_bytes: int | None = None,
        decode: Decode = decode_image,
    ) -> None:
        self._max_pixels = max_pixels
        self._seconds = seconds
        memory_bytes = memory_bytes or PIXEL_BYTES * max_pixels + OTHER_BYTES
        self._arguments = [f"{decode.__module__}:{decode.__name__}", str(seconds), str(memory_bytes)]
        self._lock = threading.Lock()
        self._is_closed = False
        self.idle: list[subprocess.Popen[bytes]] = []

    def decode(self, data: bytes) -> Image:
        """Return encoded bytes as (H, W, 3) uint8 RGB, upright.

        Raises:
            InputError: The bytes are not an image or are damaged, or the decoder crashed or exceeded a limit.
        """
        process = self._take()
        start_s = time.monotonic()
        try:
            answer = self._ask(process, data)
        except BaseException as error:
            end(process)
            if not isinstance(error, (OSError, EOFError)):
                raise
            if process.returncode == _TIMEOUT_STATUS and time.monotonic() - start_s >= self._seconds:
                reason = f"takes more than {self._seconds:g} s to decode"
            else:
                reason = f"cannot be decoded: it ended its decoder (status {process.returncode})"
            raise InputError(f"the image of {len(data)} bytes {reason}; export it again") from None
        self._give_back(process)
        if isinstance(answer, str):
            raise InputError(answer)
        return answer

    def close(self) -> None:
        """End all processes. Those that decode an image end after it; may be called twice."""
        with self._lock:
            self._is_closed = True
            idle, self.idle = self.idle, []
        for process in idle:
            end(process)

    def _take(self) -> subprocess.Popen[bytes]:
        while True:
            with self._lock:
                process = self.idle.pop() if self.idle else None  # the one used last, which is warm
            if process is None:
                return start(__name__, *self._arguments, OPENCV_FOR_THREADS_NUM="1")
            if process.poll() is None:
                return process
            end(process)  # it was killed from outside

    def _give_back(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if not self._is_closed:
                self.idle.append(process)
                return
        end(process)

    def _ask(self, process: subprocess.Popen[bytes], data: bytes) -> Image | str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_REQUEST.pack(len(data)))
        process.stdin.write(data)
        process.stdin.flush()
        return read_answer(process.stdout, self._max_pixels)


def read_answer(answers: IO[bytes], max_pixels: int) -> Image | str:
    """Read an image or an error message from a decoder process.

    Raises:
        EOFError: The answer ends too early or has more pixels than allowed.
    """
    height, width = _ANSWER.unpack(_read(answers, _ANSWER.size))
    if not height:
        return _read(answers, min(width, _MAX_MESSAGE_BYTES)).decode(errors="replace")
    if height * width > max_pixels:
        raise EOFError
    rgb = np.empty((height, width, 3), np.uint8)
    if answers.readinto(rgb.data.cast("B")) != rgb.nbytes:  # pyright: ignore[reportAttributeAccessIssue]
        raise EOFError
    return rgb


def answer_requests(requests: IO[bytes], answers: IO[bytes], decode: Decode, seconds: float) -> None:
    """Decode images until the input ends. An image that takes too long ends the process."""
    with Path(os.devnull).open("wb") as null:
        while head := requests.read(_REQUEST.size):
            data = _read(requests, *_REQUEST.unpack(head))
            faulthandler.dump_traceback_later(seconds, exit=True, file=null)
            try:
                rgb = decode(data, f"the image of {len(data)} bytes")
                answers.write(_ANSWER.pack(*rgb.shape[:2]))
                answers.write(np.ascontiguousarray(rgb).data.cast("B"))
            except (SonjitError, MemoryError) as error:
                text = str(error) or f"the image of {len(data)} bytes needs too much memory; make it smaller"
                message = text.encode()[:_MAX_MESSAGE_BYTES]
                answers.write(_ANSWER.pack(0, len(message)) + message)
            finally:
                faulthandler.cancel_dump_traceback_later()
            answers.flush()


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def main() -> None:
    """Decode the images on standard input, which ends with the server."""
    import cv2

    cv2.setNumThreads(1)
    path, seconds, memory_bytes = sys.argv[1:]
    module, _, function = path.partition(":")
    decode: Decode = getattr(import_module(module), function)
    answers = pipe_of_answers()
    limit_memory(int(memory_bytes))
    try:
        answer_requests(sys.stdin.buffer, answers, decode, float(seconds))
    except (EOFError, BrokenPipeError):  # the server was killed
        os._exit(1)


if __name__ == "__main__":
    main()
