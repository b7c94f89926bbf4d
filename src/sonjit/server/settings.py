"""What a server is asked to be: where it listens, who may call, and its limits."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sonjit.errors import InputError

MB = 1_000_000
_LIMITS = (
    "queue", "max_clients", "max_rate", "max_body_mb", "max_megapixels", "max_job_mb", "max_job_minutes", "max_jobs",
    "keep_jobs", "max_disk_mb", "read_timeout_s", "idle_minutes",
)  # fmt: skip
"""Settings that clients may want to know."""


@dataclass(frozen=True)
class Settings:
    """How the server runs; the options of `sonjit serve`.

    Attributes:
        host: name or address to listen on.
        token: what every call must show; needed beyond loopback.
        tls_cert, tls_key: PEM files with which to speak https, maybe one for both; both or none.
        allow_origins: origins of other pages that may call, such as `http://localhost:3000`.
        queue: frames of a stream that may wait; of more, the oldest are dropped.
        workers: threads that decode and detect, each on one core.
        max_models: detectors kept for the next client after the last one left.
        max_clients: streams at a time, and single images at a time.
        max_rate: requests a second of one address.
        max_body_mb: of an image or a frame.
        max_megapixels: of an image or a frame.
        max_job_mb: of everything that one job is given.
        max_job_minutes: that one job may run.
        max_jobs: waiting or running.
        keep_jobs: finished ones whose files are kept.
        max_disk_mb: of the files of all jobs together.
        read_timeout_s: longest pause while a request is coming in.
        idle_minutes: longest time that a stream may send nothing.
        jobs_folder: where jobs outlive the server; None for a temporary folder.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_origins: tuple[str, ...] = ()
    queue: int = 2
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_models: int = 8
    max_clients: int = 16
    max_rate: float = 200
    max_body_mb: float = 20
    max_megapixels: float = 50
    max_job_mb: float = 2000
    max_job_minutes: float = 60
    max_jobs: int = 8
    keep_jobs: int = 20
    max_disk_mb: float = 20_000
    read_timeout_s: float = 20
    idle_minutes: float = 10
    jobs_folder: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one line."""
        for name in ("workers", *_LIMITS):
            if not getattr(self, name) > 0:
                raise InputError(f"{option_name(name)} {getattr(self, name)}: give more than 0")
        if self.max_models < 0:
            raise InputError(f"--max-models {self.max_models}: give 0 or more")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise InputError("--token: give printable ASCII characters")
        if self.token is None and not is_loopback(self.host):
            raise InputError(f"--host {self.host} can be reached from other machines: give a --token as well")
        if self.tls_cert is not None or self.tls_key is not None:
            from sonjit.server.certificate import check_certificate  # most servers speak http, and it is slow to import

            check_certificate(self.tls_cert, self.tls_key)
        for origin in self.allow_origins:
            if not _is_origin(origin):
                raise InputError(f"--allow-origin {origin}: give scheme, name and port, e.g. http://localhost:3000")

    @property
    def max_body_bytes(self) -> int:
        """Of an image or a frame."""
        return int(self.max_body_mb * MB)

    @property
    def max_job_bytes(self) -> int:
        """Of everything that one job is given."""
        return int(self.max_job_mb * MB)

    @property
    def max_disk_bytes(self) -> int:
        """Of the files of all jobs together."""
        return int(self.max_disk_mb * MB)

    @property
    def max_pixels(self) -> int:
        """Of an image or a frame."""
        return int(self.max_megapixels * 1e6)

    def limits(self) -> dict[str, int | float]:
        """What clients may want to know, by name."""
        return {name: getattr(self, name) for name in _LIMITS}


def option_name(name: str) -> str:
    """A setting as the command line calls it.

    >>> option_name("read_timeout_s")
    '--read-timeout'
    """
    return "--" + name.removesuffix("_s").replace("_", "-")


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # refuses what is not a number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"
