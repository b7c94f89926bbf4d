"""Recognise addresses of cameras and storage in text, hide their secrets, and check whether they may be used."""

import os
import re
from pathlib import PurePath
from typing import Final

_CAMERAS: Final = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp")
_STORES: Final = ("s3", "gs", "gcs", "az", "abfs", "abfss", "hdfs", "ftp", "ftps", "sftp", "smb", "hf", "ws", "wss")
ADDRESS_STARTS: Final = tuple(f"{scheme}://" for scheme in _CAMERAS)
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]+:"  # of two characters or more: others are disks of Windows
_NAMED: Final = re.compile(rf"({_SCHEME})(//)(.*)", re.DOTALL)
_IN_TEXT: Final = re.compile(
    rf"({_SCHEME})(//?)"  # a path of an address has one slash
    r"((?:[^\s/@\[]*:(?!\d{0,5}(?:[^\w\s]|\s|$))[^@]*@)?\S*?)"  # a password may have spaces
    r"""(?=["'.,:;)]*(?:\s|$))"""
)
_NOT_A_PORT: Final = re.compile(r"[^\[]*:(?!\d*$)")


def is_offline() -> bool:
    """Check whether the environment variable SONJIT_OFFLINE forbids the use of the network."""
    return os.environ.get("SONJIT_OFFLINE", "") not in ("", "0")


def is_address(named: str) -> bool:
    """Check whether an input is the address of a network camera."""
    return named.lower().startswith(ADDRESS_STARTS)


def is_address_path(path: PurePath) -> bool:
    """Check whether a path is an address, which no file of this machine has."""
    return bool(path.parts) and re.fullmatch(_SCHEME, path.parts[0]) is not None


def shown_name(named: str) -> str:
    """Return an input for display: an address without user, password and values of its query.

    Cameras also have logins in their path, as `/user=admin_password=secret`. Other inputs are returned as they are.

    >>> shown_name("rtsp://admin:p@ss@10.0.0.5/live?usr=admin&pwd=secret")
    'rtsp://10.0.0.5/live?usr=…&pwd=…'
    """
    match = _NAMED.fullmatch(named)
    return named if match is None else _without_secrets(match)


def hide_secrets(text: str) -> str:
    """Return a message whose addresses are as `shown_name` returns them.

    An address that became a path gets its second slash again.

    >>> hide_secrets("rtsp:/admin:p@ss@10.0.0.5/live?pwd=secret: no such file")
    'rtsp://10.0.0.5/live?pwd=…: no such file'
    """
    return _IN_TEXT.sub(_without_secrets, text) if ":/" in text else text


def _without_secrets(match: re.Match[str]) -> str:
    scheme, slashes, rest = match.groups()
    host, path, mark, query = _parts(rest)
    if "@" not in host and "@" in path + query and re.search(r":\D", host):  # a password with a slash or question mark
        host, path, mark, query = _parts(rest.rpartition("@")[2])
    host = host.rpartition("@")[2]
    if _NOT_A_PORT.match(host):  # an address that was cut within its password
        host = "…"
    if is_address(f"{scheme}//"):
        path = re.sub(r"=[^/]*", "=…", path)
        query = re.sub(r"[^&;#=]+(?=[&;#]|$)", "…", re.sub(r"=[^&;#]*", "=", query)).replace("=", "=…")
    else:  # a question mark may be that of a glob
        query = re.sub(r"=[^&;#]*", "=…", query)
    if scheme[:-1].lower() in (*_CAMERAS, *_STORES):  # other names before a colon may be no schemes
        slashes = "//"
    return f"{scheme}{slashes}{host}{hide_secrets(path)}{mark}{query}"


def _parts(rest: str) -> tuple[str, str, str, str]:
    """Split what follows the slashes into host, path, mark and query."""
    host, path, mark, query = re.fullmatch(r"([^/?#]*)([^?#]*)([?#]?)(.*)", rest, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return host, path, mark, query
