"""Images of clients are decoded in processes of their own, so that a decoder's crash costs one image.

The server starts this module as a program. An image goes in and pixels come back as plain bytes: nothing that a decoder
process answers is trusted further than that.
"""

from __future__ import annotations

import faulthandler
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO

import numpy as np

from sonjit.arrays import Image
from sonjit.errors import InputError, SonjitError
from sonjit.media.sources.image_files import decode_image
from sonjit.server.processes import OTHER_BYTES, PIXEL_BYTES, end, limit_memory, pipe_of_answers, start

Decode = Callable[[bytes, str], Image]
"""Encoded bytes and what messages call them -> (H, W, 3) uint8 RGB; a SonjitError where they are no image."""

_REQUEST = struct.Struct("<Q")
"""How many bytes of an image follow."""

_ANSWER = struct.Struct("<II")
"""Height and width of the pixels that follow; or 0 and how many bytes of a message."""

_MOST_MESSAGE_BYTES = 10_000
_TOO_SLOW = 1
"""The exit status that faulthandler's timer gives."""
_SECONDS = 30.0


class Decoders:
    """Decoder processes: started when all others are busy, kept until `close`. Any thread may decode.

    A process ends with the server, however that ends, and with an image that takes too long or too much memory.

    Args:
        max_pixels: that an image may have.
        seconds: that one image may take.
        memory_bytes: that one image may take (on Linux); by default enough for `max_pixels` in every format.
        decode: a module's own function that does it.
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
        self._idle: list[subprocess.Popen[bytes]] = []

    def decode(self, data: bytes) -> Image:
        """Encoded bytes as (H, W, 3) uint8 RGB, upright.

        Raises:
            InputError: no image, or damaged; or its decoder crashed, or took too much time or memory.
        """
        process = self._take()
        start_s = time.monotonic()
        try:
            answer = _ask(process, data, self._max_pixels)
        except BaseException as error:
            end(process)
            if not isinstance(error, (OSError, EOFError)):
                raise
            if process.returncode == _TOO_SLOW and time.monotonic() - start_s >= self._seconds:
                what = f"takes more than {self._seconds:g} s to decode"
            else:
                what = f"cannot be decoded: it ended its decoder (status {process.returncode})"
            raise InputError(f"the image of {len(data)} bytes {what}; export it again") from None
        self._idle.append(process)
        if isinstance(answer, str):
            raise InputError(answer)
        return answer

    def close(self) -> None:
        """End all processes that decode nothing; may be called twice."""
        while self._idle:
            end(self._idle.pop())

    def _take(self) -> subprocess.Popen[bytes]:
        with suppress(IndexError):  # all are busy
            while (process := self._idle.pop()).poll() is not None:  # the one used last, which is warm
                end(process)  # somebody ended it: no fault of this image
            return process
        return self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return start(__name__, *self._arguments, OPENCV_FOR_THREADS_NUM="1")


def _ask(process: subprocess.Popen[bytes], data: bytes, max_pixels: int) -> Image | str:
    """What a process makes of an image, or its message; OSError or EOFError where it ends or answers nonsense."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(_REQUEST.pack(len(data)))
    process.stdin.write(data)
    process.stdin.flush()
    height, width = _ANSWER.unpack(_read(process.stdout, _ANSWER.size))
    if not height:
        return _read(process.stdout, min(width, _MOST_MESSAGE_BYTES)).decode(errors="replace")
    if height * width > max_pixels:
        raise EOFError
    rgb = np.empty((height, width, 3), np.uint8)
    if process.stdout.readinto(rgb.data.cast("B")) != rgb.nbytes:  # pyright: ignore[reportAttributeAccessIssue]
        raise EOFError
    return rgb


def answer_requests(requests: IO[bytes], answers: IO[bytes], decode: Decode, seconds: float) -> None:
    """Decode one image after the other until there are no more; one that takes too long ends the process."""
    with Path(os.devnull).open("wb") as nowhere:
        while head := requests.read(_REQUEST.size):
            data = _read(requests, *_REQUEST.unpack(head))
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            try:
                rgb = decode(data, f"the image of {len(data)} bytes")
                answers.write(_ANSWER.pack(*rgb.shape[:2]))
                answers.write(np.ascontiguousarray(rgb).data.cast("B"))
            except (SonjitError, MemoryError) as error:
                text = str(error) or f"the image of {len(data)} bytes needs too much memory; make it smaller"
                message = text.encode()[:_MOST_MESSAGE_BYTES]
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
    """Decode what comes on standard input until it ends, as it does with the server."""
    import cv2

    cv2.setNumThreads(1)
    named, seconds, memory_bytes = sys.argv[1:]
    module, _, function = named.partition(":")
    decode: Decode = getattr(import_module(module), function)
    answers = pipe_of_answers()
    limit_memory(int(memory_bytes))
    try:
        answer_requests(sys.stdin.buffer, answers, decode, float(seconds))
    except (EOFError, BrokenPipeError):  # the server was killed
        os._exit(1)


if __name__ == "__main__":
    main()
