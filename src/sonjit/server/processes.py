"""Child processes that read the files of clients.

A crash of such a process does not end the server. The server checks the form of all data that it reads from the pipes
of these processes, and trusts nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

_PIPE_BYTES = 1 << 20  # a frame of a stream fits into the pipe
PIXEL_BYTES, OTHER_BYTES = 48, 256_000_000
"""Memory limits for decoding an image, per pixel and fixed. JPEG 2000 needs most, 17 bytes per pixel."""


def start(module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a module of the server as a program that answers requests over pipes.

    Args:
        module: Name of the module.
        arguments: Arguments of the command line.
        environment: Environment variables to set.
    """
    # Only the code that this process uses: -P ignores the current folder.
    variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **variables},
        pipesize=_PIPE_BYTES,
        start_new_session=True,  # Ctrl-C reaches only the server
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and wait for it; may be called twice."""
    process.kill()
    with suppress(OSError), process:  # waits, and closes the pipes even with unsent bytes
        pass


def pipe_of_answers() -> IO[bytes]:
    """Return the pipe for answers of such a program, and redirect the output of libraries to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def limit_memory(more_bytes: int) -> None:
    """Limit the additional memory of this process (on Linux), and disable core dumps."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    limit = pages * resource.getpagesize() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
