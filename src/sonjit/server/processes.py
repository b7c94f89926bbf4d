"""Processes in which the server decodes what clients send, so that a crash there is not its own.

What they answer is read from a pipe and trusted no further than bytes of a known shape are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

_PIPE_BYTES = 1 << 20  # a frame of a stream goes through in one piece
PIXEL_BYTES, OTHER_BYTES = 48, 256_000_000
"""What decoding one image may take for each pixel, and beside them; JPEG 2000 takes most, 17 bytes for a pixel."""


def start(module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start one of the server's modules as a program that is asked and answers over pipes.

    Args:
        module: its name.
        arguments: of its command line.
        environment: variables to set.
    """
    # The same code as here, from nowhere else: -P leaves out the folder in which the server was started.
    own = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **own},
        pipesize=_PIPE_BYTES,
        start_new_session=True,  # Ctrl-C is for the server
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and wait for it; may be called twice."""
    process.kill()
    with suppress(OSError), process:  # waits, and closes the pipes, even with unsent bytes in them
        pass


def pipe_of_answers() -> IO[bytes]:
    """Where such a program writes its answers; what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def limit_memory(more_bytes: int) -> None:
    """Let this process take so much more than it has (on Linux); it leaves no image of its memory on the disk."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    most = pages * resource.getpagesize() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
