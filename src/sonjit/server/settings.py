"""Settings of the server, the addresses of its page, and its certificate."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

from cyclopts import Parameter

from sonjit._util import InputError, SonjitError, files
from sonjit._util.lazy_names import LazyModule
from sonjit.weights.catalog import cache_folder

if TYPE_CHECKING:
    import platformdirs
    import segno
    from cryptography import x509
else:
    platformdirs, segno, x509 = map(LazyModule, ("platformdirs", "segno", "cryptography.x509"))

TOKEN_VARIABLE = "SONJIT_TOKEN"  # environment variable with the token
MB = 1_000_000  # bytes of a megabyte
_MAX_LIMIT = 1e9  # maximum value of a limit
_MAX_WORKERS = 1024  # maximum number of workers
_REMOTE_ADDRESSES = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses reserved for documentation. A datagram socket finds the route to them without sending anything."""
_ROOT_PATH = re.compile(r"(/[\w.~-]+)+", re.ASCII)
_NO_ORIGINS = ("", "file", "ftp", "ws", "wss")  # schemes that no page's origin has; that of files is null
QUIET_ZONE = 2  # margin of a QR code in modules
_VALID = timedelta(days=800)  # Apple's devices reject certificates that are valid for more than 825 days
_RENEW = timedelta(days=7)
_LOG = logging.getLogger("sonjit.server")


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Attributes:
        max_clients: Maximum number of streams, and of single images, at a time.
        max_body_mb: Maximum size of an image or a frame.
        max_megapixels: Maximum pixels of an image or a frame.
        max_job_mb: Maximum size of all files of a job.
        max_job_minutes: Maximum duration of a job.
        max_jobs: Maximum number of jobs that wait or run.
        keep_jobs: Number of finished jobs whose files are kept. The oldest of more jobs are removed.
        max_disk_mb: Maximum size of the files of all jobs. The oldest finished jobs make room for new ones.
        read_timeout_s: Maximum pause of an incoming request in seconds.
        idle_minutes: Minutes without a frame after which a stream is closed.
        queue: Frames of a stream that may wait. The oldest of more frames are dropped.
        workers: Threads that decode and detect. Default: one per core.
        max_models: Number of detectors kept for later clients.
    """

    max_clients: int = 16
    max_body_mb: float = 20
    max_megapixels: float = 50
    max_job_mb: float = 2000
    max_job_minutes: float = 60
    max_jobs: int = 8
    keep_jobs: int = 500
    max_disk_mb: float = 20_000
    read_timeout_s: Annotated[float, Parameter(name="--read-timeout")] = 20
    idle_minutes: float = 10
    queue: int = 2
    workers: int | None = None
    max_models: int = 8


@dataclass(frozen=True)
class Settings(Limits):
    """Options of `sonjit serve`."""

    host: str = "127.0.0.1"  # name or address to listen on
    token: str | None = None  # secret that every request must contain; required beyond loopback
    tls_cert: Path | None = None  # PEM file with the certificate for https; requires `tls_key`
    tls_key: Path | None = None  # PEM file with the certificate's key; may be the same file
    allow_origins: tuple[str, ...] = ()  # origins of other pages that may call the server
    jobs_folder: Path | None = None  # folder of jobs that survive the server; None for a temporary folder
    root_path: str = ""  # path of a reverse proxy below which clients see the server, such as "/hands"

    def __post_init__(self) -> None:
        """Check the settings. Raise InputError with one line."""
        for name in ("workers", *self.limits()):
            value, maximum = getattr(self, name), _MAX_WORKERS if name == "workers" else _MAX_LIMIT
            if value is not None and not 0 < value <= maximum:
                option = name.removesuffix("_s").replace("_", "-")
                raise InputError(f"--{option} {value}: give more than 0 and at most {maximum:g}")
        if self.max_models < 0:
            raise InputError(f"--max-models {self.max_models}: give 0 or more")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise InputError("--token: give printable ASCII characters, also in a --token-file or SONJIT_TOKEN")
        if self.token is None and not is_loopback(self.host):
            raise InputError(f"--host {self.host} can be reached from other machines: give a --token-file or --token")
        if self.root_path and not _ROOT_PATH.fullmatch(self.root_path):
            raise InputError(f"--root-path {self.root_path}: give a path such as /hands, without a slash at its end")
        check_certificate(self.tls_cert, self.tls_key)
        for origin in self.allow_origins:
            if not _is_origin(origin):
                raise InputError(
                    f"--allow-origin {origin}: give scheme, name and port, e.g. http://localhost:3000, or null"
                )
        if "null" in self.allow_origins and self.token is None:
            _LOG.warning("--allow-origin null allows frames of any site: give a --token as well")

    @property
    def max_body_bytes(self) -> int:
        """Maximum size of an image or a frame in bytes."""
        return int(self.max_body_mb * MB)

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image or a frame."""
        return int(self.max_megapixels * 1e6)

    def limits(self) -> dict[str, int | float]:
        """Return the limits that clients can read, by name."""
        names = [item.name for item in fields(Limits) if item.name not in ("workers", "max_models")]
        return {name: getattr(self, name) for name in names}


