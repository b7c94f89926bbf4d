"""`sonjit serve`: the page and the endpoints, on this machine."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMITS = Group("Limits", sort_key=1)


@Parameter(name="*", group=_LIMITS)
@dataclass(frozen=True)
class Limits:
    """What the server takes on.

    Attributes:
        max_clients: Streams at a time, and single images at a time.
        max_body_mb: Of an image or a frame.
        max_megapixels: Of an image or a frame.
        max_job_mb: Of all files of a job.
        max_job_minutes: That one job may run.
        max_jobs: Jobs waiting or running.
        keep_jobs: Finished jobs whose files are kept.
        read_timeout: Seconds that a request may pause while it comes in.
        idle_minutes: Minutes that a stream may send nothing.
        queue: Frames of a stream that may wait; of more, the oldest are dropped.
        workers: Threads that decode and detect; by default one per core.
        max_models: Detectors kept for the next client.
    """

    max_clients: int = 16
    max_body_mb: float = 20
    max_megapixels: float = 50
    max_job_mb: float = 2000
    max_job_minutes: float = 60
    max_jobs: int = 8
    keep_jobs: int = 20
    read_timeout: float = 20
    idle_minutes: float = 10
    queue: int = 2
    workers: int | None = None
    max_models: int = 8


_DEFAULT_LIMITS = Limits()


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_page: Annotated[bool, Parameter(name="--open", negative="")] = False,
    token: str | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    allow_origin: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    verbose: Annotated[bool, Parameter(negative="")] = False,
    limits: Limits = _DEFAULT_LIMITS,
) -> int:
    """Serve the page and its endpoints to browsers and programs on this machine, until Ctrl-C.

    `sonjit serve --open` shows the page in the browser.

    `sonjit serve --host 0.0.0.0 --token SECRET` serves other machines too, and prints the addresses for them.

    Args:
        host: Name or address to listen on.
        port: 0 takes any that is free.
        open_page: Open the page in the browser.
        token: What every call must show; needed on a host that other machines reach.
        tls_cert: Certificate (PEM) with which to speak https, which browsers of other devices want before they give a
            camera.
        tls_key: Its key (PEM).
        allow_origin: Let pages of another origin call, e.g. http://localhost:3000; may be given several times.
        verbose: Log every request.
    """
    from sonjit.server.run import serve
    from sonjit.server.settings import Settings

    given: dict[str, Any] = vars(limits) | {"read_timeout_s": limits.read_timeout}
    del given["read_timeout"]
    if limits.workers is None:
        del given["workers"]
    settings = Settings(host=host, token=token, tls_cert=tls_cert, tls_key=tls_key, allow_origins=allow_origin, **given)
    log_to_stderr(verbose=verbose)
    serve(settings, port, verbose=verbose, started=tell_address(open_page=open_page))
    return 0


def tell_address(*, open_page: bool, page: str = "") -> Callable[[list[str]], None]:
    """What prints where a server's page is once it listens, and opens it on this machine where that is wanted.

    Args:
        open_page: in the browser.
        page: below the server's own.
    """

    def tell(addresses: list[str]) -> None:
        address, *others = (one.replace("/?", f"/{page}?") if "?" in one else one + page for one in addresses)
        sys.stdout.write(f"serving at {address}\n")
        for other in others:
            sys.stdout.write(f"for other devices: {other}\n")
        if others and address.startswith("http:"):
            sys.stdout.write("their browsers give no camera without https: --tls-cert and --tls-key\n")
        sys.stdout.flush()
        if open_page:
            import threading
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    return tell


class _OneLine(logging.Formatter):
    """A record as one line; a traceback only where everything is wanted."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__("sonjit: %(message)s")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        if self._verbose:
            return super().format(record)
        line = " ".join(record.getMessage().split())
        error = record.exc_info[1] if record.exc_info else None
        return f"sonjit: {line}" if error is None else f"sonjit: {line} ({type(error).__name__}: {error})"


def log_to_stderr(*, verbose: bool) -> None:
    """Let a server complain in single lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(verbose=verbose))
    for name in ("uvicorn", "sonjit"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if verbose and name == "uvicorn" else logging.WARNING)
