"""`sonjit serve`: the page and the endpoints, on this machine."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from sonjit.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMITS = Group("Limits", sort_key=1)


@Parameter(name="*", group=_LIMITS)
@dataclass(frozen=True)
class Limits:
    """What the server takes on.

    Attributes:
        max_clients: Streams at a time, and single images at a time.
        max_rate: Requests a second of one address.
        max_body_mb: Of an image or a frame.
        max_megapixels: Of an image or a frame.
        max_job_mb: Of all files of a job.
        max_job_minutes: That one job may run.
        max_jobs: Jobs waiting or running.
        keep_jobs: Finished jobs whose files are kept.
        max_disk_mb: Of the files of all jobs together.
        read_timeout: Seconds that a request may pause while it comes in.
        idle_minutes: Minutes that a stream may send nothing.
        queue: Frames of a stream that may wait; of more, the oldest are dropped.
        workers: Threads that decode and detect; by default one per core.
        max_models: Detectors kept for the next client.
    """

    max_clients: int = Settings.max_clients
    max_rate: float = Settings.max_rate
    max_body_mb: float = Settings.max_body_mb
    max_megapixels: float = Settings.max_megapixels
    max_job_mb: float = Settings.max_job_mb
    max_job_minutes: float = Settings.max_job_minutes
    max_jobs: int = Settings.max_jobs
    keep_jobs: int = Settings.keep_jobs
    max_disk_mb: float = Settings.max_disk_mb
    read_timeout: float = Settings.read_timeout_s
    idle_minutes: float = Settings.idle_minutes
    queue: int = Settings.queue
    workers: int | None = None
    max_models: int = Settings.max_models


_DEFAULT_LIMITS = Limits()


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_page: Annotated[bool, Parameter(name="--open", negative="")] = False,
    token: str | None = None,
    tls: Annotated[bool, Parameter(negative="")] = False,
    cert: Path | None = None,
    key: Path | None = None,
    allow_origin: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    jobs_folder: Path | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
    limits: Limits = _DEFAULT_LIMITS,
) -> int:
    """Serve the page and its endpoints to browsers and programs on this machine, until Ctrl-C.

    `sonjit serve --open` shows the page in the browser.

    `sonjit serve --host 0.0.0.0 --token SECRET --tls` serves phones too, and prints the addresses for
    them, the first as a QR code as well.

    Args:
        host: Name or address to listen on.
        port: 0 takes any that is free.
        open_page: Open the page in the browser.
        token: What every call must show; needed on a host that other machines reach.
        tls: Speak https, which browsers of other devices want before they give a camera, with a certificate of this
            machine's own: made on first use and kept, its fingerprint printed.
        cert: Certificate (PEM) with which to speak https in place of its own.
        key: Its key (PEM).
        allow_origin: Let pages of another origin call, e.g. http://localhost:3000; may be given several times.
        jobs_folder: Keep jobs in this folder, where they outlive the server: what had not ended begins anew.
        verbose: Log every request.
    """
    from sonjit.server.run import serve

    given: dict[str, Any] = vars(limits) | {"read_timeout_s": limits.read_timeout}
    del given["read_timeout"]
    if limits.workers is None:
        del given["workers"]
    given |= {"tls_cert": cert, "tls_key": key, "allow_origins": allow_origin, "jobs_folder": jobs_folder}
    settings = Settings(host=host, token=token, **given)
    if tls and cert is None:
        settings = replace(settings, **_own_certificate(host))
    log_to_stderr(verbose=verbose)
    serve(settings, port, verbose=verbose, started=tell_address(open_page=open_page, cert=settings.tls_cert))
    return 0


def _own_certificate(host: str) -> dict[str, Any]:
    from sonjit.server.addresses import addresses_of_machine
    from sonjit.server.certificate import own_certificate

    path = own_certificate(addresses_of_machine(ipv6=True) if host in ("0.0.0.0", "::") else [host])
    return {"tls_cert": path, "tls_key": path}


def tell_address(*, open_page: bool, page: str = "", cert: Path | None = None) -> Callable[[list[str]], None]:
    """What prints where a server's page is once it listens, and opens it on this machine where that is wanted.

    Args:
        open_page: in the browser.
        page: below the server's own.
        cert: with which the server speaks https.
    """
    from sonjit.server.addresses import for_other_devices, qr_lines

    def tell(addresses: list[str]) -> None:
        address, *others = (one.replace("/#", f"/{page}#") if "#" in one else one + page for one in addresses)
        sys.stdout.write(f"serving at {address}\n")
        for other in others:
            sys.stdout.write(f"for other devices: {other}\n")
        if cert is not None:
            from sonjit.server.certificate import fingerprint

            sys.stdout.write(f"certificate: {cert}\nSHA-256 fingerprint: {fingerprint(cert)}\n")
        for other in for_other_devices([address, *others])[:1]:
            if other.startswith("http:"):
                sys.stdout.write("the browsers of other devices give no camera over http: add --tls\n")
            if sys.stdout.isatty():
                _show_qr(qr_lines(other))
        sys.stdout.flush()
        if open_page:
            import threading
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    return tell


def _show_qr(lines: list[str]) -> None:
    """A QR code, where the terminal has room and letters for it."""
    import shutil

    if lines and len(lines[0]) < shutil.get_terminal_size().columns:
        black_on_white, usual = "\x1b[30;107m", "\x1b[0m"  # not every reader knows a code in exchanged colours
        with suppress(UnicodeEncodeError):
            sys.stdout.write("".join(f"{black_on_white}{line}{usual}\n" for line in lines))


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