def usual_jobs_folder() -> Path:
    """Return the folder that keeps the results of `sonjit serve`, in the data of this account. It may not exist yet."""
    return platformdirs.user_data_path("sonjit", appauthor=False) / "results"


def read_token(token: str | None, file: Path | None) -> str | None:
    """Return the token of `--token`, else the line in `--token-file`, else that of the environment; None without any.

    Other accounts of the machine see the options of a process, but neither its environment nor the file.
    """
    if token is not None and file is not None:
        raise InputError("--token and --token-file cannot be combined: give one of them")
    if file is None:
        return token if token is not None else os.environ.get(TOKEN_VARIABLE) or None
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {file}: {getattr(error, 'strerror', None) or 'not a text'}") from None
    if not text or "\n" in text:
        raise InputError(f"--token-file {file}: write the token into it, as one line")
    return text


def is_loopback(host: str) -> bool:
    """Check whether a name or address means only this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_origin(text: str) -> bool:
    """Check whether a text is an origin as browsers send it, also of an app or an extension.

    >>> [_is_origin(text) for text in ("https://lab.example", "capacitor://localhost", "null", "*", "http://a/b")]
    [True, True, True, False, False]
    """
    if text == "null":  # of files, and of frames without rights
        return True
    try:
        address = urlsplit(text)
        _ = address.port  # refuses what is not a number
    except ValueError:
        return False
    is_plain = "@" not in address.netloc and "*" not in text and text == f"{address.scheme}://{address.netloc}"
    return is_plain and bool(address.hostname) and address.scheme not in _NO_ORIGINS


def page_addresses(settings: Settings, port: int) -> list[str]:
    """Return the addresses of the page with the token: first for this machine, then for others."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host)
    hosts = [settings.host] if loopback is None else [loopback, *addresses_of_machine(ipv6=settings.host == "::")]
    scheme = "http" if settings.tls_cert is None else "https"
    fragment = f"#token={quote(settings.token, safe='')}" if settings.token else ""
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{fragment}" for host in hosts]


def for_other_devices(addresses: list[str]) -> list[str]:
    """Return the addresses that other devices can open.

    >>> for_other_devices(["http://127.0.0.1:80/", "http://192.168.1.5:80/"])
    ['http://192.168.1.5:80/']
    """
    return [address for address in addresses if not is_loopback(urlsplit(address).hostname or "")]


def addresses_of_machine(*, ipv6: bool) -> list[str]:
    """Return the addresses of this machine: the source addresses of its routes to other networks."""
    addresses: list[str] = []
    for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:  # OSError without a network
            probe.connect((_REMOTE_ADDRESSES[family], 9))
            addresses.append(probe.getsockname()[0])
    return addresses


