"""Certificates for https: the machine's own certificate, and checks of a user's certificate."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sonjit._util.errors import InputError, JobError
from sonjit._util.files import atomic_file
from sonjit.weights.store import cache_folder

_VALID: Final = timedelta(days=800)
"""Apple's devices reject certificates of private authorities that are valid for more than 825 days."""
_RENEW: Final = timedelta(days=7)
_CHECK_S: Final = 3600
"""Interval between checks of the certificate."""
_LOG: Final = logging.getLogger("sonjit.server")


def own_certificate(hosts: list[str]) -> Path:
    """Return this machine's certificate and key in one PEM file that only its user can read.

    The first call creates it in the cache folder. It is created again shortly before it expires, if it is not valid
    yet, and if it lacks a name or address of the machine. The new certificate keeps the names and addresses of the old
    one.

    Args:
        hosts: Names and addresses by which browsers call, in addition to localhost and the host name.

    Raises:
        InputError: The cache folder cannot be written to.
    """
    path = _own_path()
    name = socket.gethostname()
    required = {
        "localhost",
        "127.0.0.1",
        "::1",
        *hosts,
        *([name, f"{name.removesuffix('.local')}.local"] if name else []),
    }
    known: set[str] = set()
    with suppress(OSError, ValueError):  # none yet, or a damaged one
        content = path.read_bytes()
        serialization.load_pem_private_key(content, None)
        kept = x509.load_pem_x509_certificate(content)
        known = _hosts(kept)
        now = datetime.now(UTC)
        is_valid = kept.not_valid_before_utc <= now < kept.not_valid_after_utc - _RENEW  # the clock may have been wrong
        if required <= known and is_valid:
            return path
    content = _create(sorted(required | known))
    with atomic_file(path) as draft:
        draft.chmod(0o600)
        draft.write_bytes(content)
    return path


async def keep_valid(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Check a running server's certificate every hour, until cancelled. An expired one is a warning.

    Args:
        context: TLS context of the server. New connections use its latest certificate.
        certificate: PEM file with the certificate.
        key: PEM file with the certificate's key.
    """
    loaded, reported = _content(certificate, key), b""
    while True:
        await asyncio.sleep(_CHECK_S)
        try:
            loaded = reload_certificate(context, certificate, key, loaded)
        except (InputError, JobError, OSError) as error:
            _LOG.warning("the certificate was not loaded again: %s", error)
            continue
        if loaded != reported:
            try:
                check_certificate(certificate, key)
            except InputError as error:
                _LOG.warning("%s", error)
                reported = loaded


def reload_certificate(context: ssl.SSLContext, certificate: Path, key: Path, loaded: bytes) -> bytes:
    """Renew the machine's own certificate if it expires soon, and load a changed certificate.

    The context keeps its certificate if the new one is damaged, expired or lacks its key.

    Args:
        context: TLS context of a server.
        certificate: PEM file with the certificate.
        key: PEM file with the certificate's key.
        loaded: Content of both files when they were loaded.

    Returns:
        Content of both files that is loaded now.

    Raises:
        InputError: The changed files cannot be used.
        OSError: A file cannot be read.
    """
    if certificate == _own_path():
        own_certificate([])
    content = _content(certificate, key)
    if content != loaded:
        check_certificate(certificate, key)
        context.load_cert_chain(certificate, key, password=lambda: "")
    return content


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a PEM file's first certificate as browsers show it: hexadecimal digits with colons."""
    der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).digest().hex(":").upper()


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Check that a server can use a certificate and its key.

    Raises:
        InputError: A file is missing, unreadable or has a password, the key is of another certificate, or the
            certificate has expired or is not valid yet.
    """
    given = [path for path in (certificate, key) if path is not None]
    if len(given) == 1:
        raise InputError("--cert and --key belong together: give both")
    for path in given:
        if not path.is_file():
            raise InputError(f"no file {path}: give the certificate and its key, both in PEM")
    if certificate is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            certificate, key, password=lambda: ""
        )  # without a function, OpenSSL asks at the terminal
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        reason = "the key is not the certificate's" if "MISMATCH" in str(error) else getattr(error, "strerror", error)
        raise InputError(
            f"--cert {certificate} and --key {key} do not make a certificate: {reason}; "
            "give a PEM certificate and its own key, without a password"
        ) from None
    now, first, last = datetime.now(UTC), read.not_valid_before_utc, read.not_valid_after_utc
    if not first <= now <= last:
        state = f"ended on {last:%Y-%m-%d}" if now > last else f"begins on {first:%Y-%m-%d}"
        raise InputError(
            f"--cert {certificate} {state}: use a valid certificate, or --tls without --cert for a generated one"
        )


def _own_path() -> Path:
    return cache_folder() / "tls" / "certificate.pem"


def _content(certificate: Path, key: Path) -> bytes:
    return certificate.read_bytes() + key.read_bytes()


def _hosts(certificate: x509.Certificate) -> set[str]:
    """Return the names and addresses of a certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *map(str, addresses)}


def _create(hosts: list[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sonjit on this machine")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)  # required by phones
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    pem = serialization.Encoding.PEM
    unlocked = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(pem) + unlocked


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