def qr_lines(address: str) -> list[str]:
    """Return an address as a QR code of block characters, white on black; empty if the address is too long."""
    text = StringIO()
    if code := qr_code(address):
        code.terminal(text, border=QUIET_ZONE, compact=True)
    return text.getvalue().splitlines()


def qr_code(address: str) -> segno.QRCode | None:
    """Return an address as a QR code; None if it is too long."""
    with suppress(segno.DataOverflowError):
        return segno.make_qr(address, error="l")
    return None


def machine_certificate(hosts: list[str]) -> Path:
    """Return this machine's certificate and key in one PEM file that only its user can read.

    The first call creates it in the cache folder, for these hosts, localhost and the host name. It is created again
    shortly before it expires, if it is not valid yet, and if it lacks a host. Those of the old certificate are kept.
    """
    import trustme
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = _machine_certificate_path()
    name = socket.gethostname()
    own_names = [name, f"{name.removesuffix('.local')}.local"] if name else []
    required = {"localhost", "127.0.0.1", "::1", *hosts, *own_names}
    certified_hosts = set[str]()
    now = datetime.now(UTC)
    with suppress(OSError, ValueError):  # none yet, or a damaged one
        content = path.read_bytes()
        load_pem_private_key(content, None)
        kept = x509.load_pem_x509_certificate(content)
        certified_hosts = _hosts(kept)
        is_valid = kept.not_valid_before_utc <= now < kept.not_valid_after_utc - _RENEW  # the clock may have been wrong
        if required <= certified_hosts and is_valid:
            return path
    authority = trustme.CA(organization_name="Sonjit on this machine")  # its key is not kept: it signs nothing else
    first, last = now - timedelta(hours=1), now + _VALID
    issued = authority.issue_cert(*sorted(required | certified_hosts), not_before=first, not_after=last)
    with files.atomic_file(path) as draft:
        draft.chmod(0o600)
        pems = (*issued.cert_chain_pems, authority.cert_pem, issued.private_key_pem)
        draft.write_bytes(b"".join(pem.bytes() for pem in pems))
    return path


def renew_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load the certificate of a running server again; if it is this machine's own, renew it first if it expires soon.

    The server keeps its old certificate if the new one cannot be used, and logs a warning.
    """
    try:
        if certificate == _machine_certificate_path():
            machine_certificate([])
        check_certificate(certificate, key)
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (SonjitError, OSError) as error:
        _LOG.warning("the certificate was not loaded again: %s", error)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a PEM file's first certificate as browsers show it: hexadecimal digits with colons."""
    from cryptography.hazmat.primitives.serialization import Encoding

    der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    return hashlib.sha256(der).digest().hex(":").upper()


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Check that a server can use a certificate and its key, if they are given."""
    if (certificate is None) != (key is None):
        raise InputError("--cert and --key belong together: give both")
    if certificate is None or key is None:
        return
    for path in (certificate, key):
        if not path.is_file():
            raise InputError(f"no file {path}: give the certificate and its key, both in PEM")

    try:
        # without a function, OpenSSL asks at the terminal for a password
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        reason = "the key is not the certificate's" if "MISMATCH" in str(error) else getattr(error, "strerror", error)
        raise InputError(
            f"--cert {certificate} and --key {key} do not make a certificate: {reason}; "
            "give a PEM certificate and its own key, without a password"
        ) from None
    now = datetime.now(UTC)
    first = read.not_valid_before_utc
    last = read.not_valid_after_utc
    if not first <= now <= last:
        state = f"ended on {last:%Y-%m-%d}" if now > last else f"begins on {first:%Y-%m-%d}"
        raise InputError(
            f"--cert {certificate} {state}: use a valid certificate, or --tls without --cert for a generated one"
        )


def _machine_certificate_path() -> Path:
    return cache_folder() / "tls" / "certificate.pem"


def _hosts(certificate: x509.Certificate) -> set[str]:
    """Return the names and addresses of a certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *map(str, addresses)}
